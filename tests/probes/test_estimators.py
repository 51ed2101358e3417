"""The interface that all families of probes share."""

import doctest

import numpy as np
import pytest
import torch

from made_states import made
from utils.base.errors import UserError
from utils.probes import estimators
from utils.probes.estimators import MLP, Linear, Logistic, MassMean
from utils.scores.ranking import auroc

FAMILIES = {
    "linear": lambda: Linear(epochs=10, learning_rate=1e-2),
    "logistic": Logistic,
    "mass-mean": MassMean,
    "tilted": lambda: MassMean(tilted=True),
    "mlp": lambda: MLP(width=16, epochs=10, learning_rate=1e-2),
}


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


def test_what_was_not_fitted_or_on_other_states_is_named():
    with pytest.raises(UserError, match="not fitted"):
        MLP().predict(np.ones((2, 3)))
    states, labels = made(columns=1)
    with pytest.raises(UserError, match="has 5 features, the probe was fitted on 12"):
        Logistic().fit(states, labels[:, 0]).predict(states[:, :5])


def test_the_example_of_the_docstring_runs():
    found = doctest.testmod(estimators)
    assert found.attempted == 5 and found.failed == 0
