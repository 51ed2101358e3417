"""Choose what the baselines learn from, and fit logistic regression on it.

A baseline learns from what the question asks, not from the sample that a seed's probes were drawn: which examples are drawn
may depend on their document or token, and what a baseline learns of that is not true of the texts.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from utils.data.sequences import Sequences
from utils.scores.ranking import auroc
from utils.states.positions import Examples

MOST_ROWS = 50_000  # that a regression is fitted on; twice as many gain `context` .002 to .006 in AUROC at twice the time
RARE = 2  # a run or feature that fewer examples of the lesson have is left out: it would be learnt by heart
INVERSE_PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)  # scikit-learn's C, where examples weigh 1 on average
TOLERANCE = 3e-5  # of an entry of the gradient: at scikit-learn's 1e-4 rare words and tokens stay where they begin
ITERATIONS = 1000  # of L-BFGS, at most; it needs some hundred where the penalty is weak


@dataclass(frozen=True)
class Lesson:
    """Labelled tokens of train that a regression is fitted on.

    examples: n of them; sequences: what they stand in; weights: float64 [n], of mean 1, which give both classes the shares
    that they have among all.
    """

    examples: Examples
    sequences: Sequences
    weights: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        return self.examples.labels

    @classmethod
    def of(cls, examples: Examples, sequences: Sequences, most: int = MOST_ROWS) -> "Lesson":
        """Draw at most so many examples uniformly from each class, of the rarer one up to half; the same ones each time."""
        random, rows, weights = np.random.default_rng(0), [], []
        classes = [np.flatnonzero(examples.labels == label) for label in (1, 0)]
        for those, others in (classes, classes[::-1]):
            count = min(len(those), max(most // 2, most - len(others)))
            rows.append(those if count == len(those) else random.choice(those, count, replace=False))
            weights.append(np.full(count, len(those) / max(count, 1)))
        kept, weight = np.concatenate(rows), np.concatenate(weights)
        order = np.argsort(kept)
        return cls(examples[kept[order]], sequences, weight[order] / weight.mean())


def logistic_logits(
    features: Any,
    labels: np.ndarray,
    weights: np.ndarray | None,
    scored: Mapping[str, Any],
    val_labels: np.ndarray,
    inverse_penalties: Sequence[float] = INVERSE_PENALTIES,
) -> dict[str, np.ndarray]:
    """Fit scikit-learn's logistic regression, and give its logits of every split: {split: [n]}.

    Its C (the smoothing) is the one with the best AUROC on validation; of equally good ones the smallest.

    features: [n, features] to fit on, sparse or not; labels: [n]; weights: [n], or None where all count alike; scored:
    {split: [n, features]}, "val" among them; val_labels: those of "val".
    """
    from sklearn.linear_model import LogisticRegression

    best, found = -math.inf, {}
    model = LogisticRegression(max_iter=ITERATIONS, tol=TOLERANCE, warm_start=True)
    for inverse_penalty in inverse_penalties:
        model.set_params(C=inverse_penalty).fit(features, labels, sample_weight=weights)
        on_validation = model.decision_function(scored["val"])
        score = np.nan_to_num(auroc(on_validation, val_labels))
        if score > best:
            best, found = (
                score,
                {split: model.decision_function(those).astype(np.float64) for split, those in scored.items()},
            )
    return found
