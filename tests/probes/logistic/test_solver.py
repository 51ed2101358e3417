"""The logistic solver beside scikit-learn's, both to tight tolerance; and what it says where there is no answer."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from sklearn.linear_model import LogisticRegression

from utils.base.errors import UserError
from utils.probes.estimators import Logistic
from utils.probes.logistic.newton import Hessians
from utils.probes.logistic.problem import Problem
from utils.probes.logistic.rows import Scale, StateRows, threads
from utils.probes.logistic.solver import solve
from utils.states.matrices import Matrices


def made(n, d, seed=0, columns=1, spread=0.0, strength=2.0, offset=0.0):
    """States whose covariance has condition 10^spread, with labels that depend on them: [n, d] and [n, columns]."""
    random = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(random.standard_normal((d, d)))
    states = (random.standard_normal((n, d)) * np.logspace(0, -spread / 2, d)) @ turn.T + offset
    directions = random.standard_normal((d, columns)) / np.sqrt(d) * strength
    logits = (states - offset) / states.std(0) @ directions - 0.5
    return states, (random.random((n, columns)) < 1 / (1 + np.exp(-logits))).astype(int)


def standard(states):
    return (states - states.mean(0)) / states.std(0)


def sklearn_solution(states, labels, weights, l2):
    """Coefficients on standardised states, and the bias, by Newton steps to machine precision."""
    model = LogisticRegression(C=1 / (l2 * weights.sum()), solver="newton-cholesky", tol=1e-12, max_iter=1000)
    model.fit(standard(states), labels, weights)
    return model.coef_[0], model.intercept_[0]


def on_standardised(found, states, column=0, penalty=0):
    weight = found.weight[column, penalty]
    return weight * states.std(0), found.bias[column, penalty] + states.mean(0) @ weight


@pytest.mark.parametrize(
    "spread, strength, l2",
    [(0, 2, 1e-2), (0, 2, 1e-5), (6, 2, 1e-4), (8, 3, 1e-6), (4, 60, 1e-4)],
    ids=["easy", "weak penalty", "ill-conditioned", "worse", "nearly separable"],
)
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_the_solution_is_scikit_learns(spread, strength, l2, kind):
    states, labels = made(3000, 20, spread=spread, strength=strength)
    states = states.astype(kind).astype(np.float64)
    weights = np.random.default_rng(1).random(3000) * (np.arange(3000) % 5 > 0)
    found = solve(states.astype(kind), labels, weights, [l2], tolerance=1e-10)
    assert found.converged.all() and found.gradient.max() <= 1e-10
    theirs = sklearn_solution(states, labels[:, 0], weights, l2)
    ours = on_standardised(found, states)
    assert np.abs(theirs[0]).max() > 0.1
    tolerance = 1e-4 if kind is np.float64 else 1e-3  # float32 states are standardised in float32
    np.testing.assert_allclose(ours[0], theirs[0], atol=tolerance * max(1, np.abs(theirs[0]).max()))
    np.testing.assert_allclose(ours[1], theirs[1], atol=tolerance * max(1, abs(theirs[1])))


def test_many_columns_weights_and_penalties_are_each_solved_as_if_alone():
    states, labels = made(2000, 12, columns=4, spread=3)
    weights = np.random.default_rng(2).random((2000, 4)) < [1, 0.8, 0.5, 0.1]
    penalties = [1e-1, 1e-5, 1e-3]
    found = solve(states, labels, weights, penalties, tolerance=1e-9)
    assert found.penalties == sorted(penalties, reverse=True) and found.converged.all()
    assert found.weight.shape == (4, 3, 12) and found.bias.shape == found.gradient.shape == (4, 3)
    for column in range(4):
        for index, l2 in enumerate(found.penalties):
            theirs = sklearn_solution(states, labels[:, column], weights[:, column].astype(float), l2)
            ours = on_standardised(found, states, column, index)
            np.testing.assert_allclose(ours[0], theirs[0], atol=1e-4)
            np.testing.assert_allclose(ours[1], theirs[1], atol=1e-4)


def test_penalties_of_the_summed_loss_are_scikit_learns_1_over_c():
    states, labels = made(600, 8, columns=2)
    weights = np.stack([np.ones(600), np.arange(600) % 3 > 0], axis=1).astype(float)
    found = solve(states, labels, weights, [100.0, 1.0], tolerance=1e-9, summed=True)
    for column in range(2):
        for index, penalty in enumerate((100.0, 1.0)):
            total = weights[:, column].sum()
            theirs = sklearn_solution(states, labels[:, column], weights[:, column], penalty / total)
            np.testing.assert_allclose(on_standardised(found, states, column, index)[0], theirs[0], atol=1e-4)


def test_a_row_of_weight_2_is_two_rows():
    states, labels = made(400, 5)
    weights = 1 + np.arange(400) % 2
    twice = np.repeat(np.arange(400), weights)
    mean, deviation = states.mean(0), states.std(0)
    ours = solve(states, labels, weights, [1e-3], tolerance=1e-10)
    model = LogisticRegression(C=1 / (1e-3 * len(twice)), solver="newton-cholesky", tol=1e-12, max_iter=1000)
    model.fit(((states - mean) / deviation)[twice], labels[twice, 0])
    np.testing.assert_allclose(on_standardised(ours, states)[0], model.coef_[0], atol=1e-6)


def test_the_gradient_that_is_reported_is_that_of_the_loss():
    """By automatic differentiation of the loss as it is written down, at the weights that are given back."""
    states, labels = made(500, 8, spread=4)
    weights = np.random.default_rng(3).random(500)
    for tolerance in (1e-2, 1e-6):
        found = solve(states, labels, weights, [1e-3], tolerance=tolerance)
        coefficients, bias = (torch.tensor(part, requires_grad=True) for part in on_standardised(found, states))
        logits = torch.from_numpy(standard(states)) @ coefficients + bias
        share = torch.from_numpy(weights / weights.sum())
        loss = (share * torch.nn.functional.softplus(-(2 * torch.from_numpy(labels[:, 0]) - 1) * logits)).sum()
        (loss + 1e-3 / 2 * coefficients.square().sum()).backward()
        size = max(float(coefficients.grad.abs().max()), abs(float(bias.grad)))
        assert found.gradient[0, 0] == pytest.approx(size, rel=1e-2, abs=1e-9)
        assert found.converged[0, 0] == (size <= tolerance)


def test_a_large_mean_and_a_constant_feature_change_nothing():
    states, labels = made(1000, 6)
    plain = solve(states, labels, None, [1e-3], tolerance=1e-9)
    shifted = np.concatenate([states + [1e4, -300, 0, 5, 0, 7], np.full((1000, 1), 3.0)], axis=1)
    moved = solve(shifted, labels, None, [1e-3], tolerance=1e-9)
    assert moved.weight[0, 0, 6] == 0
    np.testing.assert_allclose(moved.weight[0, 0, :6], plain.weight[0, 0], rtol=1e-5)
    logits = [matrix @ found.weight[0, 0] + found.bias[0, 0] for matrix, found in ((states, plain), (shifted, moved))]
    np.testing.assert_allclose(logits[0], logits[1], atol=1e-5)


def test_fewer_rows_than_features_have_a_solution_with_a_penalty():
    states, labels = made(60, 100)
    found = solve(states, labels, None, [1e-2], tolerance=1e-9)
    assert found.converged.all()
    theirs = sklearn_solution(states, labels[:, 0], np.ones(60), 1e-2)
    np.testing.assert_allclose(on_standardised(found, states)[0], theirs[0], atol=1e-4)


def test_without_a_penalty_separable_labels_have_no_minimum_and_that_is_said():
    states, _ = made(200, 5)
    labels = (states[:, 0] > 0).astype(int)
    found = solve(states, labels, None, [0.0, 1e-2])
    assert found.separable[0].tolist() == [False, True] and found.converged[0].tolist() == [True, False]
    noisy = solve(states, made(200, 5, seed=5, strength=0.5)[1], None, [0.0])
    assert not noisy.separable.any() and noisy.converged.all()


def separated_by_a_linear_program(states, labels):
    """Whether some direction leaves no row on the wrong side and some row off the boundary: the independent truth."""
    signed = (2 * labels - 1)[:, None] * np.hstack([states, np.ones((len(states), 1))])
    found = linprog(-signed.sum(0), A_ub=-signed, b_ub=np.zeros(len(states)), bounds=(-1, 1))
    return found.fun < -1e-6


@pytest.mark.parametrize("wrong", [0, 1])
@pytest.mark.parametrize("case", ["one feature", "integers", "a rare feature"])
def test_quasi_complete_separation_is_not_called_converged(case, wrong):
    """`wrong`: negative control: one row on the far side, and there is a minimum."""
    random = np.random.default_rng(3)
    if case == "one feature":
        states, labels = np.repeat([-2.0, -1, 0, 0, 1, 2], 20)[:, None], np.repeat([0, 0, 0, 1, 1, 1], 20)
        side = states[:, 0]
    elif case == "integers":
        states = random.integers(-2, 3, (400, 4)).astype(float)
        side = states[:, 0] + states[:, 1]
        labels = np.where(side == 0, random.random(400) < 0.5, side > 0).astype(int)
    else:  # a feature that is there in positives only, among others that tell little
        states, labels = random.normal(size=(400, 6)), (random.random(400) < 0.5).astype(int)
        side = states[:, 5] = (labels == 1) & (random.random(400) < 0.2)
    if wrong:
        labels[np.argmax(side)] = 0
    truth = separated_by_a_linear_program(states, labels)
    assert truth == (not wrong)
    found = solve(states, labels, None, [0.0, 1e-2])
    assert found.separable[0].tolist() == [False, truth] and found.converged[0].tolist() == [True, not truth]


def test_a_fit_that_was_stopped_does_not_call_itself_converged(monkeypatch):
    states, labels = made(1000, 20, spread=6)
    monkeypatch.setattr("utils.probes.logistic.lbfgs.MOST_ITERATIONS", 1)
    found = solve(states, labels, None, [1e-6], tolerance=1e-9)
    assert found.gradient[0, 0] > 1e-9 and not found.converged[0, 0]


@dataclass(frozen=True)
class Recorded(Matrices):
    """Notes how many rows are read at a time."""

    reads: list = field(default_factory=list)

    def rows(self, which):
        self.reads.append(len(which))
        return super().rows(which)


@pytest.mark.parametrize("spread, offset", [(0, 0.0), (6, 0.0), (3, 50.0)], ids=["alike", "ill-conditioned", "large means"])
def test_states_that_are_read_block_by_block_give_the_same_probes(monkeypatch, spread, offset):
    states, labels = made(3000, 16, columns=3, spread=spread, offset=offset)
    states = torch.from_numpy(states).float()
    order = np.random.default_rng(4).permutation(3000)[:2500]
    penalties = [1e-1, 1e-2, 1e-3]
    inside = solve(states[order], labels[order], None, penalties)
    monkeypatch.setattr("utils.probes.logistic.rows.READ", 16 * 400)
    matrices = Recorded(Matrices.of(states[None]).table, order)
    read = solve(matrices, labels[order], None, penalties)
    assert inside.converged.all() and read.converged.all()
    assert max(matrices.reads) <= 400 and sum(matrices.reads) > 2 * 2500
    logits = [states.double().numpy() @ found.weight.transpose(0, 2, 1) + found.bias[:, None] for found in (inside, read)]
    assert np.abs(logits[0]).max() > 1
    np.testing.assert_allclose(logits[1], logits[0], atol=1e-5 * np.abs(logits[0]).max())
    assert np.abs(logits[0][:, :, 0] - logits[0][:, :, 2]).max() > 1e-2  # penalties differ by more than that


def test_a_table_of_two_layers_is_refused():
    states, labels = made(100, 4)
    with pytest.raises(UserError, match="more than one layer"):
        solve(Matrices.of(np.stack([states, states])), labels, None, [1e-2])


def test_several_threads_give_what_one_gives_and_torch_keeps_its_own():
    states, labels = made(5000, 32, columns=2, spread=2)
    states, before = torch.from_numpy(states).float(), torch.get_num_threads()
    found = {}
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            found[count] = solve(states.repeat(8, 1), np.tile(labels, (8, 1)), None, [1e-2, 1e-3])
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(before)
    assert found[3].converged.all()
    np.testing.assert_allclose(found[3].weight, found[1].weight, atol=1e-5 * np.abs(found[1].weight).max())


@pytest.mark.parametrize("strength", [1, 300])
def test_the_rounding_that_is_reported_covers_float32s_error(strength):
    states, labels = made(4000, 64, columns=2, spread=3, offset=2.0)
    random, single = np.random.default_rng(5), torch.from_numpy(states).float()
    coefficients = torch.from_numpy(random.standard_normal((6, 65)) * strength)
    with threads() as pool:
        rows = StateRows.of(single, *pool)
        column = torch.tensor([0, 1, 0, 1, 0, 1])
        labels = torch.from_numpy(labels.T).float()
        problem = Problem(rows, Scale.of(rows), labels, torch.ones_like(labels))
        some = problem.columns(column)
        error = (some.gradient(coefficients)[0] - some.exact().gradient(coefficients)[0]).abs().amax(1)
        said = problem.rounding(coefficients, column)
    assert (error > 0).all() and (error <= said).all() and (said < 1e-6 * strength).all()
    assert (problem.exact().rounding(coefficients, column) == 0).all()


def test_steps_that_are_far_too_long_or_short_are_found_out(monkeypatch):
    states, labels = made(1000, 8, columns=2)
    expected = solve(states, labels, None, [1e-3], tolerance=1e-9)
    right = Hessians.solve
    for factor in (30.0, 0.02):
        monkeypatch.setattr(Hessians, "solve", lambda *given, factor=factor: factor * right(*given))
        found = solve(states, labels, None, [1e-3], tolerance=1e-9)
        assert found.converged.all() and (found.iterations > expected.iterations).all()
        np.testing.assert_allclose(found.weight, expected.weight, atol=1e-6)


def test_a_penalty_that_the_one_before_has_solved_costs_no_visit():
    states, labels = made(1000, 8)
    found = solve(states, labels, None, [1e-3 * (1 + 1e-9), 1e-3, 1e-5])
    assert found.converged.all() and found.iterations[0, 1] == 0 and found.iterations[0, [0, 2]].min() > 0


def test_the_interface_of_one_probe():
    states, labels = made(800, 10)
    probe = Logistic(l2=1e-2).fit(torch.from_numpy(states).float(), labels[:, 0])
    model = LogisticRegression(C=1 / (1e-2 * 800), tol=1e-10, max_iter=1000).fit(standard(states), labels[:, 0])
    assert probe.converged and not probe.separable
    np.testing.assert_allclose(probe.predict_proba(states), model.predict_proba(standard(states)), atol=1e-4)
    assert (probe.predict(states) == model.predict(standard(states))).mean() > 0.999
    assert probe.score(states, labels[:, 0]) == pytest.approx(model.score(standard(states), labels[:, 0]), abs=0.002)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"states": np.full((10, 2), np.nan)}, "10 of 10 states are not finite"),
        ({"states": np.array([[np.inf, 0]] + [[0.0, 1]] * 9)}, "1 of 10 states"),
        ({"states": np.float32([[1e30, 1], [-1e30, 0]] * 5)}, "too large to be squared"),
        ({"states": np.zeros(10)}, "shape [10]"),
        ({"states": np.zeros((9, 2))}, "shape [9, 2]"),
        ({"labels": np.ones(10)}, "column 0 holds one class only in its 10 examples"),
        ({"labels": np.arange(10) - 1}, "not all 0 or 1"),
        ({"row_weights": np.arange(10) < 1}, "one class only in its 1 examples"),
        ({"row_weights": -np.ones(10)}, "row weights are negative"),
        ({"penalties": []}, "empty"),
        ({"penalties": [-1.0]}, "negative"),
        ({"penalties": [1.0, 1.0]}, "repeated"),
        ({"penalties": [np.nan]}, "not finite"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_cannot_be_solved_is_an_error_that_says_why(change, said):
    given = {
        "states": np.random.default_rng(0).standard_normal((10, 2)),
        "labels": np.arange(10) % 2,
        "row_weights": None,
        "penalties": [1e-2],
        **change,
    }
    with pytest.raises(UserError, match=said.replace("[", r"\[").replace("]", r"\]")):
        solve(**given)
