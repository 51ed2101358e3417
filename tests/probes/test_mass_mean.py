"""Mass-mean probes beside scikit-learn and hand-worked examples."""

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from made_states import made
from utils.probes.mass_mean import mass_mean
from utils.states.matrices import Matrices


def within(states, labels):
    means = np.stack([states[labels == label].mean(0) for label in (0, 1)])
    return np.cov((states - means[labels]).T, bias=True), means[1] - means[0]


def test_mass_mean_by_hand():
    states, labels = [[3.0, 0.0], [3.0, 2.0], [-1.0, 0.0], [-1.0, 2.0]], [1, 1, 0, 0]
    found = mass_mean(states, labels)
    assert found.weight.tolist() == [[4.0, 0.0]] and found.bias.tolist() == [-4.0]
    # the second positive three times: mean+ is (3, 1.5), midway lies (1, 1.25)
    found = mass_mean(states, labels, [1, 3, 1, 1])
    np.testing.assert_allclose(found.weight, [[4.0, 0.5]])
    np.testing.assert_allclose(found.bias, [-4.0 - 0.5 * 1.25])


@pytest.mark.parametrize("block", [12, 12 * 7, 2**22])
def test_tilted_is_scikit_learns_discriminant_analysis(monkeypatch, block):
    monkeypatch.setattr("utils.probes.mass_mean.BLOCK_NUMBERS", block)
    states, labels = made()
    found = mass_mean(Matrices.of(states[None].astype(np.float32)), labels, tilted=True)
    states = states.astype(np.float32).astype(float)
    mean, deviation = states.mean(0), states.std(0)
    for column in range(3):
        theirs = LinearDiscriminantAnalysis(solver="lsqr").fit((states - mean) / deviation, labels[:, column])
        share = labels[:, column].mean()
        np.testing.assert_allclose(found.weight[column] * deviation, theirs.coef_[0], rtol=1e-8, atol=1e-8)
        at_mean = found.bias[column] + mean @ found.weight[column] + np.log(share / (1 - share))
        assert at_mean == pytest.approx(theirs.intercept_[0], abs=1e-8)
    assert (found.shrinkage == 0).all()
    plain = mass_mean(states, labels).weight
    assert abs(np.corrcoef(plain[0] * deviation, found.weight[0] * deviation)[0, 1]) < 0.9  # they do differ


def test_columns_of_their_own_weights_are_each_as_if_alone(monkeypatch):
    states, labels = made()
    weights = np.random.default_rng(1).random((400, 3)) * (np.arange(400)[:, None] % [2, 3, 5] > 0)
    for tilted in (False, True):
        monkeypatch.setattr("utils.probes.mass_mean.COVARIANCE_BYTES", 8 * 12 * 12 * 2)  # two covariances a visit
        found = mass_mean(states, labels, weights, tilted)
        for column in range(3):
            there = weights[:, column] > 0
            alone = mass_mean(states[there], labels[there, column], weights[there, column], tilted)
            np.testing.assert_allclose(found.weight[column], alone.weight[0], rtol=1e-8)
            np.testing.assert_allclose(found.bias[column], alone.bias[0], rtol=1e-8)
        assert not np.allclose(found.weight[0], mass_mean(states, labels[:, 0], None, tilted).weight[0], rtol=1e-3)


@pytest.mark.parametrize("n, copied", [(60, False), (500, True)], ids=["fewer rows than features", "a feature twice"])
def test_a_singular_covariance_is_shrunk_by_ledoit_and_wolfs_formula(n, copied):
    random = np.random.default_rng(2)
    labels = np.arange(n) % 2
    states = random.normal(size=(n, 5)) @ random.normal(size=(5, 80)) * 3 + random.normal(size=(n, 80))
    states = (states + labels[:, None] * (np.arange(80) < 4)) * 10.0 ** np.linspace(-2, 3, 80) + 7
    if copied:
        states = np.hstack([states, states[:, :1] + states[:, 1:2], np.full((n, 1), 3.3)])
    deviation = states.std(0)
    varies = deviation > 1e-9
    standard = ((states - states.mean(0)) / np.where(varies, deviation, 1))[:, varies]
    found = mass_mean(states, labels, tilted=True)
    assert found.shrinkage[0] == pytest.approx(ledoit_wolf_shrinkage(standard, assume_centered=True), rel=1e-5)
    assert 0 < found.shrinkage[0] < 0.2
    covariance, delta = within(standard, labels)
    shrunk = (1 - found.shrinkage[0]) * covariance + found.shrinkage[0] * np.eye(varies.sum())
    np.testing.assert_allclose(found.weight[0][varies] * deviation[varies], np.linalg.solve(shrunk, delta), rtol=1e-6)
    assert (found.weight[0][~varies] == 0).all()
    assert mass_mean(states[:, :20], labels, tilted=True).shrinkage[0] == 0


def test_classes_without_spread_along_the_direction_are_shrunk_and_parted():
    states = np.random.default_rng(0).normal(size=(200, 6))
    labels = np.arange(200) % 2
    states[:, 0] = labels  # the covariance within the classes is singular, that of both together is not
    found = mass_mean(states, np.stack([labels, states[:, 1] > 0], axis=1), tilted=True)
    assert found.shrinkage[0] > 0 == found.shrinkage[1]
    assert ((states @ found.weight[0] + found.bias[0] > 0) == labels).all()
