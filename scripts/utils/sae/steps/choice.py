"""Choose the faster of the two ways to compute a step."""

import torch

from utils.sae.steps.dense import DenseSteps
from utils.sae.steps.sparse import SparseSteps

# Share of active latents from which dense steps are faster on CPU. Measured on one thread with hidden sizes 64 to 768, 256
# to 4,096 latents and batches of 256 and 1,024: sparse steps are 3 to 10 times as fast at 1/1,024, 2 to 5 times at 1/64, 1.1
# to 2 times at 1/16 and 1/8, and .7 to 1.1 times at 1/4.
DENSE_FROM = 1 / 6


def fastest_steps(device: torch.device, latents: int, target_l0: float, exact: bool = False) -> SparseSteps | DenseSteps:
    """Choose by device and share of active latents: sparse on CPU unless that is large, dense elsewhere.

    On CUDA products are taken in bfloat16, unless `exact` asks for the parameters' own type. The `name` and `products` of
    what is returned say which it is, for the record of a run.
    """
    if device.type == "cpu" and target_l0 < DENSE_FROM * latents:
        return SparseSteps()
    short = device.type == "cuda" and not exact
    return DenseSteps(torch.bfloat16 if short else None)
