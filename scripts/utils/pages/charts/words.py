"""Write a number of the tables in words: its name, its interval, its examples and seeds."""

import math
from html import escape

from utils.data.tokenizer import isolated, shown_text
from utils.pages.charts.cells import SCORE_LABELS, known, layer_in_words, mean, seed_of_validation, values, widest_interval

DIFFERENCES = {"minus_baseline": "AUROC minus best baseline", "selectivity": "selectivity"}
DASH = "\u2013"


def plotly_text(text) -> str:
    """Write text so that Plotly shows it as it is: its markup (<b>, <a href>, &lt;) and its templates mean nothing in it."""
    return isolated(escape(shown_text(str(text)), quote=False))


def quoted(target) -> str:
    return f"“{shown_text(target).replace(' ', '␣')}”" if target else "the label"


def lag_label(lag) -> str:
    return f"{lag:+d}".replace("-", "\u2212") if lag else "0"


def number_text(value, digits=3) -> str:
    return f"{value:.{digits}f}".replace("-", "\u2212") if known(value) else DASH


def signed_text(value, digits=3) -> str:
    return f"{value:+.{digits}f}".replace("-", "\u2212") if known(value) else DASH


def interval_text(rows, column, show=number_text) -> str:
    low, high = widest_interval(rows, column)
    return f"{show(low)} to {show(high)}" if known(low) and known(high) else ""


def no_interval_text(groups) -> str:
    """Write that there is no interval, of how many groups (None: unknown)."""
    return "no interval" + (f": {groups:,} group{'s' if groups > 1 else ''}" if groups else "")


def score_with_interval(rows, column, show=number_text) -> str:
    """Write a score with its interval: '0.853 (0.832 to 0.870)'."""
    inside = interval_text(rows, column, show)
    return show(mean(rows, column)) + (f" ({inside})" if inside else "")


def span(found, show="{:,.0f}".format) -> str:
    """Write one number, or the range where numbers differ: '12', '12 to 30'."""
    low, high = (show(min(found)), show(max(found))) if found else (DASH, DASH)
    return low if low == high else f"{low} to {high}"


def seed_name(row) -> str:
    return DASH if row.get("seed") is None else str(row["seed"])


def layer_label(layer) -> str:
    """Name a layer as Plotly shows it: 'layer 5', 'embed'."""
    return plotly_text(layer_in_words(layer))


def kind_name(probe) -> str:
    return shown_text(probe).replace("_", " ")


def title(results, target, what, lags) -> str:
    """Say of which model, target and split a chart is, and how many examples and groups its scores rest on."""
    rows = results.rows_at(target, lags)
    groups = [results.groups[key] for lag in lags if (key := (target, lag, results.split)) in results.groups]
    counted = [
        f"{span(numbers)} {name}"
        for name, numbers in (("examples", values(rows, f"n_{results.split}")), ("groups", groups))
        if numbers
    ]
    return f"{what}; target {isolated(quoted(target))}, model {results.model}, split {results.split}" + (
        f": {', '.join(counted)}" if counted else ""
    )


def cell_text(results, target, probe, lag, layer, rows) -> str:
    """Write the text of one cell: its scores with their intervals, what they are of, and each seed."""
    split = results.split
    lines = [
        f"{layer_label(layer)}, lag {lag_label(lag)}, {plotly_text(kind_name(probe))}; {split}"
        + (f", mean of {len(rows)} seeds" if len(rows) > 1 else "")
    ]
    lines += [
        f"{label} {score_with_interval(rows, f'{split}_{name}')}"
        for name, label in SCORE_LABELS.items()
        if known(mean(rows, f"{split}_{name}"))
    ]
    lines += [
        f"{label} {score_with_interval(rows, f'{split}_{name}', signed_text)}"
        for name, label in DIFFERENCES.items()
        if known(mean(rows, f"{split}_{name}"))
    ]
    lines += filter(None, (searched_text(rows, split, results.metric), refitted_text(rows, split)))
    if n := values(rows, f"n_{split}"):
        share = span(values(rows, f"pos_ratio_{split}"), "{:.1%}".format)
        lines.append(f"n {span(n)}, positives {span(positives(rows, split))} ({share})")
    for row in rows:
        each = f": {number_text(row.get(f'{split}_{results.metric}'))}" if len(rows) > 1 else ""
        lines.append(f"seed {seed_name(row)}{each}" + (f", l2 {row['l2']:g}" if known(row["l2"]) else ""))
    if results.chosen:
        label = SCORE_LABELS[results.metric]
        lines.append(
            f"validation {label} {number_text(mean(rows, f'val_{results.metric}'))}"
            + (", chosen by it" if results.chosen.get((target, probe, lag)) == layer else "")
        )
    return "<br>".join(lines)


def searched_text(rows, split, metric) -> str:
    """Write how a cell stands as one of a whole sweep; "" where nothing is known of it.

    Of several seeds the p-values are of the one that did best on validation.
    """
    band, seed = interval_text(rows, f"{split}_auc_band"), seed_of_validation(rows, metric)
    alone, best = (seed.get(f"{split}_permutation_p{end}") for end in ("", "_in_sweep"))
    which = f" of seed {seed_name(seed)}, the best on validation," if len(rows) > 1 else ","
    p = f"permutation p {number_text(alone)}{which} as the best of this target and lag {number_text(best)}"
    return "; ".join(filter(None, (band and f"AUROC with all probes at once {band}", p if known(alone) else "")))


def detectable_text(rows, split) -> str:
    """Write the smallest difference that would have shown, of several seeds the largest; "" where nothing is known."""
    column = f"{split}_minus_baseline_detectable"
    found = [row[column] for row in rows if isinstance(row.get(column), float) and not math.isnan(row[column])]
    if math.inf in found:
        left = 1 - mean(rows, f"{split}_auc") + mean(rows, f"{split}_minus_baseline")
        return f"none could be shown, {number_text(left)} is left"
    return f"{signed_text(max(found))} would show" if found else ""


def refitted_text(rows, split) -> str:
    refitted = interval_text(rows, f"{split}_auc_refit")
    return refitted and f"AUROC with other training samples too {refitted}"


def baseline_text(results, name, lag, rows) -> str:
    lines = [f"baseline {plotly_text(name)}, lag {lag_label(lag)}; {results.split}"]
    lines += [f"{label} {score_with_interval(rows, score)}" for score, label in SCORE_LABELS.items() if values(rows, score)]
    n = values(rows, "n")
    return "<br>".join([*lines, f"n {span(n)}"] if n else lines)


def mark_note(results, mark) -> str:
    if not results.chosen:
        return "The table has no validation scores: nothing was chosen, and the best of these is no finding."
    best = (
        f"The best of many {results.split} scores is no finding"
        if results.split == "test"
        else "The best of many validation scores is flattered by having been picked"
    )
    metric = SCORE_LABELS[results.metric]
    return f"{best}: {mark} the layer that validation chose, by mean {metric} over the seeds, at each lag."


def balance_text(split, lag, rows, groups) -> str:
    n, share = span(values(rows, f"n_{split}")), span(values(rows, f"pos_ratio_{split}"), "{:.2%}".format)
    return f"{split}, lag {lag_label(lag)}<br>n {n}<br>positives {span(positives(rows, split))} ({share})" + (
        f"<br>{groups:,} groups" if groups else ""
    )


def positives(rows, split) -> list[int]:
    """Count the positive examples of each row that has the numbers for it."""
    found = ((row.get(f"n_{split}"), row.get(f"pos_ratio_{split}")) for row in rows)
    return [round(n * ratio) for n, ratio in found if known(n) and known(ratio)]


def curve_text(name, label, rows, column) -> str:
    """Write the text of a point of a learning curve. name: as `plotly_text` gives it; label: of the score."""
    seeds = ", ".join(seed_name(row) for row in rows)
    size, score = f"{rows[0]['size_name']} {rows[0]['size']:,g}", f"{label} {score_with_interval(rows, column)}"
    return f"{name}<br>{size}<br>{score}<br>seed {seeds}"
