"""Chart the learning curve: a score by the amount of training data, a line for each kind of probe and layer."""

from utils.pages.charts.cells import SCORE_LABELS, known, layer_in_words, values
from utils.pages.charts.figures import COLOURS, RANGES, SYMBOLS, Chart, add_banded, figure, make_chart, options
from utils.pages.charts.words import curve_text, kind_name, lag_label, plotly_text, quoted, title


def learning_curve(results) -> Chart | None:
    """Chart scores by the amount of training data; None without the table."""
    rows = results.curve
    scores = {name: label for name, label in SCORE_LABELS.items() if values(rows, f"{results.split}_{name}")}
    if not scores:
        return None

    def draw(target, lag, score):
        drawn = curve_figure(results, target, lag, score)
        return (title(results, target, f"lag {lag_label(lag)}", [lag]), drawn) if drawn.data else None

    return make_chart(
        "learning_curve",
        "Learning curve",
        ["A line is the mean over seeds and draws, its band runs from the lowest to the highest."],
        [
            ("target", options(list(dict.fromkeys(row["target"] for row in rows)), quoted)),
            ("lag", options(sorted({row["lag"] for row in rows}), lag_label)),
            ("score", list(scores.items())),
        ],
        draw,
        prefer=(*results.best[::2], results.metric),
    )


def curve_figure(results, target, lag, score):
    rows = results.curve
    here = [row for row in rows if (row["target"], row["lag"]) == (target, lag)]
    ticks = sorted({row["size"] for row in here if known(row["size"])})
    column, label = f"{results.split}_{score}", SCORE_LABELS[score]
    lowest = 0.5 if score not in RANGES and min(values(rows, column)) >= 0.5 else 0
    drawn = figure(
        height=480,
        hovermode="closest",
        xaxis={
            "title": {"text": rows[0]["size_name"]},
            "type": "log",
            "tickmode": "array",
            "tickvals": ticks,
            "ticktext": [f"{size:,g}" for size in ticks],
        },
        yaxis={"title": {"text": f"{label}, {results.split}"}, "range": [lowest, 1.02]},
    )
    for index, (probe, layer) in enumerate(dict.fromkeys((row["probe"], row["layer"]) for row in here)):
        sizes = {}
        for row in here:
            if (row["probe"], row["layer"]) == (probe, layer) and known(row.get(column)) and known(row["size"]):
                sizes.setdefault(row["size"], []).append(row)
        if sizes:
            name = plotly_text(kind_name(probe) + (f", {layer_in_words(layer)}" if layer else ""))
            add_banded(
                drawn,
                name,
                sorted(sizes),
                [values(sizes[size], column) for size in sorted(sizes)],
                [curve_text(name, label, sizes[size], column) for size in sorted(sizes)],
                COLOURS[index % len(COLOURS)],
                SYMBOLS[index % len(SYMBOLS)],
            )
    return drawn
