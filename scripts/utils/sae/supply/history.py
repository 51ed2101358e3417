"""What is noted of a training at its checkpoints, and which of them is the best."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from utils.sae.autoencoder import ROWS_AT_ONCE, SparseAutoencoder

CLOSE = 0.03  # an L0 this close to its target counts as hit
NOTED = (  # the names of the source, and what is asked of a run beside them
    "step",
    "tokens",
    "train_loss",
    "val_loss",
    "recon_loss",
    "sparsity_loss",
    "train_sparsity",
    "sparsity",
    "lr",
    "l0",
    "fvu",
    "dead",
)
History = dict[str, list[float]]  # a value for each checkpoint, by the names of NOTED


@dataclass(frozen=True)
class Glance:
    """States of validation: active latents at a token, unexplained share of the variance, squared error per element."""

    l0: float
    fvu: float
    squared_error: float

    @classmethod
    def at(cls, autoencoder: SparseAutoencoder, states: torch.Tensor) -> "Glance":
        """Encode and rebuild states [n, hidden_size]. The variance is about their own mean."""
        active, error = 0, torch.zeros((), dtype=torch.float64, device=states.device)
        for some in states.split(ROWS_AT_ONCE):
            latents = autoencoder.encode(some)
            active += int((latents != 0).sum())
            error += (autoencoder.decode(latents) - some).square().sum(dtype=torch.float64)
        centred = states - states.mean(0)
        variance = centred.square().sum(dtype=torch.float64).clamp(min=1e-30)
        return cls(active / len(states), float(error / variance), float(error / states.numel()))


def empty_history() -> History:
    """Begin a history without a checkpoint."""
    return {name: [] for name in NOTED}


def note(
    history: History,
    step: int,
    tokens: int,
    progress: Mapping[str, float],
    seen: Glance,
    latents: int,
    target: float,
) -> None:
    """Add a checkpoint. progress: as `Training.progress` gives for the goal; seen: of states of validation.

    `recon_loss` is the squared error per element of raw states; `sparsity_loss` the squared relative distance of L0 from the
    target; `val_loss` the FVU and `sparsity_loss` together; the sparsities are shares of the latents that are active.
    """
    pull = (seen.l0 / target - 1) ** 2
    values = {
        "step": step,
        "tokens": tokens,
        "train_loss": progress["loss"],
        "val_loss": seen.fvu + pull,
        "recon_loss": seen.squared_error,
        "sparsity_loss": pull,
        "train_sparsity": progress["l0"] / latents,
        "sparsity": seen.l0 / latents,
        "lr": progress["learning_rate"],
        "l0": seen.l0,
        "fvu": seen.fvu,
        "dead": progress["dead"],
    }
    for name, value in values.items():
        history[name].append(float(value) if name not in ("step", "tokens") else int(value))


def best_of(history: Mapping[str, Sequence[float]], target: float) -> int:
    """Find the best checkpoint: the lowest FVU among those within CLOSE of the target; where none is, the closest.

    l0 [9, 10, 10.2], fvu [.1, .3, .2], target 10 -> 2
    """
    ranked: Iterable[Any] = (
        ((0, fvu) if is_close(l0, target) else (1, abs(l0 / target - 1)), number)
        for number, (l0, fvu) in enumerate(zip(history["l0"], history["fvu"], strict=True))
    )
    return min(ranked)[1]


def is_close(l0: float, target: float) -> bool:
    """Say whether an L0 is within CLOSE of its target."""
    return abs(l0 / target - 1) <= CLOSE
