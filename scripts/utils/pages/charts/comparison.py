"""Chart metrics side by side: of the chosen layers and the baselines, or of every layer of a kind of probe."""

from utils.pages.charts.cells import SCORE_LABELS, known, mean, widest_interval
from utils.pages.charts.figures import CHOSEN, COLOURS, SYMBOLS, Chart, figure, make_chart, options
from utils.pages.charts.results import baselines_at
from utils.pages.charts.words import (
    baseline_text,
    cell_text,
    kind_name,
    lag_label,
    layer_label,
    mark_note,
    plotly_text,
    quoted,
    title,
)

SHADES, PATTERNS = ["#8a8a90", "#c3c3c8"], ["", "/", "x", ".", "-", "\\", "|"]  # of the baselines' bars


def comparison(results) -> Chart | None:
    """Chart all scores side by side: of each kind's chosen layer and the baselines, or of every layer of a kind."""
    scores = {name: label for name, label in SCORE_LABELS.items() if results.has(f"{results.split}_{name}")}
    modes = [
        *([(None, "kinds and baselines, chosen layers")] if results.chosen else []),
        *((kind, f"every layer of {kind_name(kind)}") for kind in results.kinds),
    ]
    lags, hover = sorted({lag for _, _, lag in results.cells}), {}

    def draw(target, lag, probe):
        if probe:
            drawn = layer_lines(results, target, lag, probe, scores, hover)
        else:
            drawn = chosen_bars(results, target, lag, scores)
        what = f"lag {lag_label(lag)}, " + (f"{kind_name(probe)} probes" if probe else "chosen layers")
        return (title(results, target, what, [lag]), drawn) if drawn.data else None

    notes = [
        mark_note(results, "the bars are of, and the frame marks,"),
        "Bars of balanced accuracy and AUROC carry 95 % intervals over groups where the tables have them; of several "
        "seeds the lowest and the highest end. A coin gets 0.5 in accuracy on balanced classes, balanced accuracy and "
        "AUROC; F1 and AUPRC of a coin depend on the share of positives.",
    ]
    return make_chart(
        "comparison_metrics",
        "Metrics side by side",
        notes,
        [("target", options(results.targets, quoted)), ("lag", options(lags, lag_label)), ("compare", modes)],
        draw,
        hover,
        prefer=(*results.best[::2], None),
    )


def mean_and_interval(rows, column) -> tuple:
    return mean(rows, column), widest_interval(rows, column)


def error_bars(points) -> dict:
    """Make Plotly's error bars of [(value, (low, high))]; none where an end is unknown, for null would draw one of 0."""
    return {
        "type": "data",
        "symmetric": False,
        "thickness": 1.2,
        "width": 3,
        "color": "#1c1c1e",
        "array": [max(0, high - value) if known(high) else "none" for value, (_, high) in points],
        "arrayminus": [max(0, value - low) if known(low) else "none" for value, (low, _) in points],
    }


def chosen_bars(results, target, lag, scores):
    """Draw the bars of the chosen layer of each kind, and of the baselines."""
    drawn = figure(
        height=480,
        barmode="group",
        bargap=0.18,
        xaxis={"type": "category"},
        yaxis={"range": [0, 1.02], "title": {"text": f"score, {results.split}"}},
    )
    index = 0
    for kind in results.kinds:
        if layer := results.chosen.get((target, kind, lag)):
            rows = results.rows(target, kind, lag, layer)
            name = f"{kind_name(kind)}, {layer_label(layer)}"
            points = [mean_and_interval(rows, f"{results.split}_{score}") for score in scores]
            text = cell_text(results, target, kind, lag, layer, rows)
            add_bars(drawn, name, scores, points, text, {"color": COLOURS[index % len(COLOURS)]})
            index += 1
    if not index:
        return drawn
    by_label = {
        label: by_split for kind in results.kinds for label, by_split in baselines_at(results, target, lag, kind).values()
    }
    shown = {label: by_split[results.split] for label, by_split in by_label.items() if by_split.get(results.split)}
    for index, (label, rows) in enumerate(shown.items()):
        points = [mean_and_interval(rows, score) for score in scores]
        add_bars(drawn, label, scores, points, baseline_text(results, label, lag, rows), baseline_marker(index))
    return drawn


def baseline_marker(index) -> dict:
    return {
        "color": SHADES[index % len(SHADES)],
        "pattern": {"shape": PATTERNS[index % len(PATTERNS)], "fillmode": "overlay", "fgcolor": "#ffffff", "size": 5},
    }


def add_bars(drawn, name, scores, points, text, marker):
    drawn.add_bar(
        x=list(scores.values()),
        y=[value for value, _ in points],
        name=plotly_text(name),
        marker=marker,
        error_y=error_bars(points),
        hovertext=text,
        hoverinfo="text",
    )


def layer_lines(results, target, lag, probe, scores, hover):
    """Draw a line for each score over the layers of one kind of probe, the chosen layer framed.

    hover: as in Chart; the lines share their texts, which are added to it.
    """
    layers = [layer for layer in results.layers(target, probe) if results.rows(target, probe, lag, layer)]
    key = f"{len(hover)}"
    hover[key] = [cell_text(results, target, probe, lag, layer, results.rows(target, probe, lag, layer)) for layer in layers]
    chosen = results.chosen.get((target, probe, lag))
    drawn = figure(
        height=480,
        hovermode="closest",
        yaxis={"range": [0, 1.02], "title": {"text": f"score, {results.split}"}},
        xaxis={"type": "category", "title": {"text": "layer"}},
        shapes=[
            {
                "type": "rect",
                "x0": layers.index(chosen) - 0.4,
                "x1": layers.index(chosen) + 0.4,
                "y0": 0,
                "y1": 1,
                "yref": "paper",
                "line": {"color": CHOSEN, "width": 2},
            }
        ]
        if chosen
        else [],
    )
    for index, (score, label) in enumerate(scores.items()):
        cells = [results.rows(target, probe, lag, layer) for layer in layers]
        points = [mean_and_interval(rows, f"{results.split}_{score}") for rows in cells]
        if any(known(value) for value, _ in points):
            drawn.add_scatter(
                x=list(map(plotly_text, layers)),
                y=[value for value, _ in points],
                name=label,
                mode="lines+markers",
                line={"color": COLOURS[index], "width": 2},
                marker={"symbol": SYMBOLS[index], "size": 8},
                error_y={**error_bars(points), "color": COLOURS[index]},
                hoverinfo="text",
                meta=key,
            )
    return drawn
