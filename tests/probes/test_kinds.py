"""Families of probes beside scikit-learn and hand-worked examples: mass-mean, MLP, label columns, the interface of all."""

import doctest

import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from utils.base.errors import UserError
from utils.probes import estimators
from utils.probes.estimators import MLP, Linear, Logistic, MassMean
from utils.probes.labels import Labelled
from utils.probes.linear import train
from utils.probes.mass_mean import mass_mean
from utils.probes.mlp import MLPProbes, train_mlp
from utils.probes.training import Settings
from utils.scores.ranking import auroc
from utils.states.matrices import Matrices

FAMILIES = {
    "linear": lambda: Linear(epochs=10, learning_rate=1e-2),
    "logistic": Logistic,
    "mass-mean": MassMean,
    "tilted": lambda: MassMean(tilted=True),
    "mlp": lambda: MLP(width=16, epochs=10, learning_rate=1e-2),
}


def made(seed=0, n=400, d=12, columns=3, share=0.3):
    """Correlated states of scales from 0.01 to 1000, and label columns that move them: [n, d] and [n, columns]."""
    random, mixing = np.random.default_rng(seed), np.random.default_rng(99).normal(size=(d, d))
    labels = (random.random((n, columns)) < share).astype(int)
    states = random.normal(size=(n, d)) @ mixing + labels @ mixing[:columns] * 2
    return states * 10.0 ** np.linspace(-2, 3, d) + 50.0, labels


def xor(seed, n=400):
    random = np.random.default_rng(seed)
    signs = random.integers(0, 2, size=(n, 2))
    return (2.0 * signs - 1 + random.normal(size=(n, 2)) * 0.2), signs[:, 0] ^ signs[:, 1]


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


def test_an_mlp_solves_xor_and_a_linear_probe_does_not():
    (states, labels), (held_out, truth) = xor(0), xor(1)
    assert MLP(epochs=25).fit(states, labels).score(held_out, truth) > 0.97
    assert Linear(epochs=25).fit(states, labels).score(held_out, truth) < 0.8


@pytest.mark.parametrize("run", [train, train_mlp])
def test_a_column_and_layer_alone_and_in_company_give_the_same_probe(run):
    settings = Settings(epochs=3, learning_rate=3e-3, pos_weight_cap=None)
    both = [made(seed) for seed in range(2)], [made(seed) for seed in range(2, 4)]
    states, held_out = (np.stack([states for states, _ in each]).astype(np.float32) for each in both)
    labels, truth = (each[0][1] for each in both)
    weights = np.random.default_rng(5).random((400, 3)) + 0.1
    weights[:, 1] *= np.arange(400) % 3 > 0
    there = np.arange(400)[:, None] % [2, 1, 3] == 0
    train_on, validate_on = Labelled(Matrices.of(states), labels, weights), Labelled(Matrices.of(held_out), truth, there)
    together, again = run(train_on, validate_on, settings), run(train_on, validate_on, settings)
    logits = together.probes.logits(Matrices.of(held_out))
    assert logits.shape == (2, 3, 400) and np.array_equal(logits, again.probes.logits(Matrices.of(held_out)))
    for layer, column in np.ndindex(2, 3):
        here, validated = Matrices.of(states[layer : layer + 1]), Matrices.of(held_out[layer : layer + 1])
        alone = run(
            Labelled(here, labels[:, column], 7 * weights[:, column]),
            Labelled(validated, truth[:, column], there[:, column]),
            settings,
        )
        own = alone.probes.logits(validated)
        assert own.shape == (1, 1, 400)
        np.testing.assert_allclose(own[0, 0], logits[layer, column], atol=1e-3)
        assert alone.epoch[0][0] == together.epoch[layer][column]
        assert alone.threshold[0][0] == pytest.approx(together.threshold[layer][column], abs=1e-3)
        share = np.average(labels[:, column], weights=weights[:, column])
        assert together.pos_weight[column] == pytest.approx((1 - share) / share, rel=1e-5)
        for name, tensor in together.probes.tensors(layer, column).items():
            scale = float(tensor.abs().max())
            torch.testing.assert_close(alone.probes.tensors(0, 0)[name], tensor, rtol=1e-2, atol=1e-3 * scale)
    other = run(Labelled(Matrices.of(states), labels), Labelled(Matrices.of(held_out), truth), settings)
    assert np.abs(other.probes.logits(Matrices.of(held_out)) - logits).max() > 0.1  # weights do count


def test_row_weights_of_a_linear_probe_act_as_those_of_the_exact_minimum():
    """Half of the rows follow one feature, half another; each column counts one half ten times."""
    random = np.random.default_rng(0)
    states, half = random.normal(size=(2000, 6)).astype(np.float32), np.arange(2000) % 2
    labels = (np.where(half, states[:, 0], states[:, 1]) + random.normal(size=2000) > 0).astype(int)
    weights = np.stack([1 + 9 * half, 10 - 9 * half], axis=1)
    matrices, both = Matrices.of(states[None]), np.stack([labels] * 2, axis=1)
    settings = Settings(epochs=30, balance=False)
    found = train(Labelled(matrices, both, weights), Labelled(matrices, both), settings).probes.weight[0]
    for column in range(2):
        exact, other = (Logistic().fit(states, labels, weights[:, which]).weight for which in (column, 1 - column))
        cosine, cosine_of_other = (np.corrcoef(found[column], each)[0, 1] for each in (exact, other))
        assert cosine > 0.99 and cosine_of_other < 0.5


def test_without_balance_and_without_cap():
    states, labels = made(share=0.1)
    labelled = Labelled(Matrices.of(states[None].astype(np.float32)), labels)
    ratio = ((labels == 0).sum(0) / labels.sum(0)).tolist()
    for settings, expected in (
        (Settings(epochs=1), [5.0] * 3),
        (Settings(epochs=1, pos_weight_cap=None), ratio),
        (Settings(epochs=1, pos_weight_cap=np.inf), ratio),
        (Settings(epochs=1, balance=False), [1.0] * 3),
    ):
        assert train(labelled, labelled, settings).pos_weight == pytest.approx(expected)


def test_saved_mlp_tensors_give_the_logits_on_raw_states():
    states, labels = made(columns=2)
    matrices = Matrices.of(np.stack([states, states[::-1]]).astype(np.float32))
    trained = train_mlp(Labelled(matrices, labels), Labelled(matrices, labels), Settings(epochs=2), width=5)
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
    loaded = MLPProbes.of(tensors).logits(Matrices.of(states[::-1][None].astype(np.float32)))
    np.testing.assert_allclose(loaded[0, 0], expected, atol=1e-4)


@pytest.mark.parametrize("name", FAMILIES)
def test_one_interface_for_all_families(name):
    states, labels = made(d=8, columns=1)
    labels = labels[:, 0]
    states[:, 3] = 4.7  # a constant feature
    probe = FAMILIES[name]().fit(states, labels)
    logits, probabilities = probe.decision_function(states), probe.predict_proba(states)
    assert logits.dtype == np.float64 and logits.shape == (400,) and probabilities.shape == (400, 2)
    np.testing.assert_allclose(probabilities[:, 1], torch.sigmoid(torch.from_numpy(logits)), atol=1e-12)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    assert np.array_equal(probe.predict(states), logits > probe.threshold)
    assert probe.score(states, labels) == (probe.predict(states) == labels).mean()
    assert auroc(logits, labels) > (0.6 if name == "mass-mean" else 0.85)  # the plain form heeds scales alone
    if name != "mlp":
        np.testing.assert_allclose(states @ probe.weight + probe.bias, logits, atol=1e-6)
        assert probe.weight[3] == 0
    on_torch = FAMILIES[name]().fit(torch.from_numpy(states), torch.from_numpy(labels))
    assert np.array_equal(on_torch.decision_function(torch.from_numpy(states)), logits)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_row_of_weight_0_is_left_out(name):
    states, labels = made(d=8, columns=1)
    weights = np.where(np.arange(400) < 250, 1.0, 0.0)
    spoilt = np.where(weights > 0, labels[:, 0], 1 - labels[:, 0])
    left_out = FAMILIES[name]().fit(states[:250], labels[:250, 0]).decision_function(states)
    assert np.array_equal(FAMILIES[name]().fit(states, spoilt, weights).decision_function(states), left_out)
    assert not np.allclose(FAMILIES[name]().fit(states, spoilt).decision_function(states), left_out, atol=0.1)


@pytest.mark.parametrize("make", [Linear, MLP])
def test_validation_that_is_given_is_what_chooses(make):
    (states, labels), (held_out, truth) = made(columns=1), made(1, columns=1)
    given = make(epochs=3).fit(states, labels[:, 0], validation=(held_out, truth[:, 0]))
    predicted = given.predict(held_out)
    rates = [np.mean(predicted[truth[:, 0] == label] == label) for label in (0, 1)]
    assert np.mean(rates) == pytest.approx(given.history[given.epoch - 1]["val_balanced_accuracy"], abs=1e-6)
    assert len(given.history) == 3


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda X, y: (X, y * 0), "one class only"),
        (lambda X, y: (X, y * 2), "not all 0 or 1"),
        (lambda X, y: (X * np.where(np.arange(400) == 3, np.nan, 1.0)[:, None], y), "1 of 400 rows of X are not finite"),
        (lambda X, y: (X * np.where(np.arange(400) == 3, np.inf, 1.0)[:, None], y), "1 of 400 rows of X are not finite"),
        (lambda X, y: (X[0], y), "has shape"),
        (lambda X, y: (X, y[:5]), "one label a row"),
        (lambda X, y: (X, y, -y), "sample_weight"),
    ],
)
def test_bad_input_is_named(name, spoil, message):
    states, labels = made(columns=1)
    with pytest.raises(UserError, match=message):
        FAMILIES[name]().fit(*spoil(states, labels[:, 0]))


@pytest.mark.parametrize(
    "run",
    [train, train_mlp, lambda train, val, settings: mass_mean(train.states, train.labels)],
    ids=["linear", "mlp", "mass-mean"],
)
def test_a_column_of_one_class_is_named(run):
    states, labels = made()
    matrices = Matrices.of(states[None].astype(np.float32))
    labels[:, 2] = 1
    with pytest.raises(UserError, match="label column 2 holds one class only in its 400 examples of train"):
        run(Labelled(matrices, labels), Labelled(matrices, labels), Settings(epochs=1))


def test_what_was_not_fitted_or_on_other_states_is_named():
    with pytest.raises(UserError, match="not fitted"):
        MLP().predict(np.ones((2, 3)))
    states, labels = made(columns=1)
    with pytest.raises(UserError, match="has 5 features, the probe was fitted on 12"):
        Logistic().fit(states, labels[:, 0]).predict(states[:, :5])


def test_the_example_of_the_docstring_runs():
    found = doctest.testmod(estimators)
    assert found.attempted == 5 and found.failed == 0
