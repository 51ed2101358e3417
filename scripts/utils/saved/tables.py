"""Write the tables of a run: one row for each probe and split, of one model and one dataset only."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from utils.base.errors import UserError
from utils.base.files import WriteTogether, csv_text, json_text, read_csv
from utils.data.sequences import SPLITS
from utils.probes.kinds import KINDS
from utils.saved.columns import (
    BASELINE_KEY,
    BASELINES,
    COLUMNS,
    DOCUMENTS,
    KEY,
    METRICS,
    OWNERS,
    PROBE,
    RECORD,
    SUMMARY,
    SUMMARY_SCORES,
    TEXT_COLUMNS,
    TRANSFER,
    TRANSFER_COLUMNS,
    TRANSFER_KEY,
    WHOLE_COLUMNS,
)
from utils.scores.documents.scoring import DOCUMENT_KEY

KEPT = {**COLUMNS, TRANSFER: TRANSFER_COLUMNS}  # the tables that later runs read, and add to
UNIQUE = {METRICS: KEY, BASELINES: BASELINE_KEY, DOCUMENTS: DOCUMENT_KEY, TRANSFER: TRANSFER_KEY}  # of each row alone


def table_rows(path: Path) -> list[dict[str, str]]:
    """Read the rows of one of the tables; [] where there is no file. Columns that older files lack are empty.

    Raise UserError for a table that was changed: other columns, cells that are no numbers, rows that are there twice or
    are missing.
    """
    rows, columns = read_csv(path), KEPT[path.name]
    there = set(rows[0]) - {None} if rows else set(columns)
    odd = (there - set(columns)) | ({*UNIQUE[path.name], *OWNERS[:3]} & set(columns) - there)
    if odd:
        raise UserError(f"it has other columns than this suite's: {', '.join(sorted(map(str, odd)))}")
    for number, row in enumerate(rows, start=1):
        if problem := row_problem(row):
            raise UserError(f"{path}, row {number}: {problem}")
    if problem := problem_between_rows(path.name, rows):
        raise UserError(f"{path}: {problem}")
    return [{name: row.get(name, "") for name in columns} for row in rows]


def row_problem(row: dict) -> str | None:
    """Say which cell of a row is not what its column holds, or None."""
    if None in row or None in row.values():
        return "it has another number of cells than the header"
    for name, text in row.items():
        if name in TEXT_COLUMNS or text == "":
            continue
        try:
            int(text) if name in WHOLE_COLUMNS else float(text)
        except ValueError:
            return f"{name} is {text[:40]!r}, not a number"
    if row["split"] not in SPLITS:
        return f"split is {row['split'][:40]!r}, not {', '.join(SPLITS)}"
    if row.get("probe") not in (None, "", *KINDS):
        return f"probe is {row['probe'][:40]!r}, not {', '.join(KINDS)}"
    return None


def problem_between_rows(name: str, rows: Sequence[dict]) -> str | None:
    """Say which rows of a table are there twice or are missing, or None."""
    keys = Counter(tuple(row[column] for column in UNIQUE[name]) for row in rows)
    if keys and (most := keys.most_common(1)[0])[1] > 1:
        return f"{most[1]} rows are of {', '.join(most[0])}"
    if name != METRICS:
        return None
    splits, chosen = defaultdict(set), defaultdict(set)
    for row in rows:
        probe = tuple(row[column] for column in PROBE)
        splits[probe, row["l2"]].add(row["split"])
        chosen[probe] |= {row["l2"]} if row.get("chosen") == "1" else set()
    for (probe, _), found in splits.items():
        if not {"train", "val"} <= found:
            return f"of {', '.join(probe)} there is no row of {min({'train', 'val'} - found)}"
        if len(chosen[probe]) != 1:
            return f"of {', '.join(probe)} not one penalty is chosen, but {len(chosen[probe])}"
    return None


def replace_rows(path: Path, rows: Sequence[dict], key: Sequence[str], replaced: Iterable[Path]) -> list[dict]:
    """Give the file's rows, unless it is one of `replaced`, and these, which replace those of the same key (all
    penalties and splits of a probe at once).
    """
    kept = [] if path in replaced else table_rows(path)
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
