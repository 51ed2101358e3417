"""Measure how far the classes lie apart in each latent, and in each dimension of the states, on train.

    difference = (mean of the positives - mean of the negatives) / size

The size of a latent is its mean where it is active. Then the difference does not depend on the scale of a latent, which a
decoder row of another length would change; and for a latent that is either off or on at one height it is the share of the
positives at which it is active less that of the negatives, 2 AUROC - 1: what the latent is worth alone. A latent that is
active once has a small difference, however large it is there. In units of the standard deviation rare latents would come
first. The rule is the maximum mean difference of Gurnee et al. (2023), on scaled latents.

A dimension of the states is never off. Its size is its mean distance from its mean.
"""

from dataclasses import dataclass

import numpy as np
import torch

from utils.probes.class_means import Blocks, class_means
from utils.probes.standardised import FLAT
from utils.sae.encoded import Encoded
from utils.states.matrices import Matrices

ALIKE = 12  # decimal places: differences that are equal in these differ by rounding


@dataclass(frozen=True)
class Screened:
    """How far the classes lie apart in each feature.

    difference: float64 [features], 0 for those that do not vary.
    order: int64 [varying], the features that vary, latents those that are ever active; the furthest apart first, of equal
        ones the first.
    density: of latents, float64 [features], the share of all, of the positives and of the negatives where they are active.
    """

    difference: np.ndarray
    order: np.ndarray
    density: dict[str, np.ndarray]

    @classmethod
    def of(cls, apart: np.ndarray, size: np.ndarray, density: dict[str, np.ndarray] | None = None) -> "Screened":
        """Divide the differences of the means by the sizes, both [features]; a feature of size 0 says nothing."""
        difference = np.divide(apart, size, out=np.zeros(len(apart)), where=size > 0)
        order = np.argsort(-np.abs(difference).round(ALIKE), kind="stable")
        return cls(difference, order[size[order] > 0], density or {})


def screen_latents(latents: Encoded, labels: np.ndarray) -> Screened:
    """Screen the latents of train. labels: [n]."""
    counts, sums, totals = {}, {}, {}
    for name, rows in (("positives", labels == 1), ("negatives", labels != 1)):
        part = latents.matrix[np.flatnonzero(rows)]
        counts[name] = np.bincount(part.indices, minlength=latents.hidden_size)
        sums[name] = np.bincount(part.indices, part.data, minlength=latents.hidden_size)
        totals[name] = part.shape[0]
    active, total = sum(counts.values()), sum(sums.values())
    density = {"all": active / len(labels)} | {name: found / totals[name] for name, found in counts.items()}
    apart = sums["positives"] / totals["positives"] - sums["negatives"] / totals["negatives"]
    return Screened.of(apart, np.divide(total, active, out=np.zeros(len(total)), where=active > 0), density)


def screen_dimensions(states: Matrices, labels: np.ndarray) -> Screened:
    """Screen the dimensions of the states of train, of one layer. labels: [n]."""
    blocks = Blocks(states)
    means = class_means(blocks, torch.from_numpy(labels[:, None] == 1), torch.ones(len(labels), 1))
    middle = torch.from_numpy(means.overall[0])
    distance = sum((part - middle).abs().sum(0) for _, part in blocks).numpy() / len(labels)
    rounding = FLAT * blocks.magnitude(means)[0]
    return Screened.of(means.delta[0], np.where(distance > rounding, distance, 0))
