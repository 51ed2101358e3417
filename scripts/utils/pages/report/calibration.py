"""Tabulate how far the probabilities of the chosen probes can be believed, and what their thresholds cost."""

from utils.pages.charts.cells import known, mean
from utils.pages.charts.results import Results
from utils.pages.charts.tables import OF_CALIBRATION
from utils.pages.charts.words import kind_name, lag_label, number_text, quoted, span
from utils.pages.report.tables import Head, ReportTable, numbers, table_of, word
from utils.saved.columns import SUMMARY

HOWS = {
    "brier": ("Brier score", "The mean squared error of the probability, at the natural share of positives."),
    "ece": ("calibration error", "The expected calibration error over 10 bins, at the natural share of positives."),
    "pos_accuracy": ("positives found", "At the threshold that validation chose: recall."),
    "neg_accuracy": ("negatives left alone", "At the threshold that validation chose: 1 minus the false positive rate."),
    "precision": ("precision", "The share of true positives among what is called positive, at the split's own share."),
    "tpr_at_1_fpr": ("found at 1 % false alarms", "The largest true positive rate at a false positive rate of at most .01."),
    "fpr_at_95_tpr": ("false alarms at 95 % found", "The smallest false positive rate at a true positive rate of .95."),
}


def calibration_table(results: Results) -> ReportTable | None:
    """Tabulate each chosen probe, best on validation first; None where the tables hold none of these numbers."""
    split = results.split
    rows = []
    for target, probe, lag, layer in results.best_first:
        of_cell = results.rows(target, probe, lag, layer)
        found = {name: number_text(mean(of_cell, f"{split}_{name}")) for name in OF_CALIBRATION}
        ratios = [row[f"pos_ratio_{split}"] for row in of_cell if known(row.get(f"pos_ratio_{split}"))]
        name = {"target": quoted(target), "probe": kind_name(probe), "lag": lag_label(lag), "layer": layer}
        rows.append(name | found | {"share": span(ratios, "{:.1%}".format)})
    if not any(results.has(f"{split}_{name}") for name in OF_CALIBRATION):
        return None
    columns = [
        word("probe", "probe"),
        word("target", "target"),
        numbers(Head("lag"), "lag"),
        numbers(Head("layer"), "layer"),
    ]
    columns.append(numbers(Head("positives", f"Their share of the examples ({SUMMARY}: pos_ratio_{split})."), "share"))
    for name, (head, how) in HOWS.items():
        columns.append(numbers(Head(head, f"{how} ({SUMMARY}: {split}_{name})"), name))
    note = "Brier score and calibration error need logits with a scale, which mass means have not, and the natural share of "
    return table_of(
        "calibration",
        ("Calibration, and what a threshold costs", f"the chosen probes on {split}, means over the seeds"),
        columns,
        rows,
        [f"{note}positives, which token data and whole sets of texts tell."],
    )
