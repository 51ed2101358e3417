"""Tabulate what stands beside the probes: the baselines, and what the labels cost with and without the states."""

from utils.pages.charts.cells import SCORE_LABELS, mean
from utils.pages.charts.results import Results, baselines_at
from utils.pages.charts.words import DASH, interval_text, kind_name, lag_label, number_text, quoted
from utils.pages.report.tables import Cell, Column, Head, ReportTable, numbers, table_of, word
from utils.saved.columns import BASELINES, CODELENGTH

COSTS = ("bits_by_share", "shuffled_bits", "control_bits")


def baselines_table(results: Results) -> ReportTable | None:
    """Tabulate every baseline of each target and lag; of those that belong to a kind of probe there is one for each kind."""
    found = {at: baseline_cells(results, *at) for at in sorted(results.baselines)}
    names = list(dict.fromkeys(name for cells in found.values() for name in cells))
    if not names:
        return None
    how = f"{SCORE_LABELS[results.metric]} on {results.split} ({BASELINES})."
    columns: list[Column] = [word("target", "target"), numbers(Head("lag"), "lag")]
    columns += [(Head(name, how), lambda row, name=name: row["cells"].get(name, Cell(DASH))) for name in names]
    rows = [{"target": quoted(target), "lag": lag_label(lag), "cells": cells} for (target, lag), cells in found.items()]
    about = f"what a probe must beat: {SCORE_LABELS[results.metric]}, {results.split}"
    return table_of("baselines", ("Baselines", about), columns, rows)


def baseline_cells(results: Results, target: str, lag: int) -> dict[str, Cell]:
    """Write the baselines of one target and lag, by their names."""
    cells = {}
    for kind in results.kinds:
        for name, (label, by_split) in baselines_at(results, target, lag, kind).items():
            layered, rows = label != name, by_split.get(results.split, [])
            layer = f"layer {label.rpartition(' ')[2]}" if layered else ""
            small = tuple(filter(None, (interval_text(rows, results.metric), layer)))
            cells[f"{name} ({kind_name(kind)})" if layered else name] = Cell(number_text(mean(rows, results.metric)), small)
    return cells


def codelength_table(results: Results) -> ReportTable | None:
    """Tabulate each layer's codelength beside what the labels cost without its states."""
    if not results.codelength:
        return None
    rows = [
        {"target": quoted(row["target"]), "lag": lag_label(row["lag"]), "layer": row["layer"]}
        | {name: number_text(row.get(name), 0) for name in ("n", "bits", *COSTS)}
        for row in results.codelength
    ]
    there = {name for name in COSTS if name == "bits_by_share" or any(row[name] != DASH for row in rows)}
    heads = {"bits": "given its states", "bits_by_share": "given the share of positives"}
    heads |= {"shuffled_bits": "shuffled labels", "control_bits": "control labels", "n": "labels"}
    columns = [word("target", "target"), numbers(Head("lag"), "lag"), numbers(Head("layer"), "layer")]
    for name, head in heads.items():
        if name in there or name not in COSTS:
            how = f"In bits ({CODELENGTH}: {name})." if name != "n" else "How many labels are sent."
            columns.append(numbers(Head(head, how), name, look="strong" if name == "bits" else ""))
    notes = ["A layer that needs as many bits as the share of positives alone says nothing of the label."]
    if "shuffled_bits" in there:
        notes.append(
            "Shuffled labels are dealt among all examples, so that no layer can tell them: they cost about what their share "
            "does."
        )
    if "control_bits" in there:
        notes.append(
            "Control labels of whole texts are shuffled too. Those of tokens are drawn once for each type of the token that "
            "is read: where they cost less than real ones, the layer mostly names that token."
        )
    about = "bits that the training labels cost, sent part by part; fewer are better"
    return table_of("codelength", ("Online codelength", about), columns, rows, [" ".join(notes)])
