"""Many saved probes on the same examples are a search: their band and p-values against plain enumerations."""

from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
import pytest
from scipy.ndimage import uniform_filter1d

from utils.data.sequences import Sequences
from utils.saved.evaluation import Answer, Asked, scored_together, scores_of
from utils.scores.search.searched import SEARCH
from utils.states.positions import Question, examples_at

EXACT = 2.5 * np.sqrt(0.25 / 999)  # how far a share of 999 deals may lie from that of all


@dataclass
class Probe:
    threshold: float = 0.0
    trained_share: float = 0.5
    lag: int = 0


def dataset(labels, groups=None):
    """Windows of labels [documents, tokens], each a document."""
    documents, tokens = labels.shape
    numbers = np.arange(documents, dtype=np.int32)
    metadata = {
        "tokenizer": {"before": [], "after": [], "vocabulary": 9},
        "default_lag": 0,
        "document_hashes": [str(number) for number in numbers],
        "groups": [str(number) for number in numbers],
        "targets": [{"name": "x", "token": None, "piece": None, "prevalence": 0.5}],
    }
    return Sequences(
        np.full((documents, tokens), 5, dtype=np.int32),
        np.full(documents, tokens, dtype=np.int32),
        labels.astype(np.int8),
        numbers,
        numbers if groups is None else np.asarray(groups, dtype=np.int32),
        np.zeros(documents, dtype=np.int32),
        np.zeros(documents, dtype=np.int64),
        metadata,
    )


def answer_of(labels, logits, groups=None, scored=None, seen=None):
    """An answer of as many probes as logits have rows. scored, seen: bool [probes, documents]."""
    sequences, probes = dataset(labels, groups), [Probe() for _ in logits]
    everything = np.ones((len(probes), len(labels)), dtype=bool)
    scored, seen = everything if scored is None else scored, ~everything if seen is None else seen
    examples = examples_at(sequences, 0)

    class Data:
        path = "data"

    question = Question(0, 0, {"data": sequences}, {"data": examples})
    asked = Asked(Data(), question, probes, seen, everything[:, 0], scored)
    return Answer(asked, examples, np.asarray(logits, dtype=np.float32))


def p_of(aurocs, true):
    return np.mean(np.array(aurocs) >= true - 1e-6)


def shifted(labels):
    """Every way to turn the labels of each document around."""
    turned = [[np.roll(row, step) for step in range(len(row))] for row in labels]
    return [np.concatenate(each) for each in product(*turned)]


def exchanged(labels):
    """Every other choice of as many positives."""
    return [np.isin(np.arange(len(labels)), each) for each in combinations(range(len(labels)), labels.sum())]


def auroc_of(labels, logits):
    """The share of pairs that rank right."""
    return np.mean(logits[labels == 1][:, None] > logits[labels == 0])


def best_of_all(dealt, logits, aurocs):
    """The p-value of the maximum over the probes, each in its own standard deviations, from all deals."""
    every = np.array([[auroc_of(each, row) for each in dealt] for row in logits])
    centre, spread = every.mean(1), every.std(1)
    largest = ((every - centre[:, None]) / spread[:, None]).max(0)
    return p_of(largest, ((aurocs - centre) / spread).max())


@pytest.mark.parametrize("signal", [0, 3])
@pytest.mark.parametrize("of_tokens", [True, False])
def test_p_values_are_those_of_every_deal(of_tokens, signal):
    """Tokens turn around within their document, labels of whole texts change places."""
    random = np.random.default_rng(4)
    if of_tokens:
        labels = (uniform_filter1d(random.normal(size=(4, 6)), 4, axis=1, mode="wrap") > 0).astype(int)
        labels[:, :2] = 0, 1
        flat, dealt = labels.ravel(), shifted(labels)
    else:
        flat = np.array([1, 0, 0, 1, 1, 0, 0, 1, 0])
        labels, dealt = np.concatenate([np.full((9, 3), -1), flat[:, None]], axis=1), exchanged(flat)
    logits = random.normal(size=(5, len(flat))).astype(np.float32) + np.float32(signal) * flat
    answer = answer_of(labels, logits)
    found, true = scores_of(answer), np.array([auroc_of(flat, row) for row in logits])
    wanted = [p_of([auroc_of(each, row) for each in dealt], auc) for row, auc in zip(logits, true, strict=True)]
    np.testing.assert_allclose([one["permutation_p"] for one in found], wanted, atol=EXACT)
    best = min(one["permutation_p_in_sweep"] for one in found)
    assert best == pytest.approx(best_of_all(dealt, logits, true), abs=EXACT)
    assert (max(wanted) < 0.1) == (best < 0.1) == bool(signal), "not both are here, noise and signal"
    assert [one["probes_together"] for one in found] == [5] * 5
    for one in found:
        assert one["auc_band_low"] <= one["auc_low"] <= one["auc"] <= one["auc_high"] <= one["auc_band_high"]


def of_groups(documents=12, probes=5, tokens=6):
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, (documents, tokens))
    return labels, random.normal(size=(probes, labels.size)) + 0.5 * labels.ravel()


def test_only_probes_that_are_scored_on_the_same_examples_count_together():
    labels, logits = of_groups()
    scored = np.ones((5, 12), dtype=bool)
    scored[[1, 3], 4] = False  # these two have seen a document
    found = scores_of(answer_of(labels, logits, scored=scored))
    assert [one["probes_together"] for one in found] == [3, 2, 3, 2, 3]
    kept = np.arange(12) != 4
    apart = {
        **dict(zip((0, 2, 4), scores_of(answer_of(labels, logits[::2])), strict=True)),
        **dict(zip((1, 3), scores_of(answer_of(labels[kept], logits[1::2][:, np.repeat(kept, 6)])), strict=True)),
    }
    for index, one in enumerate(found):
        assert {name: one[name] for name in SEARCH} == pytest.approx({name: apart[index][name] for name in SEARCH})
    all_five = scores_of(answer_of(labels, logits))
    assert all_five[0]["auc_band_high"] > found[0]["auc_band_high"], "more probes do not widen the band"


def test_a_probe_that_has_seen_the_texts_has_none_and_counts_for_none():
    labels, logits = of_groups()
    seen = np.zeros((5, 12), dtype=bool)
    seen[2, 7] = True
    answer = answer_of(labels, logits, seen=seen)  # with --keep_seen
    found = scored_together(answer, dict(enumerate(scores_of(answer))))
    assert found[2] == {} and [one.get("probes_together") for one in found] == [4, 4, None, 4, 4]
    assert "permutation_p" not in scores_of(answer)[2] and scores_of(answer)[2]["n"] == 72


@pytest.mark.parametrize("groups, given", [(2, False), (3, True)])
def test_too_few_groups_give_no_p(groups, given):
    labels, logits = of_groups()
    answer = answer_of(labels, logits, np.arange(12) % groups)
    assert [np.isfinite(one["permutation_p"]) for one in scores_of(answer)] == [given] * 5
    assert [np.isfinite(one["permutation_p_in_sweep"]) for one in scores_of(answer)] == [given] * 5


def test_without_a_class_nothing_is_said():
    labels, logits = of_groups()
    for one in scores_of(answer_of(np.ones_like(labels), logits)):
        assert all(np.isnan(one[name]) for name in SEARCH)
    nothing = scores_of(answer_of(labels, logits, scored=np.zeros((5, 12), dtype=bool)))
    assert [one["n"] for one in nothing] == [0] * 5 and not set(SEARCH) & set(nothing[0])
