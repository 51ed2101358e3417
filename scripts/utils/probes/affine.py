"""Compute logits of probes that are a weight and a bias on raw states: of many at once, quickly or exactly."""

import numpy as np
import torch

from utils.states.matrices import Matrices, chunks

AT_ONCE = 2**24  # numbers of the states that are turned into float64 at a time


def linear_logits(matrices: Matrices, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Compute float32 logits [..., n] on matrices of one layer. weight: [..., hidden_size]; bias: [...]."""
    flat = torch.from_numpy(weight.reshape(-1, weight.shape[-1])).float()
    offsets = torch.from_numpy(bias.reshape(-1)).float()
    result = torch.empty(len(flat), len(matrices))
    for which in chunks(matrices, 1):
        result[:, which] = torch.addmm(offsets[:, None], flat, matrices.rows(which)[0].mT)
    return result.numpy().reshape(*bias.shape, len(matrices))


def exact_logits(states: torch.Tensor, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Compute float64 logits [..., n] on states [n, hidden_size], in float64. weight: [..., hidden_size]; bias: [...]."""
    flat = torch.from_numpy(weight.reshape(-1, weight.shape[-1]))
    parts = states.split(max(1, AT_ONCE // states.shape[1]))
    found = torch.cat([part.double() @ flat.mT for part in parts])
    return found.mT.numpy().reshape(*bias.shape, len(states)) + bias[..., None]
