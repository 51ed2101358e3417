"""Columns of labels and row weights, checked; what each row counts in the loss of each column."""

import numpy as np
import torch

from utils.base.errors import UserError


def label_columns(labels, row_weights, examples, split="train", columns=None) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels float32 (0 in rows of weight 0) and row weights (float64 where given so, else float32), both [n, columns],
    checked. Where all columns have the same weights, they share one column of memory.
    """
    labels = torch.as_tensor(np.asarray(labels), dtype=torch.float32)
    labels = labels[:, None] if labels.ndim == 1 else labels
    if labels.ndim != 2 or labels.shape != (examples, columns or labels.shape[1]):
        raise UserError(
            f"{split} has {examples} states and labels of shape {list(labels.shape)}; give [n] or [n, columns]"
            + (f" of {columns} columns" if columns else "")
        )
    weights = torch.ones(examples) if row_weights is None else torch.as_tensor(np.asarray(row_weights))
    weights = weights if weights.dtype == torch.float64 else weights.float()
    weights = weights[:, None] if weights.ndim == 1 else weights
    if weights.shape not in (labels.shape, (examples, 1)):
        raise UserError(
            f"{split} has row weights of shape {list(weights.shape)}, labels of {list(labels.shape)}; give [n] "
            "or one for each label"
        )
    if not (weights.isfinite().all() and (weights >= 0).all()):
        raise UserError(f"row weights of {split} are negative or not finite; give numbers of at least 0")
    weights = weights.expand_as(labels)
    labels = torch.where(weights > 0, labels, 0.0)
    if not ((labels == 0) | (labels == 1)).all():
        raise UserError(f"labels of {split} are not all 0 or 1; leave out rows of unknown truth, or give them weight 0")
    rows, positives = (weights > 0).sum(0).tolist(), (labels > 0).sum(0).tolist()
    for column, (count, positive) in enumerate(zip(rows, positives, strict=True)):
        if positive in (0, count):
            raise UserError(f"label column {column} holds one class only in its {count} rows of {split}; a probe needs both")
    return labels, weights


def loss_weights(labels, row_weights, settings) -> tuple[list[float], torch.Tensor]:
    """What a positive counts beside a negative in each column, and each row's weight in its loss, float32 [n, columns]."""
    total = row_weights.sum(0, dtype=torch.float64)
    positives = (row_weights * labels).sum(0, dtype=torch.float64)
    pos_weight = (total - positives) / positives if settings.balance else torch.ones_like(total)
    if settings.balance and settings.pos_weight_cap is not None:
        pos_weight = pos_weight.clamp(max=settings.pos_weight_cap)
    of_mean_1 = (row_weights / (total / len(labels))).float()
    return pos_weight.tolist(), torch.where(labels > 0, pos_weight.float(), 1.0) * of_mean_1
