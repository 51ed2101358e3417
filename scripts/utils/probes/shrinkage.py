"""Choose how far a covariance is shrunk, and solve with it from the rows themselves where these are few."""

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from utils.probes.standardised import FLAT

LEAST_WITHIN = 1e-6  # part of a variance that is within the classes: below it along the direction, S is shrunk
LEAST_SHRINKAGE = 1e-3  # where the covariance is singular and Ledoit and Wolf's formula says 0


def ledoit_wolf(squares: float, features: float, fourth: float, rows: float) -> float:
    """Choose the shrinkage of standardised states toward the identity (Ledoit and Wolf 2004, section 3).

    squares: the sum of the squared correlations of so many features; fourth: the mean of |state|^4; rows: their effective
    number, (sum of weights)^2 / sum of their squares.
    """
    noise, distance = (fourth - squares) / rows, squares - features
    return max(min(noise / distance, 1.0), LEAST_SHRINKAGE) if distance > 0 else 1.0


def few_rows_direction(
    residuals: np.ndarray, share: np.ndarray, delta: np.ndarray, spread: float, size: np.ndarray
) -> tuple[np.ndarray, float] | None:
    """Solve for ((1 - a) S + a D)^-1 delta, [hidden_size], and the shrinkage a, where no more rows than features vary.

    residuals: each state less the mean of its class, [rows, hidden_size]; they are overwritten. share: of each row in the
    weights. size: [hidden_size], numbers beside which a deviation may be rounding alone.

    With standardised rows Z, S is Z^T Z, and aI + (1 - a) Z Z^T is factorised, of the size of the rows (Woodbury 1950). None
    where more rows than features vary: S may be regular.
    """
    within = share @ residuals**2
    total = within + spread * delta**2
    varies = np.sqrt(total) > FLAT * size
    if len(share) > varies.sum():
        return None
    measured = varies & (within > LEAST_WITHIN * total)
    deviation = np.sqrt(np.where(measured, within, LEAST_WITHIN * total))
    residuals *= np.sqrt(share)[:, None]
    residuals *= np.divide(1.0, deviation, out=np.zeros_like(total), where=measured)
    products = residuals @ residuals.T
    fourth = (np.diag(products) ** 2 / share).sum()
    shrinkage = ledoit_wolf(float(np.vdot(products, products)), np.trace(products), fourth, 1 / (share**2).sum())
    scaled = np.divide(delta, deviation, out=np.zeros_like(total), where=varies)
    products *= 1 - shrinkage
    products[np.diag_indices_from(products)] += shrinkage
    factor = cho_factor(products, lower=True, overwrite_a=True, check_finite=False)
    explained = (1 - shrinkage) * cho_solve(factor, residuals @ scaled, check_finite=False) @ residuals
    found = np.where(measured, (scaled - explained) / shrinkage, scaled)
    return np.divide(found, deviation, out=np.zeros_like(total), where=varies), shrinkage
