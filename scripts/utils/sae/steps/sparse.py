"""Exact steps on CPU whose backward touches only active latents and those in the kernel's window.

The forward needs every pre-activation, which is one product of the dense five. All else works on a few entries a state.
"""

from dataclasses import dataclass

import numpy as np
import torch

from utils.sae.steps.entries import Entries
from utils.sae.steps.parameters import BatchTopK, JumpReLU, Parameters, TrainingStep

SLACK = 0.9  # candidates lie above this share of the guessed cut; cuts of successive batches differ by a few percent


@dataclass(frozen=True)
class Code:
    """The latents of a batch at the entries that count.

    values  the latents: 0 at entries that are only in the window
    active  bool: which entries are active; None where all are
    """

    entries: Entries
    values: torch.Tensor
    active: torch.Tensor | None
    cut: float = float("nan")


class SparseSteps:
    """Compute steps one autoencoder after the other. The matrix of pre-activations is kept from step to step."""

    name = "sparse"

    def __init__(self):
        self._before = torch.empty(0)

    def __call__(self, parameters: Parameters, states: torch.Tensor, asked: JumpReLU | BatchTopK) -> TrainingStep:
        """Take states [stack, batch, hidden_size], scaled to E||x||^2 = 1."""
        each = [self._one(one, states[index], asked, index) for index, one in enumerate(parameters.members)]
        gradients, *rest = zip(*each, strict=True)
        return TrainingStep(list(gradients), *map(torch.stack, rest))

    def _one(self, parameters, states, asked, index):
        centred = states - parameters.decoder_bias
        before = self._encode(parameters, centred)
        window = None
        if isinstance(asked, JumpReLU):
            low, high = edges(parameters.threshold, asked.width[index])
            code, window = _jumprelu(before, parameters.threshold, low, high)
        else:
            code = _batchtopk(before, float(asked.k[index]), float(asked.guess[index]))
        entries = code.entries
        residual = entries.times(code.values, parameters.decoder).add_(parameters.decoder_bias).sub_(states)
        error = residual * (2 / len(states))
        on_latents = entries.dots(error, parameters.decoder)
        gradients = _gradients(parameters, code, on_latents, error, centred)
        active = len(code.values) if code.active is None else int(code.active.sum())
        l0 = residual.new_tensor(active / len(states))
        in_window = torch.tensor(0)
        if window is not None:
            on_l0 = 2 * asked.pull[index] * (l0 / asked.target[index] - 1) / asked.target[index] / len(states)
            on_steps = (entries.by_column(parameters.threshold) * on_latents + on_l0) * window
            gradients.threshold.copy_(entries.column_sums(on_steps)).div_(-asked.width[index])
            in_window = window.sum()
        fired = _fired(code)
        loss = residual.square().sum() / len(states)
        return gradients, loss, l0, fired, in_window, residual.new_tensor(code.cut), residual

    def _encode(self, parameters, centred):
        shape = len(centred), len(parameters.encoder)
        if self._before.shape != shape or self._before.dtype != centred.dtype:
            self._before = centred.new_empty(shape)
        return torch.addmm(parameters.encoder_bias, centred, parameters.encoder.mT, out=self._before)


def edges(threshold: torch.Tensor, width: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Give the ends of the kernel's window, which are outside it: [latents] each."""
    return threshold - width / 2, threshold + width / 2


def _jumprelu(before, threshold, low, high) -> tuple[Code, torch.Tensor]:
    """Give the code, and which of its entries are in the window."""
    entries = Entries.where(before > low)  # no threshold lies below its window, so this holds the active ones too
    values = entries.of(before)
    active = values > entries.by_column(threshold)
    return Code(entries, values * active, active), values < entries.by_column(high)


def _batchtopk(before, k, guess) -> Code:
    wanted = max(1, round(k * len(before)))
    low = max(0.0, guess * SLACK)
    mask = before > low
    flat = np.flatnonzero(mask.numpy())
    while len(flat) < wanted and low > 0:
        low = low / 2 if low > guess / 8 else 0.0
        flat = np.flatnonzero(torch.gt(before, low, out=mask).numpy())
    values = before.view(-1).index_select(0, torch.from_numpy(flat)).numpy()
    cut = 0.0
    if len(flat) > wanted:
        cut = np.partition(values, len(values) - wanted)[len(values) - wanted]
        kept = values >= cut
        flat, values = flat[kept], values[kept]
    elif len(flat):
        cut = values.min()
    return Code(Entries(flat, tuple(before.shape)), torch.from_numpy(values), None, float(cut))


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


def _fired(code) -> torch.Tensor:
    column = code.entries.column if code.active is None else code.entries.column[code.active]
    fired = torch.zeros(code.entries.shape[1], dtype=torch.bool)
    fired[column] = True
    return fired
