"""Compute the baselines of a question together, choose the best, and find those that rank the wrong way round."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from utils.data.sequences import Sequences
from utils.scores.baselines.context import Surroundings, context_logits
from utils.scores.baselines.lesson import Lesson
from utils.scores.baselines.tokens import length_logits, majority_logits, neighbour_logits, read_token_logits
from utils.scores.ranking import auroc
from utils.states.positions import Examples

SUSPICIOUS = 0.4  # AUROC of a baseline; chance is 0.5


def all_token_baselines(
    asked: Examples,
    examples_by_split: Mapping[str, Examples],
    sequences_by_split: Mapping[str, Sequences],
    surroundings: Surroundings,
    own_logits_by_split: Mapping[str, ArrayLike] | None = None,
) -> dict[str, dict[str, np.ndarray]]:
    """Compute all baselines of a token task, in the order of the tables: {baseline: {split: logits float64 [n]}}.

    asked: all examples of train, to learn from; examples_by_split: those to score, of train any.
    """
    lesson = Lesson.of(asked, sequences_by_split["train"])
    found = {
        "majority": {split: majority_logits(asked.labels, len(those)) for split, those in examples_by_split.items()},
        "read token": {
            split: read_token_logits(asked.tokens, asked.labels, those.tokens) for split, those in examples_by_split.items()
        },
        "neighbours": neighbour_logits(lesson, examples_by_split, sequences_by_split),
        "context": context_logits(lesson, examples_by_split, sequences_by_split, surroundings),
        "length": length_logits(lesson, examples_by_split, sequences_by_split),
    }
    if own_logits_by_split is not None:
        found["own probability"] = {
            split: np.asarray(logits, dtype=np.float64) for split, logits in own_logits_by_split.items()
        }
    return found


def best_baseline(val_scores: Mapping[str, float]) -> str:
    """Name the baseline with the greatest AUROC on validation.

    val_scores: {baseline: AUROC}. Of equal ones the first is taken; NaN is less than any number.
    """
    return max(val_scores, key=lambda name: -math.inf if math.isnan(val_scores[name]) else val_scores[name])


def or_chance(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Give logits that rank at chance, 0 for all, in place of a baseline's [n] that rank the wrong way round.

    What a probe gains over a baseline below chance counts from 0.5: anyone can guess.
    """
    return np.zeros_like(logits) if auroc(logits, labels) < 0.5 else logits


def suspicious(name: str, auc: float, high: float) -> str | None:
    """Warn of a baseline that ranks the wrong way round on validation or test by more than chance; None for others.

    high: the upper end of its interval, NaN for none; without one, or with one that reaches 0.5, nothing is known. A town
    that stands in one true and one false sentence, one of them in train, teaches the words the opposite of the truth; but
    this is one cause of several, and none is known from the figure.
    """
    if not (auc < SUSPICIOUS and high < 0.5):
        return None
    return (
        f"warning: the baseline {name!r} ranks the wrong way round: its AUROC is {auc:.3f} and its interval ends at "
        f"{high:.3f}, below the 0.5 of guessing. Look whether the same things stand on both sides of the split with "
        "opposite labels (then split by group), and whether the texts of the splits differ"
    )
