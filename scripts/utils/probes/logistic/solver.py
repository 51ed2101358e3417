"""Logistic regression solved exactly for many label columns, row weights and penalties at once, on one matrix of states.

probe = Logistic(l2=1e-3).fit(states, labels)       # states [n, hidden_size], labels [n] of 0 and 1
probe.predict_proba(states)[:, 1]                    # [n]
probe.weight, probe.bias                             # on raw states
found = solve(states, labels_of_7_tasks, penalties=[1e-1, 1e-2, 1e-3])      # labels [n, 7]
found.weight[2, 1], found.converged[2, 1]            # task 2 at penalty 1e-2
"""

from dataclasses import dataclass

import numpy as np
import torch

from utils.base.errors import UserError
from utils.probes.logistic.lbfgs import descend
from utils.probes.logistic.newton import Hessians
from utils.probes.logistic.problem import Problem
from utils.probes.logistic.rows import Rows, Scale, threads

TOLERANCE = 1e-6  # largest entry of the gradient of the mean loss, on standardised states
AIM = 0.75  # of the tolerance, in float32: leaves room for rounding
SINGLE_FLOOR = 3e-7  # below this float32 gradients may be rounding
PAIRS_AT_ONCE = 64  # columns at penalties that are solved together in float64


@dataclass(frozen=True)
class Solutions:
    """One probe for each label column and penalty, on raw states: logits = states @ weight + bias.

    weight float64 [columns, penalties, hidden_size], bias float64 [columns, penalties]; gradient [columns, penalties]: the
    largest entry of the gradient on standardised states, either of float64 products or of float32 ones with their rounding
    added (`Problem.rounding`); separable: without a penalty there is no minimum, for every row of some weight is right;
    converged: gradient <= tolerance, and a minimum exists; iterations [columns, penalties]: visits of the states.
    """

    penalties: list[float]
    weight: np.ndarray
    bias: np.ndarray
    gradient: np.ndarray
    separable: np.ndarray
    converged: np.ndarray
    iterations: np.ndarray


def solve(states, labels, row_weights=None, penalties=(1e-3,), tolerance=TOLERANCE, summed=False) -> Solutions:
    """Minimise, for each label column k and penalty l2, over weight w and bias b on standardised states x:

        sum_i v_ik * log(1 + exp(-(2 y_ik - 1) * (x_i . w + b)))  +  l2 / 2 * |w|^2,    v_ik = row weight / column's sum

    states: [n, hidden_size] of any float type, or of one layer in anything with `rows(index)`, `hidden_size` and `__len__`
    such as Matrices: these are read block by block in every visit, and never held; labels: 0 and 1, [n] or [n, columns];
    row_weights: >= 0, [n] or [n, columns] (0: the row is not in that problem); penalties >= 0, solved from the largest to
    the smallest, each from where the one before ended. scikit-learn's C is 1 / (l2 * sum of the row weights). summed: the
    penalties are of the summed loss, 1 / C, so that each column's l2 is the penalty / its sum of row weights. One mean and
    one scale serve all.

    L-BFGS with an approximate Hessian to start from (`Hessians`), in float32 as far as that goes, then in float64 for the
    columns that need it.

    Raises UserError for states that are not finite, columns of one class, and negative or repeated penalties.
    """
    with threads() as (pool, count):
        states, labels, row_weights, penalties = checked(states, labels, row_weights, penalties)
        columns = len(labels)
        total = row_weights.sum(1, dtype=torch.float64) if summed else torch.ones(columns, dtype=torch.float64)
        l2 = torch.tensor(penalties, dtype=torch.float64)[:, None] / total
        rows = Rows.of(states, pool, count)
        single = rows.dtype == torch.float32
        problem = Problem(rows, Scale.of(rows), labels, row_weights)
        hessians = Hessians(rows, problem.scale, columns)
        found = descend(problem, hessians, l2, problem.start(), max(AIM * tolerance, SINGLE_FLOOR) if single else tolerance)
        column, l2 = torch.arange(columns).repeat(len(penalties)), l2.reshape(-1)
        coefficients, size = found.coefficients.flatten(0, 1), found.size.reshape(-1)
        size = size + problem.rounding(coefficients, column)
        if single and not bool((size <= tolerance).all()):
            exact = problem.exact()
            for which in torch.nonzero(~(size <= tolerance))[:, 0].split(PAIRS_AT_ONCE):
                again = descend(exact.columns(column[which]), hessians, l2[which][None], coefficients[which], tolerance)
                coefficients[which], size[which] = again.coefficients[0], again.size[0]
        free = l2 == 0
        separable = free.clone()
        if bool(free.any()):
            separable[free] = problem.columns(column[free]).all_right(coefficients[free])
    weight, bias = problem.folded(coefficients)
    bias = bias[:, 0] - weight @ rows.shift
    by_column = [
        part.unflatten(0, (len(penalties), columns)).transpose(0, 1).numpy()
        for part in (weight, bias, size, separable, (size <= tolerance) & ~separable, found.iterations.reshape(-1))
    ]
    return Solutions(penalties, *by_column)


class Logistic:
    """One label column and penalty, with scikit-learn's method names. `converged` and `gradient` tell how exact it is."""

    def __init__(self, l2=1e-3, tolerance=TOLERANCE):
        self.l2, self.tolerance = l2, tolerance

    def fit(self, X, y, sample_weight=None) -> "Logistic":
        found = solve(X, y, sample_weight, [self.l2], self.tolerance)
        self.weight, self.bias = found.weight[0, 0], float(found.bias[0, 0])
        self.gradient, self.converged, self.separable = (
            float(found.gradient[0, 0]),
            bool(found.converged[0, 0]),
            bool(found.separable[0, 0]),
        )
        return self

    def decision_function(self, X) -> np.ndarray:
        """Logits float64 [n]."""
        return np.asarray(X, dtype=np.float64) @ self.weight + self.bias

    def predict(self, X) -> np.ndarray:
        return (self.decision_function(X) > 0).astype(np.int64)

    def predict_proba(self, X) -> np.ndarray:
        """float64 [n, 2]"""
        positive = 1 / (1 + np.exp(-self.decision_function(X)))
        return np.stack([1 - positive, positive], axis=1)

    def score(self, X, y) -> float:
        """Accuracy."""
        return float((self.predict(X) == np.asarray(y)).mean())


def checked(states, labels, row_weights, penalties):
    """float32 or float64 states [n, d] or what reads them, labels and weights float32 [columns, n], penalties from large to
    small.
    """
    if not hasattr(states, "rows"):
        states = torch.as_tensor(np.asarray(states) if not isinstance(states, torch.Tensor) else states)
        states = (states if states.dtype == torch.float64 else states.float()).contiguous()
    shape = list(states.shape) if isinstance(states, torch.Tensor) else [len(states), states.hidden_size]
    labels = torch.as_tensor(np.asarray(labels)).float()
    labels = labels[:, None] if labels.ndim == 1 else labels
    if len(shape) != 2 or shape[0] != len(labels):
        raise UserError(
            f"states have shape {shape} and labels {list(labels.shape)}; give [n, hidden_size] and [n] or [n, columns]"
        )
    if not ((labels == 0) | (labels == 1)).all():
        raise UserError("labels are not all 0 or 1; leave out rows of unknown truth, or give them weight 0")
    if row_weights is None:
        row_weights = torch.ones_like(labels)
    row_weights = torch.as_tensor(np.asarray(row_weights)).float()
    row_weights = (row_weights[:, None] if row_weights.ndim == 1 else row_weights).expand_as(labels)
    if not (row_weights.isfinite().all() and (row_weights >= 0).all()):
        raise UserError("row weights are negative or not finite; give numbers of at least 0")
    there = (row_weights > 0).sum(0)
    positives = ((row_weights > 0) & (labels == 1)).sum(0)
    for column in torch.nonzero((positives == 0) | (positives == there))[:1, 0].tolist():
        raise UserError(f"label column {column} holds one class only in its {there[column]} rows; a probe needs both")
    penalties = sorted(map(float, penalties), reverse=True)
    if not penalties or penalties[-1] < 0 or not np.isfinite(penalties).all() or len(set(penalties)) < len(penalties):
        raise UserError(f"penalties {penalties} are empty, negative, not finite or repeated; give numbers of at least 0")
    return states, labels.mT.contiguous(), row_weights.mT.contiguous(), penalties
