"""Approximate and invert the Hessian of each of many logistic problems on the same states."""

import math

import torch

from utils.probes.logistic.rows import Scale, StateRows

STEP = 2.0  # between the ratios of penalty to curvature that have a Cholesky factor
FLOOR = {torch.float32: 1e-6, torch.float64: 1e-12}  # of the sum of the variances: the least ratio, for a stable factor
MOST_UNEVEN = 2  # variances (`unevenness`): with more, gradients without the covariance are not worth their time
BESIDE_HELD, BESIDE_READ = 20, 60  # a visit of the states takes as long as the products of so many columns


class Hessians:
    """The Hessians, approximated for column k by curvature_k * covariance of the standardised states + l2_k.

    curvature_k = mean(p (1 - p)). `learn` computes the covariance, in the time of about `patience` gradients. Until then it
    is taken for 1: that saves time where the states vary much alike in all directions, and `patience` gradients are enough
    at each penalty.
    """

    def __init__(self, rows: StateRows, scale: Scale, columns: int):
        self.rows, self.scale, self.covariance, self.factors = rows, scale, None, {}
        self.patience = rows.hidden_size / (2 * (columns + (BESIDE_HELD if rows.held else BESIDE_READ)))
        if unevenness(rows, scale) > MOST_UNEVEN:
            self.patience = 0

    def learn(self):
        """Compute the covariance."""
        self.covariance, self.patience = self.scale.covariance(self.rows), math.inf
        self.floor = FLOOR[self.covariance.dtype] * float(self.covariance.diagonal().sum().clamp(min=1))

    def solve(self, vectors: torch.Tensor, curvature: torch.Tensor, l2: torch.Tensor) -> torch.Tensor:
        """Multiply their inverses with vectors [columns, d + 1]: weights, then bias."""
        vectors, ratio = vectors / curvature[:, None], l2 / curvature
        if self.covariance is None:
            return torch.cat([vectors[:, :-1] / (1 + ratio[:, None]), vectors[:, -1:]], dim=1)
        powers = (ratio.clamp(min=self.floor).log() / math.log(STEP)).round()
        needed = dict.fromkeys(powers.tolist())
        self.factors = {power: factor for power, factor in self.factors.items() if power in needed}
        for power in needed:
            if power not in self.factors:
                identity = torch.eye(len(self.covariance), dtype=self.covariance.dtype)
                self.factors[power] = torch.linalg.cholesky(self.covariance + STEP**power * identity)
            which = powers == power
            weights = vectors[which, :-1].to(self.covariance.dtype).mT
            vectors[which, :-1] = torch.cholesky_solve(weights, self.factors[power]).mT.to(vectors.dtype)
        return vectors


def unevenness(rows: StateRows, scale: Scale) -> float:
    """Estimate the sum of the squared variances in all directions / their sum: 1 if the states vary alike in each.

    From the products of the rows of a sample with one another, whose mean square is the sum of the squared variances.
    """
    sample = (rows.read(rows.sample()) - scale.mean) * scale.inverse
    products = sample @ sample.mT
    squares = products.square().sum() - products.diagonal().square().sum()
    return float(squares / (len(sample) * (len(sample) - 1)) / (scale.inverse > 0).sum().clamp(min=1))
