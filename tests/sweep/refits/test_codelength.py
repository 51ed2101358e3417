"""Online codelength: worked by hand, by scikit-learn's probes part by part; control labels, the order of layers."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from utils.states.matrices import Matrices
from utils.sweep.refits.codelength import (
    Parts,
    bits_before_a_fit,
    bits_of_logits,
    cost_in_bits,
    in_parts,
    online_codelength,
    says_something,
)


def made(seed=0, n=600, d=6, signal=2.0):
    random = np.random.default_rng(seed)
    states, groups = random.normal(size=(n, d)).astype(np.float32), random.permutation(np.arange(n) // 6)
    labels = (random.random(n) < 1 / (1 + np.exp(-signal * states[:, 0]))).astype(np.int8)
    return Matrices.of(states[None]), states.astype(float), labels, groups


def test_the_example_worked_by_hand():
    """Two labels as they are, two at 1/2 and 1/4, four at 1/2: 9 bits. Log-odds of 0 are 1/2, of log 3 are 3/4."""
    assert 2 + cost_in_bits([0.5, 0.25]) + cost_in_bits([0.5] * 4) == 9
    logits = np.array([0, np.log(3), 0, 0, 0, 0])
    assert 2 + bits_of_logits(logits, np.array([1, 0, 1, 0, 0, 1])).sum() == pytest.approx(9)


def test_a_whole_code_worked_by_hand():
    """States say nothing (one constant), so that each fit gives the share of positives sent so far.

    1 0 | 1 1 | 1 0 0 1: two bits; then p = 1/2 twice, two bits; then p = 3/4 for 1, 0, 0, 1: 2 log2(4/3) + 2 log2(4).
    """
    states, labels = Matrices.of(torch.ones(1, 8, 3)), np.array([[1, 0, 1, 1, 1, 0, 0, 1]])
    parts = Parts(np.arange(8), {0: [2, 4]}, 2)
    found = online_codelength(states, states, labels, labels, parts, (1e-3,))
    by_hand = 2 + 2 + 2 * np.log2(4 / 3) + 4
    assert found.bits[0] == pytest.approx(by_hand, abs=1e-4) and found.by_share[0] == pytest.approx(by_hand)


def test_labels_of_one_class_cost_little_until_the_other_comes():
    """0 | 0 0 1 with one label as it is: 1, then 2/3, 3/4 and 1/5 by Laplace's rule."""
    by_hand = 1 + np.log2(3 / 2) + np.log2(4 / 3) + np.log2(5)
    assert bits_before_a_fit(np.array([0, 0, 0, 1]), 1) == pytest.approx(by_hand)
    assert bits_before_a_fit(np.array([1, 1, 1, 0]), 1) == pytest.approx(by_hand)
    assert bits_before_a_fit(np.array([1, 0]), 2) == 2


def test_rare_labels_cost_about_their_share_wherever_the_first_positive_comes():
    """10 positives of 3,000 cost 97 bits where their share is known; a bit for each label before the first, 1,200."""
    random, n = np.random.default_rng(0), 3000
    states, labels = random.normal(size=(1, n, 4)).astype(np.float32), np.zeros((2, n), dtype=np.int8)
    order = in_parts(np.arange(n), labels).order
    labels[0, order[np.arange(3, n, 300)]] = labels[1, order[np.arange(1200, n, 180)]] = 1
    val, val_labels = random.normal(size=(1, 300, 4)).astype(np.float32), np.tile(np.arange(300) == 7, (2, 1))
    parts = in_parts(np.arange(n), labels)
    found = online_codelength(Matrices.of(states), Matrices.of(val), labels, val_labels.astype(np.int8), parts, (1e-2,))
    known = n * (np.log2(300) / 300 + np.log2(300 / 299) * 299 / 300)
    assert [sizes[0] for sizes in parts.sizes.values()] == [6, 1536]
    assert np.abs(found.by_share - known).max() < 50 and np.abs(found.bits - known).max() < 70


def test_parts_double_hold_both_classes_and_predict_every_label_once():
    _, _, labels, groups = made()
    parts = in_parts(groups, labels[None])
    sizes = parts.sizes[0]
    assert sizes[1:] == [2 * size for size in sizes[:-1]] and sizes[0] <= 8 and 300 <= sizes[-1] < 600
    assert set(labels[parts.order[: sizes[0]]]) == {0, 1}
    predicted = np.concatenate(parts.blocks(0))
    assert sorted([*parts.order[: sizes[0]], *predicted]) == list(range(600))
    first, last = groups[parts.order[: sizes[-1]]], groups[parts.order[sizes[-1] :]]
    assert len(set(first) & set(last)) <= 1, "whole groups but the one that is cut"


def test_bits_are_those_of_scikit_learns_probes_part_by_part():
    train, states, labels, groups = made()
    val, val_states, val_labels, _ = made(1)
    parts = in_parts(groups, labels[None])
    found = online_codelength(train, val, labels[None], val_labels[None], parts, (0.1, 0.01))
    scaled, val_scaled = ((each - states.mean(0)) / states.std(0) for each in (states, val_states))
    bits = bits_before_a_fit(labels[parts.order[: parts.sizes[0][0]]], parts.plain)
    for size, block in zip(parts.sizes[0], parts.blocks(0), strict=True):
        sent = parts.order[:size]
        fits = [
            LogisticRegression(C=1 / (l2 * size), tol=1e-9, max_iter=5000).fit(scaled[sent], labels[sent])
            for l2 in (100, 10, 1, 0.1, 0.01)
        ]
        best = min(fits, key=lambda fit: log_loss(val_labels, fit.predict_proba(val_scaled)))
        bits -= np.log2(best.predict_proba(scaled[block])[np.arange(len(block)), labels[block]]).sum()
    assert found.bits[0] == pytest.approx(bits, rel=1e-3) and found.n == 600
    assert found.bits[0] < 0.8 * found.by_share[0]


def test_labels_that_mean_nothing_cost_more_than_real_ones_and_more_than_their_share():
    train, _, labels, groups = made()
    val, _, val_labels, _ = made(1)
    random = np.random.default_rng(2)
    control, val_control = (random.permuted(np.tile(each, (3, 1)), axis=1) for each in (labels, val_labels))
    every = np.vstack([labels[None], control])
    found = online_codelength(
        train, val, every, np.vstack([val_labels[None], val_control]), in_parts(groups, every), (0.1, 0.01)
    )
    assert (found.bits[1:] > 1.2 * found.bits[0]).all() and (found.bits[1:] > 0.98 * found.by_share[1:]).all()


def test_a_clearer_layer_costs_fewer_bits():
    costs = []
    for signal in (0.5, 1, 2, 4):
        train, _, labels, groups = made(3, signal=signal)
        val, _, val_labels, _ = made(4, signal=signal)
        costs.append(
            online_codelength(train, val, labels[None], val_labels[None], in_parts(groups, labels[None]), (0.1, 0.01)).bits[
                0
            ]
        )
    assert sorted(costs, reverse=True) == costs


def test_labels_whose_second_class_comes_late_have_no_bits_and_leave_others_theirs():
    train, _, labels, groups = made()
    val, _, val_labels, _ = made(1)
    order = in_parts(groups, labels[None]).order
    late = np.zeros_like(labels)
    late[order[-20:]] = 1
    every, val_every = np.vstack([labels[None], late[None]]), np.vstack([val_labels[None]] * 2)
    parts = in_parts(groups, every)
    assert list(parts.sizes) == [0]
    found = online_codelength(train, val, every, val_every, parts, (0.1,))
    alone = online_codelength(train, val, labels[None], val_labels[None], in_parts(groups, labels[None]), (0.1,))
    assert np.isnan([found.bits[1], found.by_share[1]]).all()
    assert found.bits[0] == pytest.approx(alone.bits[0], rel=1e-6) and found.by_share[0] == alone.by_share[0]
    assert not in_parts(groups, np.zeros((1, 600))).sizes


@pytest.mark.slow
def test_a_saving_that_chance_gives_says_nothing():
    assert not says_something(36.0, 36.2, 1) and not says_something(53.0, 51.7, 1) and says_something(400.0, 590.0, 7)
    assert says_something(90.0, 95.0, 1) and not says_something(90.0, 95.0, 7), (
        "the best of many layers saves more by chance"
    )
    best = []
    for seed in range(60):
        train, _, _, groups = made(seed, n=120, d=3)
        val, _, _, _ = made(seed + 1000, n=120, d=3)
        random = np.random.default_rng(seed)
        labels, val_labels = (random.random((1, 120)) < 0.3).astype(np.int8), (random.random((1, 120)) < 0.3).astype(np.int8)
        parts = in_parts(groups, labels)
        if parts.sizes:
            found = online_codelength(train, val, labels, val_labels, parts, (0.1, 0.01))
            best.append(says_something(found.bits[0], found.by_share[0], 1))
    assert np.mean(best) <= 0.05, "labels that are drawn by their share alone"
