"""The charts of a sweep: of each page its choices, and for every combination of them a Plotly figure as plain data."""

import itertools
import math
from dataclasses import dataclass, field

from utils.pages.charts.tables import known, mean, values
from utils.pages.charts.words import DASH, DIFFERENCES, describe, kind_name, lag_label, mark_note, plain, quoted, title

SCALE = ["#ffffd9", "#edf8b1", "#c7e9b4", "#7fcdbb", "#41b6c4", "#1d91c0", "#225ea8", "#253494", "#081d58"]  # YlGnBu
DIVERGING = ["#b35806", "#f1a340", "#fee0b6", "#f7f7f7", "#d1e5f0", "#67a9cf", "#2166ac"]  # orange below 0, blue above
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"]  # Okabe and Ito
SYMBOLS = ["circle", "square", "diamond", "cross", "triangle-up", "x", "triangle-down"]
CHOSEN = "#d5006d"  # the mark of what validation chose: on none of the scales
RANGES = {"f1": (0, 1), "auprc": (0, 1)}  # chance depends on the prevalence; of all other scores it is 0.5
ROW, FRAME = 30, 150  # pixels: of a layer in a heatmap, of what is around the cells
LAG_NOTE = "Lag: how far from the label the state is read; a negative one is read before it."
WRITTEN = 14  # columns: numbers in more would touch


@dataclass(frozen=True)
class Chart:
    """choices: [(label, [option names])]; views: {"0/2": {title, figure}} by the options' numbers, `first` of them is
    shown first; hover: {key: texts}
    that several figures share, by their trace's `meta`.
    """

    name: str
    heading: str
    notes: list[str]
    choices: list
    views: dict
    first: str
    hover: dict = field(default_factory=dict)


def compose(name, heading, notes, choices, draw, hover=None, prefer=()) -> Chart | None:
    """choices: [(label, [(value, name)])]; draw(*values) -> (title, go.Figure), or None for what there is nothing of.
    prefer: values for the view that is shown first.
    """
    views = {}
    for picked in itertools.product(*(range(len(options)) for _, options in choices)):
        made = draw(*(options[at][0] for at, (_, options) in zip(picked, choices, strict=True)))
        if made:
            views["/".join(map(str, picked))] = {"title": made[0], "figure": finite(made[1].to_plotly_json())}
    names = [(label, [name for _, name in options]) for label, options in choices]
    wanted = [next((at for at, (value, _) in enumerate(options) if value in prefer), 0) for _, options in choices]
    first = "/".join(map(str, wanted))
    first = first if first in views else next(iter(views), None)
    return Chart(name, heading, notes, names, views, first, hover or {}) if views else None


def finite(value):
    """Plain JSON: tuples as lists, NaN as null."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def options(names, show=str) -> list:
    return [(name, show(name)) for name in names]


def figure(**layout):
    import plotly.graph_objects as go

    return go.Figure(layout=go.Layout(template=go.layout.Template(), **layout))


def heatmap(results, name, heading, scores) -> Chart | None:
    """Layers by lags, for each target, kind of probe, score (of those `scores` that the table has) and seed."""
    scores = {key: label for key, label in scores.items() if results.has(f"{results.split}_{key}")}
    if not scores:
        return None
    seeds = sorted(
        {
            row["seed"]
            for layers in results.cells.values()
            for rows in layers.values()
            for row in rows
            if row["seed"] is not None
        }
    )
    which = [(None, f"mean of {len(seeds)}"), *options(seeds)] if len(seeds) > 1 else [(None, str(next(iter(seeds), DASH)))]
    hover, limits = {}, {key: score_range(results, key) for key in scores}

    def draw(target, probe, score, seed):
        lags, layers = results.lags(target, probe), results.layers(target, probe)
        grid = [
            [[row for row in results.rows(target, probe, lag, layer) if seed in (None, row["seed"])] for lag in lags]
            for layer in layers
        ]
        column = f"{results.split}_{score}"
        if not any(known(mean(rows, column)) for row in grid for rows in row):
            return None
        key = f"{results.targets.index(target)}/{results.kinds.index(probe)}/{seed}"
        if key not in hover:
            hover[key] = [
                [
                    describe(results, target, probe, lag, layer, rows) if rows else "not computed"
                    for lag, rows in zip(lags, row, strict=True)
                ]
                for layer, row in zip(layers, grid, strict=True)
            ]
        z = [[mean(rows, column) for rows in row] for row in grid]
        marks = [
            (layers.index(results.chosen[at]), index)
            for index, lag in enumerate(lags)
            if (at := (target, probe, lag)) in results.chosen
        ]
        drawn = heatmap_figure(
            z,
            [plain(layer) for layer in layers],
            list(map(lag_label, lags)),
            scores[score],
            limits[score],
            score in DIFFERENCES,
            key,
            marks,
        )
        return title(results, target, f"{scores[score]} of {kind_name(probe)} probes", lags), drawn

    low = (
        "Colours of F1 and AUPRC run from 0 to 1; their chance level is not 0.5, it depends on the share of positives."
        if set(scores) & set(RANGES)
        else "Colours run from 0.5, what a coin gets, to 1; whatever is below 0.5 has the colour of 0.5, its number is true."
    )
    notes = [mark_note(results, "the frame marks"), low, f"Grey: not computed. {LAG_NOTE}"]
    if set(scores) & set(DIFFERENCES):
        notes.insert(2, "Differences: blue above 0, orange below it.")
    return compose(
        name,
        heading,
        notes,
        [
            ("target", options(results.targets, quoted)),
            ("probe", options(results.kinds, kind_name)),
            ("score", list(scores.items())),
            ("seed", which),
        ],
        draw,
        hover,
        results.best[:2],
    )


def score_range(results, score) -> tuple[float, float]:
    """The same for every view of a score, so that colours can be compared."""
    if score not in DIFFERENCES:
        return RANGES.get(score, (0.5, 1))
    found = [
        abs(value)
        for layers in results.cells.values()
        for rows in layers.values()
        for value in values(rows, f"{results.split}_{score}")
    ]
    most = max(0.1, math.ceil(10 * max(found)) / 10)
    return -most, most


def heatmap_figure(z, layers, lags, label, limits, diverging, key, marks):
    drawn = figure(
        height=FRAME + ROW * len(layers),
        plot_bgcolor="#dedee3",
        xaxis={"type": "category", "title": {"text": "lag (tokens)"}, "showgrid": False},
        yaxis={"type": "category", "title": {"text": "layer"}, "showgrid": False},
        shapes=[
            {
                "type": "rect",
                "x0": lag - 0.5,
                "x1": lag + 0.5,
                "y0": layer - 0.5,
                "y1": layer + 0.5,
                "line": {"color": CHOSEN, "width": 3},
            }
            for layer, lag in marks
        ],
    )
    colours = DIVERGING if diverging else SCALE
    drawn.add_heatmap(
        z=z,
        x=lags,
        y=layers,
        zmin=limits[0],
        zmax=limits[1],
        meta=key,
        hoverinfo="text",
        xgap=1,
        ygap=1,
        colorscale=[[at / (len(colours) - 1), colour] for at, colour in enumerate(colours)],
        colorbar={"title": {"text": label, "side": "right"}, "thickness": 12, "outlinewidth": 0},
        texttemplate=("%{z:+.3f}" if diverging else "%{z:.3f}") if len(lags) <= WRITTEN else None,
    )
    return drawn
