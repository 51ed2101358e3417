"""Aggregate the logits of a document's tokens into one score, in eleven ways; many probes at once.

Documents are laid side by side in rows as wide as the next power of two. So the width, and with it every rounding, is the
document's own: its score is the same to the last bit whatever other documents are scored with it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from utils.scores.documents.layout import Documents

BLOCK_CELLS = 2**19  # logits that are aggregated at a time; some ten arrays of this size (4 MiB) are held
MOST_TOP = 10  # the greatest k of "top-k mean"
RARE_LOGIT = -30.0  # below, softplus(x) = exp(x) to 5e-14


@dataclass(frozen=True)
class Padded:
    """Logits float64 [probes, documents, width] in reading order, -inf beyond each document's end; counts int64 [documents].

    All properties without a shape of their own are [probes, documents].
    """

    logits: np.ndarray
    counts: np.ndarray

    @cached_property
    def inside(self) -> np.ndarray:
        """Mark the places that hold a token: bool [documents, width]."""
        return np.arange(self.logits.shape[2]) < self.counts[:, None]

    @cached_property
    def maximum(self) -> np.ndarray:
        return self.logits.max(-1)

    @cached_property
    def mean(self) -> np.ndarray:
        return np.where(self.inside, self.logits, 0).sum(-1) / self.counts

    @cached_property
    def largest(self) -> np.ndarray:
        """Give the greatest logits, falling: [probes, documents, MOST_TOP or the width]."""
        kept = min(MOST_TOP, self.logits.shape[2])
        return -np.sort(np.partition(-self.logits, kept - 1, axis=-1)[..., :kept], axis=-1)

    @cached_property
    def log_sum_exp(self) -> np.ndarray:
        return self.maximum + np.log(np.exp(self.logits - self.maximum[..., None]).sum(-1))


def top_mean(padded: Padded, count: int) -> np.ndarray:
    """Average the `count` greatest logits; all of them where there are fewer."""
    kept = np.minimum(count, padded.counts)
    counted = np.arange(padded.largest.shape[2]) < kept[:, None]
    return np.where(counted, padded.largest, 0).sum(-1) / kept


def noisy_or(padded: Padded) -> np.ndarray:
    """Compute the log-odds that at least one of several independent causes is present, 1 - prod(1 - sigmoid(x)).

    Pearl (1988), section 4.3.2. With S = sum softplus(x), the product is exp(-S) and the log-odds are log(exp(S) - 1) = S +
    log(1 - exp(-S)). Where all x are very negative S underflows; there softplus(x) is exp(x), and the log-odds are log S,
    the log-sum-exp.
    """
    softplus = np.maximum(padded.logits, 0) + np.log1p(np.exp(-np.abs(padded.logits)))
    total = softplus.sum(-1)
    with np.errstate(divide="ignore"):
        return np.where(padded.maximum < RARE_LOGIT, padded.log_sum_exp, total + np.log(-np.expm1(-total)))


def log_mean_exp(padded: Padded) -> np.ndarray:
    return padded.log_sum_exp - np.log(padded.counts)


def window_max(padded: Padded, width: int) -> np.ndarray:
    """Find the greatest mean of `width` tokens in a row (a power of two); the mean where a document is shorter."""
    sums, reached = padded.logits, 1
    while reached < width and reached < sums.shape[2]:  # sums[i] is that of `reached` tokens from i on, -inf past the end
        sums, reached = sums[..., :-reached] + sums[..., reached:], 2 * reached
    return np.where(padded.counts < width, padded.mean, sums.max(-1) / width)


def ema_max(padded: Padded, share: float) -> np.ndarray:
    """Find the greatest y_t of the exponential moving average y_0 = x_0, y_t = share x_t + (1 - share) y_(t - 1)."""
    from scipy.signal import lfilter

    before = (1 - share) * padded.logits[..., :1]
    averages, _ = lfilter([share], [1, share - 1], np.where(padded.inside, padded.logits, 0), axis=-1, zi=before)
    return averages.max(-1, where=padded.inside, initial=-np.inf)


@dataclass(frozen=True)
class Aggregate:
    """One way to aggregate. of: Padded -> [probes, documents]; ordered: whether the order of the tokens matters."""

    of: Callable[[Padded], np.ndarray]
    meaning: str
    ordered: bool = False


AGGREGATES = {
    "max": Aggregate(lambda padded: padded.maximum, "the greatest token logit"),
    "mean": Aggregate(lambda padded: padded.mean, "the mean of all token logits"),
    "top-3 mean": Aggregate(partial(top_mean, count=3), "the mean of the 3 greatest, of all where there are fewer"),
    "top-10 mean": Aggregate(partial(top_mean, count=MOST_TOP), "the mean of the 10 greatest, of all where there are fewer"),
    "noisy-or": Aggregate(noisy_or, "log-odds that any token is positive, if all were independent and calibrated"),
    # Both: the sum grows with the length of a document, which may tell of its label or may only confound; the mean does not.
    "log-sum-exp": Aggregate(lambda padded: padded.log_sum_exp, "log of the sum of exp(logit): a soft maximum plus log n"),
    "log-mean-exp": Aggregate(log_mean_exp, "log of the mean of exp(logit): a soft maximum that knows nothing of n"),
    "window-4 mean max": Aggregate(partial(window_max, width=4), "the greatest mean of 4 tokens in a row", ordered=True),
    "window-16 mean max": Aggregate(partial(window_max, width=16), "the greatest mean of 16 tokens in a row", ordered=True),
    "ema-0.1 max": Aggregate(
        partial(ema_max, share=0.1), "the greatest exponential moving average, a tenth of it new", ordered=True
    ),
    "ema-0.3 max": Aggregate(
        partial(ema_max, share=0.3), "the greatest exponential moving average, three tenths new", ordered=True
    ),
}


def aggregated(logits: np.ndarray, documents: Documents, names: Sequence[str] = tuple(AGGREGATES)) -> np.ndarray:
    """Aggregate token logits [probes, tokens]: float64 [probes, aggregates, documents].

    documents: columns and counts as in Documents, every count at least 1. NaN for a document with a logit that is not
    finite.
    """
    counts = np.asarray(documents.counts)
    starts, result = np.cumsum(counts) - counts, np.empty((len(logits), len(names), len(counts)))
    powers = np.ceil(np.log2(counts)).astype(int)
    for power in np.unique(powers):
        width, those = 2**power, np.flatnonzero(powers == power)
        for which in np.array_split(those, -(-len(those) * width // BLOCK_CELLS)):
            at = np.minimum(starts[which, None] + np.arange(width), len(documents.columns) - 1)
            columns, size = documents.columns[at], max(1, BLOCK_CELLS // at.size)
            for first in range(0, len(logits), size):
                padded = pad(logits[first : first + size], columns, counts[which])
                with np.errstate(invalid="ignore", over="ignore"):
                    finite = np.isfinite(padded.mean)
                    for row, name in enumerate(names):
                        result[first : first + size, row, which] = np.where(finite, AGGREGATES[name].of(padded), np.nan)
    return result


def pad(logits: np.ndarray, columns: np.ndarray, counts: np.ndarray) -> Padded:
    """Lay out logits [probes, tokens] as Padded.

    columns: int64 [documents, width], which logits; anything beyond a document's count.
    """
    rows = np.take(logits, columns, axis=1).astype(np.float64)  # rows are contiguous, so sums of all have one order
    rows[:, np.arange(columns.shape[1]) >= counts[:, None]] = -np.inf
    return Padded(rows, counts)
