"""What is trained, what a step is asked for, and what it gives. Several autoencoders of one shape form a stack."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import torch


@dataclass(frozen=True)
class Stacked:
    """Dataclasses whose fields are tensors [stack, ...]: one entry an autoencoder."""

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """Give the fields by name."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @property
    def members(self) -> list[Self]:
        """Give each autoencoder's: views without the first dimension, which share memory with the stack."""
        return [type(self)(*one) for one in zip(*self.tensors.values(), strict=True)]

    @classmethod
    def stacked(cls, members: Sequence[Self]) -> Self:
        """Copy members into a stack."""
        return cls(*map(torch.stack, zip(*(one.tensors.values() for one in members), strict=True)))


@dataclass(frozen=True)
class Parameters(Stacked):
    """The parameters of a stack of sparse autoencoders, or the gradients of one of them (then without `stack`).

    encoder, decoder         [stack, latents, hidden_size]: a row is a latent; decoder rows have unit norm
    encoder_bias, threshold  [stack, latents]
    decoder_bias             [stack, hidden_size]
    """

    encoder: torch.Tensor
    encoder_bias: torch.Tensor
    decoder: torch.Tensor
    decoder_bias: torch.Tensor
    threshold: torch.Tensor


@dataclass(frozen=True)
class JumpReLU(Stacked):
    """Ask for a JumpReLU step: a latent is active where z > threshold (Rajamanoharan et al. 2024, arXiv:2407.14435).

    With the rectangle kernel K(u) = 1 where |u| < 1/2, and z the pre-activations, the loss of a batch is

        mean ||rebuilt - x||^2 + pull * (L0 / target - 1)^2,    L0 the mean number of active latents
        d latent / d threshold = -threshold / width * K((z - threshold) / width)
        d L0     / d threshold = -mean of 1 / width * K((z - threshold) / width)

    Only thresholds feel the kernel: latents pass gradients on to z where they are active, and L0 passes none.

    width, pull, target  [stack], of the parameters' type and on their device
    """

    width: torch.Tensor
    pull: torch.Tensor
    target: torch.Tensor

    def on_l0(self, l0: torch.Tensor) -> torch.Tensor:
        """Differentiate the pull by L0."""
        return 2 * self.pull * (l0 / self.target - 1) / self.target


def edges(threshold: torch.Tensor, width: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Give the ends of the kernel's window. They lie outside it."""
    return threshold - width / 2, threshold + width / 2


@dataclass(frozen=True)
class BatchTopK(Stacked):
    """Ask for a BatchTopK step: the k * batch largest positive pre-activations of a batch (Bussmann et al. 2024).

    Values that equal the smallest one kept are all kept. A latent with a lift is chosen as if its pre-activations were
    larger by so much, if they are positive; its values stay what they are.

    k      [stack]: active latents a state, on average; need not be whole
    guess  [stack]: about where the cut lies, as the `cut` of the last step; wrong guesses cost time only
    lift   [stack, latents], or [stack, 1] for all of them: at least 0; 0 is BatchTopK as published

    Thresholds get a gradient of 0.
    """

    k: torch.Tensor
    guess: torch.Tensor
    lift: torch.Tensor


@dataclass(frozen=True)
class TrainingStep:
    """What a step over a batch gives for each autoencoder of a stack. The parameters are as before.

    gradients  one entry an autoencoder. The decoder's lack their part along the decoder's rows, which the unit norm forbids
    loss       [stack]: mean over the batch of ||rebuilt - x||^2; the pull is not in it
    l0         [stack]: mean number of active latents
    fired      bool [stack, latents]: whether a latent was active at any state
    in_window  int64 [stack]: latents of all states that lie in the kernel's window; 0 for BatchTopK
    cut        [stack]: the smallest active value of BatchTopK, lifted; 0 where none is active; NaN for JumpReLU
    residual   [stack, batch, hidden_size]: rebuilt - x
    """

    gradients: list[Parameters]
    loss: torch.Tensor
    l0: torch.Tensor
    fired: torch.Tensor
    in_window: torch.Tensor
    cut: torch.Tensor
    residual: torch.Tensor
