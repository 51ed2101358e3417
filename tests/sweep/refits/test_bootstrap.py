"""The refit bootstrap: a column is scikit-learn's fit of its resample; the deviation is that of fresh training samples."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import t
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from utils.states.matrices import Matrices
from utils.states.positions import Examples
from utils.sweep.fits import Fitting, Task
from utils.sweep.refits.bootstrap import add_refits, refit, solutions

FITTING = Fitting(("logistic",), 1, 1e-3, 0, None, (0.01,), "weighted", None, (0,), 0)


def sample(seed, groups=30, each=6, d=5):
    """States whose groups share a shift, and labels that one direction holds weakly."""
    random = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), each)
    states = random.normal(size=(groups, d))[group] + random.normal(size=(len(group), d))
    labels = (random.random(len(group)) < 1 / (1 + np.exp(-states[:, 0]))).astype(np.int8)
    nothing = np.zeros(len(group), dtype=np.int64)
    return states.astype(np.float32), Examples(nothing, nothing, nothing, labels, group, nothing)


def probe_of(kind="logistic", l2=0.01, layer=0):
    scores = {"auc": 0.8, "auc_low": 0.7, "auc_high": 0.88}
    return SimpleNamespace(kind=kind, l2=l2, seed=0, layer=layer, metrics={"test": dict(scores)}, tensors=None)


def task_of(train, test):
    whole = np.ones((len(train), 1), dtype=bool)
    return Task({"train": train, "test": test}, {"train": train.labels[None], "test": test.labels[None]}, whole, (0,))


def test_each_resample_is_the_weighted_fit_of_scikit_learn():
    states, train = sample(0)
    task = task_of(train, train)
    ((weight, bias),) = solutions(probe_of(), Matrices.of(states[None]), task, 0, FITTING, 4)
    times = np.random.default_rng([0, 0]).multinomial(30, np.full(30, 1 / 30), size=4)
    scale = states.astype(float).std(0)
    for column, counts in enumerate(times):
        weights = counts[train.groups].astype(float)
        positives, negatives = (weights[train.labels == label].sum() for label in (1, 0))
        weights *= np.where(train.labels == 1, negatives / positives, 1)
        model = LogisticRegression(C=1 / (0.01 * weights.sum()), tol=1e-10, max_iter=5000)
        model.fit(states / scale, train.labels, sample_weight=weights)
        np.testing.assert_allclose(weight[column], model.coef_[0] / scale, atol=2e-3)
        assert bias[column] == pytest.approx(model.intercept_[0], abs=2e-3)


def test_the_deviation_is_that_of_fresh_training_samples():
    states, test = sample(99, groups=200)
    fresh = []
    for seed in range(100, 300):
        others, train = sample(seed)
        weights = np.where(train.labels == 1, (train.labels == 0).sum() / (train.labels == 1).sum(), 1)
        model = LogisticRegression(C=1 / (0.01 * weights.sum())).fit(others, train.labels, sample_weight=weights)
        fresh.append(roc_auc_score(test.labels, states @ model.coef_[0]))
    found = []
    for seed in range(5):
        others, train = sample(seed)
        probe, tables = probe_of(), {"train": Matrices.of(others[None]), "test": Matrices.of(states[None])}
        source = SimpleNamespace(of_layer=lambda name, layer, tables=tables: tables[name])
        line = refit(SimpleNamespace(chosen=[probe], task=task_of(train, test)), source, FITTING, 200)
        assert line.startswith("refit bootstrap: 1 probes, 200 resamples each, ")
        found.append(probe.metrics["test"]["auc_refit_deviation"])
    assert 0.6 * np.std(fresh) < np.mean(found) < 1.8 * np.std(fresh)


def test_intervals_widen_by_the_sum_of_squares_and_those_of_one_group_are_unknown():
    _, test = sample(1)
    scores, aurocs = {"auc": 0.8, "auc_low": 0.7, "auc_high": 0.88}, np.array([0.75, 0.8, 0.82, 0.78])
    add_refits(scores, aurocs, 30, test)
    deviation = aurocs.std(ddof=1) * np.sqrt(30 / 29)
    assert scores["auc_refit_deviation"] == pytest.approx(deviation)
    logit = [np.log(value / (1 - value)) for value in (0.7, 0.8)]
    held = [np.bincount(test.groups[test.labels == label], minlength=30) for label in (0, 1)]
    shares = sum(counts / counts.sum() ** 2 for counts in held)  # of each group in the variance
    degrees = shares.sum() ** 2 / (shares**2).sum() - 1
    wide = np.sqrt((logit[1] - logit[0]) ** 2 + (t.ppf(0.975, degrees) * deviation / 0.16) ** 2)
    assert scores["auc_refit_low"] == pytest.approx(1 / (1 + np.exp(wide - logit[1])))
    assert scores["auc_refit_low"] < 0.7 and scores["auc_refit_high"] > 0.88
    add_refits(scores, np.array([0.8, 0.8]), 30, test)
    assert (scores["auc_refit_low"], scores["auc_refit_high"]) == pytest.approx((0.7, 0.88)), "nothing moved, nothing widens"
    add_refits(scores, aurocs, 2, test)
    assert np.isnan([scores["auc_refit_deviation"], scores["auc_refit_low"]]).all()
    perfect = {"auc": 1.0, "auc_low": 0.95, "auc_high": 1.0}
    add_refits(perfect, aurocs, 30, test)
    assert perfect["auc_refit_high"] == 1 and 0 < perfect["auc_refit_low"] < 0.95
