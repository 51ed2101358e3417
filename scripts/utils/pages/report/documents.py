"""Tabulate the scores of whole documents that validation chose, beside their baselines."""

from utils.pages.charts.cells import layer_in_words
from utils.pages.charts.results import Results
from utils.pages.charts.words import interval_text, kind_name, lag_label, number_text, quoted, signed_text


def document_rows(results: Results) -> list[dict]:
    """Write the chosen pair of a probe and an aggregate for each target, lag and length bucket, and each baseline's."""
    shown = [row for row in results.documents if row.get("chosen") == 1 and row["split"] == results.split]
    return [
        document_row(row) for row in sorted(shown, key=lambda row: (row["target"], row["lag"], bool(row.get("baseline"))))
    ]


def document_row(row: dict) -> dict:
    """Write one row of document_scores.csv."""
    name = row.get("baseline") or f"{kind_name(row['probe'])}, {layer_in_words(row['layer_idx'])}"
    return {
        "target": quoted(row["target"]),
        "lag": lag_label(row["lag"]),
        "name": name,
        "aggregate": row["aggregate"],
        "bucket": row["bucket"],
        "probe": not row.get("baseline"),
        "auc": number_text(row.get("auc")),
        "interval": interval_text([row], "auc"),
        "tpr": number_text(row.get("tpr_at_1_fpr")),
        "fpr": number_text(row.get("fpr_at_95_tpr")),
        "minus": signed_text(row.get("minus_baseline")),
        "minus_interval": interval_text([row], "minus_baseline", signed_text),
        "ece": number_text(row.get("ece")),
        "n": number_text(row.get("n"), 0),
    }
