"""Read the tables of a sweep: cells as numbers where they are numbers, and one-line errors for any other table."""

import json
import math
from collections import defaultdict

from utils.base.errors import UserError
from utils.base.files import read_csv
from utils.pages.charts.cells import known
from utils.saved.columns import METRICS, TEXT_COLUMNS, WHOLE_COLUMNS

CURVE_SIZES = {
    "n_train": "training examples",
    "train_examples": "training examples",
    "groups_train": "training groups",
    "train_groups": "training groups",
    "n": "training examples",
    "groups": "training groups",
    "fraction": "share of the training data",
}
MAKE = "make it with scripts/train_probe.py"


def read_numbers(path, required) -> list[dict]:
    """Read the rows of a table, with cells as numbers.

    TEXT_COLUMNS stay text, WHOLE_COLUMNS become int or None, all others float, NaN where a cell is empty or "nan". required:
    columns without which it is another table.
    """
    rows = read_csv(path)
    missing = [name for name in required if rows and name not in rows[0]]
    if missing:
        raise UserError(f"{path} is another table: it has no column {' and no '.join(missing)}; {MAKE}")
    return [
        {name: parsed(path, number, name, text) for name, text in row.items()} for number, row in enumerate(rows, start=2)
    ]


def parsed(path, number, name, text):
    """Parse one cell, of column `name` in line `number`."""
    if name is None or text is None:
        raise UserError(f"{path} line {number} has {'more' if name is None else 'fewer'} cells than the header; {MAKE}")
    if name in TEXT_COLUMNS or name.endswith("best_baseline"):
        return text
    if text.strip() in ("", "nan"):
        return None if name in WHOLE_COLUMNS else math.nan
    try:
        return int(text) if name in WHOLE_COLUMNS else float(text)
    except ValueError:
        raise UserError(f"{path} line {number}: {name} is {text[:40]!r}, not a number; {MAKE}") from None


def read_baselines(path) -> dict:
    """Read baselines.csv: {(target, lag): {(baseline, probe, layer): {split: [row of each seed]}}}.

    probe and layer are "" where a baseline has none.
    """
    rows = read_numbers(path, ("target", "baseline", "lag", "split"))
    baselines = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for row in rows:
        key = (row["baseline"], row.get("probe", ""), row.get("layer_idx", ""))
        baselines[row["target"], row["lag"]][key][row["split"]].append(row)
    return {key: {name: dict(by_split) for name, by_split in one.items()} for key, one in baselines.items()}


def baseline_rows(baselines) -> list[dict]:
    return [row for one in baselines.values() for by_split in one.values() for rows in by_split.values() for row in rows]


def read_groups(folder, baselines) -> dict:
    """Read the number of groups, {(target, lag, split): number}, from probe_metrics.csv or else from the baselines."""
    rows = baseline_rows(baselines)
    if (folder / METRICS).exists():
        rows += read_numbers(folder / METRICS, ("target", "lag", "split"))
    return {(row["target"], row["lag"], row["split"]): int(row["groups"]) for row in rows if known(row.get("groups"))}


def read_record(path) -> dict:
    """Read run_record.json; {} where there is none."""
    try:
        record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}; move it away or give another --results_dir") from error
    return record if isinstance(record, dict) else {}


def read_curve(path) -> list[dict]:
    """Read learning_curve.csv.

    Each row gets "size", from the first column of CURVE_SIZES that is there, and "size_name", that column in words.
    """
    rows = read_numbers(path, ("target", "lag", "probe"))
    name = next((one for one in CURVE_SIZES if rows and one in rows[0]), None)
    if rows and name is None:
        raise UserError(f"{path} has no column {' or '.join(CURVE_SIZES)}; move it away or make it anew")
    return [
        {**row, "layer": row.get("layer", row.get("layer_idx", "")), "size": row[name], "size_name": CURVE_SIZES[name]}
        for row in rows
    ]
