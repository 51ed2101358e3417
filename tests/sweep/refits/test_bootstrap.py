"""The refit bootstrap: a column is the fit of its resample by scikit-learn or by hand, for every exact kind; the deviations
are those of fresh training samples.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import t
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from utils.scores.thresholds import choose_threshold
from utils.states.matrices import Matrices
from utils.states.positions import Examples
from utils.sweep.fits import Fitting, Task
from utils.sweep.refits.bootstrap import add_refits, refit, solutions

SCORES = {
    f"{name}{end}": score
    for name in ("auc", "balanced_accuracy")
    for end, score in (("", 0.8), ("_low", 0.7), ("_high", 0.88))
}
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
    return SimpleNamespace(kind=kind, l2=l2, seed=0, layer=layer, metrics={name: dict(SCORES) for name in ("val", "test")})


def task_of(train, val, test):
    examples = {"train": train, "val": val, "test": test}
    whole = np.ones((len(train), 1), dtype=bool)
    return Task(examples, {name: found.labels[None] for name, found in examples.items()}, whole, (0,))


def refitted(probe, states, examples, resamples):
    """Refit one probe; states: of the three splits. Return the line that is printed."""
    tables = {name: Matrices.of(part[None]) for name, part in zip(("train", "val", "test"), states, strict=True)}
    source = SimpleNamespace(of_layer=lambda name, layer: tables[name], attention=lambda name: tables[name])
    sweep = SimpleNamespace(chosen=[probe], task=task_of(*examples), target=" the", lag=-1)
    return refit(sweep, source, FITTING, resamples)


def test_each_resample_is_the_weighted_fit_of_scikit_learn():
    states, train = sample(0)
    task = task_of(train, train, train)
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


@pytest.mark.parametrize("kind", ["mass_mean", "mass_mean_tilted"])
def test_mass_means_are_those_of_the_examples_repeated(kind):
    states, train = sample(0)
    task = task_of(train, train, train)
    ((weight, bias),) = solutions(probe_of(kind, None), Matrices.of(states[None]), task, 0, FITTING, 4)
    times = np.random.default_rng([0, 0]).multinomial(30, np.full(30, 1 / 30), size=4)
    for column, counts in enumerate(times):
        rows = np.repeat(np.arange(len(train)), counts[train.groups])
        drawn, labels = states[rows].astype(float), train.labels[rows]
        means = [drawn[labels == label].mean(0) for label in (1, 0)]
        by_hand = means[0] - means[1]
        if kind == "mass_mean_tilted":
            by_hand = LinearDiscriminantAnalysis(solver="lsqr", priors=[0.5, 0.5]).fit(drawn, labels).coef_[0]
        cosine = weight[column] @ by_hand / np.linalg.norm(weight[column]) / np.linalg.norm(by_hand)
        assert cosine > 0.995
        assert bias[column] == pytest.approx(-(weight[column] @ (means[0] + means[1])) / 2, abs=1e-3)


def test_every_exact_kind_is_refitted_and_features_of_attention_as_the_logistic_probe_of_them():
    drawn = [sample(seed) for seed in (0, 1, 2)]
    states, examples = zip(*drawn, strict=True)
    found = {}
    for kind in ("logistic", "attention_features", "mass_mean", "mass_mean_tilted"):
        found[kind] = probe_of(kind, 0.01 if kind in ("logistic", "attention_features") else None)
        assert refitted(found[kind], states, examples, 20).startswith("refit bootstrap of ' the' at lag -1: 1 probes, 20 ")
        for scores in found[kind].metrics.values():
            assert scores["auc_refit_deviation"] > 0 and scores["balanced_accuracy_refit_deviation"] > 0
            for name in ("auc", "balanced_accuracy"):
                assert scores[f"{name}_refit_low"] < 0.7 and scores[f"{name}_refit_high"] > 0.88
    assert found["logistic"].metrics == found["attention_features"].metrics
    assert found["mass_mean"].metrics["test"] != found["mass_mean_tilted"].metrics["test"]


@pytest.mark.slow
def test_the_deviations_are_those_of_fresh_training_samples():
    (states, test), (val_states, val) = sample(99, groups=200), sample(98)
    fresh = []
    for seed in range(100, 300):
        others, train = sample(seed)
        weights = np.where(train.labels == 1, (train.labels == 0).sum() / (train.labels == 1).sum(), 1)
        model = LogisticRegression(C=1 / (0.01 * weights.sum())).fit(others, train.labels, sample_weight=weights)
        threshold = choose_threshold(val_states @ model.coef_[0], val.labels)
        logits = states @ model.coef_[0]
        fresh.append((roc_auc_score(test.labels, logits), balanced_accuracy_score(test.labels, logits > threshold)))
    found = []
    for seed in range(5):
        others, train = sample(seed)
        probe = probe_of()
        refitted(probe, (others, val_states, states), (train, val, test), 200)
        scores = probe.metrics["test"]
        found.append([scores[f"{name}_refit_deviation"] for name in ("auc", "balanced_accuracy")])
    ratio = np.mean(found, axis=0) / np.std(fresh, axis=0)
    assert (ratio > 0.6).all() and (ratio < 1.8).all(), ratio


def test_intervals_widen_by_the_sum_of_squares_and_those_of_one_group_are_unknown():
    _, test = sample(1)
    scores, aurocs = {"auc": 0.8, "auc_low": 0.7, "auc_high": 0.88}, {"auc": [0.75, 0.8, 0.82, 0.78]}
    scores |= {"minus_baseline": 0.1, "minus_baseline_low": 0.04, "minus_baseline_high": 0.15}
    add_refits(scores, aurocs, 30, test)
    deviation = np.std(aurocs["auc"], ddof=1) * np.sqrt(30 / 29)
    assert scores["auc_refit_deviation"] == pytest.approx(deviation)
    logit = [np.log(value / (1 - value)) for value in (0.7, 0.8)]
    held = [np.bincount(test.groups[test.labels == label], minlength=30) for label in (0, 1)]
    shares = sum(counts / counts.sum() ** 2 for counts in held)  # of each group in the variance
    far = t.ppf(0.975, shares.sum() ** 2 / (shares**2).sum() - 1) * deviation
    wide = np.sqrt((logit[1] - logit[0]) ** 2 + (far / 0.16) ** 2)
    assert scores["auc_refit_low"] == pytest.approx(1 / (1 + np.exp(wide - logit[1])))
    assert scores["auc_refit_low"] < 0.7 and scores["auc_refit_high"] > 0.88
    assert scores["minus_baseline_refit_low"] == pytest.approx(0.1 - np.hypot(0.06, far))
    assert scores["minus_baseline_refit_high"] == pytest.approx(0.1 + np.hypot(0.05, far))
    add_refits(scores, {"auc": [0.8, 0.8]}, 30, test)
    assert (scores["auc_refit_low"], scores["auc_refit_high"]) == pytest.approx((0.7, 0.88)), "nothing moved, nothing widens"
    assert (scores["minus_baseline_refit_low"], scores["minus_baseline_refit_high"]) == pytest.approx((0.04, 0.15))
    add_refits(scores, aurocs, 2, test)
    assert np.isnan([scores["auc_refit_deviation"], scores["auc_refit_low"], scores["minus_baseline_refit_low"]]).all()
    perfect = {"auc": 1.0, "auc_low": 0.95, "auc_high": 1.0}
    add_refits(perfect, aurocs, 30, test)
    assert perfect["auc_refit_high"] == 1 and 0 < perfect["auc_refit_low"] < 0.95
