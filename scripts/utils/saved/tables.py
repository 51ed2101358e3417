"""The tables of a run: one row a probe and split, of one model and one dataset only."""

from pathlib import Path

from utils.base.errors import UserError
from utils.base.files import csv_text, json_text, read_csv
from utils.scores.documents.scoring import DOCUMENT_COLUMNS

PROBE = ("target", "layer_idx", "lag", "probe", "seed")
KEY = (*PROBE, "l2", "split")
SCORES = (
    "balanced_accuracy",
    "balanced_accuracy_low",
    "balanced_accuracy_high",
    "pos_accuracy",
    "neg_accuracy",
    "auc",
    "auc_low",
    "auc_high",
    "acc",
    "precision",
    "recall",
    "f1",
    "auprc",
    "brier",
    "ece",
    "tpr_at_1_fpr",
    "fpr_at_95_tpr",
    "tp",
    "fp",
    "tn",
    "fn",
    "threshold",
    "balanced_accuracy_at_0",
    "n",
    "pos_ratio",
    "groups",
)
COMPARED = (
    "control",
    "selectivity",
    "best_baseline",
    "minus_baseline",
    "minus_baseline_low",
    "minus_baseline_high",
    "minus_random_weights",
    "minus_random_weights_low",
    "minus_random_weights_high",
)
SOLVED = ("gradient", "converged", "separable")  # of exact fits
OWNERS = ("model", "model_fingerprint", "dataset_fingerprint", "settings")
BASELINE_KEY = ("target", "baseline", "layer_idx", "lag", "probe", "seed", "split")
METRICS, SUMMARY, BASELINES, RECORD = "probe_metrics.csv", "probe_results.csv", "baselines.csv", "run_record.json"
DOCUMENTS = "document_scores.csv"
COLUMNS = {
    METRICS: (*KEY, "chosen", *SCORES, *COMPARED, *SOLVED, *OWNERS),
    BASELINES: (*BASELINE_KEY, *SCORES, *OWNERS),
    DOCUMENTS: (*DOCUMENT_COLUMNS, *OWNERS),
}
SUMMARY_SCORES = tuple(name for name in (*SCORES, *COMPARED) if name not in ("n", "pos_ratio", "threshold", "groups"))


def table_rows(path) -> list[dict[str, str]]:
    """The rows of one of the tables; [] where there is no file."""
    rows = read_csv(path)
    if rows and set(rows[0]) != set(COLUMNS[path.name]):
        odd = set(rows[0]).symmetric_difference(COLUMNS[path.name])
        raise UserError(f"it has other columns than this suite's: {', '.join(sorted(map(str, odd)))}")
    return rows


def merged(path, rows, key, replaced) -> list[dict]:
    """The rows of the file at `path`, unless it is one of `replaced`, and these, which replace those of the same key (all
    penalties and splits of a probe at once).
    """
    kept = [] if path in replaced else read_csv(path)
    new = {tuple(str(row[name]) for name in key) for row in rows}
    return [row for row in kept if tuple(row[name] for name in key) not in new] + list(rows)


def write_tables(files, results_dir, probe_rows, baseline_rows, document_rows, record, replaced=()):
    """probe_metrics.csv, what follows from it (probe_results.csv), baselines.csv, run_record.json, and document_scores.csv
    where there is something to write; `replaced`: the tables whose old rows are dropped.
    """
    folder = Path(results_dir)
    metrics = merged(folder / METRICS, probe_rows, PROBE, replaced)
    baselines = merged(folder / BASELINES, baseline_rows, BASELINE_KEY[:-1], replaced)
    texts = {
        METRICS: csv_text(COLUMNS[METRICS], metrics),
        SUMMARY: csv_text(*summary(metrics)),
        BASELINES: csv_text(COLUMNS[BASELINES], baselines),
        RECORD: json_text(record),
    }
    documents = merged(folder / DOCUMENTS, document_rows, ("target", "lag"), replaced)
    if documents:
        texts[DOCUMENTS] = csv_text(COLUMNS[DOCUMENTS], documents)
    for name, text in texts.items():
        with files.open(folder / name) as file:
            file.write(text.encode("utf-8"))


def summary(metrics) -> tuple[list[str], list[dict]]:
    """One row a chosen probe, each score with its split before it."""
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
