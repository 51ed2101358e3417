"""Measure the online codelength of the training labels, given the states of a layer (Voita and Titov 2020).

Two parties know the states, and one sends the labels. It sends the first part as it is, a bit a label. While one class only
has come, no probe can be fitted: a label then costs -log2 of (those of its class sent before + 1) / (all sent before + 2),
Laplace's rule. Both then fit a probe to all labels sent so far, and the next part costs -log2 p of each label. A layer that
holds the labels in a form which few examples show needs few bits; labels that a probe can only memorise cost at least a bit
each.

Of eight labels two are sent as they are, the next two where a probe gives the true labels 1/2 and 1/4, the last four where
one gives each 1/2: 2 + (1 + 2) + 4 = 9 bits.

Groups come in random order, as new texts would, the last of a part cut. Parts double. All parts of all label columns are
columns of one `solve` a layer, each class weighing what it holds; the penalty of each part is chosen by the bits that
validation would cost. Beside the states stands what the share of positives alone would cost, coded the same way.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from utils.probes.affine import linear_logits
from utils.probes.logistic.solver import solve
from utils.states.matrices import Matrices
from utils.sweep.refits.learning_curve import in_random_order

SMALLEST_SHARE = 2**-10  # of the training examples in the first part, as in the paper
STRONG = 100.0, 10.0, 1.0  # penalties beside those of probes: a fit to few labels that is too sure costs many bits
BY_CHANCE = 0.05  # see `says_something`


@dataclass(frozen=True)
class Parts:
    """The parts of the training examples, in the order in which they are sent.

    order: int64 [n], which example comes where; sizes: {label column: how many labels were sent before each fit}; plain: how
    many labels cost a bit each.
    """

    order: np.ndarray
    sizes: dict[int, list[int]]
    plain: int

    def blocks(self, column: int) -> list[np.ndarray]:
        """Give the examples that each fit predicts."""
        ends = [*self.sizes[column][1:], len(self.order)]
        return [self.order[start:stop] for start, stop in zip(self.sizes[column], ends, strict=True)]


@dataclass(frozen=True)
class Codelength:
    """bits: float64 [columns], of the labels given the states; by_share: given the share of positives alone; n: labels.

    Both are NaN for columns without parts.
    """

    bits: np.ndarray
    by_share: np.ndarray
    n: int


def in_parts(groups: ArrayLike, labels: np.ndarray, seed: int = 0) -> Parts:
    """Cut the n examples into parts. labels: [columns, n]; a column's parts begin where both classes were sent.

    Columns whose first half holds one class only have none: no probe can be fitted to it.
    """
    n = labels.shape[1]
    order = in_random_order(np.random.default_rng([seed, 0]), np.unique(groups, return_inverse=True)[1], by_group=True)
    doubled, sizes = [max(1, round(n * SMALLEST_SHARE))], {}
    while 2 * doubled[-1] < n:
        doubled.append(2 * doubled[-1])
    for column, sent in enumerate(labels[:, order] == 1):
        both = np.flatnonzero(sent != sent[0])
        if found := [size for size in doubled if len(both) and size > both[0]]:
            sizes[column] = found
    return Parts(order, sizes, doubled[0])


def bits_before_a_fit(sent: np.ndarray, plain: int) -> float:
    """Compute what labels before the first fit cost: bits_before_a_fit([0, 0, 1], 1) -> 1 + log2(3 / 2) + log2(4)."""
    before = np.arange(plain, len(sent))
    positives = np.cumsum(sent) - sent
    same = np.where(sent == 1, positives, np.arange(len(sent)) - positives)[plain:]
    return plain + cost_in_bits((same + 1) / (before + 2))


def cost_in_bits(probabilities_of_true: ArrayLike) -> float:
    """Add up what labels cost whose true values had these probabilities: cost_in_bits([.5, .25]) -> 3."""
    return float(-np.log2(probabilities_of_true).sum())


def online_codelength(
    train: Matrices, val: Matrices, labels: np.ndarray, val_labels: np.ndarray, parts: Parts, penalties: tuple[float, ...]
) -> Codelength:
    """Compute the codelength of each label column given the states of one layer.

    train, val: of one layer; labels: [columns, n] of train; val_labels: [columns, n_val]; parts: of at least one column;
    penalties: beside STRONG.
    """
    fits = [(column, size) for column, sizes in parts.sizes.items() for size in sizes]
    blocks = [block for column in parts.sizes for block in parts.blocks(column)]
    weights = np.zeros((labels.shape[1], len(fits)), dtype=np.float32)
    for index, (_, size) in enumerate(fits):
        weights[parts.order[:size], index] = 1
    truth = np.stack([labels[column] for column, _ in fits], axis=1).astype(np.float32)
    found = solve(train, truth, weights, sorted({*STRONG, *penalties}))
    chosen = [
        int(np.argmin(bits_of_logits(linear_logits(val, weight, bias), val_labels[column]).sum(1)))
        for (column, _), weight, bias in zip(fits, found.weight, found.bias, strict=True)
    ]
    every = np.arange(len(fits))
    logits = linear_logits(train, found.weight[every, chosen], found.bias[every, chosen])
    of_labels, by_share = np.full((2, len(labels)), np.nan)
    for column, sizes in parts.sizes.items():
        sent = labels[column, parts.order[: sizes[0]]].astype(np.int64)
        of_labels[column] = by_share[column] = bits_before_a_fit(sent, parts.plain)
    for index, ((column, size), block) in enumerate(zip(fits, blocks, strict=True)):
        true, share = labels[column, block] == 1, np.mean(labels[column, parts.order[:size]] == 1)
        of_labels[column] += bits_of_logits(logits[index, block], true).sum()
        by_share[column] += cost_in_bits(np.where(true, share, 1 - share))
    return Codelength(of_labels, by_share, labels.shape[1])


def bits_of_logits(logits: np.ndarray, labels: ArrayLike) -> np.ndarray:
    """Compute what each label costs in bits, [..., n], where its log-odds are the logits [..., n]."""
    return np.logaddexp(0, np.where(np.asarray(labels) == 1, -1, 1) * logits.astype(np.float64)) / np.log(2)


def says_something(bits: float, by_share: float, layers: int) -> bool:
    """Say whether the best of so many layers saves more bits than chance does.

    Of labels that are drawn by their share alone, one layer's code saves k bits or more with a probability of at most 2^-k,
    and the best of them with at most `layers` times that; here this is BY_CHANCE.
    """
    return by_share - bits > np.log2(layers / BY_CHANCE)
