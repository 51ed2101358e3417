"""docs/tables.md explains every column that the code writes, and none that it does not."""

import re

import pytest

from helpers import ROOT
from utils.sae.evaluation.results import EVALUATION_COLUMNS, EVALUATION_CSV
from utils.saved import columns
from utils.saved.tables import summary
from utils.saved.transfer import matrix_of, matrix_text

PAGE = (ROOT / "docs/tables.md").read_text(encoding="utf-8")
COLUMNS = {
    **columns.COLUMNS,
    columns.TRANSFER: columns.TRANSFER_COLUMNS,
    columns.CURVE: columns.CURVE_COLUMNS,
    columns.CODELENGTH: columns.CODELENGTH_COLUMNS,
    EVALUATION_CSV: EVALUATION_COLUMNS,
    columns.SAE_PROBES: columns.SAE_PROBES_COLUMNS,
    columns.SAE_LATENTS: columns.SAE_LATENTS_COLUMNS,
}


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
    scores = set(explained("Scores")) | set(explained("Comparisons")) | set(explained("Search"))
    wanted = [
        f"{split}_{name}"
        for split in ("train", "val", "test")
        for name in scores - {"n", "pos_ratio", "threshold", "groups"}
    ]
    own = [name for name in explained(columns.SUMMARY) if name != "SPLIT_SCORE"]
    listed = [name for name in own if name.split("_")[0] not in ("train", "val", "test")]
    written, _ = summary([])
    assert set(written) == {*wanted, *listed}
    assert set(own) - set(listed) <= set(written), "an example that is no column"


def test_the_transfer_matrix_is_explained():
    row = {**dict.fromkeys(columns.TRANSFER_COLUMNS, ""), "probe": "linear", "data_file": "FILE", "target": "TARGET"}
    written = matrix_text(matrix_of([row])).splitlines()[0].split(",")
    assert explained(columns.TRANSFER_MATRIX) == written


@pytest.mark.parametrize(
    "name", ["Scores", "Comparisons", "Search", "Owner", *COLUMNS, columns.SUMMARY, columns.TRANSFER_MATRIX]
)
def test_every_row_says_what_its_column_means(name):
    rows = [line for line in section(name).splitlines() if line.startswith("| `")]
    assert rows and all(len(line.split(" | ")[1].strip(" |")) > 5 for line in rows)
