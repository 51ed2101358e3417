"""A sparse autoencoder on raw states: how it encodes them, and how it rebuilds them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

ROWS_AT_ONCE = 2**12  # states that are encoded at a time


@dataclass(frozen=True)
class SparseAutoencoder:
    """A dictionary of directions for the states of one layer.

    A latent is active where its pre-activation lies above its threshold (JumpReLU, Rajamanoharan et al. 2024):

        z = (x - decoder_bias) @ encoder.T + encoder_bias
        latents = z where z > threshold, else 0
        rebuilt = latents @ decoder + decoder_bias

    encoder, decoder         float32 [latents, hidden_size]: a row is a latent
    encoder_bias, threshold  float32 [latents]; thresholds are at least 0
    decoder_bias             float32 [hidden_size]
    about                    plain values: architecture (as it was trained), layer, target_l0, seed, model_name,
                             model_fingerprint, hook_name and more

    The scale that training used is folded in: all of it is on raw states.
    """

    encoder: torch.Tensor
    encoder_bias: torch.Tensor
    decoder: torch.Tensor
    decoder_bias: torch.Tensor
    threshold: torch.Tensor
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def latents(self) -> int:
        return self.encoder.shape[0]

    @property
    def hidden_size(self) -> int:
        return self.encoder.shape[1]

    def before_thresholds(self, states: torch.Tensor) -> torch.Tensor:
        """Compute the pre-activations of states [n, hidden_size]: float32 [n, latents]."""
        return torch.addmm(self.encoder_bias, states.float() - self.decoder_bias, self.encoder.mT)

    def encode(self, states: torch.Tensor) -> torch.Tensor:
        """Encode states [n, hidden_size]: float32 [n, latents], 0 where a latent is not active."""
        before = self.before_thresholds(states)
        return before * (before > self.threshold)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Rebuild states [n, hidden_size] from latents [n, latents]."""
        return torch.addmm(self.decoder_bias, latents, self.decoder)

    def to(self, device: torch.device | str) -> "SparseAutoencoder":
        """Move it to a device."""
        moved = {name: tensor.to(device) for name, tensor in self.tensors.items()}
        return SparseAutoencoder(**moved, about=self.about)

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """Give the parameters by name."""
        names = ("encoder", "encoder_bias", "decoder", "decoder_bias", "threshold")
        return {name: getattr(self, name) for name in names}
