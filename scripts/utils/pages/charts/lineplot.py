"""Draw the line plot: a score by lag, a line for each layer; with one lag only, a score by layer."""

from utils.pages.charts.cells import SCORE_LABELS, known, mean, values
from utils.pages.charts.figures import CHOSEN, COLOURS, LAG_NOTE, SYMBOLS, Chart, add_banded, figure, make_chart, options
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

DEPTHS = ["#fdae61", "#d7703c", "#a83e5c", "#6b2a7c", "#2b1a5a"]  # of layers, first to last: dark enough on white
DASHES = ["dash", "dot", "dashdot", "longdash", "longdashdot"]


def lineplot(results, score="f1") -> Chart | None:
    """Chart a score, one line a layer, the seeds as bands, the baselines dashed."""
    label = SCORE_LABELS[score]
    bands = any(len(rows) > 1 for layers in results.cells.values() for rows in layers.values())

    def draw(target, probe):
        lags = results.lags(target, probe)
        drawn = (
            lines_by_layer(results, target, probe, lags[0], score)
            if len(lags) == 1
            else lines_by_lag(results, target, probe, score)
        )
        return (title(results, target, f"{label} of {kind_name(probe)} probes", lags), drawn) if drawn else None

    notes = [
        mark_note(results, "the ring marks"),
        *(["A line is the mean over the seeds, its band runs from the lowest seed to the highest."] if bands else []),
        f"Dashed grey: the baselines. Lags are drawn at equal distances. {LAG_NOTE} The text of a point holds the 95 % "
        "intervals where there are some" + (", of several seeds from the lowest end to the highest." if bands else "."),
    ]
    return make_chart(
        f"lineplot_{score}",
        f"{label[0].upper()}{label[1:]} lines",
        notes,
        [("target", options(results.targets, quoted)), ("probe", options(results.kinds, kind_name))],
        draw,
        prefer=results.best[:2],
    )


def lines_by_lag(results, target, probe, score):
    """Draw a line for each layer, over the lags; None where no layer has the score."""
    column, label = f"{results.split}_{score}", SCORE_LABELS[score]
    lags, layers = results.lags(target, probe), results.layers(target, probe)
    drawn = figure(
        height=520,
        xaxis={
            "type": "category",
            "categoryorder": "array",
            "categoryarray": list(map(lag_label, lags)),
            "title": {"text": "lag (tokens)"},
        },
        yaxis={"title": {"text": f"{label}, {results.split}"}, "range": [0, 1.02]},
        hovermode="closest",
    )
    lines = 0
    for index, layer in enumerate(layers):
        cells = [(lag, rows) for lag in lags if values(rows := results.rows(target, probe, lag, layer), column)]
        lines += bool(cells)
        add_banded(
            drawn,
            layer_label(layer),
            [lag_label(lag) for lag, _ in cells],
            [values(rows, column) for _, rows in cells],
            [cell_text(results, target, probe, lag, layer, rows) for lag, rows in cells],
            depth_colour(index, len(layers)),
            SYMBOLS[index % len(SYMBOLS)],
        )
    add_baselines(drawn, results, target, probe, lags, score)
    chosen = [(lag, layer) for lag in lags if (layer := results.chosen.get((target, probe, lag)))]
    add_rings(
        drawn,
        [lag_label(lag) for lag, _ in chosen],
        [mean(results.rows(target, probe, lag, layer), column) for lag, layer in chosen],
    )
    drawn.update_yaxes(range=[0, top_of(drawn)])
    return drawn if lines else None


def top_of(drawn) -> float:
    """Choose the top of the axis: 1, or where all is below a half (F1 of a rare class) a little above the highest."""
    highest = max((value for trace in drawn.data for value in trace.y if known(value)), default=1)
    return 1.02 if highest > 0.5 else max(0.05, 1.15 * highest)


def lines_by_layer(results, target, probe, lag, score):
    """Draw one line over the layers, where there is no other lag to compare with; None where no layer has the score."""
    column = f"{results.split}_{score}"
    cells = {
        layer: rows
        for layer in results.layers(target, probe)
        if values(rows := results.rows(target, probe, lag, layer), column)
    }
    if not cells:
        return None
    drawn = figure(
        height=520,
        hovermode="closest",
        xaxis={"type": "category", "title": {"text": "layer"}},
        yaxis={"title": {"text": f"{SCORE_LABELS[score]}, {results.split}, lag {lag_label(lag)}"}, "range": [0, 1.02]},
    )
    names = list(map(plotly_text, cells))
    add_banded(
        drawn,
        plotly_text(kind_name(probe)),
        names,
        [values(rows, column) for rows in cells.values()],
        [cell_text(results, target, probe, lag, layer, rows) for layer, rows in cells.items()],
        COLOURS[0],
        SYMBOLS[0],
    )
    for index, (label, by_split) in enumerate(baselines_at(results, target, lag, probe).values()):
        rows = by_split.get(results.split, [])
        if values(rows, score):
            y, texts = [mean(rows, score)] * len(names), [baseline_text(results, label, lag, rows)] * len(names)
            add_dashed(drawn, plotly_text(label), names, y, texts, index)
    chosen = results.chosen.get((target, probe, lag))
    if chosen in cells:
        add_rings(drawn, [plotly_text(chosen)], [mean(cells[chosen], column)])
    return drawn


def add_rings(drawn, x, y):
    """Mark what validation chose."""
    drawn.add_scatter(
        x=x,
        y=y,
        mode="markers",
        name="chosen on validation",
        hoverinfo="skip",
        showlegend=bool(x),
        marker={"symbol": "circle-open", "size": 17, "color": CHOSEN, "line": {"width": 2.5}},
    )


def add_dashed(drawn, name, x, y, texts, index):
    drawn.add_scatter(
        x=x,
        y=y,
        name=name,
        mode="lines+markers",
        hovertext=texts,
        hoverinfo="text",
        line={"color": "#6b6b70", "width": 1.5, "dash": DASHES[index % len(DASHES)]},
        marker={"symbol": SYMBOLS[index % len(SYMBOLS)] + "-open", "size": 6},
    )


def add_baselines(drawn, results, target, probe, lags, score):
    """Add a line for each baseline. Where one is shown at another layer for another lag, it is still one line."""
    lines = {}
    for lag in lags:
        for name, (label, by_split) in baselines_at(results, target, lag, probe).items():
            rows = by_split.get(results.split, [])
            if values(rows, score):
                lines.setdefault(name, []).append((lag, label, rows))
    for index, (name, points) in enumerate(lines.items()):
        add_dashed(
            drawn,
            plotly_text(name),
            [lag_label(lag) for lag, *_ in points],
            [mean(rows, score) for *_, rows in points],
            [baseline_text(results, label, lag, rows) for lag, label, rows in points],
            index,
        )


def depth_colour(index, count) -> str:
    """Mix the colour of a layer from those of DEPTHS."""
    place = index / max(1, count - 1) * (len(DEPTHS) - 1)
    low = min(int(place), len(DEPTHS) - 2)
    first, second = ([int(DEPTHS[at][start : start + 2], 16) for start in (1, 3, 5)] for at in (low, low + 1))
    return "#" + "".join(f"{round(a + (b - a) * (place - low)):02x}" for a, b in zip(first, second, strict=True))
