"""Probes with one hidden layer: what a line cannot part, and what is saved of them."""

import numpy as np
import torch

from made_states import made
from utils.probes.descent.mlp import MLPProbes, train_mlp
from utils.probes.descent.training import Settings
from utils.probes.estimators import MLP, Linear
from utils.probes.labels import LabelledStates
from utils.states.matrices import Matrices


def xor(seed, n=400):
    random = np.random.default_rng(seed)
    signs = random.integers(0, 2, size=(n, 2))
    return (2.0 * signs - 1 + random.normal(size=(n, 2)) * 0.2), signs[:, 0] ^ signs[:, 1]


def test_an_mlp_solves_xor_and_a_linear_probe_does_not():
    (states, labels), (held_out, truth) = xor(0), xor(1)
    assert MLP(epochs=25).fit(states, labels).score(held_out, truth) > 0.97
    assert Linear(epochs=25).fit(states, labels).score(held_out, truth) < 0.8


def test_saved_mlp_tensors_give_the_logits_on_raw_states():
    states, labels = made(columns=2)
    matrices = Matrices.of(np.stack([states, states[::-1]]).astype(np.float32))
    trained = train_mlp(LabelledStates(matrices, labels), LabelledStates(matrices, labels), Settings(epochs=2), width=5)
    tensors = trained.probes.tensors(1, 0)
    assert {name: list(tensor.shape) for name, tensor in tensors.items()} == {
        "hidden.weight": [5, 12],
        "hidden.bias": [5],
        "out.weight": [5],
        "out.bias": [],
    }
    hidden = torch.relu(torch.from_numpy(states[::-1].copy()).float() @ tensors["hidden.weight"].T + tensors["hidden.bias"])
    expected = hidden @ tensors["out.weight"] + tensors["out.bias"]
    np.testing.assert_allclose(trained.probes.logits(matrices)[1, 0], expected, atol=1e-4)
    loaded = MLPProbes.of({name: part[None] for name, part in tensors.items()}).logits(
        Matrices.of(states[::-1][None].astype(np.float32))
    )
    np.testing.assert_allclose(loaded[0, 0], expected, atol=1e-4)
