"""Tables with cells that a spreadsheet would run: written as text, read back as they were."""

import csv
import io
import random

import pytest

from helpers import call
from utils.base.files import csv_text, read_csv
from utils.base.formulas import guarded, unguarded

RUN = ("=1+1", '=HYPERLINK("http://127.0.0.1/?"&A1,"x")', "+1+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", "\n=1")
KEPT = (
    "",
    "plain",
    "a=b",
    "'quoted'",
    "' =",
    "-1.5",
    "-1",
    "1e-05",
    "-1e-05",
    "-inf",
    "nan",
    "-0.0",
    " the",
    "é",
    "it's -1",
)


@pytest.mark.parametrize("text", [*RUN, *(f"'{one}" for one in RUN), *(f"''{one}" for one in RUN), "-", "--seed 1", "+1"])
def test_what_would_run_is_text_and_comes_back(text, tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(csv_text(("target", text), [{"target": text, text: -1.5}]).encode())
    cells = [cell for row in csv.reader(io.StringIO(path.read_bytes().decode(), newline="")) for cell in row]
    assert not [cell for cell in cells if cell[:1] in set("=+-@\t\r\n") and cell != "-1.5"]
    assert read_csv(path) == [{"target": text, text: "-1.5"}]


def test_what_does_not_run_is_written_as_it_is():
    assert csv_text(("a", "b"), [{"a": text, "b": -1.5} for text in KEPT]).count("-1.5") == len(KEPT) + 1
    assert [guarded(text) for text in KEPT] == list(KEPT)
    assert [guarded(value) for value in (-1, -1.5, True)] == [-1, -1.5, True]


def test_any_text_comes_back_and_a_table_that_is_written_twice_is_the_same():
    draw = random.Random(0)
    for _ in range(20_000):
        text = "".join(draw.choices("'=+-@\t\r\n1.e a", k=draw.randrange(7)))
        assert unguarded(guarded(text)) == text
        assert guarded(unguarded(guarded(text))) == guarded(text)


@pytest.mark.slow
def test_the_tables_of_a_label_that_is_a_formula(prepared, tmp_path):
    """The file of the data has such a name, and the folder of the results."""
    folder = tmp_path / "=cmd"
    folder.mkdir()
    (folder / "=2+3.pth").write_bytes((prepared / "test.pth").read_bytes())
    arguments = ("--train_data", prepared / "train.pth", "--layer", 0, "--probe", "mass_mean", "--no_wandb")
    assert call("train_probe", *arguments, cwd=folder).returncode == 0
    for _ in range(2):  # the second merges with what the first wrote
        assert call("evaluate_probe", "--data", "=2+3.pth", "--keep_seen", cwd=folder).returncode == 0
    text = (folder / "results/transfer.csv").read_text()
    assert ",'=2+3.pth," in text and ",=2" not in text
    (row,) = read_csv(folder / "results/transfer.csv")
    assert row["data_file"] == "=2+3.pth" and row["lag"] == "-1"
    assert "'=2+3.pth: " in (folder / "results/transfer_matrix.csv").read_text().splitlines()[0]
