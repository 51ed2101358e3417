"""Read the tables of a sweep: cells as numbers where they are numbers, and one-line errors for any other table."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import chain

from utils.base.errors import UserError
from utils.base.files import csv_rows
from utils.data.sequences import SPLITS
from utils.data.tokenizer import shown_text
from utils.pages.charts.cells import SCORE_LABELS, known
from utils.probes.directions.files import read_directions
from utils.saved.columns import (
    BASELINE_KEY,
    DIRECTIONS,
    METRICS,
    REFITTED,
    SAE_LATENTS,
    SAE_PROBES,
    SEARCH,
    TEXT_COLUMNS,
    WHOLE_COLUMNS,
)
from utils.saved.group_scores import GROUP_SCORES, Block, read_group_scores

CURVE_SIZES = {
    "n_train": "training examples",
    "train_examples": "training examples",
    "groups_train": "training groups",
    "train_groups": "training groups",
    "n": "training examples",
    "groups": "training groups",
    "fraction": "share of the training data",
}
BASELINE_COLUMNS = {
    *BASELINE_KEY,
    *(f"{name}{end}" for name in SCORE_LABELS for end in ("", "_low", "_high")),
    *("n", "groups", "model"),
}
CHART_SCORES = (*SCORE_LABELS, "minus_baseline", "minus_random_weights", "selectivity")
SHOWN_SPLITS = ("val", "test")  # the splits whose scores a page can be of
SHOWN_TEXTS = ("baseline", "aggregate", "bucket")  # names that stand on pages as they are read
FIRST_LATENTS = 8  # of each probe on latents
OF_CALIBRATION = ("brier", "ece", "pos_accuracy", "neg_accuracy", "precision", "tpr_at_1_fpr", "fpr_at_95_tpr")
CELL_COLUMNS = {  # of probe_results.csv, what the charts show
    *("target", "layer", "lag", "probe", "seed", "l2"),
    *(f"train_{name}" for name in SCORE_LABELS),
    *(f"{split}_{name}{end}" for split in SHOWN_SPLITS for name in CHART_SCORES for end in ("", "_low", "_high")),
    *(f"{split}_{name}" for split in SHOWN_SPLITS for name in ("best_baseline", "minus_baseline_detectable")),
    *(f"{split}_{name}" for split in SHOWN_SPLITS for name in (*OF_CALIBRATION, *REFITTED)),
    *(f"test_{name}" for name in SEARCH),
    *(f"{name}_{split}" for split in SPLITS for name in ("n", "pos_ratio")),
}
METRICS_READ = ("target", "layer_idx", "lag", "probe", "split", "chosen", "groups", "converged")
MAKE = "make it with scripts/train_probe.py"


def cell_columns(split) -> set[str]:
    """List the columns of probe_results.csv that the pages of a split show; of the other one the scores to choose by."""
    (other,) = set(SHOWN_SPLITS) - {split}
    kept = {f"val_{name}" for name in SCORE_LABELS}
    return {name for name in CELL_COLUMNS if not name.startswith(f"{other}_") or name in kept}


def read_numbers(path, required, columns=None) -> Iterator[dict]:
    """Yield the rows of a table, with cells as numbers.

    TEXT_COLUMNS stay text, WHOLE_COLUMNS become int or None, all others float, NaN where a cell is empty or "nan". required:
    columns without which it is another table; columns: all that are read (None: all that there are).
    """
    for number, row in enumerate(csv_rows(path, columns), start=2):
        missing = [name for name in required if name not in row] if number == 2 else []
        if missing:
            raise UserError(f"{path} is another table: it has no column {' and no '.join(missing)}; {MAKE}")
        yield {name: parsed(path, number, name, text) for name, text in row.items()}


def parsed(path, number, name, text):
    """Parse one cell, of column `name` in line `number`."""
    if name is None or text is None:
        raise UserError(f"{path} line {number} has {'more' if name is None else 'fewer'} cells than the header; {MAKE}")
    if name in SHOWN_TEXTS or name.endswith("best_baseline"):
        return shown_text(text)
    if name in TEXT_COLUMNS:
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
    rows = read_numbers(path, ("target", "baseline", "lag", "split"), BASELINE_COLUMNS)
    baselines = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for row in rows:
        key = (row["baseline"], row.get("probe", ""), row.get("layer_idx", ""))
        baselines[row["target"], row["lag"]][key][row["split"]].append(row)
    return {key: {name: dict(by_split) for name, by_split in one.items()} for key, one in baselines.items()}


def baseline_rows(baselines) -> list[dict]:
    return [row for one in baselines.values() for by_split in one.values() for rows in by_split.values() for row in rows]


def read_metrics(folder, baselines) -> tuple[dict, dict]:
    """Read of probe_metrics.csv what no other table says: {(target, lag, split): groups}, and {(target, probe, lag, layer):
    fits of the chosen penalty that stopped before their optimum}. Where it has no groups, the baselines do.
    """
    groups, unconverged = {}, Counter()
    of_probes = read_numbers(folder / METRICS, ("target", "lag", "split"), METRICS_READ)
    for row in chain(baseline_rows(baselines), of_probes):
        if known(row.get("groups")):
            groups[row["target"], row["lag"], row["split"]] = int(row["groups"])
        if row.get("converged") == "False" and row.get("chosen") == 1 and row["split"] == "val":
            unconverged[row["target"], row["probe"], row["lag"], row["layer_idx"]] += 1
    return groups, dict(unconverged)


def read_interpreted(folder) -> tuple[list[dict], list[dict], list[dict]]:
    """Read what the directions promote, the chosen probes on latents, and the first latents that each of these reads."""
    directions = folder / DIRECTIONS
    entries = read_directions(directions)["entries"] if directions.exists() else []
    of_probe = ("target", "layer_idx", "lag", "features", "count", "split", "chosen", "auc")
    of_latent = ("target", "layer_idx", "lag", "rank", "latent", "mean_difference", "density_positives", "density_negatives")
    probes = read_numbers(folder / SAE_PROBES, of_probe)
    latents = read_numbers(folder / SAE_LATENTS, (*of_latent, "reads", "promotes", "suppresses"))
    return (
        entries,
        [row for row in probes if row["chosen"] == 1],
        [row for row in latents if row["rank"] <= FIRST_LATENTS],
    )


def read_blocks(folder, split) -> list[Block]:
    """Read how far each group moves the scores of a split, as far as the run kept it."""
    return [block for block in read_group_scores(folder / GROUP_SCORES) if block.about["split"] == split]


def read_record(path) -> dict:
    """Read run_record.json; {} where there is none. What is not of the form that a run writes counts as absent."""
    try:
        record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read {path}: {error}; move it away or give another --results_dir") from error
    return {**record, "arguments": objects(record.get("arguments"), None)} if isinstance(record, dict) else {"arguments": {}}


def chosen_by(record) -> str | None:
    """Find the score by which the run itself chose layers, where its record names one."""
    by_lag = objects(record.get("selected_on_validation"))
    named = [question.get("chosen_by") for lags in by_lag.values() for question in objects(lags).values()]
    found = {name for name in SCORE_LABELS if name in named}
    return found.pop() if len(found) == 1 else None


def objects(value, kind: type | None = dict) -> dict:
    """Give the entries of a JSON object that are of a kind (None: of any); none where it is no object."""
    entries = value.items() if isinstance(value, dict) else ()
    return {name: entry for name, entry in entries if kind is None or isinstance(entry, kind)}


def read_curve(path) -> list[dict]:
    """Read learning_curve.csv.

    Each row gets "size", from the first column of CURVE_SIZES that is there, and "size_name", that column in words.
    """
    rows = list(read_numbers(path, ("target", "lag", "probe")))
    name = next((one for one in CURVE_SIZES if rows and one in rows[0]), None)
    if rows and name is None:
        raise UserError(f"{path} has no column {' or '.join(CURVE_SIZES)}; move it away or make it anew")
    return [
        {**row, "layer": row.get("layer", row.get("layer_idx", "")), "size": row[name], "size_name": CURVE_SIZES[name]}
        for row in rows
    ]
