"""Mass-mean probes beside scikit-learn and hand-worked examples."""

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from made_states import made
from utils.probes.class_means import Blocks
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
    monkeypatch.setattr("utils.probes.class_means.BLOCK_NUMBERS", block)
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
        monkeypatch.setattr("utils.probes.tilted.COVARIANCE_BYTES", 8 * 12 * 12 * 2)  # two covariances a visit
        found = mass_mean(states, labels, weights, tilted)
        for column in range(3):
            there = weights[:, column] > 0
            alone = mass_mean(states[there], labels[there, column], weights[there, column], tilted)
            np.testing.assert_allclose(found.weight[column], alone.weight[0], rtol=1e-8)
            np.testing.assert_allclose(found.bias[column], alone.bias[0], rtol=1e-8)
        assert not np.allclose(found.weight[0], mass_mean(states, labels[:, 0], None, tilted).weight[0], rtol=1e-3)


def shrinking(n=60, copied=False, separation=1.0, columns=1):
    """States whose covariance is singular, with labels that move four features of each column by `separation` deviations."""
    random = np.random.default_rng(2)
    labels = (np.arange(n)[:, None] // 2 ** np.arange(columns)) % 2
    states = random.normal(size=(n, 5)) @ random.normal(size=(5, 80)) + random.normal(size=(n, 80))
    for column in range(columns):
        states[:, 4 * column : 4 * column + 4] += separation * 6**0.5 * labels[:, [column]]
    states = states * 10.0 ** np.linspace(-2, 3, 80) + 7
    return np.hstack([states, states[:, :1] + states[:, 1:2]]) if copied else states, labels


def shrunk_by_hand(states, labels, weights):
    """The weight and the shrinkage by the formulas, row by row. weights: [n]."""
    share = weights / weights.sum()
    means = np.stack([np.average(states, 0, weights * (labels == label)) for label in (0, 1)])
    centred = states - means[labels]
    deviation = np.sqrt(share @ centred**2)
    standard = centred / deviation
    correlations = sum(part * np.outer(row, row) for part, row in zip(share, standard, strict=True))
    noise = sum(part * ((np.outer(row, row) - correlations) ** 2).sum() for part, row in zip(share, standard, strict=True))
    noise *= (share**2).sum()
    shrinkage = noise / ((correlations - np.eye(len(deviation))) ** 2).sum()
    shrunk = (1 - shrinkage) * correlations + shrinkage * np.eye(len(deviation))
    return np.linalg.solve(shrunk, (means[1] - means[0]) / deviation) / deviation, shrinkage


def cosine(first, second):
    return first @ second / np.linalg.norm(first) / np.linalg.norm(second)


@pytest.mark.parametrize("separation", [1.0, 10.0])
@pytest.mark.parametrize(
    "n, copied", [(30, False), (60, False), (500, True)], ids=["few rows", "fewer rows than features", "a feature twice"]
)
def test_a_singular_covariance_is_shrunk_toward_the_variances_within_the_classes(n, copied, separation):
    states, labels = shrinking(n, copied, separation)
    labels = labels[:, 0]
    found = mass_mean(np.hstack([states, np.full((n, 1), 3.3)]), labels, tilted=True)
    assert found.weight[0][-1] == 0  # the constant feature
    weight, shrinkage = found.weight[0][:-1], found.shrinkage[0]
    covariance, delta = within(states, labels)
    deviation, middle = np.sqrt(np.diag(covariance)), states[labels == 0].mean(0)
    standard = (states - middle - labels[:, None] * delta) / deviation
    assert shrinkage == pytest.approx(ledoit_wolf_shrinkage(standard, assume_centered=True), rel=1e-8)
    assert 0 < shrinkage < 0.3
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit((states - middle) / deviation, labels)
    np.testing.assert_allclose(weight * deviation, theirs.coef_[0], rtol=1e-6, atol=1e-8 * abs(theirs.coef_).max())
    assert found.bias[0] + middle @ weight == pytest.approx(theirs.intercept_[0], rel=1e-6)
    assert mass_mean(states[:, :20], labels, tilted=True).shrinkage[0] == 0

    if separation == 10:  # the variances of both classes together, and states less their common mean, would not do
        bent = np.linalg.solve((1 - shrinkage) * covariance + shrinkage * np.diag(states.var(0)), delta)
        assert cosine(bent * deviation, weight * deviation) < 0.95
        together = (states - states.mean(0)) / states.std(0)
        assert abs(ledoit_wolf_shrinkage(together, assume_centered=True) / shrinkage - 1) > 0.05


@pytest.mark.parametrize("per_row, at_most", [(2, 3), (1, 2)], ids=["by features", "by rows"])
def test_columns_that_are_shrunk_are_each_as_if_alone_and_share_one_visit(monkeypatch, per_row, at_most):
    monkeypatch.setattr("utils.probes.tilted.FEATURES_PER_ROW", per_row)
    states, labels = shrinking(n=64, separation=4.0, columns=5)
    labels[:, 4] = labels[:, 0]
    weights = np.random.default_rng(1).random((64, 1)) * (np.arange(64)[:, None] % [3, 3, 5, 7, 3] > 0)
    read, visits = Blocks.__iter__, []
    monkeypatch.setattr(Blocks, "__iter__", lambda self: visits.append(1) or read(self))
    found = mass_mean(states, labels, weights, tilted=True)
    assert len(visits) == at_most  # the means; the three covariances, and the moments of all columns, or all rows
    for column in range(5):
        there = weights[:, column] > 0
        weight, shrinkage = shrunk_by_hand(states[there], labels[there, column], weights[there, column])
        assert found.shrinkage[column] == pytest.approx(shrinkage, rel=1e-8)
        np.testing.assert_allclose(found.weight[column], weight, rtol=1e-6, atol=1e-9 * abs(weight).max())
        alone = mass_mean(states[there], labels[there, column], weights[there, column], tilted=True)
        np.testing.assert_allclose(found.weight[column], alone.weight[0], rtol=1e-8, atol=1e-10 * abs(weight).max())
        np.testing.assert_allclose(found.bias[column], alone.bias[0], rtol=1e-8)
    np.testing.assert_allclose(found.weight[4], found.weight[0], rtol=1e-9)  # not to the bit: a processor may add otherwise
    assert found.shrinkage[4] == pytest.approx(found.shrinkage[0], rel=1e-12) and len(set(found.shrinkage[:4])) == 4
    even, shrinkage = shrunk_by_hand(states, labels[:, 0], np.ones(64))
    assert abs(shrinkage / found.shrinkage[0] - 1) > 0.05 and cosine(even, found.weight[0]) < 0.999  # the weights matter


@pytest.mark.parametrize("per_row", [2, 0], ids=["by features", "rows were tried"])
def test_a_column_that_needs_no_shrinkage_is_the_same_beside_one_that_does(monkeypatch, per_row):
    monkeypatch.setattr("utils.probes.tilted.FEATURES_PER_ROW", per_row)
    states = np.random.default_rng(0).normal(size=(200, 6))
    labels = np.stack([states[:, 1] > 0, np.arange(200) % 2], axis=1).astype(int)
    states[:, 0] = labels[:, 1]  # the covariance within the classes of column 1 is singular, that of all together is not
    found = mass_mean(states, labels, tilted=True)
    assert found.shrinkage[0] == 0 < found.shrinkage[1]
    np.testing.assert_allclose(found.weight[0], mass_mean(states, labels[:, 0], tilted=True).weight[0], rtol=1e-12)
    assert ((states @ found.weight[1] + found.bias[1] > 0) == labels[:, 1]).all()


@pytest.mark.parametrize("residue", [0.0, 1e-12, 1e-7], ids=lambda residue: f"residue {residue}")
@pytest.mark.parametrize("n", [20, 40, 400])
def test_a_feature_that_varies_only_between_the_classes_outweighs_the_others_and_stays_finite(n, residue):
    random, labels = np.random.default_rng(3), np.arange(n) % 2
    states = random.normal(size=(n, 50))
    states[:, 7] = 0.3 + 0.1 * labels + residue * random.normal(size=n)
    states[:, 9] += labels
    found = mass_mean(states.astype(np.float32) if residue == 1e-7 else states, labels, tilted=True)
    logits = states @ found.weight[0] + found.bias[0]
    assert 0 < found.shrinkage[0] <= 1 and ((logits > 0) == labels).all()
    # LEAST_WITHIN of its variance, 0.05^2, is within the classes; the others are as without it
    assert found.weight[0][7] == pytest.approx(0.1 / (1e-6 * 0.05**2), rel=1e-5)
    others = np.delete(np.arange(50), 7)
    covariance, delta = within(states[:, others], labels)
    standard = states[:, others] - states[labels == 0][:, others].mean(0) - labels[:, None] * delta
    standard /= np.sqrt(np.diag(covariance))
    assert found.shrinkage[0] == pytest.approx(max(ledoit_wolf_shrinkage(standard, assume_centered=True), 1e-3), rel=1e-5)
    shrunk = (1 - found.shrinkage[0]) * covariance + found.shrinkage[0] * np.diag(np.diag(covariance))
    np.testing.assert_allclose(found.weight[0][others], np.linalg.solve(shrunk, delta), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n", [2, 30])
def test_classes_of_one_state_each_are_parted_midway(monkeypatch, n):
    monkeypatch.setattr("utils.probes.tilted.FEATURES_PER_ROW", 1)  # 2 rows with 3 features are few, 30 are not
    labels = np.arange(n) % 2
    states = np.array([0.1, 5.0, 1000.0]) + labels[:, None] * np.array([0.3, -0.2, 0.0])
    found = mass_mean(states, labels, tilted=True)
    np.testing.assert_allclose(found.weight[0] * [0.3, -0.2, 1.0], [4e6, 4e6, 0.0], rtol=1e-6)
    np.testing.assert_allclose(states @ found.weight[0] + found.bias[0], np.where(labels, 4e6, -4e6), rtol=1e-6)
