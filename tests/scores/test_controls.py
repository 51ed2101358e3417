"""Control tasks: one label a token type, learnable by heart from the types and from nothing else."""

import numpy as np
import pytest

from utils.base.errors import UserError
from utils.scores.controls import control_labels, greedy_fill, selectivity, shuffled_labels
from utils.scores.ranking import auroc

DRAWS = 20


def zipf(seed, n, first=0):
    """Token ids with the frequencies of a language: the k-th most frequent of 2000 has 1 / k of the first's share."""
    share = 1 / np.arange(1, 2001)
    return first + np.random.default_rng(seed).choice(2000, size=n, p=share / share.sum())


def test_a_type_has_one_label_in_all_splits_and_the_classes_have_trains_shares():
    tokens = {"train": zipf(0, 20000), "val": zipf(1, 5000), "test": zipf(2, 5000)}
    for share in (0.5, 0.05):
        truth = (np.arange(20000) < share * 20000).astype(np.int8)
        found = control_labels(tokens, truth, draws=DRAWS)
        assert all(found[split].dtype == np.int8 and found[split].shape == (DRAWS, len(tokens[split])) for split in tokens)
        everything = np.concatenate([found[split] for split in tokens], axis=1)
        types = np.concatenate(list(tokens.values()))
        for labels in everything:
            label_of = np.zeros(2000, dtype=np.int8)
            label_of[types] = labels
            assert np.array_equal(label_of[types], labels), "a type with two labels"
        assert np.allclose(found["train"].mean(1), share, atol=0.001)
        assert abs(found["test"].mean() - share) < 0.02
        assert len({labels.tobytes() for labels in found["train"]}) == DRAWS


def test_a_probe_learns_control_labels_by_heart_and_nothing_of_types_unseen():
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(0)
    states = random.normal(size=(200, 256))  # one a type; train reads the first hundred
    tokens = {"train": random.integers(0, 100, 2000), "val": random.integers(0, 100, 500), "test": np.arange(100, 200)}
    labels = control_labels(tokens, np.arange(2000) % 2, draws=DRAWS)
    found = {"val": [], "test": []}
    for draw in range(DRAWS):
        probe = LogisticRegression().fit(states[tokens["train"]], labels["train"][draw])
        for split, values in found.items():
            values.append(auroc(probe.decision_function(states[tokens[split]]), labels[split][draw]))
    assert min(found["val"]) > 0.99
    assert abs(np.mean(found["test"]) - 0.5) < 0.05


def test_the_draws_depend_on_no_order_and_no_other_split():
    tokens = {"train": zipf(0, 3000), "val": zipf(1, 500)}
    truth = (np.random.default_rng(3).random(3000) < 0.3).astype(np.int8)
    found = control_labels(tokens, truth, draws=3, seed=4)
    order = np.random.default_rng(9).permutation(3000)
    turned = control_labels(
        {"train": tokens["train"][order], "val": tokens["val"], "test": zipf(2, 500, first=900)},
        truth[order],
        draws=2,
        seed=4,
    )
    assert np.array_equal(turned["train"], found["train"][:2, order]) and np.array_equal(turned["val"], found["val"][:2])
    assert not np.array_equal(control_labels(tokens, truth, draws=3, seed=5)["train"], found["train"])


def test_a_type_more_frequent_than_all_positives_is_an_error_or_negative():
    truth = np.array([1, 1, 0, 0, 0, 0])
    assert control_labels({"train": np.array([7, 7, 7, 7, 3, 2])}, truth)["train"].tolist() == [[0, 0, 0, 0, 1, 1]] * 5
    with pytest.raises(UserError, match="no control task: each of the 1 "):
        control_labels({"train": np.full(6, 7)}, truth)


def test_fill_by_hand():
    assert greedy_fill([2, 5, 1, 3], 6).tolist() == [True, False, True, True]
    assert greedy_fill([9], 6).tolist() == [False]


def test_shuffled_labels_keep_each_splits_shares_and_lose_the_truth():
    random = np.random.default_rng(0)
    truth = {split: (random.random(n) < 0.3).astype(np.int8) for split, n in (("train", 2000), ("val", 400))}
    found = shuffled_labels(truth, draws=DRAWS)
    for split, labels in truth.items():
        assert found[split].shape == (DRAWS, len(labels)) and (found[split].sum(1) == labels.sum()).all()
        agree = [auroc(labels.astype(float), shuffled) for shuffled in found[split]]
        assert abs(np.mean(agree) - 0.5) < 0.02
    assert np.array_equal(shuffled_labels(truth, draws=2)["val"], found["val"][:2])
    assert not np.array_equal(shuffled_labels(truth, draws=2, seed=1)["val"], found["val"][:2])


def test_shuffled_labels_of_named_rows_do_not_depend_on_their_order():
    names, order = np.arange(100) * 3, np.random.default_rng(1).permutation(100)
    labels = (np.arange(100) < 40).astype(np.int8)
    one = shuffled_labels({"train": labels}, keys_by_split={"train": names})["train"]
    turned = shuffled_labels({"train": labels[order]}, keys_by_split={"train": names[order]})["train"]
    assert np.array_equal(turned, one[:, order])


def test_selectivity_by_hand():
    assert selectivity(0.9, [0.6, 0.7]) == pytest.approx(0.25)
    assert np.isnan(selectivity(0.9, [0.6, float("nan")]))
