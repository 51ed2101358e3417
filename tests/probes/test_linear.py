"""Linear probes, metrics and intervals against scikit-learn and hand-worked examples."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from utils.probes.labels import Labelled
from utils.probes.linear import train
from utils.probes.standardised import fold, standardisation
from utils.probes.training import Settings
from utils.scores.baselines import majority_logits, read_token_logits
from utils.scores.intervals import auroc_interval, balanced_accuracy_interval, interval, pair_wins
from utils.scores.metrics import at_threshold, auroc, scores
from utils.scores.thresholds import choose_threshold
from utils.states.matrices import Matrices


def noisy(seed, n=3000, layers=3, hidden_size=12):
    """States whose features differ in scale by a million, with a label that each layer holds more clearly."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, n)
    states = random.normal(size=(layers, n, hidden_size))
    for layer in range(layers):
        states[layer, :, :4] += layer * 0.5 * (labels[:, None] - 0.5)
    states *= 10.0 ** np.linspace(-3, 3, hidden_size)
    states += 100.0 * np.arange(hidden_size)
    return torch.from_numpy(states).float(), labels


def test_probes_rank_as_logistic_regression_does():
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    (states, labels), (held_out, truth) = noisy(0), noisy(1)
    trained = train(Labelled(Matrices.of(states), labels), Labelled(Matrices.of(held_out), truth), Settings())
    logits = trained.probes.logits(Matrices.of(held_out))[:, 0]
    for layer in range(3):
        reference = make_pipeline(StandardScaler(), LogisticRegression()).fit(states[layer], labels)
        assert abs(auroc(logits[layer], truth) - auroc(reference.decision_function(held_out[layer]), truth)) < 0.01
    assert auroc(logits[0], truth) < 0.56 < 0.8 < auroc(logits[2], truth)


def test_a_layer_alone_and_in_company_gives_the_same_probe():
    (states, labels), (held_out, truth) = noisy(0), noisy(1)
    together, alone = (
        train(Labelled(Matrices.of(states[some]), labels), Labelled(Matrices.of(held_out[some]), truth), Settings(epochs=3))
        for some in (slice(None), slice(1, 2))
    )
    torch.testing.assert_close(alone.probes.weight[0], together.probes.weight[1], rtol=1e-3, atol=1e-6)
    assert alone.epoch[0] == together.epoch[1]


def test_the_saved_weights_are_those_of_the_best_epoch_and_not_of_the_last():
    (states, labels), (held_out, truth) = noisy(0, n=60), noisy(1)
    validated = Labelled(Matrices.of(held_out), truth)
    trained = train(Labelled(Matrices.of(states), labels), validated, Settings(epochs=30, learning_rate=0.3))
    logits = trained.probes.logits(Matrices.of(held_out))[:, 0]
    assert np.min(trained.epoch) < 30, "nothing to tell apart: every best epoch is the last"
    for layer, (epoch,) in enumerate(trained.epoch):
        history = [scores[layer][0]["val_balanced_accuracy"] for scores in trained.history]
        assert history[epoch - 1] == max(history)
        measured = at_threshold(logits[layer], truth, trained.threshold[layer][0])["balanced_accuracy"]
        assert measured == pytest.approx(max(history), abs=1e-12)


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


def test_pos_weight_is_the_ratio_of_classes_and_capped():
    (states, labels), (held_out, truth) = noisy(0, n=400), noisy(1, n=100)
    few = np.flatnonzero(labels == 1)[:20]
    chosen = np.sort(np.concatenate([few, np.flatnonzero(labels == 0)[:60]]))
    for cap, expected in ((5.0, 3.0), (2.0, 2.0)):
        trained = train(
            Labelled(Matrices.of(states[:, chosen]), labels[chosen]),
            Labelled(Matrices.of(held_out), truth),
            Settings(epochs=1, pos_weight_cap=cap),
        )
        assert trained.pos_weight == [expected]


def test_threshold_by_hand():
    assert choose_threshold([-3.0, -1.0, 2.0, 5.0], [0, 0, 1, 1]) == 0.5
    assert choose_threshold([1.0, 1.0, 1.0], [0, 1, 1]) == 0.0
    # cutting at -1.5 and at 2.5 is equally good (3 of 4 right in all): the one nearer 0 is taken
    assert choose_threshold([-2.0, -1.0, 2.0, 3.0], [0, 1, 0, 1]) == -1.5


def test_scores_equal_scikit_learn_ties_included():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 500)
    logits = np.round(random.normal(size=500) + labels, 1)
    groups = random.integers(0, 8, 500)
    threshold = choose_threshold(logits, labels)
    found, said = scores(logits, labels, groups, threshold), logits > threshold
    tn, fp, fn, tp = sk.confusion_matrix(labels, said).ravel()
    assert (found["tn"], found["fp"], found["fn"], found["tp"]) == (tn, fp, fn, tp)
    for name, theirs in (
        ("balanced_accuracy", sk.balanced_accuracy_score(labels, said)),
        ("acc", sk.accuracy_score(labels, said)),
        ("f1", sk.f1_score(labels, said)),
        ("precision", sk.precision_score(labels, said)),
        ("pos_accuracy", sk.recall_score(labels, said)),
        ("auc", sk.roc_auc_score(labels, logits)),
    ):
        assert found[name] == pytest.approx(theirs, abs=1e-12), name
    best = max(sk.balanced_accuracy_score(labels, logits > cut) for cut in np.unique(logits))
    assert found["balanced_accuracy"] == pytest.approx(best)
    _, group = np.unique(groups, return_inverse=True)
    wins = pair_wins(logits, labels == 1, group, 8)
    assert wins.sum() / (labels.sum() * (1 - labels).sum()) == pytest.approx(found["auc"], abs=1e-12)


def test_an_undefined_score_is_nan_and_not_zero():
    found = scores([1.0, 2.0], [1, 1], [0, 1], 0.0)
    assert all(np.isnan(found[name]) for name in ("auc", "neg_accuracy", "balanced_accuracy", "balanced_accuracy_low"))


def test_a_probe_that_gives_one_answer_is_named_with_its_figures():
    from utils.sweep.report import one_sided

    labels, groups = [1, 1, 0, 0], [0, 1, 0, 1]
    warning = one_sided("layer3 on test", scores([1.0, 2.0, 3.0, 4.0], labels, groups, 0.0))
    assert "layer3 on test answers positive for all 4" in warning and "negatives 0.0%" in warning
    assert one_sided("layer3 on test", scores([1.0, 2.0, -3.0, 4.0], labels, groups, 0.0)) is None


def test_jackknife_of_a_mean_by_hand_and_no_interval_below_three_groups():
    values = np.array([0.2, 0.5, 0.6])
    low, high = interval(lambda weights: weights @ values / weights.sum(1), 3)
    error = values.std(ddof=1) / np.sqrt(3)  # the jackknife of a mean is the textbook's standard error
    assert (low, high) == pytest.approx(
        (np.clip(values.mean() - 4.302653 * error, 0, 1), np.clip(values.mean() + 4.302653 * error, 0, 1)), abs=1e-6
    )
    assert np.isnan(interval(lambda weights: weights @ values[:2], 2)).all()


@pytest.mark.parametrize("groups", [5, 40])
def test_intervals_cover_what_they_claim_when_groups_differ(groups):
    """Groups with accuracies of their own: the mean over many is covered about 95 times in 100."""
    random, hits, trials = np.random.default_rng(1), 0, 300
    for _ in range(trials):
        quality = np.repeat(random.normal(1.2, 0.5, groups), 60)
        labels = np.tile([0, 1], groups * 30)
        logits = random.normal(size=len(labels)) + quality * (labels - 0.5)
        low, high = balanced_accuracy_interval(logits, labels, np.repeat(np.arange(groups), 60), 0.0)
        hits += low <= 0.7198 <= high  # E Phi(q / 2), q normal(1.2, 0.5): Phi(0.6 / sqrt(1 + 0.25**2))
        if groups < 30:
            auc_low, auc_high = auroc_interval(logits, labels, np.repeat(np.arange(groups), 60))
            assert auc_low < auc_high
    assert 0.90 < hits / trials < 0.99


def test_read_token_baseline_by_hand():
    found = read_token_logits([7, 7, 7, 9], [1, 1, 0, 0], [7, 9, 8])
    np.testing.assert_allclose(found, np.log([2.5 / 1.5, 0.5 / 1.5, 1.0]))
    np.testing.assert_allclose(majority_logits([1, 0, 0, 0], 2), np.log(1 / 3))
