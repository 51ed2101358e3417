"""Compute mass-mean probes: the direction from the negatives' mean to the positives', plain or tilted by the covariance.

    mass_mean(states, labels).weight                              # states [n, hidden_size]; weight [1, hidden_size]
    found = mass_mean(states, labels_of_7_tasks, tilted=True)     # found.weight [7, hidden_size], found.bias [7]

For two positives (3, 0), (3, 2) and two negatives (-1, 0), (-1, 2) the means are (3, 1) and (-1, 1). So weight = (4, 0), and
bias = -4, which makes the logit 0 midway, at (1, 1).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from utils.probes.class_means import Blocks, class_means
from utils.probes.labels import label_columns
from utils.probes.tilted import tilt
from utils.states.matrices import Matrices


@dataclass(frozen=True)
class MassMeans:
    """One probe for each label column, on raw states: logits = states @ weight + bias.

    weight: float64 [columns, hidden_size]; bias: [columns]; shrinkage: [columns], 0 where none was needed.
    """

    weight: np.ndarray
    bias: np.ndarray
    shrinkage: np.ndarray


def mass_mean(
    states: ArrayLike | Matrices, labels: ArrayLike, row_weights: ArrayLike | None = None, tilted: bool = False
) -> MassMeans:
    """Take the difference of the classes' means, delta = mean+ - mean-, of each label column (Marks and Tegmark 2024).

    Plain: weight = delta. Tilted: weight = S^-1 delta, where S is the pooled covariance within the classes (divided by the
    sum of weights); this is linear discriminant analysis of equally frequent classes. The bias puts logit 0 midway between
    the means. The logit of a tilted probe is in nats where classes are normal with that covariance; that of a plain one has
    no scale.

    states: [n, hidden_size] of any float type, or Matrices of one layer.
    labels: 0 and 1, [n] or [n, columns].
    row_weights: >= 0, likewise (0: the row is not in that column).

    States are visited once in blocks for all columns, and if tilted again for every COVARIANCE_BYTES of covariances, one for
    each different column of weights. A constant feature has weight 0.

    A singular or ill-conditioned S becomes (1 - a) S + a D, where D is the diagonal of S: the variances within the classes.
    a is the shrinkage of Ledoit and Wolf (2004) toward the identity, for states less the mean of their class and divided by
    their deviation within the classes. That costs a factorisation for each column and, for every COVARIANCE_BYTES, one more
    visit. Where rows are few beside features, they are kept and factorised, and no covariance is summed up.

    A feature that differs between the classes and hardly or not at all within them (less than LEAST_WITHIN of its variance)
    would have an infinite weight, or one that rounding decides. There it counts as if LEAST_WITHIN of its variance were
    within, uncorrelated with the other features, and it has no say in a. So it outweighs the others, as it should, but is
    finite, and the others are as they would be without it.

    Raises UserError for states that are not finite, columns of one class, and labels or weights of a wrong kind.
    """
    blocks = Blocks(states)
    truth, weights = label_columns(labels, row_weights, len(blocks))
    means = class_means(blocks, truth, weights)
    weight, shrinkage = tilt(blocks, truth, weights, means) if tilted else (means.delta, np.zeros(len(means.share)))
    bias = -(weight * (means.positive + means.negative)).sum(1) / 2 - weight @ blocks.origin.numpy()
    return MassMeans(weight, bias, shrinkage)
