"""Measure how many labels are enough: train on growing parts of the training examples, score on the same others.

Within a draw the parts are nested, so that a larger one only adds to a smaller one. With enough groups, whole groups are
taken in random order, the last in part, as more data would come: n_train and the groups grow together (unit "group"). Where
the smallest share would hold fewer than two groups, examples are drawn from all of them (unit "example"): such a curve says
what more labels in the same texts would bring, not what other texts would.

All parts are row weights of one `solve`, whose mean and scale are those of all training states (their labels stay unseen):

    row_weights, columns = learning_curve_weights(train.groups, train.labels, None)
    found = solve(states, np.repeat(train.labels[:, None], len(columns), axis=1), row_weights, penalties)
    rows = curve_rows(common, columns, found, {"val": val_states, "test": test_states}, {"val": val, "test": test})
    csv_text(CURVE_COLUMNS, rows)
"""

from fractions import Fraction

import numpy as np
import torch

from utils.base.errors import UserError
from utils.probes.affine import exact_logits
from utils.saved.columns import CURVE_SCORES
from utils.scores.metrics import scores
from utils.scores.ranking import auroc
from utils.scores.thresholds import choose_threshold

SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)
FEWEST_GROUPS = 2  # in the smallest share, on average: with fewer a curve of groups says which group was drawn


def learning_curve_weights(groups, labels, row_weights=None, shares=SHARES, draws=3, seed=0):
    """Draw the parts: row weights [n, columns] and, for each column, what it is.

    Each column is {"share", "draw", "unit", "n_train", "positives", "groups"}.

    groups, labels: [n] of the training examples; row_weights: >= 0, [n] (default 1), kept where a row is in the part. Rows
    of weight 0 are in no part and not counted. A share of 1 is drawn once, since every draw is the same. A part with only
    one class is left out, and a note says so. Raises UserError if none is left.
    """
    groups, labels = np.asarray(groups), np.asarray(labels)
    row_weights = np.ones(len(labels)) if row_weights is None else np.asarray(row_weights, dtype=np.float64)
    there = np.flatnonzero(row_weights > 0)
    names, group = np.unique(groups[there], return_inverse=True)
    by_group = len(names) * min(shares) >= FEWEST_GROUPS
    weights, columns, lost = [], [], []
    for draw in range(draws):
        random = np.random.default_rng([seed, draw])
        order = in_random_order(random, group, by_group)
        for share in sorted(shares):
            if share == 1 and draw:
                continue
            part = there[order[: max(1, round(share * len(there)))]]
            positives = int((labels[part] == 1).sum())
            if positives in (0, len(part)):
                lost.append(f"{Fraction(share).limit_denominator(1000)} (draw {draw}, {len(part)} examples)")
                continue
            weights.append(np.zeros(len(labels)))
            weights[-1][part] = row_weights[part]
            columns.append(
                {
                    "share": share,
                    "draw": draw,
                    "unit": "group" if by_group else "example",
                    "n_train": len(part),
                    "positives": positives,
                    "groups": len(np.unique(groups[part])),
                }
            )
    if not columns:
        raise UserError(f"no part of the {len(there)} training examples holds both classes; give more of them")
    if lost:
        print(f"note: the learning curve leaves out shares that hold one class only: {', '.join(lost)}", flush=True)
    return np.stack(weights, axis=1), columns


def in_random_order(random, group, by_group) -> np.ndarray:
    """Put examples in random order: int64 [n]; by_group: whole groups, whose index is group [n], one after the other."""
    order = random.permutation(len(group))
    return order[np.argsort(random.permutation(group.max() + 1)[group[order]], kind="stable")] if by_group else order


def curve_rows(common, columns, solutions, states, examples) -> list[dict]:
    """Make the rows of learning_curve.csv, one for each column, with penalty and threshold chosen on validation.

    common: what all rows share (target, layer, lag, seed, model, fingerprints).
    columns: as `learning_curve_weights` gives them.
    solutions: as `solve` gives them for these columns.
    states: {"val", and "test" where there is one: [n, hidden_size]}.
    examples: {split: anything with labels and groups [n]}.

    Of the penalties, the one with the best AUROC on validation is taken; of equal ones the largest.
    """
    logits = {split: exact_logits(torch.as_tensor(rows), solutions.weight, solutions.bias) for split, rows in states.items()}
    truth = examples["val"].labels
    result = []
    for index, column in enumerate(columns):
        thresholds = [choose_threshold(values, truth) for values in logits["val"][index]]
        best = int(np.argmax([auroc(values, truth) for values in logits["val"][index]]))
        row = {**common, **column, "l2": solutions.penalties[best], "converged": bool(solutions.converged[index, best])}
        for split, values in logits.items():
            found = scores(values[index, best], examples[split].labels, examples[split].groups, thresholds[best])
            row.update({f"{split}_{name}": found[name] for name in CURVE_SCORES})
        result.append(row)
    return result
