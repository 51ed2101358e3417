"""Tabulate the scores of whole documents that validation chose, beside their baselines."""

from utils.pages.charts.cells import layer_in_words
from utils.pages.charts.results import Results
from utils.pages.charts.words import interval_text, kind_name, lag_label, number_text, quoted, signed_text
from utils.pages.report.chosen import INTERVAL, hows_of
from utils.pages.report.tables import Head, ReportTable, numbers, table_of, word
from utils.saved.columns import DOCUMENTS


def documents_table(results: Results) -> ReportTable | None:
    """Tabulate the chosen pair of a probe and an aggregate for each target, lag and length bucket, and each baseline's."""
    shown = [row for row in results.documents if row.get("chosen") == 1 and row["split"] == results.split]
    shown.sort(key=lambda row: (row["target"], row["lag"], bool(row.get("baseline"))))
    hows = hows_of(results)
    columns = [
        word("target", "target"),
        numbers(Head("lag", hows["lag"]), "lag"),
        word("what", "name", "The probe and layer that validation chose, or a baseline."),
        word("aggregate", "aggregate", "How the logits of a document’s tokens become one score."),
        word("lengths", "bucket", "All documents, or those of one length bucket."),
        numbers(Head("AUROC", f"Over documents ({DOCUMENTS}: auc).", (INTERVAL,)), "auc", "interval", look="strong"),
        numbers(Head("found at 1 % false alarms", f"Of the positive documents ({DOCUMENTS}: tpr_at_1_fpr)."), "tpr"),
        numbers(Head("false alarms at 95 % found", f"Of the negative documents ({DOCUMENTS}: fpr_at_95_tpr)."), "fpr"),
        numbers(Head("AUROC minus baseline’s", hows["minus"], (INTERVAL,)), "minus", "minus_interval"),
        numbers(Head("calibration error", "Expected calibration error after Platt scaling on validation."), "ece"),
        numbers(Head("n", "Documents."), "n"),
    ]
    about = "one score each, from the logits of its tokens; the pair of probe and aggregate that validation chose"
    title = ("Whole documents", about)
    return table_of("documents", title, columns, [document_row(row) for row in shown]) if shown else None


def document_row(row: dict) -> dict:
    """Write one row of document_scores.csv."""
    name = row.get("baseline") or f"{kind_name(row['probe'])}, {layer_in_words(row['layer_idx'])}"
    return {
        "target": quoted(row["target"]),
        "lag": lag_label(row["lag"]),
        "name": name,
        "aggregate": row["aggregate"],
        "bucket": row["bucket"],
        "ours": not row.get("baseline"),
        "auc": number_text(row.get("auc")),
        "interval": interval_text([row], "auc"),
        "tpr": number_text(row.get("tpr_at_1_fpr")),
        "fpr": number_text(row.get("fpr_at_95_tpr")),
        "minus": signed_text(row.get("minus_baseline")),
        "minus_interval": interval_text([row], "minus_baseline", signed_text),
        "ece": number_text(row.get("ece")),
        "n": number_text(row.get("n"), 0),
    }
