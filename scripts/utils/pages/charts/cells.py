"""Compute the numbers of one cell: the known values, their mean over the seeds, their intervals; order layers and kinds.

A cell is one layer of one kind of probe, for one target, at one lag. It has a row of probe_results.csv for each seed.
"""

import math

from utils.probes.kinds import KINDS
from utils.states.sites import ATTENTION, FINAL_NORM, layer_depth, layer_of

SCORE_LABELS = {"balanced_accuracy": "balanced accuracy", "acc": "accuracy", "f1": "F1", "auc": "AUROC", "auprc": "AUPRC"}


def known(value) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def order_of(value) -> float:
    """Give a sort key that puts unknown values below all known ones."""
    return value if known(value) else -math.inf


def values(rows, column) -> list[float]:
    """List the known values of a column."""
    return [row[column] for row in rows if known(row.get(column))]


def mean(rows, column) -> float:
    """Average over the seeds; NaN where no value is known. One seed's number stays what it is, to the last digit."""
    found = values(rows, column)
    return math.fsum(found) / len(found) if found else math.nan


def widest_interval(rows, column) -> tuple[float, float]:
    """Give the 95 % interval of a score; with several seeds, from the lowest to the highest of their ends."""
    low, high = values(rows, f"{column}_low"), values(rows, f"{column}_high")
    return (min(low), max(high)) if low and high else (math.nan, math.nan)


def seed_of_validation(rows, metric) -> dict:
    """Give the row of the seed with the best score on validation, the first of equal ones: a mean of p-values is none."""
    return max(rows, key=lambda row: order_of(row.get(f"val_{metric}")))


def layer_in_words(layer) -> str:
    """Name a layer in words: '5' -> 'layer 5'; names stay."""
    return f"layer {layer}" if layer.isdigit() else layer


def layer_order(layer):
    """Give a sort key of layers: by depth, then unknown names, final_norm and attention."""
    return layer_depth(layer_of(layer)), {FINAL_NORM: 1, ATTENTION: 2}.get(layer, 0), layer


def kind_order(kind):
    return KINDS.index(kind) if kind in KINDS else len(KINDS), kind
