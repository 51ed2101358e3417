"""Growing parts of the training examples: nested, of the sizes said, each solved as scikit-learn solves it alone."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score, roc_curve

from utils.base.errors import UserError
from utils.base.files import csv_text
from utils.probes.logistic.solver import solve
from utils.saved.columns import CURVE_COLUMNS
from utils.sweep.refits.learning_curve import SHARES, curve_rows, learning_curve_weights


def examples(n, groups, seed, direction=None, d=12):
    """States [n, d] whose labels follow `direction`, or nothing at all; groups of uneven size, in no order."""
    random = np.random.default_rng(seed)
    states = random.standard_normal((n, d))
    logits = states @ direction if direction is not None else np.zeros(n)
    labels = (random.random(n) < 1 / (1 + np.exp(-logits))).astype(np.int8)
    return states, SimpleNamespace(labels=labels, groups=(random.random(n) ** 2 * groups).astype(int) * 3)


@pytest.mark.parametrize("groups, unit", [(60, "group"), (8, "example")])
def test_parts_are_nested_of_the_size_said_and_of_whole_groups_where_there_are_many(groups, unit):
    _, train = examples(1600, groups, 0)
    weights, columns = learning_curve_weights(train.groups, train.labels)
    assert weights.shape == (1600, 13) and set(np.unique(weights)) == {0, 1}
    assert [(c["share"], c["draw"]) for c in columns] == [(s, d) for d in range(3) for s in SHARES if s < 1 or d == 0]
    by = {(c["share"], c["draw"]): weights[:, index] > 0 for index, c in enumerate(columns)}
    for (share, draw), part in by.items():
        c = columns[list(by).index((share, draw))]
        assert c["n_train"] == part.sum() == 1600 * share and c["unit"] == unit
        assert c["positives"] == train.labels[part].sum() and c["groups"] == len(set(train.groups[part]))
        larger = by.get((2 * share, draw))
        assert larger is None or (part <= larger).all()
        cut = [g for g in set(train.groups[part]) if part[train.groups == g].sum() < (train.groups == g).sum()]
        assert share == 1 or (len(cut) <= 1 if unit == "group" else len(cut) > 1)
    assert by[SHARES[1], 0].tolist() != by[SHARES[1], 1].tolist()
    again, _ = learning_curve_weights(train.groups, train.labels)
    other, _ = learning_curve_weights(train.groups, train.labels, seed=1)
    assert np.array_equal(weights, again) and not np.array_equal(weights, other)


def test_row_weights_are_kept_and_rows_of_weight_0_are_in_no_part():
    _, train = examples(800, 40, 1)
    given = np.where(np.arange(800) % 4 == 0, 0, np.where(train.labels == 1, 3.0, 0.5))
    weights, columns = learning_curve_weights(train.groups, train.labels, given)
    assert [c["n_train"] for c in columns[:5]] == [38, 75, 150, 300, 600]
    assert all(((weight == 0) | (weight == given)).all() for weight in weights.T)
    assert (weights[:, 4] == given).all()


def test_a_part_of_one_class_is_left_out_and_said(capsys):
    labels = np.zeros(64, dtype=int)
    labels[5] = 1
    weights, columns = learning_curve_weights(np.arange(64), labels, draws=4)
    said = capsys.readouterr().out
    assert said.startswith("note: ") and said.count("\n") == 1
    assert len(columns) + said.count("(draw ") == 4 * 4 + 1 and "1/16 (draw" in said
    assert all(c["positives"] == 1 and weights[5, index] == 1 for index, c in enumerate(columns))
    with pytest.raises(UserError, match="64 training examples"):
        learning_curve_weights(np.arange(64), np.zeros(64))


def curve(direction, penalties=(1.0, 1e-2), seed=0):
    states, split = {}, {}
    for index, (name, n) in enumerate((("train", 1600), ("val", 900), ("test", 1000))):
        states[name], split[name] = examples(n, 40, 10 * seed + index, direction)
    weights, columns = learning_curve_weights(split["train"].groups, split["train"].labels)
    labels = np.repeat(split["train"].labels[:, None], len(columns), axis=1)
    found = solve(states["train"], labels, weights, penalties)
    held_out = {name: states[name] for name in ("val", "test")}
    rows = curve_rows({"target": " the", "layer": 3, "lag": -1, "seed": 0}, columns, found, held_out, split)
    return states, split, weights, rows


def test_each_row_is_what_scikit_learn_finds_on_that_part_alone():
    states, split, weights, rows = curve(np.linspace(-1, 1, 12))
    mean, deviation = states["train"].mean(0), states["train"].std(0)
    for index in (0, 3, 4, 9):
        row, part = rows[index], weights[:, index] > 0
        model = LogisticRegression(C=1 / (row["l2"] * part.sum()), tol=1e-10, max_iter=1000)
        model.fit(((states["train"] - mean) / deviation)[part], split["train"].labels[part])
        logits = {name: model.decision_function((states[name] - mean) / deviation) for name in ("val", "test")}
        assert row["test_auc"] == pytest.approx(roc_auc_score(split["test"].labels, logits["test"]), abs=1e-4)
        false_positive, true_positive, _ = roc_curve(split["val"].labels, logits["val"])
        best = (1 + true_positive - false_positive).max() / 2
        assert row["val_balanced_accuracy"] == pytest.approx(best, abs=1e-9)
        assert row["test_auc_low"] < row["test_auc"] < row["test_auc_high"] and row["converged"] is True


def test_more_labels_help_where_there_is_something_to_learn_and_only_there():
    rows = curve(np.linspace(-1, 1, 12))[-1]
    of = {share: np.mean([row["test_auc"] for row in rows if row["share"] == share]) for share in SHARES}
    assert of[1] > of[1 / 16] + 0.02 and of[1] > 0.8
    nothing = curve(None, seed=1)[-1]
    assert max(abs(row["test_auc"] - 0.5) for row in nothing) < 0.07


def test_rows_fit_the_columns_of_the_table():
    rows = curve(np.linspace(-1, 1, 12), penalties=(1e-2,))[-1]
    text = csv_text(CURVE_COLUMNS, rows)
    assert len(text.splitlines()) == 14 and set(rows[0]) <= set(CURVE_COLUMNS)
    only_val = {key for key in rows[0] if not key.startswith("test_")}
    assert {"share", "draw", "n_train", "groups", "val_balanced_accuracy_low", "val_auc_high"} <= only_val


def test_the_penalty_is_chosen_on_validation_and_not_on_test():
    weight = np.zeros((1, 2, 2))
    weight[0, 0, 0], weight[0, 1, 1] = 1, 1  # the first penalty reads feature 0, the second feature 1
    solutions = SimpleNamespace(weight=weight, bias=np.zeros((1, 2)), penalties=[1.0, 0.1], converged=np.ones((1, 2), bool))
    labels = np.tile([0, 1], 20)
    good, bad = labels * 2.0 - 1, np.tile([1.0, 1, -1, -1], 10)
    split = SimpleNamespace(labels=labels, groups=np.arange(40))
    for right, penalty in ((0, 1.0), (1, 0.1)):
        val = np.stack([good, bad] if right == 0 else [bad, good], axis=1)
        row = curve_rows(
            {}, [{"share": 1}], solutions, {"val": val, "test": val[:, ::-1].copy()}, {"val": split, "test": split}
        )[0]
        assert row["l2"] == penalty and row["val_balanced_accuracy"] == 1 and row["test_balanced_accuracy"] == 0.5
    row = curve_rows({}, [{"share": 1}], solutions, {"val": np.stack([good, good], axis=1)}, {"val": split})[0]
    assert row["l2"] == 1.0 and "test_auc" not in row, "of equals the largest penalty"
