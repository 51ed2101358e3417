"""The charts read the columns that they show, and no others; what is looked up for each target is not searched among all."""

import csv

from utils.base.files import csv_rows
from utils.pages.charts.results import read_results
from utils.pages.charts.tables import CELL_COLUMNS, CHART_SCORES
from utils.pages.charts.words import DIFFERENCES
from utils.saved.columns import SUMMARY
from utils.saved.tables import summary


def test_every_score_that_is_shown_is_read():
    assert set(DIFFERENCES) <= set(CHART_SCORES)
    written = set(summary([])[0])
    assert {name for name in CELL_COLUMNS if not name.startswith(("train_minus", "train_best"))} - written <= {
        f"{split}_{name}{end}"
        for split in ("train", "val", "test")
        for name in CHART_SCORES
        for end in ("", "_low", "_high")
    } | {f"{split}_best_baseline" for split in ("train", "val", "test")}


def write_summary(folder, targets):
    columns = [*summary([])[0], "of_no_use"]
    rows = [
        {"target": f"t{target}", "layer": layer, "lag": lag, "probe": "linear", "seed": 0, "val_auc": 0.5, "n_val": 7}
        for target in range(targets)
        for layer in range(2)
        for lag in (-1, 0)
    ]
    with open(folder / SUMMARY, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def test_columns_that_no_chart_shows_are_not_kept(tmp_path):
    write_summary(tmp_path, 3)
    results = read_results(tmp_path)
    assert all("of_no_use" not in row and "val_recall" not in row for row in results.all_rows())
    assert results.lags("t1") == [-1, 0] and results.layers("t2", "linear") == ["0", "1"]
    assert [row["target"] for row in results.rows_at("t1", [0])] == ["t1", "t1"]
    assert results.targets == ["t0", "t1", "t2"] and results.lags("none") == []


def test_rows_of_another_width_are_told_apart(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n\n1\n1,2,3\n")
    assert list(csv_rows(tmp_path / "a.csv")) == [
        {"x": "1", "y": "2"},
        {"x": "1", "y": None},
        {"x": "1", "y": "2", None: ["3"]},
    ]
    assert list(csv_rows(tmp_path / "a.csv", ("y",)))[0] == {"y": "2"}
    assert list(csv_rows(tmp_path / "none.csv")) == []
