"""What a probe must beat, against scikit-learn and by hand: each finds what it may see, and nothing else."""

import numpy as np
import pytest

from utils.data.sequences import Sequences, is_sequence_task
from utils.scores.baselines.compared import all_token_baselines, best_baseline, or_chance, suspicious
from utils.scores.baselines.context import Surroundings
from utils.scores.baselines.lesson import Lesson, logistic_logits
from utils.scores.baselines.texts import text_baselines, tf_idf_logits
from utils.scores.baselines.tokens import length_logits, majority_logits, neighbour_logits, read_token_logits, runs_read
from utils.scores.metrics import scores
from utils.scores.ranking import auroc
from utils.states.positions import examples_at

SIZES = {"train": 400, "val": 200, "test": 200}
WIDTH = 24
NO_ENDS = Surroundings(np.zeros(10, dtype=bool), causal=True)


def made(seed, n, rule, lengths=None, lag=-1):
    """Sequences of random tokens 2 to 9 after BOS, a tenth of the tokens labelled by `rule`(ids, position) -> bool."""
    random = np.random.default_rng(seed)
    ids = random.integers(2, 10, size=(n, WIDTH)).astype(np.int32)
    ids[:, 0] = 1
    lengths = np.full(n, WIDTH) if lengths is None else lengths(random, n)
    labels = np.full((n, WIDTH), -1, dtype=np.int8)
    for row in range(n):
        for position in random.choice(np.arange(2, lengths[row]), 2, replace=False):
            labels[row, position] = rule(ids[row], position, lengths[row])
        ids[row, lengths[row] :] = 0
    zeros = np.zeros(n, dtype=np.int32)
    return Sequences(
        ids,
        lengths.astype(np.int32),
        labels,
        zeros,
        np.arange(n, dtype=np.int32),
        zeros,
        zeros.astype(np.int64),
        {"tokenizer": {"before": [1], "after": []}, "default_lag": lag},
    )


def splits(rule, lengths=None, lag=-1):
    sequences = {split: made(seed, n, rule, lengths) for seed, (split, n) in enumerate(SIZES.items())}
    return {split: examples_at(those, lag) for split, those in sequences.items()}, sequences


def token_baselines(examples, sequences, own=None):
    return all_token_baselines(examples["train"], examples, sequences, NO_ENDS, own)


def taught(baseline, examples, sequences):
    """The logits of a baseline that learns from all of train."""
    return baseline(Lesson.of(examples["train"], sequences["train"]), examples, sequences)


def areas(logits, examples):
    return {split: auroc(values, examples[split].labels) for split, values in logits.items()}


def test_neighbours_find_a_pair_that_the_read_token_alone_does_not_tell():
    examples, sequences = splits(lambda ids, at, _: (ids[at - 1] + ids[at - 2]) % 2 == 0)
    found = {name: areas(logits, examples) for name, logits in token_baselines(examples, sequences).items()}
    assert found["neighbours"]["test"] > 0.95
    assert abs(found["read token"]["test"] - 0.5) < 0.1 and abs(found["length"]["test"] - 0.5) < 0.1
    assert found["majority"] == dict.fromkeys(SIZES, 0.5)


@pytest.mark.parametrize("beside", [0, -5], ids=["just after", "four before"])
def test_neighbours_see_nothing_after_the_read_token_and_no_more_than_three_before_it(beside):
    examples, sequences = splits(lambda ids, at, _: ids[at + beside] < 6)
    assert abs(areas(taught(neighbour_logits, examples, sequences), examples)["test"] - 0.5) < 0.1


def test_what_follows_the_read_token_moves_no_logit():
    examples, sequences = splits(lambda ids, at, _: ids[at - 1] < 6)
    before = taught(neighbour_logits, examples, sequences)
    for split, those in sequences.items():
        column = np.arange(WIDTH)
        last_read = np.zeros(len(those), dtype=int)
        np.maximum.at(last_read, examples[split].sequence, examples[split].read)
        those.input_ids[column > last_read[:, None]] = 5
    after = taught(neighbour_logits, examples, sequences)
    assert all(np.array_equal(before[split], after[split]) for split in before)


def test_runs_by_hand():
    examples, sequences = splits(lambda ids, at, _: ids[at - 1] < 6)
    for those in sequences.values():
        those.input_ids[:, 0] = np.arange(len(those))  # no text token, so none of it is seen
    found = runs_read([(examples[split], sequences[split]) for split in examples])
    windows = [
        tuple(those.input_ids[row, max(at - 3, 1) : at + 1])
        for split, those in sequences.items()
        for row, at in zip(examples[split].sequence, examples[split].read, strict=True)
    ]
    for size in range(1, 5):
        ours, theirs = found[size - 1], [window[-size:] if len(window) >= size else ("begin", window) for window in windows]
        assert len(set(zip(ours.tolist(), theirs, strict=True))) == len(set(ours.tolist())) == len(set(theirs))


def test_neighbours_are_scikit_learns_logistic_regression_on_one_hot_runs():
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(0)
    examples, sequences = splits(lambda ids, at, _: random.random() < (0.8 if ids[at - 1] < 6 else 0.3))
    ours = taught(neighbour_logits, examples, sequences)
    texts = {
        split: [
            [f"{size}:{those.input_ids[row, max(at - size + 1, 1) : at + 1]}" for size in range(1, 5)]
            for row, at in zip(examples[split].sequence, examples[split].read, strict=True)
        ]
        for split, those in sequences.items()
    }
    counts = CountVectorizer(analyzer=lambda runs: runs, min_df=2).fit(texts["train"])
    tried = []
    for inverse_penalty in (0.01, 0.1, 1, 10, 100):
        model = LogisticRegression(C=inverse_penalty, max_iter=1000)
        model.fit(counts.transform(texts["train"]), examples["train"].labels)
        theirs = {split: model.decision_function(counts.transform(texts[split])) for split in texts}
        tried.append((auroc(theirs["val"], examples["val"].labels), theirs))
    best = max(tried, key=lambda pair: pair[0])[1]
    assert np.abs(best["test"] - ours["test"]).max() < 0.02
    assert auroc(ours["test"], examples["test"].labels) > 0.7


def test_length_and_position_are_found_and_fixed_ones_tell_nothing():
    def lengths(random, n):
        return random.integers(8, WIDTH + 1, n)

    for rule in (lambda ids, at, length: length > 16, lambda ids, at, length: at > 10):
        examples, sequences = splits(rule, lengths)
        assert areas(taught(length_logits, examples, sequences), examples)["test"] > 0.97
    examples, sequences = splits(lambda ids, at, _: ids[at - 1] < 6, lengths)
    assert abs(areas(taught(length_logits, examples, sequences), examples)["test"] - 0.5) < 0.1


def test_all_token_baselines_are_in_order_and_of_train_only():
    examples, sequences = splits(lambda ids, at, _: ids[at - 1] < 6)
    own = {split: np.zeros(len(examples[split]), dtype=np.float32) for split in ("val", "test")}
    found = token_baselines(examples, sequences, own)
    assert list(found) == ["majority", "read token", "neighbours", "context", "length", "own probability"]
    assert list(token_baselines(examples, sequences)) == list(found)[:5]
    for name, logits in found.items():
        assert set(logits) == (set(own) if name == "own probability" else set(SIZES)), name
        assert all(values.dtype == np.float64 and len(values) == len(examples[split]) for split, values in logits.items())
    examples["test"].labels[:] = 1 - examples["test"].labels
    again = token_baselines(examples, sequences, own)
    assert all(np.array_equal(again[name][split], values) for name in found for split, values in found[name].items())


def test_the_penalty_is_chosen_on_validation():
    random = np.random.default_rng(0)
    labels = {split: random.integers(0, 2, n) for split, n in SIZES.items()}
    features = {split: random.normal(size=(n, 60)) + 0.3 * (labels[split][:, None] - 0.5) for split, n in SIZES.items()}
    grid = (1e-4, 1.0, 1e4)

    def fitted(grid):
        return logistic_logits(features["train"], labels["train"], None, features, labels["val"], grid)

    alone = [fitted((one,)) for one in grid]
    scores = [auroc(logits["val"], labels["val"]) for logits in alone]
    assert len(set(scores)) == 3
    chosen = fitted(grid)
    assert auroc(chosen["val"], labels["val"]) == pytest.approx(max(scores), abs=2e-3)


def cities(by_city, seed=0):
    """Of each of 300 towns one true and one false sentence; split by town, or by sentence."""
    random = np.random.default_rng(seed)
    labels, towns = np.tile([0, 1], 300), np.repeat(np.arange(300), 2)
    texts = [f"The city of Town{town} is in Area{random.integers(8)}." for town in towns]
    part = random.permutation(300)[towns] / 300 if by_city else random.permutation(600) / 600
    chosen = {"train": part < 0.6, "val": (part >= 0.6) & (part < 0.8), "test": part >= 0.8}
    return {split: [texts[i] for i in np.flatnonzero(mask)] for split, mask in chosen.items()}, {
        split: labels[mask] for split, mask in chosen.items()
    }


def words_logits(texts, labels):
    return tf_idf_logits(texts["train"], labels["train"], texts, labels["val"], token_pattern=r"\w+")


def test_opposite_twins_on_both_sides_of_the_split_are_flagged_and_grouped_ones_are_not():
    for by_city in (False, True):
        texts, labels = cities(by_city)
        logits, truth = words_logits(texts, labels)["test"], labels["test"]
        found = scores(logits, truth, np.arange(len(truth)), 0.0)
        warning = suspicious("tf-idf words", found["auc"], found["auc_high"])
        assert (warning is None) == by_city, found
        assert by_city or (f"{found['auc']:.3f}" in warning and "tf-idf words" in warning and "opposite labels" in warning)
    assert suspicious("length", 0.4, 0.45) is None and suspicious("length", float("nan"), float("nan")) is None


def test_a_warning_needs_an_interval_below_a_half_and_claims_no_cause():
    warning = suspicious("length on test", 0.3, 0.45)
    assert (
        warning.startswith("warning: ") and "0.300" in warning and "ends at 0.450" in warning and "Look whether" in warning
    )
    assert not any(claim in warning for claim in ("because", "so the split", "is not independent", "turned round", "chance"))
    assert suspicious("length on test", 0.3, 0.6) is None and suspicious("length on test", 0.3, float("nan")) is None


def test_labels_of_few_groups_drawn_at_random_seldom_give_a_warning():
    """With 9 texts, AUROC lies below .4 in a quarter of the samples by chance alone."""
    random, below, warned = np.random.default_rng(0), 0, 0
    for _ in range(400):
        labels = random.permutation([0] * 5 + [1] * 4)
        found = scores(random.normal(size=9), labels, np.arange(9), 0.0)
        below += found["auc"] < 0.4
        warned += suspicious("length", found["auc"], found["auc_high"]) is not None
    assert below > 80 and warned < 0.05 * 400


def test_what_ranks_worse_than_guessing_counts_as_guessing():
    labels, logits = np.array([0, 0, 1, 1]), np.array([1.0, 4.0, 2.0, 3.0])
    assert or_chance(logits, labels) is logits and auroc(logits, labels) == 0.5
    worse = np.array([4.0, 3.0, 2.0, 1.0])
    assert auroc(worse, labels) == 0 and or_chance(worse, labels).tolist() == [0, 0, 0, 0]
    assert or_chance(-worse, labels).tolist() == (-worse).tolist()


def test_tf_idf_is_scikit_learns_pipeline():
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    random = np.random.default_rng(0)
    labels = {split: random.integers(0, 2, n) for split, n in SIZES.items()}
    words, shares = ["alpha", "beta", "gamma", "delta"], ([0.2, 0.4, 0.2, 0.2], [0.4, 0.2, 0.2, 0.2])
    texts = {
        split: [" ".join(random.choice(words, 6, p=shares[label])) for label in those] for split, those in labels.items()
    }
    ours = words_logits(texts, labels)["test"]
    pipelines = [make_pipeline(TfidfVectorizer(sublinear_tf=True), LogisticRegression(C=c)) for c in (0.01, 0.1, 1, 10, 100)]
    for pipeline in pipelines:
        pipeline.fit(texts["train"], labels["train"])
    best = max(pipelines, key=lambda one: auroc(one.decision_function(texts["val"]), labels["val"]))
    assert np.abs(best.decision_function(texts["test"]) - ours).max() < 0.02 and auroc(ours, labels["test"]) > 0.8


def sequence_task():
    """One label a sequence, on its last text token, which is [SEP]'s neighbour; label 1: its text says 'good'."""
    random = np.random.default_rng(0)
    sequences, texts = {}, {}
    for seed, (split, n) in enumerate(SIZES.items()):
        those = made(seed, n, lambda *_: 0, lambda random, n: random.integers(8, WIDTH + 1, n), lag=0)
        those.metadata["tokenizer"]["after"] = [0]
        truth = random.integers(0, 2, n)
        those.labels[:] = -1
        those.labels[np.arange(n), those.lengths - 2] = truth
        sequences[split] = those
        texts[split] = [f"it is {'good' if label else 'bad'} {random.integers(99)}" for label in truth]
    return sequences, texts


def test_text_baselines_read_the_texts_of_the_examples_and_are_fitted_once():
    sequences, texts = sequence_task()
    examples = {split: examples_at(those, 0) for split, those in sequences.items()}
    asked, examples["train"] = examples["train"], examples["train"][:100]
    remembered = {}
    found = text_baselines(asked, examples, sequences, texts, remembered)
    assert list(found) == ["tf-idf words", "tf-idf characters"]
    assert all(areas(logits, examples) == dict.fromkeys(SIZES, 1.0) for logits in found.values())
    assert found is text_baselines(asked, examples, sequences, texts, remembered)
    assert found is not text_baselines(asked[:300], examples, sequences, texts, remembered)
    others = all_token_baselines(asked, examples, sequences, NO_ENDS)
    area = {name: areas(logits, examples)["test"] for name, logits in others.items()}
    assert all(abs(area[name] - 0.5) < 0.1 for name in ("read token", "neighbours", "context", "length")), area


def test_a_sequence_task_has_one_label_on_each_last_text_token_and_reads_there():
    sequences, _ = sequence_task()
    train = sequences["train"]
    assert is_sequence_task(train)
    train.metadata["default_lag"] = -1
    assert not is_sequence_task(train)
    train.metadata["default_lag"] = 0
    for spoil in ((0, 3, 1), (0, train.lengths[0] - 2, -1)):  # a second label, or none at all
        row, position, value = spoil
        kept, train.labels[row, position] = train.labels[row, position], value
        assert not is_sequence_task(train)
        train.labels[row, position] = kept
    train.labels[0, 3], train.labels[0, train.lengths[0] - 2] = 1, -1  # one label, elsewhere
    assert not is_sequence_task(train)


def test_the_best_baseline_has_the_greatest_auroc_and_nan_is_never_it():
    assert best_baseline({"majority": 0.5, "read token": 0.8, "length": float("nan"), "neighbours": 0.8}) == "read token"
    assert best_baseline({"length": float("nan"), "majority": 0.1}) == "majority"


def test_read_token_baseline_by_hand():
    found = read_token_logits([7, 7, 7, 9], [1, 1, 0, 0], [7, 9, 8])
    np.testing.assert_allclose(found, np.log([2.5 / 1.5, 0.5 / 1.5, 1.0]))
    np.testing.assert_allclose(majority_logits([1, 0, 0, 0], 2), np.log(1 / 3))
