"""Thresholds that are set by states which were not trained on."""

import pytest
import torch

from some_autoencoder import some_autoencoder
from utils.sae.training.calibration import FARTHEST, with_l0


def l0(autoencoder, states):
    return float((autoencoder.encode(states) > 0).sum(1).float().mean())


@pytest.fixture
def states():
    return torch.randn(3000, 16, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("share", [0.9, 0.99, 1.0, 1.01, 1.1])
def test_the_target_is_hit_to_one_latent_of_all_states(share, states):
    autoencoder = some_autoencoder()
    target = share * l0(autoencoder, states)
    found = with_l0(autoencoder, states, target)
    assert abs(l0(found, states) - target) <= 1 / len(states)
    factors = (found.threshold / autoencoder.threshold)[autoencoder.threshold > 0]
    assert torch.allclose(factors, factors[:1].expand_as(factors), rtol=1e-5)
    assert (share == 1.0) == (abs(l0(autoencoder, states) - target) <= 1 / len(states)), "without it the target is missed"


@pytest.mark.parametrize("share", [0.1, 8.0])
def test_what_is_far_from_its_target_is_left_alone(share, states):
    autoencoder = some_autoencoder()
    found = with_l0(autoencoder, states, share * l0(autoencoder, states))
    assert torch.equal(found.threshold, autoencoder.threshold)
    assert FARTHEST < 2
