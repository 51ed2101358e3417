"""Run L-BFGS on many logistic problems over the same states, each on its own path of penalties.

The method is that of Nocedal and Wright (2006), chapter 7. All columns share one visit of the states per iteration, whatever
penalty each is at: a column that has reached its tolerance goes on to its next penalty at once. What it has learnt of its
Hessian goes along: a change of the gradient is kept without the penalty's part, and in proportion to the curvature, mean(p
(1 - p)), which shrinks along the path.
"""

from dataclasses import dataclass, fields

import torch

from utils.probes.logistic.newton import Hessians
from utils.probes.logistic.problem import TINY, Problem

MEMORY = 10  # steps and changes of gradient that are remembered
MOST_ITERATIONS = 300  # of one column at one penalty
MOST_STALLED = 30  # iterations in which the gradient must shrink to SHRINK of its best, or the column goes on unsolved
SHRINK = 0.8
LEFT, PAST = 0.9, 0.4  # of the slope at a step's start: how much of it may be left, or be there with the other sign
TRIES = 8  # step lengths along one direction


@dataclass(frozen=True)
class Found:
    """The minima that were found.

    coefficients: float64 [penalties, columns, d + 1], weights, then bias; size: [penalties, columns], the largest entry of
    the gradient; iterations: int64 [penalties, columns].
    """

    coefficients: torch.Tensor
    size: torch.Tensor
    iterations: torch.Tensor


@dataclass
class Columns:
    """The columns that are still being solved: [columns], [columns, d + 1], or [columns, remembered, d + 1].

    column, stage: which column of l2, and which of its penalties.
    base: its point, with loss_gradient and curvature there.
    direction: from the base, with the slope along it there; step, lower, upper, tries: the line search.
    best: the smallest size of the gradient so far, its age in iterations; iterations: at this penalty.
    lengths, changes: what L-BFGS remembers.
    """

    column: torch.Tensor
    stage: torch.Tensor
    base: torch.Tensor
    loss_gradient: torch.Tensor
    curvature: torch.Tensor
    direction: torch.Tensor
    slope: torch.Tensor
    step: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor
    tries: torch.Tensor
    best: torch.Tensor
    age: torch.Tensor
    iterations: torch.Tensor
    lengths: torch.Tensor
    changes: torch.Tensor

    @classmethod
    def at(cls, base: torch.Tensor, loss_gradient: torch.Tensor, curvature: torch.Tensor) -> "Columns":
        """Set out from a point with this gradient and curvature, each column at its first penalty."""
        zeros = torch.zeros(len(base), dtype=torch.float64)
        counts, none = torch.zeros(len(base), dtype=torch.int64), base[:, None][:, :0]
        return cls(
            torch.arange(len(base)),
            counts,
            base,
            loss_gradient,
            curvature,
            base,
            zeros,
            zeros,
            zeros,
            zeros,
            counts,
            zeros + torch.inf,
            counts,
            counts,
            none,
            none,
        )

    def only(self, which: torch.Tensor) -> "Columns":
        """Keep only these columns."""
        return Columns(*(getattr(self, field.name)[which] for field in fields(self)))


def descend(problem: Problem, hessians: Hessians, l2: torch.Tensor, start: torch.Tensor, tolerance: float) -> Found:
    """Descend from start [columns, d + 1] along l2 [penalties, columns].

    Each gradient is brought within the tolerance, or as far as it shrinks.
    """
    found = Found(
        torch.zeros(*l2.shape, start.shape[1], dtype=torch.float64),
        torch.full_like(l2, torch.inf),
        torch.zeros_like(l2, dtype=torch.int64),
    )
    now = Columns.at(start, *problem.gradient(start))
    while True:
        going = finish_penalties(now, l2, found, tolerance)
        if not bool(going.any()):
            return found
        if not bool(going.all()):
            now, problem = now.only(going), problem.columns(going)
        if int(now.iterations.max()) >= hessians.patience:
            hessians.learn()
        aim(now, hessians, l2[now.stage, now.column])
        trial = now.base + now.step[:, None] * now.direction
        take(now, trial, *problem.gradient(trial), l2[now.stage, now.column])


def with_penalty(loss_gradient: torch.Tensor, coefficients: torch.Tensor, l2: torch.Tensor) -> torch.Tensor:
    """Add the gradient of the penalty, which spares the bias."""
    return torch.cat([loss_gradient[:, :-1] + l2[:, None] * coefficients[:, :-1], loss_gradient[:, -1:]], dim=1)


def finish_penalties(now: Columns, l2: torch.Tensor, found: Found, tolerance: float) -> torch.Tensor:
    """Write down the columns that are done at their penalty, and move them to the next one; return which have one left."""
    going = torch.ones_like(now.stage, dtype=torch.bool)
    while True:
        size = with_penalty(now.loss_gradient, now.base, l2[now.stage, now.column]).abs().amax(1)
        over = (now.age >= MOST_STALLED) | (now.iterations >= MOST_ITERATIONS)
        done = going & (now.tries == 0) & ((size <= tolerance) | over)
        if not bool(done.any()):
            break
        where = now.stage[done], now.column[done]
        found.coefficients[where], found.size[where] = now.base[done], size[done]
        found.iterations[where] = now.iterations[done]
        now.best, now.age = torch.where(done, torch.inf, now.best), torch.where(done, 0, now.age)
        now.iterations = torch.where(done, 0, now.iterations)
        going = going & ~(done & (now.stage == len(l2) - 1))
        now.stage = torch.where(done & going, now.stage + 1, now.stage)
    better = size < SHRINK * now.best
    now.best, now.age = torch.where(better, size, now.best), torch.where(better, 0, now.age + 1)
    return going


def aim(now: Columns, hessians: Hessians, l2: torch.Tensor):
    """Choose a new direction, with step 1, for the columns that took their last step."""
    gradient = with_penalty(now.loss_gradient, now.base, l2)
    direction = -two_loops(now, hessians, gradient, l2)
    fresh = now.tries == 0
    now.direction = torch.where(fresh[:, None], direction, now.direction)
    now.slope = torch.where(fresh, (gradient * direction).sum(1), now.slope)
    now.step, now.lower = torch.where(fresh, 1.0, now.step), torch.where(fresh, 0.0, now.lower)
    now.upper = torch.where(fresh, torch.inf, now.upper)


def two_loops(now: Columns, hessians: Hessians, gradient: torch.Tensor, l2: torch.Tensor) -> torch.Tensor:
    """Multiply the inverse Hessians that L-BFGS remembers with the gradient."""
    changes = now.curvature[:, None, None] * now.changes
    changes[..., :-1] += l2[:, None, None] * now.lengths[..., :-1]
    product = (now.lengths * changes).sum(-1)
    inverse = torch.where(product > TINY, 1 / product.clamp(min=TINY), 0.0)
    result, alphas = gradient, []
    for i in reversed(range(inverse.shape[1])):
        alphas.append((inverse[:, i] * (now.lengths[:, i] * result).sum(1))[:, None])
        result = result - alphas[-1] * changes[:, i]
    result = hessians.solve(result, now.curvature, l2)
    for i, alpha in enumerate(reversed(alphas)):
        result = result + now.lengths[:, i] * (alpha - (inverse[:, i] * (changes[:, i] * result).sum(1))[:, None])
    return result


def take(now: Columns, trial: torch.Tensor, loss_gradient: torch.Tensor, curvature: torch.Tensor, l2: torch.Tensor):
    """Take the step to the trial in the columns whose slope is level enough there; find a better length for the others.

    The length is found by secants, within what is known of where the slope changes its sign.
    """
    slope = (with_penalty(loss_gradient, trial, l2) * now.direction).sum(1)
    left = slope / now.slope
    now.tries = now.tries + 1
    good = ((left <= LEFT) & (left >= -PAST)) | ((now.tries == TRIES) & left.isfinite())
    now.lower, now.upper = torch.where(left > 0, now.step, now.lower), torch.where(left > 0, now.upper, now.step)
    wanted = now.step / (1 - left)
    inside = (wanted > now.lower) & (wanted < now.upper)
    middle = torch.where(now.upper.isinf(), 2 * now.step, (now.lower + now.upper) / 2)
    now.step = torch.where(inside, wanted, middle)
    moved = good[:, None]
    length = torch.where(moved, trial - now.base, 0.0)
    change = torch.where(moved, loss_gradient - now.loss_gradient, 0.0) / (now.curvature * curvature).sqrt()[:, None]
    now.lengths = torch.cat([now.lengths, length[:, None]], dim=1)[:, -MEMORY:]
    now.changes = torch.cat([now.changes, change[:, None]], dim=1)[:, -MEMORY:]
    now.base, now.loss_gradient = torch.where(moved, trial, now.base), torch.where(moved, loss_gradient, now.loss_gradient)
    now.curvature = torch.where(good, curvature, now.curvature)
    now.tries, now.iterations = torch.where(good, 0, now.tries), now.iterations + 1
