"""Known directions are found again: states that are sums of a few of 256 directions in 64 dimensions."""

import pytest
import torch

from utils.sae.goals import Goal, Recipe
from utils.sae.training.training import Training

HIDDEN, FEATURES, ACTIVE = 64, 256, 8
STATES, BATCH, STEPS = 65_536, 512, 2_400


@pytest.fixture(scope="module", params=["eight", "eight on average"])
def made(request):
    """(directions [features, hidden], states [n, hidden] that each sum 8 of them, the share of them to find).

    Magnitudes are uniform from 0.5 to 1.5; where there are 8 on average, half a normal distribution: many are small.
    """
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(FEATURES, HIDDEN, generator=generator))
    drawn = torch.rand(STATES, FEATURES, generator=generator)
    if request.param == "eight":
        active = torch.zeros(STATES, FEATURES).scatter_(1, drawn.topk(ACTIVE).indices, 1.0)
        magnitudes, least = torch.rand(STATES, FEATURES, generator=generator).add_(0.5), 0.95
    else:
        active, least = drawn < ACTIVE / FEATURES, 0.9
        magnitudes = torch.randn(STATES, FEATURES, generator=generator).abs()
    return directions, (active * magnitudes) @ directions, least


def found(directions, decoder):
    """The share of the directions that a decoder row has a cosine above 0.9 with."""
    cosines = directions @ torch.nn.functional.normalize(decoder).mT
    return float((cosines.max(1).values > 0.9).float().mean())


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["jumprelu", "batchtopk"])
def test_known_directions_are_found(made, architecture):
    directions, states, least = made
    goal = Goal(architecture, ACTIVE, 0, 0)
    training = Training.begin([goal], states[None, :16_384], Recipe(FEATURES, STEPS, BATCH), "cpu")
    assert found(directions, training.autoencoders()[0].decoder) < 0.01  # untrained, none is near
    order = torch.randperm(STATES, generator=torch.Generator().manual_seed(1))
    for step in range(STEPS):
        start = step * BATCH % STATES
        training.step(states[None, order[start : start + BATCH]])
    (sae,) = training.autoencoders()
    assert found(directions, sae.decoder) >= least
    others = torch.randn(FEATURES, HIDDEN, generator=torch.Generator().manual_seed(2))
    assert found(torch.nn.functional.normalize(others), sae.decoder) < 0.01
