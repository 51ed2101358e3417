"""Make control tasks: random labels at the same shares, which a probe can only memorise (Hewitt and Liang 2019).

Selectivity is a probe's score on its task minus its score on control tasks: a probe that does as well on meaningless labels
says nothing about what the states encode (Designing and Interpreting Probes with Control Tasks, EMNLP 2019).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from utils.base.errors import UserError


def control_labels(
    tokens_by_split: Mapping[str, ArrayLike], train_labels: np.ndarray | Sequence[int], draws: int = 5, seed: int = 0
) -> dict[str, np.ndarray]:
    """Draw a random label for each token type, the same wherever it is read: {split: int8 [draws, n]}.

    tokens_by_split: {split: int [n], ids of the tokens that are read}, "train" among them.

    Types are taken in random order and called positive as long as train gets no more positives than its real labels have. So
    the classes have the same shares there, or nearly so where few types are read (a type with more examples than there are
    positives is never one). A type that train lacks is positive with the probability of that share. A draw depends only on
    the seed, its number and train's counts: not on the order of rows, nor on which other splits and draws there are.
    """
    types, counts = np.unique(np.asarray(tokens_by_split["train"]), return_counts=True)
    positives = int((np.asarray(train_labels) == 1).sum())
    if counts.min() > positives:
        raise UserError(
            f"no control task: each of the {len(types)} different token(s) that train reads is read more often "
            f"than there are positive labels ({positives}), so none can be positive; leave the control out"
        )
    size = 1 + max(int(np.max(tokens, initial=0)) for tokens in tokens_by_split.values())
    table = np.empty((draws, size), dtype=np.int8)
    for draw, labels in enumerate(table):
        lot = np.random.default_rng([seed, draw]).random(size)
        labels[:] = lot < positives / len(train_labels)
        order = np.argsort(lot[types], kind="stable")
        labels[types[order]] = greedy_fill(counts[order], positives)
    return {split: table[:, np.asarray(tokens)] for split, tokens in tokens_by_split.items()}


def greedy_fill(counts: np.ndarray | Sequence[int], most: int) -> np.ndarray:
    """Mark the counts, taken in order, that add up to at most `most`; one that does not fit is passed over.

    greedy_fill([2, 5, 1, 3], 6) -> [True, False, True, True]
    """
    taken, total = np.zeros(len(counts), dtype=bool), 0
    for index, count in enumerate(np.asarray(counts).tolist()):
        if total + count <= most:
            taken[index], total = True, total + count
    return taken


def shuffled_labels(
    labels_by_split: Mapping[str, ArrayLike], draws: int = 5, seed: int = 0, keys_by_split: Mapping[str, Any] | None = None
) -> dict[str, np.ndarray]:
    """Shuffle the labels of each split among its rows: {split: int8 [draws, n]}; for tasks with one label per sequence.

    keys_by_split: {split: [n], distinct}, what names each row (its document). With them the draws do not depend on the order
    of the rows; without them a row is known by its place.
    """
    result = {}
    for split, labels in labels_by_split.items():
        labels = np.asarray(labels, dtype=np.int8)
        order = np.arange(len(labels)) if keys_by_split is None else np.argsort(keys_by_split[split], kind="stable")
        dealt = np.sort(labels)
        result[split] = np.empty((draws, len(labels)), dtype=np.int8)
        for draw, row in enumerate(result[split]):
            row[order] = np.random.default_rng([seed, draw, *split.encode()]).permutation(dealt)
    return result


def selectivity(task_score: float, control_scores: ArrayLike) -> float:
    """Subtract the mean score on the control tasks from the score on the task; NaN where one of them is undefined."""
    return float(task_score - np.asarray(control_scores).mean())
