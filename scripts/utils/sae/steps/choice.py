"""Choose the faster of the two ways to compute a step."""

import torch

from utils.sae.steps.dense import DenseSteps
from utils.sae.steps.screening import has_matrix_units
from utils.sae.steps.sparse import SparseSteps

# Share of active latents from which dense steps are faster on CPU. Measured on one thread with hidden sizes 64 to 768, 256
# to 4,096 latents and batches of 256 and 1,024: sparse steps are 3 to 10 times as fast at 1/1,024, 2 to 5 times at 1/64, 1.1
# to 2 times at 1/16 and 1/8, and .7 to 1.1 times at 1/4.
DENSE_FROM = 1 / 6

# Latents from which screening pays where the processor has matrix units: 1.0 to 1.35 times at 2,048, 1.0 to 1.6 times at
# 4,096, .8 to 1.15 times at fewer.
SCREENED_FROM = 2048


def fastest_steps(device: torch.device, latents: int, target_l0: float, exact: bool = False) -> SparseSteps | DenseSteps:
    """Choose by device and share of active latents: sparse on CPU unless that is large, dense elsewhere.

    On CUDA products are taken in bfloat16, and on processors with matrix units many latents are screened in bfloat16, unless
    `exact` asks for none of that. The `name` and `products` of what is returned say which it is, for the record of a run.
    """
    if device.type == "cpu" and target_l0 < DENSE_FROM * latents:
        return SparseSteps(screened=not exact and latents >= SCREENED_FROM and has_matrix_units())
    short = device.type == "cuda" and not exact
    return DenseSteps(torch.bfloat16 if short else None)
