"""Online codelength: worked by hand, by scikit-learn's probes part by part; control labels, the order of layers."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from utils.base.errors import UserError
from utils.states.matrices import Matrices
from utils.sweep.refits.codelength import Parts, bits_of_logits, cost_in_bits, in_parts, online_codelength


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
    parts = Parts(np.arange(8), {0: [2, 4]})
    found = online_codelength(states, states, labels, labels, parts, (1e-3,))
    by_hand = 2 + 2 + 2 * np.log2(4 / 3) + 4
    assert found.bits[0] == pytest.approx(by_hand, abs=1e-4) and found.by_share[0] == pytest.approx(by_hand)


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
    with pytest.raises(UserError, match="one class only"):
        in_parts(groups, np.zeros((1, 600)))


def test_bits_are_those_of_scikit_learns_probes_part_by_part():
    train, states, labels, groups = made()
    val, val_states, val_labels, _ = made(1)
    parts = in_parts(groups, labels[None])
    found = online_codelength(train, val, labels[None], val_labels[None], parts, (0.1, 0.01))
    scaled, val_scaled = ((each - states.mean(0)) / states.std(0) for each in (states, val_states))
    bits = parts.sizes[0][0]
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
