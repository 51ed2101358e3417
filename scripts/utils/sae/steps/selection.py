"""Find the smallest of the k * batch largest pre-activations of a batch: the cut of BatchTopK."""

import numpy as np
import torch

SLACK = 0.9  # candidates lie above this share of the guessed cut; cuts of successive batches differ by a few percent


def largest(before: torch.Tensor, k: float, guess: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Find the k * batch largest positive values of a matrix [batch, latents], ties with the smallest of them included.

    Returns their places row * latents + column, the values, and the smallest one, which is 0 where none is positive. A good
    `guess` of it saves time: the rest of the matrix is compared and no more.
    """
    wanted = max(1, round(k * len(before)))
    low = max(0.0, guess * SLACK)
    places = above(before, low)
    while len(places) < wanted and low > 0:
        low = low / 2 if low > guess / 8 else 0.0
        places = above(before, low)
    values = before.view(-1).index_select(0, places)
    if not len(values):
        return places, values, before.new_zeros(())
    if len(values) <= wanted:
        return places, values, values.min()
    cut = _kth(values, wanted)
    kept = values >= cut
    return places[kept], values[kept], cut


def above(before: torch.Tensor, low: torch.Tensor | float) -> torch.Tensor:
    """Give the places of a matrix where it is above `low`, in order."""
    mask = before > low
    if mask.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(mask.numpy()))  # 7 times as fast as torch's own
    return mask.view(-1).nonzero()[:, 0]


def _kth(values, k):
    """Give the k-th largest of a vector. On CPU, NumPy's partition takes a hundredth of the time of torch's topk."""
    if values.device.type == "cpu":
        return values.new_tensor(np.partition(values.numpy(), len(values) - k)[len(values) - k])
    return values.sort(descending=True).values[k - 1]
