"""Solve logistic regression exactly for many label columns, row weights and penalties at once, on one matrix of states.

found = solve(states, labels_of_7_tasks, penalties=[1e-1, 1e-2, 1e-3])      # states [n, hidden_size], labels [n, 7]
found.weight[2, 1], found.bias[2, 1]                 # task 2 at penalty 1e-2, on raw states
found.converged[2, 1], found.gradient[2, 1]          # how exact that is
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from utils.base.errors import UserError
from utils.probes.labels import label_columns
from utils.probes.logistic.lbfgs import Found, descend
from utils.probes.logistic.newton import Hessians
from utils.probes.logistic.problem import Problem
from utils.probes.logistic.rows import Scale, StateRows, threads
from utils.probes.logistic.separation import without_minimum
from utils.states.matrices import Matrices

GRADIENT_TOLERANCE = 1e-6  # largest entry of the gradient of the mean loss, on standardised states
AIM = 0.75  # of the tolerance, in float32: leaves room for rounding
SINGLE_FLOOR = 3e-7  # below this float32 gradients may be rounding
PAIRS_AT_ONCE = 64  # columns at penalties that are solved together in float64


@dataclass(frozen=True)
class Solutions:
    """One probe for each label column and penalty, on raw states: logits = states @ weight + bias.

    weight: float64 [columns, penalties, hidden_size]; bias: float64 [columns, penalties].
    gradient: [columns, penalties], the largest entry of the gradient on standardised states, either of float64 products or
        of float32 ones with a bound on their rounding added (`Problem.rounding`).
    separable: some weight leaves no row on the wrong side, so that without a penalty there is no minimum (`separation`).
    converged: gradient <= tolerance, and a minimum exists.
    iterations: [columns, penalties], visits of the states.
    """

    penalties: list[float]
    weight: np.ndarray
    bias: np.ndarray
    gradient: np.ndarray
    separable: np.ndarray
    converged: np.ndarray
    iterations: np.ndarray


def solve(
    states: ArrayLike | Matrices,
    labels: ArrayLike,
    row_weights: ArrayLike | None = None,
    penalties: Sequence[float] = (1e-3,),
    tolerance: float = GRADIENT_TOLERANCE,
    summed: bool = False,
) -> Solutions:
    """Minimise, for each label column k and penalty l2, over weight w and bias b on standardised states x:

        sum_i v_ik * log(1 + exp(-(2 y_ik - 1) * (x_i . w + b)))  +  l2 / 2 * |w|^2,    v_ik = row weight / column's sum

    states: [n, hidden_size] of any float type, or Matrices of one layer: these are read block by block in every visit, and
        never held.
    labels: 0 and 1, [n] or [n, columns].
    row_weights: >= 0, likewise (0: the row is not in that problem).
    penalties: >= 0, solved from the largest to the smallest, each from where the one before ended. scikit-learn's C is
        1 / (l2 * sum of the row weights).
    tolerance: the largest entry of the gradient that counts as solved.
    summed: the penalties are of the summed loss, 1 / C, so that each column's l2 is the penalty / its sum of row weights.

    One mean and one scale serve all. L-BFGS with an approximate Hessian to start from (`Hessians`), in float32 as far as
    that goes, then in float64 for the columns that need it.

    Raises UserError for states that are not finite, columns of one class, and negative or repeated penalties.
    """
    penalties = checked_penalties(penalties)
    with threads() as (pool, count):
        states, truth, weights = checked_problem(states, labels, row_weights)
        total = weights.sum(1, dtype=torch.float64) if summed else torch.ones(len(truth), dtype=torch.float64)
        l2 = torch.tensor(penalties, dtype=torch.float64)[:, None] / total
        rows = StateRows.of(states, pool, count)
        problem = Problem(rows, Scale.of(rows), truth, weights)
        found, coefficients, size = minimise(problem, l2, tolerance)
        free = l2.reshape(-1) == 0
        separable = free.clone()
        if bool(free.any()):
            column = torch.arange(len(truth)).repeat(len(penalties))
            separable[free] = without_minimum(problem.columns(column[free]), coefficients[free])
    weight, bias = problem.folded(coefficients)
    bias = bias[:, 0] - weight @ rows.shift
    by_column = [
        part.unflatten(0, l2.shape).transpose(0, 1).numpy()
        for part in (weight, bias, size, separable, (size <= tolerance) & ~separable, found.iterations.reshape(-1))
    ]
    return Solutions(penalties, *by_column)


def minimise(problem: Problem, l2: torch.Tensor, tolerance: float) -> tuple[Found, torch.Tensor, torch.Tensor]:
    """Descend for all columns and penalties l2 [penalties, columns], in float32 and then in float64 where that is needed.

    Returns what was found first, then coefficients [penalties * columns, d + 1] and the size of their gradients.
    """
    penalties, columns = l2.shape
    hessians, single = Hessians(problem.rows, problem.scale, columns), problem.rows.dtype == torch.float32
    found = descend(problem, hessians, l2, problem.start(), max(AIM * tolerance, SINGLE_FLOOR) if single else tolerance)
    column, flat = torch.arange(columns).repeat(penalties), l2.reshape(-1)
    coefficients, size = found.coefficients.flatten(0, 1), found.size.reshape(-1)
    size = size + problem.rounding(coefficients, column)
    if single and not bool((size <= tolerance).all()):
        exact = problem.exact()
        for which in torch.nonzero(~(size <= tolerance))[:, 0].split(PAIRS_AT_ONCE):
            again = descend(exact.columns(column[which]), hessians, flat[which][None], coefficients[which], tolerance)
            coefficients[which], size[which] = again.coefficients[0], again.size[0]
    return found, coefficients, size


def checked_problem(
    states: ArrayLike | Matrices, labels: ArrayLike, row_weights: ArrayLike | None
) -> tuple[torch.Tensor | Matrices, torch.Tensor, torch.Tensor]:
    """Check states, labels and row weights.

    Returns float32 or float64 states [n, d], or the Matrices that read them; labels and weights float32 [columns, n].
    """
    if not isinstance(states, Matrices):
        states = torch.as_tensor(states if isinstance(states, torch.Tensor) else np.asarray(states))
        states = (states if states.dtype == torch.float64 else states.float()).contiguous()
    shape = list(states.shape) if isinstance(states, torch.Tensor) else [len(states), states.hidden_size]
    truth = torch.as_tensor(np.asarray(labels)).float()
    truth = truth[:, None] if truth.ndim == 1 else truth
    if len(shape) != 2 or shape[0] != len(truth):
        raise UserError(
            f"states have shape {shape} and labels {list(truth.shape)}; give [n, hidden_size] and [n] or [n, columns]"
        )
    _, weights = label_columns(truth, row_weights, shape[0], split=None)
    return states, truth.mT.contiguous(), weights.float().mT.contiguous()


def checked_penalties(penalties: Sequence[float]) -> list[float]:
    """Check penalties, and sort them from large to small."""
    result = sorted(map(float, penalties), reverse=True)
    if not result or result[-1] < 0 or not np.isfinite(result).all() or len(set(result)) < len(result):
        raise UserError(f"penalties {result} are empty, negative, not finite or repeated; give numbers of at least 0")
    return result
