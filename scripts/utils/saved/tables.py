"""Write the tables of a run: one row for each probe and split, of one model and one dataset only."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from utils.base.errors import UserError
from utils.base.files import WriteTogether, csv_text, json_text, read_csv
from utils.saved.columns import (
    BASELINE_KEY,
    BASELINES,
    COLUMNS,
    DOCUMENTS,
    KEY,
    METRICS,
    PROBE,
    RECORD,
    SUMMARY,
    SUMMARY_SCORES,
)


def table_rows(path: Path) -> list[dict[str, str]]:
    """Read the rows of one of the tables; [] where there is no file."""
    rows = read_csv(path)
    if rows and set(rows[0]) != set(COLUMNS[path.name]):
        odd = set(rows[0]).symmetric_difference(COLUMNS[path.name])
        raise UserError(f"it has other columns than this suite's: {', '.join(sorted(map(str, odd)))}")
    return rows


def replace_rows(path: Path, rows: Sequence[dict], key: Sequence[str], replaced: Iterable[Path]) -> list[dict]:
    """Give the file's rows, unless it is one of `replaced`, and these, which replace those of the same key (all
    penalties and splits of a probe at once).
    """
    kept = [] if path in replaced else read_csv(path)
    new = {tuple(str(row[name]) for name in key) for row in rows}
    return [row for row in kept if tuple(row[name] for name in key) not in new] + list(rows)


def write_tables(
    files: WriteTogether,
    folder: Path,
    probe_rows: Sequence[dict],
    baseline_rows: Sequence[dict],
    document_rows: Sequence[dict],
    record: dict,
    replaced: Iterable[Path] = (),
) -> None:
    """Write probe_metrics.csv, what follows from it (probe_results.csv), baselines.csv and run_record.json.

    document_scores.csv is written where there is something to write. replaced: the tables whose old rows are dropped.
    """
    metrics = replace_rows(folder / METRICS, probe_rows, PROBE, replaced)
    baselines = replace_rows(folder / BASELINES, baseline_rows, BASELINE_KEY[:-1], replaced)
    texts = {
        METRICS: csv_text(COLUMNS[METRICS], metrics),
        SUMMARY: csv_text(*summary(metrics)),
        BASELINES: csv_text(COLUMNS[BASELINES], baselines),
        RECORD: json_text(record),
    }
    documents = replace_rows(folder / DOCUMENTS, document_rows, ("target", "lag"), replaced)
    if documents:
        texts[DOCUMENTS] = csv_text(COLUMNS[DOCUMENTS], documents)
    for name, text in texts.items():
        with files.open(folder / name) as file:
            file.write(text.encode("utf-8"))


def summary(metrics: Iterable[dict]) -> tuple[list[str], list[dict]]:
    """Make probe_results.csv: its columns, and one row for each chosen probe, each score with its split before it."""
    splits = ("train", "val", "test")
    columns = [
        "target",
        "layer",
        "lag",
        "probe",
        "seed",
        "l2",
        *(f"{split}_{name}" for split in splits for name in SUMMARY_SCORES),
        *(f"n_{split}" for split in splits),
        *(f"pos_ratio_{split}" for split in splits),
    ]
    rows = {}
    for row in metrics:
        if str(row["chosen"]) != "1":
            continue
        key = tuple("" if row[name] is None else str(row[name]) for name in KEY[:-1])
        one = rows.setdefault(key, dict(zip(("target", "layer", "lag", "probe", "seed", "l2"), key, strict=True)))
        split = row["split"]
        one.update({f"{split}_{name}": row.get(name, "") for name in SUMMARY_SCORES})
        one.update({f"n_{split}": row["n"], f"pos_ratio_{split}": row["pos_ratio"]})
    return columns, list(rows.values())
