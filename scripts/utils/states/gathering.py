"""Gather the rows that are read out of a batch of states, and bring them to main memory."""

import torch

from utils.states.sites import Layer

POOL_BYTES = 2**28  # of one layer's states pooled together


def pooled(state: torch.Tensor, batch_row: torch.Tensor, position: torch.Tensor, pool: str, text_start: int) -> torch.Tensor:
    """Take at each (batch_row, position) the state, or the mean or the maximum of the states from text_start up to it.

    state: [batch, tokens, hidden_size]; return [rows, hidden_size] in its dtype. Sums are taken in float32.
    """
    if pool == "last":
        return state[batch_row, position]
    text, count = state[:, text_start:], position - text_start + 1
    dimensions = max(1, POOL_BYTES // (12 * text.shape[0] * text.shape[1]))  # 8 bytes an index of cummax, 4 a value
    parts = []
    for part in text.split(dimensions, dim=2):
        running = part.cummax(1).values if pool == "max" else part.cumsum(1, dtype=torch.float32)
        parts.append(running[batch_row, count - 1])
    result = torch.cat(parts, dim=1)
    return result if pool == "max" else (result / count[:, None]).to(state.dtype)


def to_main_memory(found: dict[Layer, torch.Tensor]) -> dict[Layer, torch.Tensor]:
    """Copy what a batch gave from the device. From CUDA all copies are under way at once, into memory that is pinned."""
    if not all(state.is_cuda for state in found.values()):
        return {layer: state.cpu() for layer, state in found.items()}
    copies = {layer: torch.empty_like(state, device="cpu", pin_memory=True) for layer, state in found.items()}
    for layer, state in found.items():
        copies[layer].copy_(state, non_blocking=True)
    torch.cuda.synchronize()
    return copies
