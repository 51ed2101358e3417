"""Exact steps on CPU whose backward touches only active latents and those in the kernel's window.

The forward needs every pre-activation, which is one product of the dense five. All else works on a few entries a state.
"""

from dataclasses import dataclass
from functools import partial

import torch

from utils.sae.steps.entries import Entries
from utils.sae.steps.parameters import BatchTopK, JumpReLU, Parameters, TrainingStep, edges
from utils.sae.steps.screening import Screen
from utils.sae.steps.selection import above, largest, wanted_of


@dataclass(frozen=True)
class Code:
    """The latents of a batch at the entries that count.

    values  the latents: 0 at entries that are only in the window
    active  bool: which entries are active; None where all are
    window  bool: which are in the kernel's window; None where there is no kernel
    """

    entries: Entries
    values: torch.Tensor
    cut: torch.Tensor
    active: torch.Tensor | None = None
    window: torch.Tensor | None = None


class SparseSteps:
    """Compute steps, one autoencoder after the other. Matrices of [batch, latents] are kept from step to step.

    screened  find the latents that count by a product in bfloat16, with a margin, and compute those alone in full
    """

    products = None

    def __init__(self, screened: bool = False):
        self.name, self.screened = "screened" if screened else "sparse", screened
        self._before, self._screen = torch.empty(0), Screen()

    def __call__(self, parameters: Parameters, states: torch.Tensor, asked: JumpReLU | BatchTopK) -> TrainingStep:
        """Take states [stack, batch, hidden_size], scaled to E||x||^2 = 1."""
        each = zip(parameters.members, states, asked.members, strict=True)
        gradients, *rest = zip(*(self._one(*one) for one in each), strict=True)
        return TrainingStep(list(gradients), *map(torch.stack, rest))

    def _one(self, parameters, states, asked):
        centred = states - parameters.decoder_bias
        find, shape = self._encode(parameters, centred), (len(states), len(parameters.encoder))
        if isinstance(asked, JumpReLU):
            code = _jumprelu(find, shape, parameters.threshold, asked.width)
        else:
            code = _batchtopk(find, shape, asked)
        entries = code.entries
        residual = entries.times(code.values, parameters.decoder).add_(parameters.decoder_bias).sub_(states)
        error = residual * (2 / len(states))
        on_latents = entries.dots(error, parameters.decoder)
        gradients = _gradients(parameters, code, on_latents, error, centred)
        active = code.entries.column if code.active is None else code.entries.column[code.active]
        l0 = residual.new_tensor(len(active) / len(states))
        if code.window is not None:
            on_l0 = asked.on_l0(l0) / len(states)
            on_steps = (entries.spread(parameters.threshold) * on_latents + on_l0) * code.window
            gradients.threshold.copy_(entries.column_sums(on_steps)).div_(-asked.width)
        in_window = torch.tensor(0) if code.window is None else code.window.sum()
        fired = torch.zeros(len(parameters.threshold), dtype=torch.bool).index_fill_(0, active, True)
        return gradients, residual.square().sum() / len(states), l0, fired, in_window, code.cut, residual

    def _encode(self, parameters, centred):
        """Give the function that finds pre-activations above a number."""
        if self.screened:
            self._screen.take(centred, parameters.encoder, parameters.encoder_bias)
            return self._screen.above
        shape = len(centred), len(parameters.encoder)
        if self._before.shape != shape or self._before.dtype != centred.dtype:
            self._before = centred.new_empty(shape)
        torch.addmm(parameters.encoder_bias, centred, parameters.encoder.mT, out=self._before)
        return partial(above, self._before)


def _jumprelu(find, shape, threshold, width) -> Code:
    low, high = edges(threshold, width)
    places, values = find(low)  # the active ones are among them
    entries = Entries(places, shape)
    values = entries.turned(values)
    active = values > entries.spread(threshold)
    return Code(entries, values * active, values.new_tensor(torch.nan), active, values < entries.spread(high))


def _batchtopk(find, shape, asked) -> Code:
    lift = asked.lift.expand(shape[1])

    def lifted(low):
        places, values = find((low - lift).clamp_(min=0))
        return places, values + lift[places % shape[1]]

    places, values, cut = largest(lifted, wanted_of(asked.k, shape[0]), asked.guess)
    entries = Entries(places, shape)
    return Code(entries, entries.turned(values) - entries.spread(lift), cut)


def _gradients(parameters, code, on_latents, error, centred) -> Parameters:
    """Chain d loss / d latents back to the weights and biases."""
    entries = code.entries
    through = on_latents if code.active is None else on_latents * code.active
    decoder = entries.transposed_times(code.values, error)
    along = entries.column_sums(code.values * on_latents)  # <gradient, row>, which needs no product any more
    decoder.addcmul_(parameters.decoder, along[:, None], value=-1)
    encoder_bias = entries.column_sums(through)
    return Parameters(
        encoder=entries.transposed_times(through, centred),
        encoder_bias=encoder_bias,
        decoder=decoder,
        decoder_bias=error.sum(0) - encoder_bias @ parameters.encoder,
        threshold=torch.zeros_like(encoder_bias),
    )
