"""The baseline `context`, against scikit-learn's own features and by hand; what each lesson holds; what none may see."""

import numpy as np
import pytest

from utils.data.sequences import Sequences
from utils.scores.baselines.context import HASHED, Surroundings, bucket, context_logits, distances, hashed
from utils.scores.baselines.lesson import Lesson
from utils.scores.baselines.tokens import length_logits, neighbour_logits
from utils.scores.ranking import auroc
from utils.states.positions import Examples, examples_at

SIZES = {"train": 4000, "val": 1000, "test": 1000}
WIDTH, KINDS, STOP, LABELLED = 90, 12, 2, 45
CAUSAL = Surroundings(np.arange(KINDS) == STOP, causal=True)
BOTH_SIDES = Surroundings(CAUSAL.ends, causal=False)


def made(n, rule, seed, kinds=KINDS):
    """Sequences of BOS and 89 random tokens, 3 and above; one is labelled by `rule`(ids [n, WIDTH]) -> bool [n]."""
    ids = np.random.default_rng(seed).integers(3, kinds, size=(n, WIDTH)).astype(np.int32)
    ids[:, 0] = 1
    labels = np.full((n, WIDTH), -1, dtype=np.int8)
    labels[:, LABELLED] = rule(ids)
    zeros, numbers = np.zeros(n, dtype=np.int32), np.arange(n, dtype=np.int32)
    frame = {"tokenizer": {"before": [1], "after": []}, "default_lag": 0}
    return Sequences(ids, zeros + WIDTH, labels, numbers, numbers, zeros, zeros.astype(np.int64), frame)


def guessed(rule, surroundings=CAUSAL, kinds=KINDS):
    """Logits, examples and sequences by split."""
    sequences = {split: made(n, rule, seed, kinds) for seed, (split, n) in enumerate(SIZES.items())}
    examples = {split: examples_at(those, 0) for split, those in sequences.items()}
    lesson = Lesson.of(examples["train"], sequences["train"])
    return context_logits(lesson, examples, sequences, surroundings), examples, sequences


def on_test(rule, surroundings=CAUSAL, kinds=KINDS):
    logits, examples, _ = guessed(rule, surroundings, kinds)
    return auroc(logits["test"], examples["test"].labels)


@pytest.mark.parametrize("back", [0, 1, 7])
def test_each_of_the_last_8_tokens_is_seen_in_its_place(back):
    assert on_test(lambda ids: ids[:, LABELLED - back] < 7) > 0.99


def test_pairs_of_tokens_are_seen_that_no_token_alone_gives_away():
    assert on_test(lambda ids: (ids[:, LABELLED] + ids[:, LABELLED - 1]) % 2 == 0) > 0.95


def test_what_stands_9_to_32_tokens_back_is_seen_without_its_place():
    assert on_test(lambda ids: (ids[:, LABELLED - 31 : LABELLED - 7] == 5).sum(1) > 2) > 0.95
    assert abs(on_test(lambda ids: ids[:, LABELLED - 32] < 7) - 0.5) < 0.06, "the 33rd is out of sight"


def test_a_causal_baseline_sees_nothing_after_the_token_that_is_read():
    def rule(ids):
        return ids[:, LABELLED + 1] < 7

    assert abs(on_test(rule) - 0.5) < 0.06
    assert on_test(rule, BOTH_SIDES) > 0.99
    logits, examples, sequences = guessed(lambda ids: ids[:, LABELLED] < 7)
    for those in sequences.values():
        those.input_ids[:, LABELLED + 1 :] = STOP
    again = context_logits(Lesson.of(examples["train"], sequences["train"]), examples, sequences, CAUSAL)
    assert all(np.array_equal(logits[split], again[split]) for split in SIZES)


def stops_at(ids):
    """Put a stop 9 to 15 tokens before the labelled one, and say where."""
    place = LABELLED - np.random.default_rng(len(ids)).integers(9, 16, len(ids))
    ids[np.arange(len(ids)), place] = STOP
    return LABELLED - place


def test_the_distance_since_a_sentence_ended_is_seen_only_where_it_is_known_what_ends_one():
    def rule(ids):
        return stops_at(ids) % 4 < 2

    assert on_test(rule) > 0.99
    assert abs(on_test(rule, Surroundings(np.zeros(KINDS, dtype=bool), causal=True)) - 0.5) < 0.07


def test_distances_by_hand():
    sequences = made(2, lambda ids: np.array([0, 1]), 0)
    sequences.input_ids[0, [10, LABELLED - 4, LABELLED + 3]] = STOP
    sequences.input_ids[1, 0] = STOP  # BOS is no text
    sequences.starts[:] = 0, 7
    place, since, till = distances(examples_at(sequences, 0), sequences, BOTH_SIDES)
    assert place.tolist() == [LABELLED - 1, LABELLED - 1 + 7]
    assert since.tolist() == [4, LABELLED] and till.tolist() == [3, WIDTH - LABELLED]
    assert len(list(distances(examples_at(sequences, 0), sequences, CAUSAL))) == 2
    found = bucket(np.array([0, 15, 16, 19, 20, 32, 64]))
    assert found.tolist() == [0, 15, 16, 16, 17, 20, 24]


def test_a_large_vocabulary_is_hashed_evenly_and_what_is_planted_is_still_found():
    kinds = 60_000
    surroundings = Surroundings(np.zeros(kinds, dtype=bool), causal=True)

    def rule(ids):
        planted = np.random.default_rng(len(ids)).random(len(ids)) < 0.5
        ids[planted, LABELLED - 2] = kinds - 5
        return planted

    assert on_test(rule, surroundings, kinds) > 0.99
    counts = np.bincount(hashed(np.arange(HASHED)), minlength=HASHED)
    assert len(counts) == HASHED and counts.max() <= 3


def test_context_is_scikit_learns_regression_on_features_written_out_by_name():
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(0)
    ours, examples, sequences = guessed(lambda ids: random.random(len(ids)) < np.where(ids[:, LABELLED - 3] < 7, 0.8, 0.3))

    def named(ids):
        before = ids[LABELLED - 31 : LABELLED + 1].tolist()[::-1]  # the token that is read, the one before it, ...
        found = {f"place {back}: {token}": 1.0 for back, token in enumerate(before[:8])}
        found[f"pair read: {before[1::-1]}"] = found[f"place in document: {bucket(np.array(LABELLED - 1))}"] = 1.0
        found[f"since: {bucket(np.array(LABELLED))}"] = 1.0
        for back, token in enumerate(before):
            name = f"near {token}" if back < 8 else f"far {token}"
            found[name] = found.get(name, 0) + (1.0 if back < 8 else 24**-0.5)
        for back in range(7):
            name = f"pair {before[back]} {before[back + 1]}"
            found[name] = found.get(name, 0) + 1.0
        return found

    written = {split: [named(ids) for ids in those.input_ids] for split, those in sequences.items()}
    vectorizer = DictVectorizer().fit(written["train"])
    matrices = {split: vectorizer.transform(those) for split, those in written.items()}
    tried = []
    for inverse_penalty in (0.01, 0.1, 1.0):
        model = LogisticRegression(C=inverse_penalty, max_iter=2000, tol=1e-6)
        model.fit(matrices["train"], examples["train"].labels)
        theirs = {split: model.decision_function(matrix) for split, matrix in matrices.items()}
        tried.append((auroc(theirs["val"], examples["val"].labels), theirs))
    best = max(tried, key=lambda pair: pair[0])[1]
    assert all(np.abs(best[split] - ours[split]).max() < 0.03 for split in SIZES)
    assert auroc(ours["test"], examples["test"].labels) > 0.7


def examples_of(labels):
    n = np.arange(len(labels))
    return Examples(n * 0, n, n, np.asarray(labels, dtype=np.int8), n, n)


@pytest.mark.parametrize(
    ("positives", "negatives", "kept"),
    [(10, 50, (10, 50)), (30, 970, (30, 70)), (970, 30, (70, 30)), (500, 500, (50, 50)), (60, 940, (50, 50))],
)
def test_a_lesson_keeps_the_shares_of_the_classes_by_weights(positives, negatives, kept):
    asked = examples_of(np.random.default_rng(0).permutation(np.repeat([1, 0], [positives, negatives])))
    lesson = Lesson.of(asked, None, most=100)
    true = lesson.labels == 1
    assert (true.sum(), (~true).sum()) == kept
    assert np.all(np.diff(lesson.examples.position) > 0) and lesson.weights.mean() == pytest.approx(1)
    assert lesson.weights[true].sum() / lesson.weights.sum() == pytest.approx(positives / (positives + negatives))
    assert np.array_equal(lesson.examples.position, Lesson.of(asked, None, most=100).examples.position)


@pytest.mark.parametrize("baseline", [neighbour_logits, length_logits])
def test_the_weights_of_a_lesson_bring_back_the_logits_of_all_examples(baseline):
    sequences = {split: made(n, lambda ids: ids[:, LABELLED] < 4, seed) for seed, (split, n) in enumerate(SIZES.items())}
    examples = {split: examples_at(those, 0) for split, those in sequences.items()}
    few = Lesson.of(examples["train"], sequences["train"], most=800)
    share = np.mean(examples["train"].labels)
    found = baseline(few, examples, sequences)["test"]
    assert np.mean(1 / (1 + np.exp(-found))) == pytest.approx(share, abs=0.02)
    blind = Lesson(few.examples, few.sequences, np.ones(len(few.weights)))
    assert np.mean(1 / (1 + np.exp(-baseline(blind, examples, sequences)["test"]))) > share + 0.02
