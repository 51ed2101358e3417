"""Bring logits and labels into rows, one per probe, and say how many rows are worked on at a time."""

import numpy as np
from numpy.typing import ArrayLike

CHUNK_CELLS = 2**19  # logits that are scored at a time; some twenty matrices of this size (4 MiB) are held


def as_rows(logits: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Give logits as float64 and labels as bool, both [probes, n]; a vector becomes a row, labels [n] serve every row.

    Raises ValueError for a logit that is NaN, which would rank somewhere.
    """
    logits = np.atleast_2d(np.asarray(logits, dtype=np.float64))
    if np.isnan(logits).any():
        raise ValueError(f"{int(np.isnan(logits).sum())} of {logits.size} logits are NaN; leave out what has no score")
    return logits, np.broadcast_to(np.asarray(labels) == 1, logits.shape)


def probe_chunks(probes: int, n: int) -> list[tuple[int, int]]:
    """Cut the probes into (start, stop), so that a chunk's logits do not exceed CHUNK_CELLS."""
    size = max(1, CHUNK_CELLS // max(n, 1))
    return [(start, min(start + size, probes)) for start in range(0, probes, size)]


def divide(part: ArrayLike, whole: ArrayLike) -> np.ndarray:
    """Divide; NaN where whole is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole == 0, np.nan, np.divide(part, whole))
