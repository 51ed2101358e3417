"""From token logits to one score a document: every aggregate, what validation chooses, and how it is judged."""

import math
from decimal import Decimal, getcontext

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    roc_auc_score,
    roc_curve,
)

from many_documents import laid_out, named, planted
from utils.base.files import csv_text
from utils.data.sequences import Sequences
from utils.scores.documents import aggregates
from utils.scores.documents.aggregates import AGGREGATES, aggregated
from utils.scores.documents.layout import Documents, documents_of
from utils.scores.documents.platt import INVERSE_PENALTY, platt
from utils.scores.documents.scoring import DOCUMENT_COLUMNS, DOCUMENT_KEY, score_documents, why_not

LENGTHS = (1, 2, 3, 4, 5, 9, 10, 11, 15, 16, 17, 33, 70)


def slow_noisy_or(tokens, digits=60):
    """In so many decimal digits: log(P / (1 - P)), P = 1 - the product of 1 - sigmoid."""
    getcontext().prec = digits
    none = math.prod(1 / (1 + Decimal(token).exp()) for token in tokens)
    return float(((1 - none) / none).ln())


def slow_window(tokens, width):
    if len(tokens) < width:
        return sum(tokens) / len(tokens)
    return max(sum(tokens[i : i + width]) / width for i in range(len(tokens) - width + 1))


def slow_ema(tokens, share):
    values = [tokens[0]]
    for token in tokens[1:]:
        values.append(share * token + (1 - share) * values[-1])
    return max(values)


def top(tokens, count):
    kept = sorted(tokens)[-count:]
    return sum(kept) / len(kept)


SLOW = {
    "max": max,
    "mean": lambda tokens: sum(tokens) / len(tokens),
    "top-3 mean": lambda tokens: top(tokens, 3),
    "top-10 mean": lambda tokens: top(tokens, 10),
    "noisy-or": slow_noisy_or,
    "log-sum-exp": lambda tokens: math.log(math.fsum(map(math.exp, tokens))),
    "log-mean-exp": lambda tokens: math.log(math.fsum(map(math.exp, tokens)) / len(tokens)),
    "window-4 mean max": lambda tokens: slow_window(tokens, 4),
    "window-16 mean max": lambda tokens: slow_window(tokens, 16),
    "ema-0.1 max": lambda tokens: slow_ema(tokens, 0.1),
    "ema-0.3 max": lambda tokens: slow_ema(tokens, 0.3),
}


def by_name(tokens):
    """{aggregate: score} of one document's tokens in reading order."""
    documents = laid_out([len(tokens)])[0]
    values = np.empty((1, len(tokens)))
    values[0, documents.columns] = tokens
    return dict(zip(AGGREGATES, aggregated(values, documents)[0, :, 0].tolist(), strict=True))


def test_every_aggregate_is_that_of_a_plain_loop(monkeypatch):
    monkeypatch.setattr(aggregates, "BLOCK_CELLS", 150)  # several blocks of documents and of probes
    assert SLOW.keys() == AGGREGATES.keys()
    documents, owner, place = laid_out(LENGTHS * 3)
    logits = np.random.default_rng(1).normal(-8, 6, (5, len(owner)))
    found = aggregated(logits, documents)
    assert found.shape == (5, len(AGGREGATES), len(documents))
    for probe in range(5):
        for document in range(len(documents)):
            mine = np.flatnonzero(owner == document)
            tokens = logits[probe, mine[np.argsort(place[mine])]].tolist()
            np.testing.assert_allclose(found[probe, :, document], [SLOW[name](tokens) for name in AGGREGATES], rtol=1e-12)


def test_worked_example():
    found = by_name([0.0, 2.0, -1.0, 1.0])
    e = math.e
    assert found == pytest.approx(
        {
            "max": 2,
            "mean": 0.5,
            "top-3 mean": 1,
            "top-10 mean": 0.5,
            "noisy-or": math.log(2 * (1 + e**2) * (1 + 1 / e) * (1 + e) - 1),
            "log-sum-exp": math.log(1 + e**2 + 1 / e + e),
            "log-mean-exp": math.log((1 + e**2 + 1 / e + e) / 4),
            "window-4 mean max": 0.5,
            "window-16 mean max": 0.5,
            "ema-0.1 max": 0.2,
            "ema-0.3 max": 0.6,
        }
    )


def test_the_order_of_tokens_matters_to_those_that_say_so():
    tokens = np.random.default_rng(2).normal(0, 3, 40)
    forward, backward = by_name(tokens), by_name(np.sort(tokens))
    for name, kind in AGGREGATES.items():
        assert (forward[name] == pytest.approx(backward[name], abs=1e-9)) != kind.ordered, name


def test_a_document_scores_the_same_alone_and_among_others():
    documents, owner, place = laid_out(LENGTHS)
    logits = np.random.default_rng(3).normal(0, 5, (7, len(owner)))
    together = aggregated(logits, documents)
    for document in (0, 4, 9, 12):
        mine = np.flatnonzero(owner == document)
        alone = laid_out([len(mine)])[0]
        tokens = np.empty((7, len(mine)))
        tokens[:, alone.columns] = logits[:, mine[np.argsort(place[mine])]]
        assert np.array_equal(aggregated(tokens, alone)[:, :, 0], together[:, :, document])
        assert np.array_equal(aggregated(tokens[2:3], alone)[0], aggregated(tokens, alone)[2])


@pytest.mark.parametrize("base", [60.0, -60.0, -29.999999, -30.000001, -800.0])
def test_noisy_or_of_extreme_logits_keeps_their_order(base):
    rising = base + np.linspace(0, 1e-6, 5)
    found = [by_name([value, base, base])["noisy-or"] for value in rising]
    assert (np.diff(found) > 0).all()
    np.testing.assert_allclose(found, [slow_noisy_or([value, base, base], digits=400) for value in rising], rtol=1e-12)
    if base == 60:
        assert len({1 - (1 - expit(value)) * (1 - expit(base)) ** 2 for value in rising}) == 1  # what it must not do


def test_a_logit_that_is_not_finite_undoes_its_document_only():
    documents, owner, _ = laid_out([3, 5, 20])
    for bad in (np.nan, np.inf, -np.inf):
        logits = np.random.default_rng(4).normal(size=(2, len(owner)))
        sound = aggregated(logits, documents)
        logits[1, np.flatnonzero(owner == 1)[0]] = bad
        found = aggregated(logits, documents)
        assert np.isnan(found[1, :, 1]).all()
        found[1, :, 1] = sound[1, :, 1]
        assert np.array_equal(found, sound)


def windowed():
    """Three documents: 4 in two windows that overlap, 7 all negative, 3 with no known truth; one special token before."""
    labels = np.full((4, 6), -1, dtype=np.int8)
    labels[0, 1:4], labels[1, 3:5], labels[2, 1:6] = [0, 1, 0], [0, 0], 0
    tokenizer = {"before": [1], "after": [], "vocabulary": 9}
    return Sequences(
        np.zeros((4, 6), dtype=np.int32),
        np.array([5, 5, 6, 4], dtype=np.int32),
        labels,
        np.array([4, 4, 7, 3], dtype=np.int32),
        np.array([2, 2, 5, 6], dtype=np.int32),
        np.zeros(4, dtype=np.int32),
        np.array([0, 2, 0, 0]),
        {"tokenizer": tokenizer},
        ["three", "four", "seven"],
    )


def test_documents_of_windows():
    sequences = windowed()
    sequence, position, _ = sequences.labelled()
    sequence, position = np.append(sequence, [3, 3]), np.append(position, [1, 2])  # of the document without known truth
    mixed = np.array([9, 4, 11, 0, 3, 1, 2, 10, 8, 7, 6, 5])
    found = documents_of(sequences, sequence[mixed], position[mixed])
    assert mixed[found.columns].tolist() == list(range(10))
    assert found.counts.tolist() == [5, 5] and found.numbers.tolist() == [4, 7] and found.labels.tolist() == [1, 0]
    assert found.groups.tolist() == [2, 5] and found.lengths.tolist() == [6, 5] and found.texts == ["four", "seven"]
    assert found.buckets == []
    fewer = documents_of(sequences, sequence[5:], position[5:])  # none of document 4
    assert fewer.numbers.tolist() == [7] and fewer.columns.tolist() == [0, 1, 2, 3, 4]
    no_tokens = documents_of(sequences)
    assert no_tokens.numbers.tolist() == [4, 7] and no_tokens.counts.tolist() == [0, 0] and no_tokens.texts == found.texts
    sequences.metadata["length_buckets"] = [*"abcd", "tiny", *"fg", None, "h", "huge"]
    assert documents_of(sequences).buckets == ["tiny", "no bucket"]
    with pytest.raises(ValueError, match="twice"):  # row 0 and row 1 both show place 2 of document 4
        documents_of(sequences, np.array([0, 1]), np.array([3, 1]))


def test_what_is_chosen_is_chosen_on_validation():
    strengths = {"val": [0, 4, 0, 4], "test": [0, 2, 6, 0]}
    documents, logits = planted(5, strengths)
    logits["val"][3] = logits["val"][1]  # ties with an earlier probe
    found = score_documents(documents, logits, named(4), "x", 0)
    assert found.winner.name["layer_idx"] == 1 and found.winner.index == 1 and found.winner.name["aggregate"] == "max"
    table = {(row["layer_idx"], row["aggregate"], row["split"]): row["auc"] for row in found.rows if row["bucket"] == "all"}
    assert len(table) == 4 * len(AGGREGATES) * 2
    assert max(table, key=lambda key: table[key] if key[2] == "test" else 0)[0] == 2
    assert table[1, "max", "val"] == max(value for key, value in table.items() if key[2] == "val")
    swapped = {"val": "test", "test": "val"}
    other = score_documents(
        {swapped[split]: those for split, those in documents.items()},
        {swapped[split]: those for split, those in logits.items()},
        named(4),
        "x",
        0,
    )
    assert other.winner.index == 2
    val, test = other.winner.aurocs
    assert val - test > 0.3 and other.winner.scores["test"]["all"]["optimism"] == val - test


def test_scores_are_those_of_scikit_learn():
    documents, logits = planted(6, {"val": [2.5, 0], "test": [2.5, 0]})
    found = score_documents(documents, logits, named(2), "x", -4)
    winner, those = found.winner, documents["test"]
    slope, intercept = winner.platt
    assert (slope, intercept) == platt(winner.values["val"], documents["val"].labels)
    values, probabilities = winner.values["test"], expit(slope * winner.values["test"] + intercept)
    for bucket, scores in winner.scores["test"].items():
        low, high = np.quantile(documents["val"].lengths, [1 / 3, 2 / 3], method="inverted_cdf")
        kept = {
            "a": those.lengths > 0,
            "s": those.lengths <= low,
            "l": those.lengths > high,
            "m": (those.lengths > low) & (those.lengths <= high),
        }[bucket[0]]
        true = those.labels[kept]
        fpr, tpr, _ = roc_curve(true, values[kept], drop_intermediate=False)
        expected = {
            "auc": roc_auc_score(true, values[kept]),
            "auprc": average_precision_score(true, values[kept]),
            "brier": brier_score_loss(true, probabilities[kept]),
            "fpr_at_95_tpr": fpr[tpr >= 0.95].min(),
            "balanced_accuracy": balanced_accuracy_score(true, values[kept] > winner.threshold),
            "n": kept.sum(),
            "pos_ratio": true.mean(),
            "groups": len(set(those.groups[kept].tolist())),
        }
        assert {name: scores[name] for name in expected} == pytest.approx(expected)
        assert scores["auc_low"] < scores["auc"] < scores["auc_high"]
    assert len(winner.scores["test"]) == 4
    best = max(
        balanced_accuracy_score(documents["val"].labels, winner.values["val"] > cut) for cut in winner.values["val"] - 1e-9
    )
    assert winner.scores["val"]["all"]["balanced_accuracy"] == pytest.approx(best)


def test_platt_minimises_its_loss():
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 2, 60)
    scores = 1000 + 50 * (rng.normal(size=60) + labels)
    standard = (scores - scores.mean()) / scores.std()

    def loss(weights):
        return (
            INVERSE_PENALTY * np.logaddexp(0, (1 - 2 * labels) * (weights[0] * standard + weights[1])).sum()
            + weights[0] ** 2 / 2
        )

    slope, bias = minimize(loss, [0, 0], tol=1e-12).x
    found = platt(scores, labels)
    np.testing.assert_allclose(found[0] * scores + found[1], slope * standard + bias, atol=2e-3)
    parted = platt(labels * 2.0, labels)
    assert np.isfinite(parted).all() and parted[0] > 0
    for some, truth in ((np.ones(60), labels), (scores, np.ones(60)), (np.where(labels, np.nan, scores), labels)):
        assert np.isnan(platt(some, truth)).all()


@pytest.mark.slow
def test_noise_is_not_found_out_of_chance_and_its_interval_covers_a_half():
    covered, optimism, times = 0, [], 60
    for seed in range(times):
        documents, logits = planted(100 + seed, {"val": [0] * 4, "test": [0] * 4}, documents=60, groups=20)
        winner = score_documents(documents, logits, named(4), "x", 0).winner
        scores = winner.scores["test"]["all"]
        covered += scores["auc_low"] <= 0.5 <= scores["auc_high"]
        optimism.append(scores["optimism"])
    assert covered >= 0.88 * times  # .95, less two and a half standard errors
    assert np.mean(optimism) > 0.05  # the greatest of 44 validation figures is no estimate


def with_texts(seed, strength):
    """Train, val and test, whose texts hold a word in nine positive documents of ten and one negative."""
    rng, documents, logits = np.random.default_rng(seed), *planted(seed, {s: [strength] for s in ("train", "val", "test")})
    for those in documents.values():
        there = rng.random(len(those)) < np.where(those.labels == 1, 0.9, 0.1)
        those.texts.extend(f"house {'token' if each else 'lamp'} river {number % 7}" for number, each in enumerate(there))
    return documents, logits


def test_baselines_stand_beside():
    documents, logits = with_texts(8, 4.0)
    weak = {split: np.random.default_rng(9).normal(size=values.shape[1]) + values[0] / 4 for split, values in logits.items()}
    undefined = {split: np.full(values.shape[1], np.nan) for split, values in logits.items()}
    found = score_documents(
        documents,
        logits,
        named(1),
        "x",
        -1,
        {"read token": weak, "own probability": undefined, "majority": weak, "neighbours": None},
    )
    assert {name for name, one in found.baselines.items() if one} == {
        "read token",
        "length",
        "tf-idf words",
        "tf-idf characters",
    }
    assert found.best == "tf-idf words" and found.baselines["read token"].name["aggregate"] in AGGREGATES
    scores, pair = found.winner.scores["test"]["all"], (found.winner, found.baselines[found.best])
    gap = float(np.subtract(*(roc_auc_score(documents["test"].labels, one.values["test"]) for one in pair)))
    assert scores["minus_baseline"] == pytest.approx(gap)
    assert scores["minus_baseline_low"] < gap < scores["minus_baseline_high"]
    keys = [tuple(row[name] for name in DOCUMENT_KEY) for row in found.rows]
    assert len(set(keys)) == len(keys) and set(found.rows[0]) <= set(DOCUMENT_COLUMNS)
    assert len(csv_text(DOCUMENT_COLUMNS, found.rows).splitlines()) == len(keys) + 1
    assert sum(row["chosen"] for row in found.rows) == 5 * 2 * 4
    assert all(row["chosen"] == 1 for row in found.rows if row["bucket"] != "all")


def test_the_baselines_choose_on_validation_and_learn_from_train():
    documents, logits = with_texts(10, 4.0)
    scrambled = dict(documents)
    scrambled["train"] = Documents(**{**vars(documents["train"]), "labels": 1 - documents["train"].labels})
    sound, turned = (score_documents(those, logits, named(1), "x", 0) for those in (documents, scrambled))
    assert sound.baselines["tf-idf words"].aurocs[1] > 0.8 and not sound.warnings
    assert turned.baselines["tf-idf words"].aurocs[1] < 0.2 and "tf-idf words of documents on test" in str(turned.warnings)


def test_one_class_flat_scores_and_no_train_leave_nan_and_no_traceback():
    documents, logits = planted(11, {"val": [3, 3], "test": [3, 3]}, documents=20)
    for split, what in (("val", "choose"), ("test", "judge")):
        alike = Documents(**{**vars(documents[split]), "labels": np.ones(20, dtype=np.int8)})
        found = score_documents({**documents, split: alike}, logits, named(2), "x", 0)
        assert what in why_not({**documents, split: alike}) and found.best == ""
        assert all(math.isnan(row["auc"]) for row in found.rows if row["split"] == split)
    assert why_not(documents) is None
    same, _ = planted(11, {"val": [0], "test": [0]}, documents=20, lengths=(8, 9))
    found = score_documents(same, {split: np.zeros((2, 160)) for split in same}, named(2), "x", 0).winner
    assert found.aurocs == (0.5, 0.5) and found.name["aggregate"] == "max"
    assert math.isnan(found.scores["test"]["all"]["brier"])
    assert list(found.scores["test"]) == ["all", "short (at most 8 tokens)"]
    broken = {split: np.concatenate([np.full_like(values[:1], np.nan), values[1:]]) for split, values in logits.items()}
    found = score_documents(documents, broken, named(2), "x", 0)
    assert found.winner.index == 1
    assert all(math.isnan(row["auc"]) and row["n"] == 20 for row in found.rows if row["layer_idx"] == 0)


def test_the_buckets_of_the_file_are_kept():
    names = ["1k", "2k", "1k", "2k"] * 10
    documents, logits = planted(12, {"val": [3], "test": [3]}, documents=40, buckets=names)
    found = score_documents(documents, logits, named(1), "x", 0).winner.scores["test"]
    assert list(found) == ["all", "1k", "2k"] and found["1k"]["n"] == found["2k"]["n"] == 20
