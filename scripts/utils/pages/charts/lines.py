"""Lines with bands: a score by lag or by layer, and by the amount of training data."""

import math

from utils.pages.charts.figures import CHOSEN, COLOURS, LAG_NOTE, RANGES, SYMBOLS, Chart, compose, figure, options
from utils.pages.charts.tables import SCORES, baselines_at, known, mean, values
from utils.pages.charts.words import (
    beside_text,
    curve_text,
    describe,
    kind_name,
    lag_label,
    layer_label,
    mark_note,
    plain,
    quoted,
    title,
)

DEPTHS = ["#fdae61", "#d7703c", "#a83e5c", "#6b2a7c", "#2b1a5a"]  # of layers, first to last: dark enough on white
DASHES = ["dash", "dot", "dashdot", "longdash", "longdashdot"]


def lineplot(results, score="f1") -> Chart | None:
    """A score by lag, one line a layer, the seeds as bands, baselines dashed; of one lag only, by layer."""
    column, label = f"{results.split}_{score}", SCORES[score]
    bands = any(len(rows) > 1 for layers in results.cells.values() for rows in layers.values())

    def draw(target, probe):
        lags, layers = results.lags(target, probe), results.layers(target, probe)
        what = f"{label} of {kind_name(probe)} probes"
        if len(lags) == 1:
            drawn = one_lag(results, target, probe, lags[0], score)
            return (title(results, target, what, lags), drawn) if drawn.data else None
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
            add_line(
                drawn, results, target, probe, layer, cells, column, depth(index, len(layers)), SYMBOLS[index % len(SYMBOLS)]
            )
        add_baselines(drawn, results, target, probe, lags, score)
        chosen = [(lag, layer) for lag in lags if (layer := results.chosen.get((target, probe, lag)))]
        add_rings(
            drawn,
            [lag_label(lag) for lag, _ in chosen],
            [mean(results.rows(target, probe, lag, layer), column) for lag, layer in chosen],
        )
        drawn.update_yaxes(range=[0, top_of(drawn)])
        return (title(results, target, what, lags), drawn) if lines else None

    notes = [
        mark_note(results, "the ring marks"),
        *(["A line is the mean over the seeds, its band runs from the lowest seed to the highest."] if bands else []),
        f"Dashed grey: the baselines. Lags are drawn at equal distances. {LAG_NOTE} The text of a point holds the 95 % "
        "intervals where there are some" + (", of several seeds from the lowest end to the highest." if bands else "."),
    ]
    return compose(
        f"lineplot_{score}",
        f"{label} lines",
        notes,
        [("target", options(results.targets, quoted)), ("probe", options(results.kinds, kind_name))],
        draw,
        prefer=results.best[:2],
    )


def top_of(drawn) -> float:
    """1, or where all is below a half (F1 of a rare class) a little above the highest."""
    highest = max((value for trace in drawn.data for value in trace.y if known(value)), default=1)
    return 1.02 if highest > 0.5 else max(0.05, 1.15 * highest)


def one_lag(results, target, probe, lag, score):
    """By layer, where there is no other lag to compare with."""
    column = f"{results.split}_{score}"
    cells = {
        layer: rows
        for layer in results.layers(target, probe)
        if values(rows := results.rows(target, probe, lag, layer), column)
    }
    drawn = figure(
        height=520,
        hovermode="closest",
        xaxis={"type": "category", "title": {"text": "layer"}},
        yaxis={"title": {"text": f"{SCORES[score]}, {results.split}, lag {lag_label(lag)}"}, "range": [0, 1.02]},
    )
    if not cells:
        return drawn
    names = list(map(plain, cells))
    add_banded(
        drawn,
        plain(kind_name(probe)),
        names,
        [values(rows, column) for rows in cells.values()],
        [describe(results, target, probe, lag, layer, rows) for layer, rows in cells.items()],
        COLOURS[0],
        SYMBOLS[0],
    )
    for index, (label, by_split) in enumerate(baselines_at(results, target, lag, probe).values()):
        rows = by_split.get(results.split, [])
        if values(rows, score):
            add_dashed(
                drawn,
                plain(label),
                names,
                [mean(rows, score)] * len(names),
                [beside_text(results, label, lag, rows)] * len(names),
                index,
            )
    chosen = results.chosen.get((target, probe, lag))
    if chosen in cells:
        add_rings(drawn, [plain(chosen)], [mean(cells[chosen], column)])
    return drawn


def add_rings(drawn, x, y):
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


def add_line(drawn, results, target, probe, layer, cells, column, colour, symbol):
    add_banded(
        drawn,
        layer_label(layer),
        [lag_label(lag) for lag, _ in cells],
        [values(rows, column) for _, rows in cells],
        [describe(results, target, probe, lag, layer, rows) for lag, rows in cells],
        colour,
        symbol,
    )


def add_banded(drawn, name, x, found, texts, colour, symbol):
    """A line of means with a band from lowest to highest. found: of each x the values of the seeds, at least one."""
    if any(len(one) > 1 for one in found):
        drawn.add_scatter(
            x=x + x[::-1],
            y=[max(one) for one in found] + [min(one) for one in reversed(found)],
            fill="toself",
            fillcolor=colour,
            opacity=0.18,
            line={"width": 0},
            mode="lines",
            hoverinfo="skip",
            showlegend=False,
            legendgroup=name,
        )
    drawn.add_scatter(
        x=x,
        y=[math.fsum(one) / len(one) for one in found],
        mode="lines+markers",
        name=name,
        legendgroup=name,
        line={"color": colour, "width": 2},
        marker={"symbol": symbol, "size": 7},
        hovertext=texts,
        hoverinfo="text",
    )


def add_baselines(drawn, results, target, probe, lags, score):
    """Where a baseline is shown at another layer for another lag, it is still one line."""
    lines = {}
    for lag in lags:
        for name, (label, by_split) in baselines_at(results, target, lag, probe).items():
            rows = by_split.get(results.split, [])
            if values(rows, score):
                lines.setdefault(name, []).append((lag, label, rows))
    for index, (name, points) in enumerate(lines.items()):
        add_dashed(
            drawn,
            plain(name),
            [lag_label(lag) for lag, *_ in points],
            [mean(rows, score) for *_, rows in points],
            [beside_text(results, label, lag, rows) for lag, label, rows in points],
            index,
        )


def depth(index, count) -> str:
    """A colour between those of DEPTHS."""
    place = index / max(1, count - 1) * (len(DEPTHS) - 1)
    low = min(int(place), len(DEPTHS) - 2)
    first, second = ([int(DEPTHS[at][start : start + 2], 16) for start in (1, 3, 5)] for at in (low, low + 1))
    return "#" + "".join(f"{round(a + (b - a) * (place - low)):02x}" for a, b in zip(first, second, strict=True))


def learning_curve(results) -> Chart | None:
    """Scores by the amount of training data, a line for each kind and layer; None without the table."""
    rows = results.curve
    scores = {name: label for name, label in SCORES.items() if values(rows, f"{results.split}_{name}")}
    if not scores:
        return None

    def draw(target, lag, score):
        here = [row for row in rows if (row["target"], row["lag"]) == (target, lag)]
        ticks = sorted({row["size"] for row in here if known(row["size"])})
        column = f"{results.split}_{score}"
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
            yaxis={"title": {"text": f"{scores[score]}, {results.split}"}, "range": [lowest, 1.02]},
        )
        for index, (probe, layer) in enumerate(dict.fromkeys((row["probe"], row["layer"]) for row in here)):
            sizes = {}
            for row in here:
                if (row["probe"], row["layer"]) == (probe, layer) and known(row.get(column)) and known(row["size"]):
                    sizes.setdefault(row["size"], []).append(row)
            if sizes:
                name = plain(kind_name(probe) + (f", {layer_label(layer)}" if layer else ""))
                add_banded(
                    drawn,
                    name,
                    sorted(sizes),
                    [values(sizes[size], column) for size in sorted(sizes)],
                    [curve_text(name, scores[score], sizes[size], column) for size in sorted(sizes)],
                    COLOURS[index % len(COLOURS)],
                    SYMBOLS[index % len(SYMBOLS)],
                )
        return (title(results, target, f"lag {lag_label(lag)}", [lag]), drawn) if drawn.data else None

    return compose(
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
