"""Solve logistic regression on thousands of latents at once, of which few are active at a state.

The problem is that of `logistic.solver`, mean loss + l2 / 2 |w|^2 on standardised features, at the same minimum: without a
penalty on the bias it is no matter whether features are centred, so that they stay sparse. The solver there reads dense
blocks and learns a covariance, which of 16,384 features alone has 1 GB; scikit-learn's L-BFGS reads what is active.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array
from scipy.special import expit

from utils.probes.logistic.solver import GRADIENT_TOLERANCE, Solutions
from utils.sae.encoded import Encoded
from utils.states.matrices import Matrices
from utils.sweep.fits import SolvedLayer

AIMED_AT = 0.5  # of the tolerance: the gradient that is reported is of centred features
MOST_VISITS = 3000  # of all states, for one penalty


def solve_sparse(
    latents: Encoded, _matrices: Matrices, labels: np.ndarray, weights: np.ndarray, penalties: Sequence[float]
) -> SolvedLayer:
    """Solve for one column of labels. latents: of train, which the matrices read; labels, weights: [n, 1]."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    matrix = latents.matrix.astype(np.float64)
    true, weight = labels[:, 0] == 1, weights[:, 0].astype(np.float64)
    mean = matrix.mean(axis=0)
    deviation = np.sqrt((matrix.multiply(matrix).mean(axis=0) - mean**2).clip(min=0))
    inverse = np.divide(1, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    scaled = csr_array(matrix.multiply(inverse[None]))
    descending = sorted(penalties, reverse=True)
    model = LogisticRegression(tol=AIMED_AT * GRADIENT_TOLERANCE, max_iter=MOST_VISITS, warm_start=True)
    found = {name: [] for name in ("weight", "bias", "gradient", "separable", "iterations")}
    for l2 in descending:
        model.set_params(C=1 / (l2 * weight.sum()) if l2 else np.inf)
        with warnings.catch_warnings():  # what has not converged is told by its gradient
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(scaled, true, sample_weight=weight)
        coefficients, bias = model.coef_[0], model.intercept_[0]
        logits = scaled @ coefficients + bias
        residual = weight * (expit(logits) - true) / weight.sum()
        gradient = scaled.T @ residual - mean * inverse * residual.sum() + l2 * coefficients
        found["weight"].append(coefficients * inverse)
        found["bias"].append(bias)
        found["gradient"].append(max(np.abs(gradient).max(), abs(residual.sum())))
        found["separable"].append(not l2 and bool(((logits > 0) == true)[weight > 0].all()))
        found["iterations"].append(int(model.n_iter_[0]))
    arrays = {name: np.stack([values]) for name, values in found.items()}
    converged = (arrays["gradient"] <= GRADIENT_TOLERANCE) & ~arrays["separable"]
    solutions = Solutions(descending, **arrays, converged=converged)
    return SolvedLayer(solutions.weight, solutions.bias, solutions)
