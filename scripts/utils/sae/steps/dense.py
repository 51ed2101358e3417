"""The same steps by products over all latents, batched over the stack: for GPUs, and where there are few latents."""

from collections.abc import Callable
from functools import partial

import torch

from utils.sae.steps.parameters import BatchTopK, JumpReLU, Parameters, TrainingStep, edges
from utils.sae.steps.selection import above, largest, wanted_of


class DenseSteps:
    """Compute steps of all autoencoders of a stack at once, without autograd.

    products  the type in which matrices of [batch, latents] are multiplied, as bfloat16; None: the parameters' own.
              Pre-activations, sums over the batch and gradients keep the parameters' type.
    compiled  let torch.compile join what happens to each latent into few passes over memory (needs Triton on CUDA)
    """

    name = "dense"

    def __init__(self, products: torch.dtype | None = None, compiled: bool = False):
        self.products = products
        self._code: Callable = torch.compile(_code, dynamic=False) if compiled else _code
        self._sums: Callable = torch.compile(_sums, dynamic=False) if compiled else _sums

    def __call__(self, parameters: Parameters, states: torch.Tensor, asked: JumpReLU | BatchTopK) -> TrainingStep:
        """Take states [stack, batch, hidden_size], scaled to E||x||^2 = 1."""
        batch, full = states.shape[1], states.dtype
        kind = self.products or full
        centred = states - parameters.decoder_bias[:, None]
        inputs, decoder = centred.to(kind), parameters.decoder.to(kind)
        before = _product(inputs, parameters.encoder.to(kind).mT, full).add_(parameters.encoder_bias[:, None])
        if isinstance(asked, JumpReLU):
            least, cut = parameters.threshold, torch.full_like(asked.width, torch.nan)
            low, high = edges(least, asked.width[:, None])
        else:
            cut = _cuts(before, asked)
            least = (torch.nextafter(cut, torch.zeros_like(cut))[:, None] - asked.lift).clamp_(min=0)
            low = high = None
        latents = self._code(before, least, kind)
        residual = _product(latents, decoder, full).add_(parameters.decoder_bias[:, None]).sub_(states)
        error = residual * (2 / batch)
        given = error.to(kind)
        through, active, bias, window, on_window = self._sums(before, given @ decoder.mT, least, low, high)
        gradients = Parameters(
            encoder=_product(through.mT, inputs, full),
            encoder_bias=bias,
            decoder=_project(_product(latents.mT, given, full), parameters.decoder),
            decoder_bias=error.sum(1) - (bias[:, None] @ parameters.encoder)[:, 0],
            threshold=torch.zeros_like(bias),
        )
        l0 = active.sum(1) / batch
        in_window = window.sum(1).long()
        if isinstance(asked, JumpReLU):
            on_l0 = asked.on_l0(l0) / batch
            gradients.threshold.copy_(least * on_window + on_l0[:, None] * window).div_(-asked.width[:, None])
        return TrainingStep(
            gradients.members, residual.square().sum((1, 2)) / batch, l0, active > 0, in_window, cut, residual
        )


def _product(left, right, full):
    """Multiply batches of matrices; sums of short types are kept in the full type where the device can."""
    if left.dtype == full:
        return left @ right
    return torch.bmm(left, right, out_dtype=full) if left.device.type == "cuda" else (left @ right).to(full)


def _project(gradient, decoder):
    """Take each row's part along the decoder's row from it."""
    along = torch.linalg.vecdot(gradient, decoder)
    return gradient.addcmul_(decoder, along[..., None], value=-1)


def _cuts(before, asked):
    def cut(one, of):
        lifted = (one + of.lift).mul_(one > 0)
        return largest(partial(above, lifted), wanted_of(of.k, len(one)), of.guess)[2]

    return torch.stack([cut(one, of) for one, of in zip(before, asked.members, strict=True)])


def _code(before, least, kind):
    """Give the latents: z where it is above `least` [stack, latents]."""
    return (before * (before > least[:, None])).to(kind)


def _sums(before, on_latents, least, low, high):
    """Give d loss / d z, and sums over the batch [stack, latents].

    They are the number of times that a latent is active, d loss / d encoder_bias, the number of times that it is in the
    window, and the sum of d loss / d latent there.
    """
    full, active = before.dtype, before > least[:, None]
    through = on_latents * active
    sums = active.sum(1, dtype=full), through.sum(1, dtype=full)
    if low is None:
        return through, *sums, torch.zeros_like(least), torch.zeros_like(least)
    window = (before > low[:, None]) & (before < high[:, None])
    return through, *sums, window.sum(1, dtype=full), (on_latents * window).sum(1, dtype=full)
