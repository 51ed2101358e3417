"""Check examples with their label columns and row weights, and compute each row's weight in each column's loss."""

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike

from utils.base.errors import UserError

HELD_OUT = 5  # of so many examples of a class one is held out to validate by

Read = TypeVar("Read")


@dataclass(frozen=True)
class LabelledStates(Generic[Read]):
    """Examples that a probe learns from, or is validated on.

    states: n examples, as Matrices, or as Ranges for probes that read sequences.
    labels: 0 and 1, [n] or [n, columns].
    row_weights: >= 0, likewise; with 0 the example is not in that column, and its label may be anything. None: all count
        alike. Of validation only that counts, whether they are 0.
    """

    states: Read
    labels: ArrayLike
    row_weights: ArrayLike | None = None

    @property
    def columns(self) -> int:
        return 1 if np.ndim(self.labels) == 1 else np.shape(self.labels)[-1]


def label_columns(
    labels: ArrayLike,
    row_weights: ArrayLike | None,
    examples: int,
    split: str | None = "train",
    columns: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Check labels and row weights of so many examples, and bring both to [n, columns].

    Labels are float32, 0 in rows of weight 0; weights float64 where given so, else float32. Where all columns have the same
    weights, they share one column of memory. split: which errors name, if any; columns: how many there must be, if that is
    known.
    """
    of, where = (f" of {split}" if split else ""), split or "the problem"
    labels = torch.as_tensor(np.asarray(labels), dtype=torch.float32)
    labels = labels[:, None] if labels.ndim == 1 else labels
    if labels.ndim != 2 or labels.shape != (examples, columns or labels.shape[1]):
        raise UserError(
            f"{where} has {examples} examples and labels of shape {list(labels.shape)}; give [n] or [n, columns]"
            + (f" of {columns} columns" if columns else "")
        )
    weights = torch.ones(examples) if row_weights is None else torch.as_tensor(np.asarray(row_weights))
    weights = weights if weights.dtype == torch.float64 else weights.float()
    weights = weights[:, None] if weights.ndim == 1 else weights
    if weights.shape not in (labels.shape, (examples, 1)):
        raise UserError(
            f"{where} has row weights of shape {list(weights.shape)}, labels of {list(labels.shape)}; give [n] "
            "or one for each label"
        )
    if not (weights.isfinite().all() and (weights >= 0).all()):
        raise UserError(f"row weights{of} are negative or not finite; give numbers of at least 0")
    weights = weights.expand_as(labels)
    labels = torch.where(weights > 0, labels, 0.0)
    if not ((labels == 0) | (labels == 1)).all():
        raise UserError(f"labels{of} are not all 0 or 1; leave out rows of unknown truth, or give them weight 0")
    require_two_classes(labels, weights, of)
    return labels, weights


def require_two_classes(labels: torch.Tensor, weights: torch.Tensor, of: str):
    """Raise UserError for a column whose examples of some weight are all of one class. of: the split, for the error."""
    rows, positives = (weights > 0).sum(0).tolist(), (labels > 0).sum(0).tolist()
    for column, (count, positive) in enumerate(zip(rows, positives, strict=True)):
        if positive in (0, count):
            raise UserError(f"label column {column} holds one class only in its {count} examples{of}; a probe needs both")


def loss_weights(
    labels: torch.Tensor, row_weights: torch.Tensor, balance: bool, pos_weight_cap: float | None
) -> tuple[list[float], torch.Tensor]:
    """Compute the weight of a positive relative to a negative in each column, and each row's weight in its loss.

    The row's weights are float32 [n, columns]; without the extra weight of positives, their mean in a column is 1. balance,
    pos_weight_cap: as in `training.Settings`.
    """
    total = row_weights.sum(0, dtype=torch.float64)
    positives = (row_weights * labels).sum(0, dtype=torch.float64)
    pos_weight = (total - positives) / positives if balance else torch.ones_like(total)
    if balance and pos_weight_cap is not None:
        pos_weight = pos_weight.clamp(max=pos_weight_cap)
    of_mean_1 = (row_weights / (total / len(labels))).float()
    return pos_weight.tolist(), torch.where(labels > 0, pos_weight.float(), 1.0) * of_mean_1


def held_out(labels: np.ndarray, seed: int) -> np.ndarray:
    """Choose a part of each class at random, to validate by: bool [n]."""
    random, result = np.random.default_rng(seed), np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = random.permutation(np.flatnonzero(labels == label))
        if len(rows) < 2:
            raise UserError(
                f"label {label} has {len(rows)} row, of which none can be held out; give more of them, or "
                "validation=(X, y) where fit takes it"
            )
        result[rows[: -(-len(rows) // HELD_OUT)]] = True
    return result
