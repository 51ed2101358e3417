"""Screening finds exactly the values that lie above a threshold in full; without its margin it misses some."""

import pytest
import torch

from utils.sae.steps import screening
from utils.sae.steps.entries import Entries
from utils.sae.steps.screening import Screen

SHAPES = [(64, 500, 48), (200, 1000, 700)]  # batch, latents, hidden size


def drawn(shape, seed):
    """(centred states, encoder, bias, thresholds): norms vary by latent and state, biases are large for some."""
    batch, latents, hidden_size = shape
    torch.manual_seed(seed)
    centred = torch.randn(batch, hidden_size) / hidden_size**0.5 * torch.logspace(-2, 2, batch)[:, None]
    encoder = torch.randn(latents, hidden_size) * torch.logspace(-1, 1, latents)[:, None]
    bias = torch.randn(latents) * torch.logspace(-3, 1, latents)
    full = centred @ encoder.T + bias
    return centred, encoder, bias, full.quantile(0.9, dim=0)


def screened(shape, seed):
    """(places found by screening, places where the full values are above), and the values of both."""
    centred, encoder, bias, low = drawn(shape, seed)
    screen = Screen()
    screen.take(centred, encoder, bias)
    places, values = screen.above(low)
    everywhere = Entries(torch.arange(shape[0] * shape[1]), shape[:2])
    full = everywhere.by_row(everywhere.dots(centred, encoder) + everywhere.spread(bias))
    expected = (full > low.repeat(shape[0])).nonzero()[:, 0]
    return places, expected, values, full[expected]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_the_same_values_are_selected(shape, seed):
    places, expected, values, full = screened(shape, seed)
    assert 0.05 < len(expected) / (shape[0] * shape[1]) < 0.2
    assert torch.equal(places, expected)
    assert torch.equal(values, full)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_without_a_margin_some_are_missed(shape, monkeypatch):
    monkeypatch.setattr(screening, "U", 0.0)
    places, expected, *_ = screened(shape, 0)
    assert 0 < len(expected) - len(places) < 0.05 * len(expected)


def test_a_second_batch_of_another_size_is_screened_anew():
    screen = Screen()
    for shape in ((64, 500, 48), (10, 500, 48), (10, 20, 8)):
        centred, encoder, bias, low = drawn(shape, 0)
        screen.take(centred, encoder, bias)
        places, _ = screen.above(low)
        full = centred @ encoder.T + bias
        assert set(places.tolist()) == set((full > low).view(-1).nonzero()[:, 0].tolist())
