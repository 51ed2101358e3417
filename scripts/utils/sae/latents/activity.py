"""Count how often and how strongly each latent is active."""

import numpy as np

from utils.sae.latents.codes import Codes

HISTOGRAM_BINS = 64  # of a histogram; a power of 2


class Activity:
    """Counts, sums, largest activations and histograms of latents.

    number     int64 [latents]: at how many states each was active
    total      float64 [latents]: the sum of its activations
    largest    float32 [latents]
    exponent   int32 [latents]: the histogram's bins share [0, 2^exponent) equally, which is less than twice `largest`
    histogram  int64 [latents, HISTOGRAM_BINS]

    The largest activation is known only at the end. Until then the width of the bins doubles whenever an activation lies
    beyond them, and pairs of bins become one. Edges are powers of 2 times whole numbers, so the counts are the same
    as if the last width had been known from the beginning.
    """

    def __init__(self, latents: int) -> None:
        self.number = np.zeros(latents, dtype=np.int64)
        self.total = np.zeros(latents)
        self.largest = np.zeros(latents, dtype=np.float32)
        self.exponent = np.full(latents, np.iinfo(np.int32).min, dtype=np.int32)
        self.histogram = np.zeros((latents, HISTOGRAM_BINS), dtype=np.int64)

    def add(self, codes: Codes) -> np.ndarray:
        """Count the activations of a batch. Return which latents have wider bins than before: bool [latents]."""
        latents = len(self.number)
        before, seen = self.exponent, self.number > 0
        np.maximum.at(self.largest, codes.latent, codes.value)
        self.number += np.bincount(codes.latent, minlength=latents)
        self.total += np.bincount(codes.latent, codes.value.astype(np.float64), minlength=latents)
        exponent = np.where(self.number > 0, np.frexp(self.largest)[1], before)
        wider = seen & (exponent > before)
        for shift in np.unique(exponent[wider] - before[wider]):
            chosen = np.flatnonzero(wider & (exponent - before == shift))
            self.histogram[chosen] = merged_bins(self.histogram[chosen], int(shift))
        self.exponent = exponent
        places = codes.latent * HISTOGRAM_BINS + self.bins(codes.latent, codes.value, HISTOGRAM_BINS)
        self.histogram += np.bincount(places, minlength=latents * HISTOGRAM_BINS).reshape(latents, HISTOGRAM_BINS)
        return wider

    def bins(self, latent: np.ndarray, value: np.ndarray, bins: int) -> np.ndarray:
        """Find the bin of each activation where [0, 2^exponent) has this many (a power of 2): int64 [n]."""
        return np.ldexp(value, int(np.log2(bins)) - self.exponent[latent]).astype(np.int64)


def merged_bins(histogram: np.ndarray, shift: int) -> np.ndarray:
    """Make the bins 2^shift times as wide: [n, bins] -> [n, bins].

    merged_bins([[1, 2, 3, 4]], 1) -> [[3, 7, 0, 0]]
    """
    bins = histogram.shape[1]
    starts = np.flatnonzero(np.diff(np.arange(bins) >> min(shift, 62), prepend=-1))
    result = np.zeros_like(histogram)
    result[:, : len(starts)] = np.add.reduceat(histogram, starts, axis=1)
    return result
