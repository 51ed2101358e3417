"""Measure the scale of each feature over all rows, and fold it into the weights of a probe."""

import torch

from utils.states.matrices import Matrices, chunks

FLAT = 1e-7  # a standard deviation below this part of the mean is rounding of a constant feature


def standardisation(matrices: Matrices) -> tuple[torch.Tensor, torch.Tensor]:
    """Measure the mean and 1 / standard deviation of each feature, float64 [layers, hidden_size]; 0 for a constant one.

    One visit of the rows; chunks are merged exactly (Chan, Golub and LeVeque 1983).
    """
    count, mean, squares = 0, torch.tensor(0.0), torch.tensor(0.0)
    for which in chunks(matrices, layers=None):
        rows = matrices.rows(which).double()
        chunk_mean = rows.mean(1)
        shift = chunk_mean - mean
        total = count + rows.shape[1]
        squares = squares + (rows - chunk_mean[:, None]).square().sum(1) + shift**2 * (count * rows.shape[1] / total)
        mean = mean + shift * (rows.shape[1] / total)
        count = total
    std = (squares / count).sqrt()
    constant = std <= FLAT * mean.abs().clamp(min=1e-30)
    return mean, torch.where(constant, 0.0, 1 / std.clamp(min=1e-300))


def fold(
    weight: torch.Tensor, bias: torch.Tensor, mean: torch.Tensor, inverse_std: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn weights [..., hidden_size] and bias [...] on standardised states into those on raw states.

    weight / std, and bias - weight . mean / std with the weight as it is rounded to float32. mean and inverse_std: float64,
    of a shape that broadcasts to weight's.
    """
    raw = (weight.detach().double().cpu() * inverse_std).float()
    shifted = bias.detach().double().cpu() - (raw.double() * mean).sum(-1)
    return raw.to(weight.device), shifted.float().to(bias.device)
