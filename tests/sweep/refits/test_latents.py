"""Probes on latents: a planted one is found first, probes are scikit-learn's, chance is not sold, test chooses nothing."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from utils.sae.autoencoder import SparseAutoencoder
from utils.sae.chosen import LayerAutoencoder
from utils.sae.encoded import Encoded
from utils.states.matrices import Matrices
from utils.states.positions import Examples
from utils.sweep.fits import Fitting, Task
from utils.sweep.refits.latents import counts
from utils.sweep.refits.latents.compared import probe_latents
from utils.sweep.refits.latents.screening import screen_dimensions, screen_latents
from utils.sweep.refits.latents.sparse import solve_sparse
from utils.sweep.report.latents import latents_report, verdict

pytestmark = pytest.mark.slow

PENALTIES = (0.1, 0.01, 0.001)
FITTING = Fitting(("logistic",), 1, 1e-3, 0, None, PENALTIES, "weighted", None, (0,), 0)
LATENTS, HIDDEN_SIZE, PLANTED, DEAD = 40, 24, 17, 30
SIZES = {"train": 900, "val": 400, "test": 400}


def autoencoder_of(directions, threshold=0.4):
    latents = len(directions)
    thresholds = torch.full((latents,), threshold)
    thresholds[DEAD] = 1e6
    return SparseAutoencoder(directions, torch.zeros(latents), directions, torch.zeros(HIDDEN_SIZE), thresholds)


def made(seed=0, shuffled=False):
    """{split: (states, labels)}, and an autoencoder: latent PLANTED is there at most positives and few negatives."""
    random = np.random.default_rng(seed)
    directions = torch.from_numpy(np.random.default_rng(9).normal(size=(LATENTS, HIDDEN_SIZE))).float()
    directions /= directions.norm(dim=1, keepdim=True)
    splits = {}
    for split, n in SIZES.items():
        labels = (random.random(n) < 0.3).astype(np.int8)
        amounts = (random.random((n, LATENTS)) < 0.05) * random.exponential(size=(n, LATENTS))
        amounts[:, PLANTED] = (random.random(n) < np.where(labels == 1, 0.8, 0.1)) * (1 + random.random(n))
        states = (
            torch.from_numpy(amounts).float() @ directions + 0.05 * torch.from_numpy(random.normal(size=(n, 24))).float()
        )
        splits[split] = states, random.permutation(labels) if shuffled else labels
    return splits, autoencoder_of(directions)


def examples_of(labels, split):
    index = np.arange(len(labels))
    group = index % 20 + 100 * list(SIZES).index(split)
    return Examples(index, np.zeros_like(index), np.zeros_like(index), labels, group, index % 7)


def probed(splits, autoencoder, chosen=()):
    """A sweep as far as it is needed, whose best baseline knows nothing, and its layers of latents."""
    examples = {split: examples_of(labels, split) for split, (_, labels) in splits.items()}
    labels = {split: found.labels[None] for split, found in examples.items()}
    tables = {split: Matrices.of(states[None]) for split, (states, _) in splits.items()}
    data = SimpleNamespace(prevalence=0.3, target_token=None)
    whole = {split: SimpleNamespace(documents=np.arange(len(found))) for split, found in examples.items()}
    nothing = {split: {"auc": 0.5, "auc_low": np.nan, "auc_high": np.nan} for split in splits}
    sweep = SimpleNamespace(
        task=Task(examples, labels, np.ones((len(examples["train"]), 1), dtype=bool), (0,)),
        question=SimpleNamespace(lag=-1, data=data, sequences=whole, key=(0, -1)),
        chosen=list(chosen),
        best="majority",
        best_logits={split: np.zeros(len(found)) for split, found in examples.items()},
        baselines={"majority": nothing, "own probability": None},
        of_sequences=True,
        shifted=False,
        target="planted",
        lag=-1,
    )
    source = SimpleNamespace(tables=tables, of_layer=lambda split, layer: tables[split])
    return sweep, probe_latents(sweep, source, [LayerAutoencoder(3, Path("sae"), autoencoder)], FITTING)


@pytest.fixture(scope="module")
def planted():
    splits, autoencoder = made()
    return splits, autoencoder, *probed(splits, autoencoder)


def by_scikit_learn(splits, autoencoder, which, l2):
    """{split: logits} of latents, of an autoencoder by its formula; a balanced logistic loss on standardised columns."""
    columns = {split: autoencoder.encode(states).double().numpy()[:, which] for split, (states, _) in splits.items()}
    labels = splits["train"][1]
    weights = np.where(labels == 1, (labels == 0).sum() / (labels == 1).sum(), 1.0)
    mean, deviation = columns["train"].mean(0), columns["train"].std(0)
    model = LogisticRegression(C=1 / (l2 * weights.sum()), tol=1e-10, max_iter=10000)
    model.fit((columns["train"] - mean) / deviation, labels, sample_weight=weights)
    return {split: model.decision_function((values - mean) / deviation) for split, values in columns.items()}


def test_the_planted_latent_is_the_first_and_its_probe_is_scikit_learns(planted):
    splits, autoencoder, _, (layer,) = planted
    assert layer.latents[0].which.tolist() == [PLANTED] and layer.screened.order[0] == PLANTED
    for found in layer.latents:
        logits = by_scikit_learn(splits, autoencoder, found.which, found.probe.l2)
        assert np.allclose(found.probe.logits["val"], logits["val"], atol=2e-3)
        for split in ("val", "test") if found.chosen else ("val",):
            expected = roc_auc_score(splits[split][1], logits[split])
            assert found.probe.metrics[split]["auc"] == pytest.approx(expected, abs=1e-4)
    assert layer.latents[0].probe.metrics["val"]["auc"] > 0.8


def test_counts_are_powers_of_two_and_all_that_are_ever_active(planted):
    *_, (layer,) = planted
    assert [found.count for found in layer.latents] == [1, 2, 4, 8, 16, 32, LATENTS - 1], "one is dead"
    assert DEAD not in layer.screened.order and layer.screened.difference[DEAD] == 0
    assert [found.count for found in layer.dimensions] == [1, 2, 4, 8, 16], "all dimensions are the dense probe"


def test_validation_chooses_one_count_and_only_that_is_scored_on_test(planted):
    *_, (layer,) = planted
    for found in (layer.latents, layer.dimensions):
        best = max(one.probe.metrics["val"]["auc"] for one in found)
        (chosen,) = (one for one in found if one.chosen)
        assert chosen is next(one for one in found if one.probe.metrics["val"]["auc"] == best)
        assert [one for one in found if "test" in one.probe.metrics] == [chosen]


def test_of_equally_good_counts_the_smallest_is_chosen(planted):
    splits, autoencoder, *_ = planted
    copies = autoencoder.encoder[PLANTED].expand(LATENTS, -1).contiguous()
    _, (layer,) = probed(splits, autoencoder_of(copies))
    assert len({found.probe.metrics["val"]["auc"] for found in layer.latents}) == 1
    assert layer.best.count == 1 and layer.screened.order[:3].tolist() == [0, 1, 2]


def test_nothing_of_test_moves_what_is_chosen(planted):
    splits, autoencoder, _, (layer,) = planted
    states, labels = splits["test"]
    _, (other,) = probed({**splits, "test": (states.flip(0) * 3, 1 - labels)}, autoencoder)
    assert [one.chosen for one in other.latents] == [one.chosen for one in layer.latents]
    assert [one.probe.l2 for one in other.latents] == [one.probe.l2 for one in layer.latents]
    assert all(
        torch.equal(one.probe.tensors["weight"], two.probe.tensors["weight"])
        for one, two in zip(other.latents, layer.latents, strict=True)
    )
    assert other.best.probe.metrics["test"]["auc"] != layer.best.probe.metrics["test"]["auc"]


def test_differences_are_paired_and_the_search_counts_these_probes_too(planted):
    splits, _, sweep, (layer,) = planted
    test = layer.best.probe.metrics["test"]
    dense = layer.dense.metrics["test"]["auc"]
    assert test["minus_dense"] == pytest.approx(test["auc"] - dense) and "minus_dense" not in layer.dense.metrics["test"]
    assert test["minus_baseline"] == pytest.approx(test["auc"] - 0.5)
    assert test["minus_baseline_low"] > 0 and test["probes_together"] == 3
    assert test["auc_band_low"] <= test["auc_low"]
    again, (with_sweep,) = probed(splits, planted[1], [layer.dense])
    assert with_sweep.dense.logits is layer.dense.logits, "the sweep's own dense probe is taken"
    assert with_sweep.best.probe.metrics["test"]["probes_together"] == 3


def test_shuffled_labels_are_never_sold_as_found():
    aurocs, sold = [], 0
    for seed in range(6):
        splits, autoencoder = made(seed, shuffled=True)
        sweep, (layer,) = probed(splits, autoencoder)
        test = layer.best.probe.metrics["test"]
        aurocs.append(test["auc"])
        report = latents_report(sweep, [layer], [[]])
        sold += "better than majority" in report
        assert ("better than majority" in report) == (test["minus_baseline_low"] > 0)
        assert ("better than the dense probe" in report) == (test["minus_dense_low"] > 0)
    assert np.mean(aurocs) == pytest.approx(0.5, abs=0.03) and sold <= 1


@pytest.mark.parametrize(
    "low, high, words",
    [
        (0.001, 0.2, "better than"),
        (-0.2, -0.001, "worse than"),
        (-0.1, 0.1, "not shown to differ from"),
        (0, 0.1, "not shown"),
    ],
)
def test_what_is_said_of_a_difference_follows_its_interval(low, high, words):
    assert words in verdict({"minus_dense": 0.05, "minus_dense_low": low, "minus_dense_high": high}, "minus_dense")
    assert "no interval" in verdict({"minus_dense_low": np.nan, "minus_dense_high": np.nan}, "minus_dense")


def test_the_difference_of_a_latent_that_is_on_or_off_is_twice_its_auroc_less_one():
    random = np.random.default_rng(0)
    labels = (random.random(500) < 0.2).astype(np.int8)
    on = random.random((500, 6)) < np.linspace(0.05, 0.9, 6) * np.where(labels == 1, 0.9, 0.4)[:, None]
    on[:, 4] = on[:, 2]
    on[:, 3] = False
    screened = screen_latents(sparse(on * [1, 10, 0.1, 1, 7, 3]), labels)
    expected = [2 * roc_auc_score(labels, column) - 1 for column in on.T]
    assert np.allclose(screened.difference, expected, atol=1e-6), "whatever the height"
    assert screened.density["all"].tolist() == pytest.approx(on.mean(0).tolist())
    assert screened.density["positives"][1] == pytest.approx(on[labels == 1, 1].mean())
    assert screened.order.tolist().index(2) + 1 == screened.order.tolist().index(4), "of equal ones the first"
    assert 3 not in screened.order


def test_dimensions_are_screened_by_the_same_rule_about_their_mean():
    random = np.random.default_rng(1)
    labels = (random.random(700) < 0.4).astype(np.int8)
    states = random.normal(size=(700, 5)) * [1, 100, 0.01, 1, 0] + [0, 1e4, 0, 5, 3]
    states[:, 2] += 0.01 * labels
    screened = screen_dimensions(Matrices.of(torch.from_numpy(states).float()[None]), labels)
    apart = states[labels == 1].mean(0) - states[labels == 0].mean(0)
    distance = np.abs(states - states.mean(0)).mean(0)
    assert np.allclose(screened.difference[:4], (apart / distance.clip(1e-9))[:4], rtol=1e-2, atol=1e-3)
    assert screened.order[0] == 2 and 4 not in screened.order


def sparse(dense):
    from scipy.sparse import csr_array

    return Encoded(csr_array(np.asarray(dense, dtype=np.float32)))


def test_many_latents_are_solved_as_few_are(monkeypatch):
    splits, autoencoder = made(3)
    _, (held,) = probed(splits, autoencoder)
    monkeypatch.setattr(counts, "MOST_DENSE", 8)
    _, (read,) = probed(splits, autoencoder)
    assert read.latents[-1].count == held.latents[-1].count == LATENTS - 1
    assert read.latents[-1].probe.l2 == held.latents[-1].probe.l2
    assert np.allclose(read.latents[-1].probe.logits["val"], held.latents[-1].probe.logits["val"], atol=2e-3)
    notes = read.latents[-1].probe.notes
    assert notes["converged"] and notes["gradient"] < 1e-6 and not notes["separable"]


def test_without_a_penalty_parted_classes_are_told():
    labels, ones = np.array([0, 0, 1, 1], dtype=np.float32)[:, None], np.ones((4, 1))
    parted = solve_sparse(sparse([[1, 0], [0, 1], [2, 0], [3, 1]]), None, labels, ones, [0.0, 0.1])
    assert parted.solutions.penalties == [0.1, 0.0]
    assert parted.solutions.separable.tolist() == [[False, True]] and parted.solutions.converged.tolist() == [[True, False]]
