"""Measure how far a probe's probabilities are from the truth, at the natural prevalence of the positive class."""

import numpy as np
from numpy.typing import ArrayLike

from utils.base.errors import UserError

BINS = 10


def checked_prevalence(value: float | None, name: str) -> float:
    """Turn None, 0 and 1 into NaN: there are no odds to shift to."""
    if value is None or np.isnan(value):
        return float("nan")
    if not 0 <= value <= 1:
        raise UserError(f"the {name} is {value}, but it is a share of examples: give one from 0 to 1")
    return float(value) if 0 < value < 1 else float("nan")


def log_odds(share: float) -> float:
    return float(np.log(share) - np.log1p(-share))


def at_prevalence(logits: ArrayLike, prevalence: float, trained_prevalence: float) -> np.ndarray:
    """Shift logits to a prevalence: as if that share of the training examples, not `trained_prevalence`, had been positive.

        logit' = logit - log(q / (1 - q)) + log(p / (1 - p)),  p = prevalence, q = trained_prevalence

    This holds because the distribution within each class is the same in both (Elkan 2001, theorem 2; Saerens, Latinne and
    Decaestecker 2002). Sampling and class weights both enter q, which is w P / (w P + N) for P positives of weight w and N
    negatives.
    """
    return np.asarray(logits, dtype=np.float64) - log_odds(trained_prevalence) + log_odds(prevalence)


def calibration(
    logits: np.ndarray, true: np.ndarray, prevalence: float | None, trained_prevalence: float
) -> dict[str, np.ndarray]:
    """Compute {"brier", "ece"}, each [probes]; NaN without a prevalence, or where a class is absent.

    logits: [probes, n]; true: bool [probes, n]. The logits are shifted to the prevalence p, and each positive has the weight
    p / positives, each negative (1 - p) / negatives, so that the sample has the natural prevalence too.

    Brier (1950): the weighted mean of (probability - label)^2. ECE, expected calibration error (Naeini, Cooper and
    Hauskrecht 2015): over 10 bins of equal width of the probability of "positive", the sum of |weighted mean probability -
    weighted share of positives| x weight of the bin.
    """
    probes, n = logits.shape
    p, q = checked_prevalence(prevalence, "prevalence"), checked_prevalence(trained_prevalence, "prevalence in training")
    if np.isnan(p) or np.isnan(q):
        return {name: np.full(probes, np.nan) for name in ("brier", "ece")}
    probabilities = sigmoid(at_prevalence(logits, p, q))
    positives = true.sum(1, keepdims=True)
    with np.errstate(divide="ignore"):
        weights = np.where(true, p / positives, (1 - p) / (n - positives))
    excess = weights * (probabilities - true)
    bins = np.minimum((probabilities * BINS).astype(int), BINS - 1) + BINS * np.arange(probes)[:, None]
    gaps = np.bincount(bins.ravel(), excess.ravel(), minlength=probes * BINS).reshape(probes, BINS)
    both = ((positives > 0) & (positives < n))[:, 0]
    return {
        "brier": np.where(both, (excess * (probabilities - true)).sum(1), np.nan),
        "ece": np.where(both, np.abs(gaps).sum(1), np.nan),
    }


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Compute 1 / (1 + exp(-logit)) with no overflow at either end."""
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1.0, small) / (1 + small)
