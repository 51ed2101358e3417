"""The latents of many states: encoded by chunks they are those of the whole, and only the active ones are kept."""

import numpy as np
import pytest
import torch

from utils.base.errors import UserError
from utils.sae import encoded
from utils.sae.autoencoder import SparseAutoencoder
from utils.sae.encoded import Encoded
from utils.states import matrices
from utils.states.matrices import Matrices


def made(latents=40, hidden_size=12, n=300):
    """A random autoencoder whose latents are active at about a tenth of the states, and states."""
    generator = torch.Generator().manual_seed(0)
    encoder = torch.randn(latents, hidden_size, generator=generator)
    encoder /= encoder.norm(dim=1, keepdim=True)
    bias = torch.randn(latents, generator=generator) / 10
    autoencoder = SparseAutoencoder(encoder, bias, encoder, torch.ones(hidden_size), torch.full((latents,), 1.3))
    return autoencoder, torch.randn(n, hidden_size, generator=generator) + 1


def test_chunks_give_what_the_formula_gives_for_all_states_at_once(monkeypatch):
    autoencoder, states = made()
    monkeypatch.setattr(matrices, "CHUNK_BYTES", 4 * 40 * 7)  # seven rows
    found = Encoded.of(autoencoder, Matrices.of(states[None]))
    before = (states - 1) @ autoencoder.encoder.T + autoencoder.encoder_bias
    expected = np.where(before > 1.3, before, 0)
    assert 0.02 < (expected > 0).mean() < 0.3
    assert np.allclose(found.rows(np.arange(300))[0], expected, atol=1e-6)
    assert found.matrix.nnz == (expected > 0).sum()
    assert np.allclose(found.rows([5, 299, 5])[0], expected[[5, 299, 5]], atol=1e-6)
    assert np.allclose(found.only(np.array([7, 3])).rows([0, 1, 2])[0], expected[:3, [7, 3]], atol=1e-6)


def test_far_too_many_active_latents_are_refused_before_memory_is_full(monkeypatch):
    autoencoder, states = made()
    monkeypatch.setattr(encoded, "MOST_ACTIVE", 500)
    with pytest.raises(UserError, match=r"of 40 latents are active at a state on average.*300 states do not fit.*sparser"):
        Encoded.of(autoencoder, Matrices.of(states[None]))
