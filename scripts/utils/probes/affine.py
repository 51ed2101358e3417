"""Probes that are a weight and a bias on raw states: their logits, many at once."""

import numpy as np
import torch

from utils.states.matrices import chunks


def linear_logits(matrices, weight, bias) -> np.ndarray:
    """float32 [..., n]; weight [..., hidden_size], bias [...]; the matrices hold one layer."""
    flat = torch.from_numpy(weight.reshape(-1, weight.shape[-1])).float()
    offsets = torch.from_numpy(bias.reshape(-1)).float()
    result = torch.empty(len(flat), len(matrices))
    for which in chunks(matrices, 1):
        result[:, which] = torch.addmm(offsets[:, None], flat, matrices.rows(which)[0].mT)
    return result.numpy().reshape(*bias.shape, len(matrices))
