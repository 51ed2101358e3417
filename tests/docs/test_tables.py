"""docs/tables.md explains every column that the code writes, and none that it does not."""

import re

import pytest

from helpers import ROOT
from utils.saved import tables, transfer
from utils.sweep import learning_curve

PAGE = (ROOT / "docs/tables.md").read_text(encoding="utf-8")
COLUMNS = {**tables.COLUMNS, transfer.TABLE: transfer.COLUMNS, learning_curve.FILE: learning_curve.COLUMNS}


def section(heading):
    return re.search(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)[1]


def explained(heading):
    """The columns of a section's own rows, then those of the sections that it refers to."""
    text = section(heading)
    first = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    own = [name for cell in first for name in re.findall(r"`([^`]+)`", cell)]
    further = re.search(r"^Further columns: (.*)", text, re.MULTILINE)
    return own + [name for title in re.findall(r"\[(.*?)\]", further[1] if further else "") for name in explained(title)]


@pytest.mark.parametrize("name", COLUMNS)
def test_the_columns_of_a_table_are_explained_once_each(name):
    assert sorted(explained(name)) == sorted(COLUMNS[name])


def test_the_columns_of_the_summary_are_explained():
    scores = set(explained("Scores")) | set(explained("Comparisons"))
    wanted = [
        f"{split}_{name}"
        for split in ("train", "val", "test")
        for name in scores - {"n", "pos_ratio", "threshold", "groups"}
    ]
    own = [name for name in explained(tables.SUMMARY) if name != "SPLIT_SCORE"]
    listed = [name for name in own if name.split("_")[0] not in ("train", "val", "test")]
    written, _ = tables.summary([])
    assert set(written) == {*wanted, *listed}
    assert set(own) - set(listed) <= set(written), "an example that is no column"


def test_the_transfer_matrix_is_explained():
    scores = {name: float("nan") for name in (*transfer.SCORES, *transfer.COUNTS)}
    row = {
        **dict.fromkeys(transfer.COLUMNS, ""),
        **scores,
        "probe": "linear",
        "lag": 0,
        "data_file": "FILE",
        "target": "TARGET",
    }
    written = transfer.matrix_text(transfer.matrix_of([row])).splitlines()[0].split(",")
    assert explained(transfer.MATRIX) == written


@pytest.mark.parametrize("name", ["Scores", "Comparisons", "Owner", *COLUMNS, tables.SUMMARY, transfer.MATRIX])
def test_every_row_says_what_its_column_means(name):
    rows = [line for line in section(name).splitlines() if line.startswith("| `")]
    assert rows and all(len(line.split(" | ")[1].strip(" |")) > 5 for line in rows)
