"""Make what all charts share: choices with a Plotly figure as plain data for each, colours, marks, bands."""

import itertools
import math
from dataclasses import dataclass, field

DIVERGING = ["#b35806", "#f1a340", "#fee0b6", "#f7f7f7", "#d1e5f0", "#67a9cf", "#2166ac"]  # orange below 0, blue above
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"]  # Okabe and Ito
SYMBOLS = ["circle", "square", "diamond", "cross", "triangle-up", "x", "triangle-down"]
CHOSEN = "#d5006d"  # the mark of what validation chose: on none of the scales
RANGES = {"f1": (0, 1), "auprc": (0, 1)}  # chance depends on the prevalence; of all other scores it is 0.5
LAG_NOTE = "Lag: how far from the label the state is read; a negative one is read before it."
WRITTEN = 14  # columns: numbers in more would touch


@dataclass(frozen=True)
class Chart:
    """One page's chart: what can be chosen on it, and a figure for each combination.

    name, heading, notes: of the page
    choices: [(label, [option names])]
    views: {"0/2": {title, figure}}, by the numbers of the options
    first: the key of the view that is shown first
    hover: {key: texts} that several figures share, by their trace's `meta`
    """

    name: str
    heading: str
    notes: list[str]
    choices: list
    views: dict
    first: str
    hover: dict = field(default_factory=dict)


def make_chart(name, heading, notes, choices, draw, hover=None, prefer=()) -> Chart | None:
    """Draw every combination of the choices; None where there is nothing to draw.

    name, heading, notes: of the page
    choices: [(label, [(value, name)])]
    draw: draw(*values) -> (title, go.Figure), or None for a combination that has no numbers
    hover: as in Chart
    prefer: values for the view that is shown first
    """
    views = {}
    for picked in itertools.product(*(range(len(options)) for _, options in choices)):
        made = draw(*(options[at][0] for at, (_, options) in zip(picked, choices, strict=True)))
        if made:
            views["/".join(map(str, picked))] = {"title": made[0], "figure": as_json(made[1].to_plotly_json())}
    names = [(label, [name for _, name in options]) for label, options in choices]
    wanted = [next((at for at, (value, _) in enumerate(options) if value in prefer), 0) for _, options in choices]
    first = "/".join(map(str, wanted))
    first = first if first in views else next(iter(views), None)
    return Chart(name, heading, notes, names, views, first, hover or {}) if views else None


def as_json(value):
    """Turn tuples into lists and NaN into None, which plain JSON can hold."""
    if isinstance(value, dict):
        return {key: as_json(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def options(names, show=str) -> list:
    return [(name, show(name)) for name in names]


def figure(**layout):
    import plotly.graph_objects as go

    return go.Figure(layout=go.Layout(template=go.layout.Template(), **layout))


def colorscale(colours) -> list:
    """Space the colours evenly, from 0 to 1."""
    return [[at / (len(colours) - 1), colour] for at, colour in enumerate(colours)]


def add_banded(drawn, name, x, found, texts, colour, symbol):
    """Add a line of means with a band from the lowest to the highest value.

    name, x, texts, colour, symbol: of the line and its points
    found: at each x the values of the seeds, at least one
    """
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
