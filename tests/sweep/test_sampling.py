"""What is drawn of train: the caps, the negatives beside the positives, the weights; by hand and by count."""

import numpy as np
import pytest

from utils.base.errors import UserError
from utils.data.sequences import Sequences
from utils.states.positions import Examples, examples_at
from utils.sweep.sampling import (
    Sampling,
    class_weights,
    draw_sample,
    matched_tokens,
    place_among_equals,
    sample_for_training,
)


def spans(documents=40, width=60, seed=0, kinds=30):
    """Sequences of documents of two windows each, every token labelled, a tenth positive; BOS is token 1."""
    random = np.random.default_rng(seed)
    n = 2 * documents
    ids = random.integers(2, kinds, size=(n, width)).astype(np.int32)
    ids[:, 0] = 1
    labels = (random.random((n, width)) < 0.1).astype(np.int8)
    labels[:, 0] = -1
    zeros, owners = np.zeros(n, dtype=np.int32), np.repeat(np.arange(documents), 2).astype(np.int32)
    return Sequences(
        ids,
        zeros + width,
        labels,
        owners,
        owners,
        zeros,
        zeros.astype(np.int64),
        {"tokenizer": {"before": [1], "after": []}, "default_lag": 0},
    )


def keys(examples):
    return list(zip(examples.sequence.tolist(), examples.position.tolist(), strict=True))


def labelled_tokens(examples, sequences):
    return sequences.input_ids[examples.sequence, examples.position]


def test_the_default_draws_what_it_always_drew():
    n = np.arange(1000)
    examples = Examples(n * 0, n, n, (n < 10).astype(np.int8), n, n)
    sequences = spans(1, 1000)
    for seed in (0, 7):
        expected = np.concatenate([n[:10], np.sort(np.random.default_rng(seed).choice(n[10:], 50, replace=False))])
        found, weight = sample_for_training(examples, sequences, Sampling(), seed)
        assert np.array_equal(found.position, expected)
        assert weight.dtype == np.float32 and weight.tolist() == [5.0] * 10 + [1.0] * 50
    assert np.array_equal(draw_sample(examples, sequences, Sampling(pos_weight_cap=None), 0), n)


def test_weights_by_hand():
    labels = np.array([[1, 1], [0, 1], [0, 0], [0, 0]])
    sample = np.array([[1, 1], [1, 1], [1, 1], [1, 0]])
    for balance, cap, expected in (
        ("weighted", None, (3, 0.5)),
        ("weighted", 2.0, (2, 0.5)),
        ("downsample", 5.0, (1, 1)),
        ("none", 5.0, (1, 1)),
    ):
        found = class_weights(sample, labels, balance, cap)
        assert found[0].tolist() == list(expected) and np.array_equal(found[labels == 0], sample[labels == 0])


def test_downsample_cuts_the_larger_class_whichever_it_is():
    sequences = spans()
    examples = examples_at(sequences, 0)
    turned = Examples(**{**vars(examples), "labels": 1 - examples.labels})
    for those in (examples, turned):
        found, weight = sample_for_training(those, sequences, Sampling("downsample"), 0)
        smaller = min((those.labels == 1).sum(), (those.labels == 0).sum())
        assert (found.labels == 1).sum() == (found.labels == 0).sum() == smaller
        assert (weight == 1).all()


def test_negatives_of_a_document_are_capped_and_drawn_evenly_over_it():
    sequences = spans()
    examples = examples_at(sequences, 0)
    settings = Sampling("none", negatives_per_doc=8)
    positions = []
    for seed in range(40):
        found, _ = sample_for_training(examples, sequences, settings, seed)
        owners = sequences.documents[found.sequence]
        assert (np.bincount(owners[found.labels == 0]) == 8).all()
        assert (found.labels == 1).sum() == (examples.labels == 1).sum()
        positions.append(found.position[found.labels == 0])
    assert keys(found) == sorted(keys(found))
    share = np.bincount(np.concatenate(positions), minlength=60)[1:] / (40 * 40 * 8)
    assert share.min() > 0.01 and share.max() < 0.025  # of 59 positions, about 0.017 each


def test_caps_on_documents_and_tokens_are_not_in_file_order():
    sequences = spans()
    examples = examples_at(sequences, 0)
    drawn = [
        set(sequences.documents[sample_for_training(examples, sequences, Sampling(max_documents=10), seed)[0].sequence])
        for seed in range(60)
    ]
    assert all(len(found) == 10 for found in drawn)
    times = np.bincount([document for found in drawn for document in found], minlength=40)
    assert times.min() >= 4 and times.max() <= 28  # of 60 draws with probability 1/4: 15 on average
    for most in (1000, 101, 2):
        found, _ = sample_for_training(examples, sequences, Sampling("none", max_tokens=most), 0)
        assert most - 1 <= len(found) <= most
        expected = max(1.0, most * (examples.labels == 1).mean())
        assert abs((found.labels == 1).sum() - expected) <= 1
    balanced, _ = sample_for_training(examples, sequences, Sampling("downsample", max_tokens=101), 0)
    assert (balanced.labels == 1).sum() == (balanced.labels == 0).sum() == 50


def test_matched_negatives_have_tokens_of_positives_first_and_at_most_two_of_one_a_document():
    sequences = spans(kinds=200)
    few = sequences.labels == 1
    sequences.input_ids[few] = sequences.input_ids[few] % 20 + 2  # positives are made of 20 tokens, negatives of 198
    examples = examples_at(sequences, 0)
    assert matched_tokens(examples, sequences)[0] == "labelled"

    def matching(settings):
        found, _ = sample_for_training(examples, sequences, settings, 0)
        tokens, negative = labelled_tokens(found, sequences), found.labels == 0
        pairs = np.stack([sequences.documents[found.sequence], tokens])[:, negative]
        assert np.unique(pairs, axis=1, return_counts=True)[1].max() <= 2 or not settings.token_matched
        assert (found.labels == 1).sum() == few.sum()
        return np.isin(tokens[negative], tokens[~negative]), np.bincount(pairs[0], minlength=40)

    plain, _ = matching(Sampling("none", negatives_per_doc=8))
    filled, counts = matching(Sampling("none", negatives_per_doc=8, token_matched=True))
    only, _ = matching(Sampling("none", token_matched=True))
    assert (counts == 8).all() and plain.mean() < 0.15 < 0.8 < filled.mean() and only.all()


def test_where_every_positive_is_the_target_negatives_match_by_the_token_that_is_read():
    sequences = spans(kinds=200)
    sequences.labels[:, 1:] = sequences.input_ids[:, 1:] == 7
    before = np.roll(sequences.labels == 1, -1, axis=1)
    sequences.input_ids[before] = sequences.input_ids[before] % 20 + 20  # the target follows 20 tokens only
    sequences.labels[:, 1:] = sequences.input_ids[:, 1:] == 7
    examples = examples_at(sequences, -1)
    name, tokens = matched_tokens(examples, sequences)
    assert name == "read" and np.array_equal(tokens, examples.tokens)
    found, _ = sample_for_training(examples, sequences, Sampling("none", token_matched=True), 0)
    assert set(found.tokens[found.labels == 0]) <= set(found.tokens[found.labels == 1])
    assert (found.labels == 0).any()
    with pytest.raises(UserError, match="--token_matched_negatives"):  # lag 0: a negative never has the target
        sample_for_training(examples_at(sequences, 0), sequences, Sampling(token_matched=True), 0)


@pytest.mark.parametrize(
    "settings",
    [
        Sampling(),
        Sampling("downsample"),
        Sampling(max_documents=5),
        Sampling(max_tokens=50),
        Sampling(negatives_per_doc=3),
        Sampling(token_matched=True),
    ],
)
def test_a_seed_decides_everything(settings):
    sequences = spans()
    examples = examples_at(sequences, 0)
    one, again, other = (keys(sample_for_training(examples, sequences, settings, seed)[0]) for seed in (0, 0, 1))
    assert one == again != other


def test_a_class_that_is_lost_is_an_error_that_names_the_flag():
    sequences = spans()
    sequences.labels[2:][sequences.labels[2:] == 1] = 0  # positives are in document 0 only
    examples = examples_at(sequences, 0)
    with pytest.raises(UserError, match="--max_train_docs 1 leaves no positive"):
        sample_for_training(examples, sequences, Sampling(max_documents=1), 0)
    with pytest.raises(UserError, match="--pos_weight_cap 0.001 leaves no negative"):
        sample_for_training(examples, sequences, Sampling(pos_weight_cap=0.001), 0)


def test_place_by_hand():
    assert place_among_equals(np.array([0.3, 0.1, 0.2, 0.4]), np.array([5, 5, 9, 5])).tolist() == [1, 0, 0, 2]
    assert place_among_equals(np.array([0.3, 0.1, 0.2]), np.array([5, 5, 5]), np.array([1, 2, 1])).tolist() == [1, 0, 0]
    assert place_among_equals(np.array([]), np.array([])).tolist() == []
