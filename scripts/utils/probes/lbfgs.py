"""L-BFGS for many logistic problems that share their states, all columns at once (Nocedal and Wright 2006, chapter 7)."""

from dataclasses import dataclass

import torch

MEMORY = 10  # steps and changes of gradient that L-BFGS remembers
MOST_ITERATIONS = 300  # of one penalty and precision
SLOPE_LEFT = 0.4  # of a step's slope at its start: a line search that leaves no more is done
LINE_STEPS = 8
TINY = 1e-38


@dataclass(frozen=True)
class Point:
    """Where a descent stands. coefficients [d + 1, columns]: weights in the eigenbasis, then bias; logits [n, columns]."""

    coefficients: torch.Tensor
    logits: torch.Tensor


def descend(problem, l2, point, tolerance) -> tuple[Point, int]:
    """L-BFGS until every column's gradient is within the tolerance, or does not shrink any more."""
    probability = torch.sigmoid(point.logits)
    curvature = (problem.weights * probability * (1 - probability)).sum(0).clamp(min=TINY)
    first_inverse = torch.cat([1 / (curvature * problem.variance[:, None] + l2), 1 / curvature[None]])
    gradient, history = problem.gradient(point, l2), []
    for iteration in range(MOST_ITERATIONS):
        size = problem.size(gradient)
        if bool((size <= tolerance).all()):
            return point, iteration
        direction = -two_loops(gradient, history, first_inverse)
        step, logits, residual = line_search(problem, l2, point, gradient, direction, size > tolerance)
        moved = Point(point.coefficients + step * direction, logits)
        new = problem.gradient(moved, l2, residual)
        if not bool(moved.coefficients.isfinite().all()):
            return point, iteration
        change, length = new - gradient, step * direction
        product = (length * change).sum(0)
        history = [*history, (length, change, torch.where(product > TINY, 1 / product.clamp(min=TINY), 0.0))][-MEMORY:]
        point, gradient = moved, new
    return point, MOST_ITERATIONS


def two_loops(gradient, history, first_inverse) -> torch.Tensor:
    """The inverse Hessian that L-BFGS remembers, times the gradient, column by column."""
    result, alphas = gradient, []
    for length, change, inverse in reversed(history):
        alpha = inverse * (length * result).sum(0)
        result = result - alpha * change
        alphas.append(alpha)
    result = first_inverse * result
    if history:
        length, change, _ = history[-1]
        scale = (length * change).sum(0) / (change * first_inverse * change).sum(0).clamp(min=TINY)
        result = torch.where(scale > 0, scale, 1.0) * result
    for (length, change, inverse), alpha in zip(history, reversed(alphas), strict=True):
        result = result + length * (alpha - inverse * (change * result).sum(0))
    return result


def line_search(problem, l2, point, gradient, direction, active):
    """Step lengths [columns] by safeguarded Newton steps; 0 where a column is not active. Logits are linear in the step, so
    that a trial costs no product with the states. Returns them, the logits there, and weight * (probability - label).
    """
    along = problem.logits(direction)
    slope_at_0 = (gradient * direction).sum(0)
    steepness = l2 * (point.coefficients[:-1] * direction[:-1]).sum(0), l2 * direction[:-1].square().sum(0)
    step = torch.where(active, 1.0, 0.0).to(problem.dtype)
    below, above = torch.zeros_like(step), torch.full_like(step, torch.inf)
    for trial in range(LINE_STEPS):
        logits = point.logits + step * along
        probability = torch.sigmoid(logits)
        residual = problem.weights * (probability - problem.labels)
        slope = (residual * along).sum(0) + steepness[0] + step * steepness[1]
        poor = active & (slope.abs() > SLOPE_LEFT * slope_at_0.abs())
        if trial == LINE_STEPS - 1 or not bool(poor.any()):
            return step, logits, residual
        bend = (problem.weights * probability * (1 - probability) * along.square()).sum(0) + steepness[1]
        below, above = torch.where(slope < 0, step, below), torch.where(slope > 0, step, above)
        wanted = step - slope / bend.clamp(min=TINY)
        inside = (wanted > below) & (wanted < above)
        middle = torch.where(above.isinf(), 2 * step, (below + above) / 2)
        step = torch.where(poor, torch.where(inside, wanted, middle), step)
    raise AssertionError("the last trial returns")
