"""The mean and covariance of states that come in chunks, and the share of the variance that PCA leaves unexplained."""

from collections.abc import Sequence

import torch


class Moments:
    """Sums over states, in float64 and about the mean of the first chunk: large means cost no digits."""

    def __init__(self) -> None:
        """Begin without any state."""
        self.count = 0
        self._about = self._sum = self._scatter = torch.zeros(())

    def add(self, states: torch.Tensor) -> None:
        """Add states [n, hidden_size]."""
        states = states.double()
        if self.count == 0:
            size = states.shape[1]
            self._about = states.mean(0)
            self._sum, self._scatter = states.new_zeros(size), states.new_zeros(size, size)
        centred = states - self._about
        self.count += len(states)
        self._sum += centred.sum(0)
        self._scatter.addmm_(centred.mT, centred)

    @property
    def mean(self) -> torch.Tensor:
        """Give the mean, float64 [hidden_size]."""
        return self._about + self._sum / self.count

    def scatter(self, point: torch.Tensor) -> torch.Tensor:
        """Sum (x - point)(x - point)^T over all states: float64 [hidden_size, hidden_size]."""
        away, offset = self.mean - point, self._sum / self.count
        return self._scatter + self.count * (torch.outer(away, away) - torch.outer(offset, offset))

    @property
    def variation(self) -> float:
        """Sum ||x - mean||^2 over all states."""
        return float(self.scatter(self.mean).trace())


def unexplained_by_pca(train: Moments, held_out: Moments, components: Sequence[int]) -> list[float]:
    """Say what share of the held-out variation the first k principal components leave unexplained, for each k.

    Mean m and components V are those of `train`. The share is sum ||y - V V^T y||^2 / sum ||x - mean||^2 with y = x - m
    and the mean of `held_out`, just as the FVU of a sparse autoencoder, whose weights are fitted on training states too.
    """
    _, directions = torch.linalg.eigh(train.scatter(train.mean))  # rising eigenvalues
    scatter = held_out.scatter(train.mean)
    along = torch.einsum("ij,ik,kj->j", directions, scatter, directions).flip(0)
    left = scatter.trace() - torch.cat([along.new_zeros(1), along.cumsum(0)])
    return [float(left[min(k, len(along))].clamp(min=0) / held_out.variation) for k in components]
