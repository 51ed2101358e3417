"""Say whether logistic regression without a penalty has a minimum: it has none where the labels can be separated.

They are separated quasi-completely where some direction leaves no row on the wrong side, though some rows lie on it (Albert
and Anderson 1984). The loss then falls for ever along that direction, while the gradient becomes as small as one likes. For
states -1, 0, 0, 1 and labels 0, 0, 1, 1 the direction is 1.
"""

import torch

from utils.probes.logistic.problem import Problem

NEAR = (1.0, 3.0, 9.0)  # margins of the rows that may lie on the boundary: descent stops before those beyond have gone far
FLAT_DIRECTION = 1e-10  # mean square of the rows along a direction, of the largest, that counts as 0
ROUNDED, CLEAR = 1e-5, 1e-3  # margins of a direction of length 1: within the first a row lies on the boundary


def without_minimum(problem: Problem, coefficients: torch.Tensor) -> torch.Tensor:
    """Say of each column whether its labels are separated, completely or not: bool [columns].

    coefficients: [columns, d + 1], where a descent without penalty ended. Where they are separated, these have gone some way
    along a direction that separates; what is left of them beside the rows near the boundary is this direction. It is taken
    for one only if it leaves no row on the wrong side.
    """
    found = problem.all_right(coefficients)
    for column in torch.nonzero(~found)[:, 0]:
        one = problem.columns(column[None])
        found[column] = any(separates(one, flat_part(one, coefficients[column], near)) for near in NEAR)
    return found


def flat_part(problem: Problem, coefficients: torch.Tensor, near: float) -> torch.Tensor:
    """Keep what of the coefficients [d + 1] moves no logit of the rows whose margin is below `near`."""
    weights, bias = problem.folded(coefficients[None])
    size = problem.rows.hidden_size + 1

    def products(blocks):
        total = torch.zeros(size, size, dtype=torch.float64)
        for rows, block in blocks:
            states = block.double()
            margin = (2 * problem.labels[0, rows] - 1) * (states @ weights[0] + bias[0])
            kept = (states[(margin < near) & (problem.weights[0, rows] > 0)] - problem.scale.mean) * problem.scale.inverse
            kept = torch.cat([kept, torch.ones(len(kept), 1, dtype=torch.float64)], dim=1)
            total += kept.mT @ kept
        return [total]

    values, vectors = torch.linalg.eigh(problem.rows.across(products)[0])
    flat = vectors[:, values <= FLAT_DIRECTION * values[-1]]
    return flat @ (flat.mT @ coefficients)


def separates(problem: Problem, direction: torch.Tensor) -> bool:
    """Say whether a direction [d + 1] leaves no row of the one column on the wrong side, and not all on the boundary."""
    weights, bias = problem.folded((direction / direction.norm().clamp(min=1e-300))[None])

    def sides(blocks):
        wrong, right = torch.zeros(2)
        for rows, block in blocks:
            margin = (2 * problem.labels[0, rows] - 1) * (block.double() @ weights[0] + bias[0])
            counts = problem.weights[0, rows] > 0
            wrong, right = wrong + (counts & (margin < -ROUNDED)).sum(), right + (counts & (margin > CLEAR)).sum()
        return [wrong, right]

    wrong, right = problem.rows.across(sides)
    return not wrong and bool(right)
