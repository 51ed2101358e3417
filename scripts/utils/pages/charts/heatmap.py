"""Draw heatmaps of a sweep: scores by layer and lag, with the layers that validation chose framed."""

import math
from dataclasses import dataclass

from utils.pages.charts.cells import known, mean, values
from utils.pages.charts.figures import (
    CHOSEN,
    DIVERGING,
    LAG_NOTE,
    RANGES,
    WRITTEN,
    Chart,
    colorscale,
    figure,
    make_chart,
    options,
)
from utils.pages.charts.words import (
    DASH,
    DIFFERENCES,
    cell_text,
    kind_name,
    lag_label,
    mark_note,
    plotly_text,
    quoted,
    title,
)

SEQUENTIAL = ["#ffffd9", "#edf8b1", "#c7e9b4", "#7fcdbb", "#41b6c4", "#1d91c0", "#225ea8", "#253494", "#081d58"]  # YlGnBu
LAYER_HEIGHT, AROUND_LAYERS = 30, 150  # pixels


@dataclass(frozen=True)
class ColourScale:
    """The colours of a score, from `low` to `high`; those of a difference run in two directions from 0."""

    label: str
    low: float
    high: float
    diverging: bool


def heatmap(results, name, heading, scores, hover) -> Chart | None:
    """Chart layers by lags, for each target, kind of probe, score (of those `scores` that the table has) and seed.

    hover: as in Chart; heatmaps of the same results share their texts, which are added to it.
    """
    scales = {
        score: scale_of(results, score, label) for score, label in scores.items() if results.has(f"{results.split}_{score}")
    }
    if not scales:
        return None
    seeds = sorted({row["seed"] for row in results.all_rows() if row["seed"] is not None})
    which = [(None, f"mean of {len(seeds)}"), *options(seeds)] if len(seeds) > 1 else [(None, str(next(iter(seeds), DASH)))]
    number_of = {target: number for number, target in enumerate(results.targets)}

    def draw(target, probe, score, seed):
        lags, layers = results.lags(target, probe), results.layers(target, probe)
        grid = [
            [[row for row in results.rows(target, probe, lag, layer) if seed in (None, row["seed"])] for lag in lags]
            for layer in layers
        ]
        z = [[mean(rows, f"{results.split}_{score}") for rows in row] for row in grid]
        if not any(known(value) for row in z for value in row):
            return None
        key = f"{number_of[target]}/{results.kinds.index(probe)}/{seed}"
        if key not in hover:
            hover[key] = grid_texts(results, target, probe, grid)
        marks = [
            (layers.index(results.chosen[at]), index)
            for index, lag in enumerate(lags)
            if (at := (target, probe, lag)) in results.chosen
        ]
        drawn = heatmap_figure(z, list(map(plotly_text, layers)), list(map(lag_label, lags)), scales[score], key, marks)
        return title(results, target, f"{scales[score].label} of {kind_name(probe)} probes", lags), drawn

    choices = [
        ("target", options(results.targets, quoted)),
        ("probe", options(results.kinds, kind_name)),
        ("score", [(score, scale.label) for score, scale in scales.items()]),
        ("seed", which),
    ]
    return make_chart(name, heading, notes_of(results, scales), choices, draw, hover, (*results.best[:2], results.metric))


def scale_of(results, score, label) -> ColourScale:
    """Find the scale of a score. It is the same for every view, so that colours can be compared."""
    if score not in DIFFERENCES:
        return ColourScale(label, *RANGES.get(score, (0.5, 1)), False)
    most = max(map(abs, values(results.all_rows(), f"{results.split}_{score}")))
    most = max(0.1, math.ceil(10 * most) / 10)
    return ColourScale(label, -most, most, True)


def grid_texts(results, target, probe, grid) -> list[list[str]]:
    """Write the text of each cell. grid: rows of the table by layer and lag."""
    lags, layers = results.lags(target, probe), results.layers(target, probe)
    return [
        [
            cell_text(results, target, probe, lag, layer, rows) if rows else "not computed"
            for lag, rows in zip(lags, row, strict=True)
        ]
        for layer, row in zip(layers, grid, strict=True)
    ]


def notes_of(results, scales) -> list[str]:
    low = (
        "Colours of F1 and AUPRC run from 0 to 1; their chance level is not 0.5, it depends on the share of positives."
        if set(scales) & set(RANGES)
        else "Colours run from 0.5, what a coin gets, to 1; whatever is below 0.5 has the colour of 0.5, its number is true."
    )
    differences = ["Differences: blue above 0, orange below it."] if set(scales) & set(DIFFERENCES) else []
    return [mark_note(results, "the frame marks"), low, *differences, f"Grey: not computed. {LAG_NOTE}"]


def heatmap_figure(z, layers, lags, scale, key, marks):
    """Draw one heatmap.

    z: scores [layers, lags]
    layers, lags: their names
    scale: of the colours
    key: of the cells' texts, which several figures share
    marks: [(layer, lag)] of the cells to frame, by index
    """
    drawn = figure(
        height=AROUND_LAYERS + LAYER_HEIGHT * len(layers),
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
    drawn.add_heatmap(
        z=z,
        x=lags,
        y=layers,
        zmin=scale.low,
        zmax=scale.high,
        meta=key,
        hoverinfo="text",
        xgap=1,
        ygap=1,
        colorscale=colorscale(DIVERGING if scale.diverging else SEQUENTIAL),
        colorbar={"title": {"text": scale.label, "side": "right"}, "thickness": 12, "outlinewidth": 0},
        texttemplate=("%{z:+.3f}" if scale.diverging else "%{z:.3f}") if len(lags) <= WRITTEN else None,
    )
    return drawn
