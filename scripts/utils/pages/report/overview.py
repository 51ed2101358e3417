"""Tabulate what validation chose, the baselines and the codelengths, as plain data."""

from utils.pages.charts.cells import SCORE_LABELS, known, mean, order_of, seed_of_validation, values, widest_interval
from utils.pages.charts.pages import run_line
from utils.pages.charts.results import baseline_to_beat, baselines_at
from utils.pages.charts.words import (
    DASH,
    detectable_text,
    interval_text,
    kind_name,
    lag_label,
    no_interval_text,
    number_text,
    positives,
    quoted,
    seed_name,
    signed_text,
    span,
)
from utils.pages.report.documents import document_rows
from utils.pages.report.findings import findings_of
from utils.saved.columns import BASELINES, SUMMARY


def index_values(results, charts) -> dict:
    """Gather the values of results.html."""
    metric = SCORE_LABELS[results.metric]
    table = [chosen_row(results, *key, layer) for key, layer in results.chosen.items()]
    table.sort(key=lambda row: -order_of(row["order"]))
    columns, baselines = baseline_table(results)
    codelength = [codelength_row(row) for row in results.codelength]
    previews = [{"name": chart.name, "heading": chart.heading, **chart.views[chart.first]} for chart in charts]
    return {
        "title": "What the probes found",
        "about": run_line(results),
        **findings_of(results),
        "documents": document_rows(results),
        "files": results.files,
        "pages": results.pages,
        "hows": hows_of(results),
        "data": {"previews": previews},
        "metric": metric,
        "split": results.split,
        "rows": table,
        "columns": columns,
        "baselines": baselines,
        "previews": previews,
        "several": any("seeds" in row["seeds"] for row in table),
        "shown": {
            name: any(row[name] not in ("", DASH) for row in table)
            for name in ("best", "minus", "detectable", "selectivity", "auc", "p", "without", "refitted")
        },
        "questions": len({(target, lag) for target, _, lag in results.cells}),
        "codelength": codelength,
        "costs": {name: any(row[name] != DASH for row in codelength) for name in ("shuffled_bits", "control_bits")},
    }


def hows_of(results) -> dict[str, str]:
    """Say how each number was computed, for whoever opens the head of its column."""
    split, metric = results.split, SCORE_LABELS[results.metric]
    return {
        "score": f"{metric} on {split}, the mean over the seeds, with its 95 % interval over groups ({SUMMARY}: "
        f"{split}_{results.metric}). Its threshold was chosen on validation.",
        "auc": f"The area under the ROC curve on {split}, ties counted half ({SUMMARY}: {split}_auc).",
        "baseline": f"The baseline with the best AUROC on validation ({BASELINES}). It needs no hidden states, or those of "
        "an untrained model.",
        "minus": "AUROC minus that of the best baseline on the same examples, minus 0.5 where that is below 0.5; the "
        f"interval is of the paired difference over groups ({SUMMARY}: {split}_minus_baseline).",
        "p": "The share of shuffled labels with which the same logits reach such an AUROC "
        f"({SUMMARY}: {split}_permutation_p, {split}_permutation_p_in_sweep).",
        "selectivity": "Balanced accuracy minus that of the same probe trained on random labels.",
        "optimism": "By how much the score that was picked as the best flatters.",
        "lag": "The state is read so many tokens after the labelled token, before it where the lag is negative.",
    }


def chosen_row(results, target, probe, lag, layer) -> dict:
    rows, split = results.rows(target, probe, lag, layer), results.split
    validation, score = mean(rows, f"val_{results.metric}"), mean(rows, f"{split}_{results.metric}")
    best = baseline_to_beat(results, target, lag, probe, rows)
    baseline = baselines_at(results, target, lag, probe).get(best, ("", {}))[1].get(split, [])
    beside = mean(baseline, "auc")
    minus, low = mean(rows, f"{split}_minus_baseline"), widest_interval(rows, f"{split}_minus_baseline")[0]
    if not known(minus):
        minus = mean(rows, f"{split}_auc") - (0.5 if beside < 0.5 else beside)
    found = values(rows, f"{split}_{results.metric}")
    seed = seed_of_validation(rows, results.metric)
    in_sweep = seed.get(f"{split}_permutation_p_in_sweep")
    questions = len({(target, lag) for target, _, lag in results.cells})
    interval = interval_text(rows, f"{split}_{results.metric}")
    return {
        "order": validation,
        "target": quoted(target),
        "probe": kind_name(probe),
        "lag": lag_label(lag),
        "layer": layer,
        "validation": number_text(validation),
        "score": number_text(score),
        "interval": interval,
        "refitted": interval_text(rows, f"{split}_{results.metric}_refit"),
        "without": "" if interval else no_interval_text(results.groups.get((target, lag, split))),
        "auc": number_text(mean(rows, f"{split}_auc")) if results.metric != "auc" else "",
        "auc_interval": interval_text(rows, f"{split}_auc"),
        "best": best or "",
        "best_score": number_text(mean(baseline, results.metric)),
        "best_auc": number_text(beside) if results.metric != "auc" and known(beside) else "",
        "minus": signed_text(minus),
        "minus_interval": interval_text(rows, f"{split}_minus_baseline", signed_text),
        "minus_refitted": interval_text(rows, f"{split}_minus_baseline_refit", signed_text),
        "counted": number_text(beside) if beside < 0.5 else "",
        "detectable": detectable_text(rows, split),
        "p": number_text(seed.get(f"{split}_permutation_p")),
        "p_in_sweep": number_text(in_sweep),
        "p_of_all": number_text(min(1, questions * in_sweep)) if known(in_sweep) else "",
        "band": interval_text(rows, f"{split}_auc_band"),
        "above": bool(known(low) and low > 0),
        "selectivity": signed_text(mean(rows, f"{split}_selectivity")),
        "gap": signed_text((validation if split != "val" else mean(rows, f"train_{results.metric}")) - score),
        "n": span(values(rows, f"n_{split}")),
        "positives": span(positives(rows, split)),
        "seeds": f"{len(rows)} seeds: {number_text(min(found))} to {number_text(max(found))}"
        if len(found) > 1
        else f"seed {seed_name(rows[0])}",
        "l2": span([row["l2"] for row in rows if known(row["l2"])], "{:g}".format),
    }


def codelength_row(row) -> dict:
    """Write one layer's codelength beside what the labels cost without its states."""
    shown = ("n", "bits", "bits_by_share", "shuffled_bits", "control_bits")
    bits = {name: number_text(row.get(name), 0) for name in shown}
    lag = lag_label(row["lag"])
    return {"target": quoted(row["target"]), "lag": lag, "layer": row["layer"], **bits}


def baseline_table(results) -> tuple[list[str], list[dict]]:
    """Make the columns and rows of the baselines' table.

    A baseline that belongs to one kind of probe, such as random weights, has a column for each kind.
    """
    found = {}
    for at in sorted(results.baselines):
        cells = found.setdefault(at, {})
        for kind in results.kinds:
            for name, (label, by_split) in baselines_at(results, *at, kind).items():
                layered = label != name
                rows = by_split.get(results.split, [])
                cells[f"{name} ({kind_name(kind)})" if layered else name] = {
                    "score": number_text(mean(rows, results.metric)),
                    "interval": interval_text(rows, results.metric),
                    "layer": label.rpartition(" ")[2] if layered else "",
                }
    columns = list(dict.fromkeys(name for cells in found.values() for name in cells))
    empty = {"score": DASH, "interval": "", "layer": ""}
    return columns, [
        {"target": quoted(target), "lag": lag_label(lag), "scores": [cells.get(name, empty) for name in columns]}
        for (target, lag), cells in found.items()
    ]
