"""Linear probes against scikit-learn and hand-worked examples."""

import numpy as np
import pytest
import torch

from utils.probes.labels import Labelled
from utils.probes.linear import train
from utils.probes.standardised import fold, standardisation
from utils.probes.training import Settings
from utils.scores.metrics import at_threshold, scores
from utils.scores.ranking import auroc
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


def test_a_probe_that_gives_one_answer_is_named_with_its_figures():
    from utils.sweep.report import one_sided

    labels, groups = [1, 1, 0, 0], [0, 1, 0, 1]
    warning = one_sided("layer3 on test", scores([1.0, 2.0, 3.0, 4.0], labels, groups, 0.0))
    assert "layer3 on test answers positive for all 4" in warning and "negatives 0.0%" in warning
    assert one_sided("layer3 on test", scores([1.0, 2.0, -3.0, 4.0], labels, groups, 0.0)) is None
