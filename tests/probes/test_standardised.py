"""The scale of features, and folding it into weights."""

import numpy as np
import torch

from made_states import noisy
from utils.probes.standardised import fold, standardisation
from utils.states.matrices import Matrices


def test_standardisation_in_chunks_is_numpys_and_folding_changes_no_logit(monkeypatch):
    monkeypatch.setattr("utils.states.matrices.CHUNK_BYTES", 4 * 3 * 12 * 7)  # seven rows a chunk
    states, _ = noisy(0, n=50)
    states[:, :, 5] = 3.25  # a constant feature
    mean, inverse = standardisation(Matrices.of(states))
    np.testing.assert_allclose(mean, states.double().mean(1), rtol=1e-12)
    expected = 1 / states.double().std(1, unbiased=False)
    expected[:, 5] = 0.0
    np.testing.assert_allclose(inverse, expected, rtol=1e-9)
    weight, bias = torch.randn(3, 12), torch.randn(3)
    raw_weight, raw_bias = fold(weight, bias, mean, inverse)
    on_standardised = ((states.double() - mean[:, None]) * inverse[:, None] * weight[:, None]).sum(-1) + bias[:, None]
    in_double = (states.double() * raw_weight.double()[:, None]).sum(-1) + raw_bias.double()[:, None]
    np.testing.assert_allclose(in_double, on_standardised, atol=0.01)  # a bias of 1e5 in float32 is exact to 0.004
    assert on_standardised.std() > 1
    assert (raw_weight[:, 5] == 0).all()
