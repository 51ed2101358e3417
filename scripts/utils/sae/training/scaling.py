"""Centre and scale states, so that one recipe fits all; fold that into an autoencoder on raw states."""

from dataclasses import dataclass
from typing import Any

import torch

from utils.base.errors import UserError
from utils.sae.autoencoder import SparseAutoencoder
from utils.sae.goals import Goal
from utils.sae.steps.parameters import Parameters


@dataclass(frozen=True)
class Scaling:
    """What states x of one layer are multiplied with, so that E||x - mean||^2 = 1.

    mean   float64 [hidden_size], on raw states
    scale  the factor
    """

    mean: torch.Tensor
    scale: float

    @classmethod
    def of(cls, goal: Goal, sample: torch.Tensor) -> "Scaling":
        """Estimate it from raw states [n, hidden_size]. Raise UserError where they are not finite, or all equal."""
        states = sample.double()
        mean = states.mean(0)
        spread = float((states - mean).square().sum(1).mean().sqrt())
        if not spread < float("inf"):
            raise UserError(
                f"states of layer {goal.layer} are not finite: read them with another --model_dtype (float32), or "
                "leave the layer out"
            )
        if spread <= 1e-6 * float(mean.norm()) or spread == 0:
            raise UserError(f"all states of layer {goal.layer} are the same: leave the layer out, or read other texts")
        return cls(mean, 1 / spread)

    def fold(self, scaled: Parameters, about: dict[str, Any]) -> SparseAutoencoder:
        """Turn the parameters of one autoencoder on scaled states into one on raw states, on the CPU.

        Latents, like states, are then those on scaled states divided by `scale`; weights stay as they are.
        """
        here = {name: tensor.detach().cpu().clone() for name, tensor in scaled.tensors.items()}
        for name in ("encoder_bias", "decoder_bias", "threshold"):
            here[name] = (here[name].double() / self.scale).float()
        return SparseAutoencoder(**here, about=about)
