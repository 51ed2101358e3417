"""Platt scaling: turn a score on any scale into log-odds, fitted where the truth is known."""

import numpy as np
from numpy.typing import ArrayLike

INVERSE_PENALTY = 10.0  # scikit-learn's C: of 50 documents it moves the slope by a percent, and keeps it finite where a
#                         threshold parts the classes


def platt(scores: ArrayLike, labels: ArrayLike) -> tuple[float, float]:
    """Fit (slope, intercept), so that slope x score + intercept are the log-odds of label 1. scores, labels: [n].

    Platt (1999): logistic regression on the score alone. Here scikit-learn fits it on the standardised score, with a small
    quadratic penalty on its slope in place of his smoothed labels, and it is folded back to the raw score. NaN where the
    scores are all equal or not finite, or a class is absent.
    """
    from sklearn.linear_model import LogisticRegression

    scores, true = np.asarray(scores, dtype=np.float64), np.asarray(labels) == 1
    if not np.isfinite(scores).all() or true.all() or not true.any() or np.ptp(scores) == 0:
        return float("nan"), float("nan")
    centre, spread = scores.mean(), scores.std()
    model = LogisticRegression(C=INVERSE_PENALTY).fit(((scores - centre) / spread)[:, None], true)
    slope = float(model.coef_[0, 0] / spread)
    return slope, float(model.intercept_[0] - slope * centre)
