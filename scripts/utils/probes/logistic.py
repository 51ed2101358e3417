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

from utils.errors import UserError
from utils.probes.lbfgs import TINY, Point, descend

TOLERANCE = 1e-6  # largest entry of the gradient of the mean loss, on standardised states
SINGLE_FLOOR = 3e-7  # below this float32 gradients are rounding
FLAT = 1e-7  # of the largest eigenvalue: directions in which the states do not vary
CHUNK = 2**22  # numbers of the states that are turned into float64 at a time
EXACT_AT_ONCE = 2**27  # numbers of the states: up to here all of them are, 1 GB
PAIRS_AT_ONCE = 64  # columns at penalties that are solved together in float64


@dataclass(frozen=True)
class Solutions:
    """One probe for each label column and penalty, on raw states: logits = states @ weight + bias.

    weight float64 [columns, penalties, hidden_size], bias float64 [columns, penalties]; gradient [columns, penalties]: the
    largest entry of the gradient, computed in float64 on standardised states; separable: without a penalty there is no
    minimum, for every row of some weight is right; converged: gradient <= tolerance, and a minimum exists; iterations: of
    each penalty.
    """

    penalties: list[float]
    weight: np.ndarray
    bias: np.ndarray
    gradient: np.ndarray
    separable: np.ndarray
    converged: np.ndarray
    iterations: list[int]


def solve(states, labels, row_weights=None, penalties=(1e-3,), tolerance=TOLERANCE, summed=False) -> Solutions:
    """Minimise, for each label column k and penalty l2, over weight w and bias b on standardised states x:

        sum_i v_ik * log(1 + exp(-(2 y_ik - 1) * (x_i . w + b)))  +  l2 / 2 * |w|^2,    v_ik = row weight / column's sum

    states: [n, hidden_size] of any float type; labels: 0 and 1, [n] or [n, columns]; row_weights: >= 0, [n] or [n, columns]
    (0: the row is not in that problem); penalties >= 0, solved from the largest to the smallest, each from where
    the one before ended. scikit-learn's C is 1 / (l2 * sum of the row weights). summed: the penalties are of the
    summed loss, 1 / C, so that each column's l2 is the penalty / its sum of row weights. One mean and one scale serve all.

    L-BFGS (Nocedal and Wright 2006, ch. 7) in the eigenbasis of the states' covariance, all columns in one matrix product;
    its first Hessian is mean(v p (1 - p)) * covariance + l2, which is diagonal there, so the spectrum of the states
    does not slow it down. float32 as far as that goes, then float64 for the columns that need it.

    Raises UserError for states that are not finite, columns of one class, and negative or repeated penalties.
    """
    states, labels, row_weights, penalties = checked(states, labels, row_weights, penalties)
    problem = Problem(*standardised(states), labels, row_weights)
    columns, point, found, iterations = labels.shape[1], problem.start(), [], []
    total = row_weights.sum(0, dtype=torch.float64) if summed else torch.ones(columns, dtype=torch.float64)
    l2 = torch.tensor(penalties, dtype=torch.float64)[:, None] / total
    for each in l2:
        point, count = descend(problem, each.to(problem.dtype), point, max(tolerance / 2, SINGLE_FLOOR))
        found.append(point.coefficients.double())
        iterations.append(count)
    pairs = Pairs(torch.cat(found, dim=1), torch.arange(columns).repeat(len(penalties)), l2.reshape(-1))
    exact = problem.exact()
    size, right = exact.judge(pairs)
    if bool((size > tolerance).any()):
        exact = exact.held()
        for which in torch.nonzero(size > tolerance)[:, 0].split(PAIRS_AT_ONCE):
            some = exact.columns(pairs.column[which])
            coefficients = pairs.coefficients[:, which]
            start = Point(coefficients, some.logits(coefficients))
            pairs.coefficients[:, which] = descend(some, pairs.l2[which], start, tolerance)[0].coefficients
        size, right = exact.judge(pairs)
    return folded(exact, pairs, size, right, penalties, tolerance, iterations)


class Logistic:
    """One label column and penalty, with scikit-learn's method names. `converged` and `gradient` tell how exact it is."""

    def __init__(self, l2=1e-3, tolerance=TOLERANCE):
        self.l2, self.tolerance = l2, tolerance

    def fit(self, X, y, sample_weight=None) -> "Logistic":
        found = solve(X, y, sample_weight, [self.l2], self.tolerance)
        self.weight, self.bias = found.weight[0, 0], float(found.bias[0, 0])
        self.gradient, self.converged, self.separable = (float(found.gradient[0, 0]), bool(found.converged[0, 0]),
                                                         bool(found.separable[0, 0]))
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
    """float32 or float64 states [n, d], labels and weights float32 [n, columns], penalties from large to small."""
    states = torch.as_tensor(np.asarray(states) if not isinstance(states, torch.Tensor) else states)
    states = states if states.dtype == torch.float64 else states.float()
    labels = torch.as_tensor(np.asarray(labels)).float()
    labels = labels[:, None] if labels.ndim == 1 else labels
    if states.ndim != 2 or len(states) != len(labels):
        raise UserError(f"states have shape {list(states.shape)} and labels {list(labels.shape)}; give [n, hidden_size] and "
                        "[n] or [n, columns]")
    wrong = int((~states.isfinite()).any(1).sum())
    if wrong:
        raise UserError(f"{wrong} of {len(states)} states are not finite; drop them, or read them in bfloat16 or float32")
    if not ((labels == 0) | (labels == 1)).all():
        raise UserError("labels are not all 0 or 1; leave out rows of unknown truth, or give them weight 0")
    if row_weights is None:
        row_weights = torch.ones_like(labels)
    row_weights = torch.as_tensor(np.asarray(row_weights)).float()
    row_weights = (row_weights[:, None] if row_weights.ndim == 1 else row_weights).expand_as(labels)
    if not (row_weights.isfinite().all() and (row_weights >= 0).all()):
        raise UserError("row weights are negative or not finite; give numbers of at least 0")
    for column in range(labels.shape[1]):
        there = labels[row_weights[:, column] > 0, column]
        if len(there.unique()) < 2:
            raise UserError(f"label column {column} holds one class only in its {len(there)} rows; a probe needs both")
    penalties = sorted(map(float, penalties), reverse=True)
    if not penalties or penalties[-1] < 0 or not np.isfinite(penalties).all() or len(set(penalties)) < len(penalties):
        raise UserError(f"penalties {penalties} are empty, negative, not finite or repeated; give numbers of at least 0")
    return states.contiguous(), labels.contiguous(), row_weights.contiguous(), penalties  # mixed layouts are far slower


def standardised(states):
    """(states - mean) / deviation, mean and 1 / deviation float64 [d]; 0 for a constant feature."""
    parts = states.split(max(1, CHUNK // states.shape[1]))
    mean = sum(part.sum(0, dtype=torch.float64) for part in parts) / len(states)
    variance = sum((part.double() - mean).square().sum(0) for part in parts) / len(states)
    deviation = variance.sqrt()
    inverse = torch.where(deviation <= FLAT * mean.abs().clamp(min=1e-30), 0.0, 1 / deviation.clamp(min=1e-300))
    return torch.cat([((part.double() - mean) * inverse).to(states.dtype) for part in parts]), mean, inverse


@dataclass(frozen=True)
class Pairs:
    """Columns at penalties, one behind the other: coefficients float64 [d + 1, pairs], column and l2 of each [pairs]."""

    coefficients: torch.Tensor
    column: torch.Tensor
    l2: torch.Tensor


class Problem:
    """Standardised states, label columns, and row weights that sum to 1; products in `dtype`."""

    def __init__(self, states, mean, inverse_deviation, labels, row_weights, basis=None, dtype=None):
        self.states, self.mean, self.inverse_deviation = states, mean, inverse_deviation
        self.dtype = dtype or states.dtype
        self.labels = labels.to(self.dtype)
        self.weights = (row_weights.double() / row_weights.double().sum(0)).to(self.dtype)
        if basis is None:
            variance, directions = torch.linalg.eigh(self.covariance())
            basis = variance.clamp(min=FLAT * float(variance[-1].clamp(min=TINY))), directions
        self.basis = basis
        self.variance, self.directions = (part.to(self.dtype) for part in basis)

    def exact(self) -> "Problem":
        """The same in float64, to which the states are turned part by part in every product."""
        return Problem(self.states, self.mean, self.inverse_deviation, self.labels, self.weights, self.basis, torch.float64)

    def held(self) -> "Problem":
        """The same with states turned into its precision for good, where they are few enough."""
        states = self.states.to(self.dtype) if self.states.numel() <= EXACT_AT_ONCE else self.states
        return Problem(states, self.mean, self.inverse_deviation, self.labels, self.weights, self.basis, self.dtype)

    def columns(self, which) -> "Problem":
        return Problem(self.states, self.mean, self.inverse_deviation, self.labels[:, which], self.weights[:, which],
                       self.basis, self.dtype)

    def covariance(self) -> torch.Tensor:
        return sum((part.mT @ part).double() for part in self.parts()) / len(self.states)

    def parts(self):
        """The states in this precision: as they are, or a part at a time."""
        if self.dtype == self.states.dtype:
            return [self.states]
        return (part.to(self.dtype) for part in self.states.split(max(1, CHUNK // self.states.shape[1])))

    def logits(self, coefficients) -> torch.Tensor:
        weights = self.directions @ coefficients[:-1]
        parts = [part @ weights for part in self.parts()]
        return (parts[0] if len(parts) == 1 else torch.cat(parts)) + coefficients[-1]

    def start(self) -> Point:
        """Weights of 0, and the bias that is best then."""
        share = (self.weights * self.labels).sum(0)
        coefficients = torch.zeros(len(self.variance) + 1, len(share), dtype=self.dtype)
        coefficients[-1] = torch.log(share / (1 - share))
        return Point(coefficients, coefficients[-1].expand(len(self.states), -1).clone())

    def gradient(self, point, l2, residual=None) -> torch.Tensor:
        """[d + 1, columns] in the eigenbasis. residual: weight * (probability - label), where it is known."""
        if residual is None:
            residual = self.weights * (torch.sigmoid(point.logits) - self.labels)
        start, product = 0, 0.0
        for part in self.parts():
            product = product + part.mT @ residual[start:start + len(part)]
            start += len(part)
        return torch.cat([self.directions.mT @ product + l2 * point.coefficients[:-1], residual.sum(0, keepdim=True)])

    def size(self, gradient) -> torch.Tensor:
        """[columns]: the largest entry, on standardised states."""
        return torch.maximum((self.directions @ gradient[:-1]).abs().amax(0), gradient[-1].abs())

    def judge(self, pairs) -> tuple[torch.Tensor, torch.Tensor]:
        """[pairs]: the size of the gradient, and whether every row of some weight is on the right side. One visit of the
        states for all pairs.
        """
        weights = self.directions @ pairs.coefficients[:-1]
        start, product, slope, right = 0, 0.0, 0.0, True
        for part in self.parts():
            rows = slice(start, start + len(part))
            start += len(part)
            labels, row_weights = self.labels[rows][:, pairs.column], self.weights[rows][:, pairs.column]
            logits = part @ weights + pairs.coefficients[-1]
            residual = row_weights * (torch.sigmoid(logits) - labels)
            product, slope = product + part.mT @ residual, slope + residual.sum(0, keepdim=True)
            right = right & (((2 * labels - 1) * logits > 0) | (row_weights == 0)).all(0)
        size = torch.maximum((product + pairs.l2 * weights).abs().amax(0), slope[0].abs())
        return size, right


def folded(problem, pairs, size, right, penalties, tolerance, iterations) -> Solutions:
    """The solutions on raw states."""
    weight = (problem.directions @ pairs.coefficients[:-1]) * problem.inverse_deviation[:, None]
    bias = pairs.coefficients[-1] - problem.mean @ weight
    separable = right & (pairs.l2 == 0)
    shape = len(penalties), len(size) // len(penalties)
    by_column = [part.reshape(shape).T.numpy() for part in (bias, size, separable, (size <= tolerance) & ~separable)]
    return Solutions(penalties, weight.T.reshape(*shape, -1).transpose(0, 1).numpy(), *by_column, iterations)
