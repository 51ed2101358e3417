"""First weights, and the first threshold."""

import torch
from torch.nn.functional import normalize

from utils.sae.goals import Goal
from utils.sae.steps.parameters import Parameters
from utils.sae.training.scaling import Scaling

SAMPLED_VALUES = 2**23  # pre-activations of the sample that the first threshold is taken from
DENSER = 2  # how many times the target are active at first: latents that fire learn, and the pull thins them out


def first_parameters(goal: Goal, latents: int, sample: torch.Tensor, scaling: Scaling) -> Parameters:
    """Draw directions of unit norm, the same for encoder and decoder; the decoder's bias is the mean of the states.

    sample: raw states [n, hidden_size]. All thresholds are equal, so that twice as many latents as asked are active.
    """
    generator = torch.Generator().manual_seed(goal.seed)
    drawn = torch.randn(latents, sample.shape[1], generator=generator, dtype=torch.float64)
    decoder = normalize(drawn).float()
    bias = (scaling.mean * scaling.scale).float()
    rows = sample[: max(1, SAMPLED_VALUES // latents)].float() * scaling.scale - bias
    before = (rows @ decoder.mT).flatten()
    share = min(0.5, DENSER * goal.target_l0 / latents)
    place = min(len(before), max(1, round((1 - share) * len(before))))
    threshold = max(float(before.kthvalue(place).values), 1e-4)
    return Parameters(decoder.clone(), torch.zeros(latents), decoder, bias, torch.full((latents,), threshold))
