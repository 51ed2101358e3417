"""The charts beside the sweep's own: metrics side by side, and the classes."""

from utils.pages.charts.figures import CHOSEN, COLOURS, SYMBOLS, Chart, compose, figure, options
from utils.pages.charts.tables import SCORES, SPLITS, baselines_at, interval, known, mean
from utils.pages.charts.words import (
    balance_text,
    beside_text,
    describe,
    kind_name,
    lag_label,
    layer_label,
    mark_note,
    plain,
    quoted,
    title,
)

SHADES, PATTERNS = ["#8a8a90", "#c3c3c8"], ["", "/", "x", ".", "-", "\\", "|"]  # of the baselines' bars


def comparison(results) -> Chart | None:
    """All scores side by side: of each kind's chosen layer and the baselines, or of every layer of a kind."""
    scores = {name: label for name, label in SCORES.items() if results.has(f"{results.split}_{name}")}
    modes = [
        *([(None, "kinds and baselines, chosen layers")] if results.chosen else []),
        *((kind, f"every layer of {kind_name(kind)}") for kind in results.kinds),
    ]
    lags = sorted({lag for _, _, lag in results.cells})

    def draw(target, lag, probe):
        drawn = layer_lines(results, target, lag, probe, scores) if probe else chosen_bars(results, target, lag, scores)
        what = f"lag {lag_label(lag)}, " + (f"{kind_name(probe)} probes" if probe else "chosen layers")
        return (title(results, target, what, [lag]), drawn) if drawn.data else None

    notes = [
        mark_note(results, "the bars are of, and the frame marks,"),
        "Bars of balanced accuracy and AUROC carry 95 % intervals over groups where the tables have them; of several "
        "seeds the lowest and the highest end. A coin gets 0.5 in accuracy on balanced classes, balanced accuracy and "
        "AUROC; F1 and AUPRC of a coin depend on the share of positives.",
    ]
    return compose(
        "comparison_metrics",
        "Metrics side by side",
        notes,
        [("target", options(results.targets, quoted)), ("lag", options(lags, lag_label)), ("compare", modes)],
        draw,
        prefer=(*results.best[::2], None),
    )


def errors(points) -> dict:
    """points: [(value, (low, high))] -> Plotly's error bars, none where an end is unknown: null would draw one of 0."""
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
    drawn = figure(
        height=480,
        barmode="group",
        bargap=0.18,
        xaxis={"type": "category"},
        yaxis={"range": [0, 1.02], "title": {"text": f"score, {results.split}"}},
    )
    series = []
    for kind in results.kinds:
        if layer := results.chosen.get((target, kind, lag)):
            rows = results.rows(target, kind, lag, layer)
            series.append(
                (
                    f"{kind_name(kind)}, {layer_label(layer)}",
                    rows,
                    f"{results.split}_",
                    describe(results, target, kind, lag, layer, rows),
                )
            )
    beside = (
        {label: by_split for kind in results.kinds for label, by_split in baselines_at(results, target, lag, kind).values()}
        if series
        else {}
    )
    probes = len(series)
    series += [
        (name, by_split[results.split], "", beside_text(results, name, lag, by_split[results.split]))
        for name, by_split in beside.items()
        if by_split.get(results.split)
    ]
    for index, (name, rows, prefix, text) in enumerate(series):
        points = [(mean(rows, prefix + score), interval(rows, prefix + score)) for score in scores]
        beyond = index - probes
        marker = (
            {"color": COLOURS[index % len(COLOURS)]}
            if beyond < 0
            else {
                "color": SHADES[beyond % len(SHADES)],
                "pattern": {
                    "shape": PATTERNS[beyond % len(PATTERNS)],
                    "fillmode": "overlay",
                    "fgcolor": "#ffffff",
                    "size": 5,
                },
            }
        )
        drawn.add_bar(
            x=list(scores.values()),
            y=[value for value, _ in points],
            name=plain(name),
            marker=marker,
            error_y=errors(points),
            hovertext=text,
            hoverinfo="text",
        )
    return drawn


def layer_lines(results, target, lag, probe, scores):
    layers = [layer for layer in results.layers(target, probe) if results.rows(target, probe, lag, layer)]
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
        points = [(mean(rows, f"{results.split}_{score}"), interval(rows, f"{results.split}_{score}")) for rows in cells]
        if any(known(value) for value, _ in points):
            drawn.add_scatter(
                x=list(map(plain, layers)),
                y=[value for value, _ in points],
                name=label,
                mode="lines+markers",
                line={"color": COLOURS[index], "width": 2},
                marker={"symbol": SYMBOLS[index], "size": 8},
                error_y={**errors(points), "color": COLOURS[index]},
                hoverinfo="text",
                hovertext=[
                    describe(results, target, probe, lag, layer, rows) for layer, rows in zip(layers, cells, strict=True)
                ],
            )
    return drawn


def class_balance(results) -> Chart | None:
    """Counts and the share of positives, by split and lag."""

    def draw(target):
        lags = results.lags(target)
        drawn = figure(
            height=560,
            barmode="group",
            bargap=0.2,
            hovermode="closest",
            xaxis={"type": "category", "anchor": "y", "matches": "x2", "showticklabels": False},
            xaxis2={"type": "category", "anchor": "y2", "title": {"text": "lag"}},
            yaxis={"domain": [0.42, 1], "title": {"text": "examples"}, "rangemode": "tozero"},
            yaxis2={"domain": [0, 0.34], "title": {"text": "share positive"}, "tickformat": ".0%", "range": [0, 1]},
        )
        rows = {
            lag: [
                row
                for (of, _, at), layers in results.cells.items()
                if (of, at) == (target, lag)
                for found in layers.values()
                for row in found
            ]
            for lag in lags
        }
        for index, split in enumerate(SPLITS):
            counts = [
                (lag, n, ratio, balance_text(split, lag, rows[lag], results.groups.get((target, lag, split))))
                for lag in lags
                if known(n := mean(rows[lag], f"n_{split}")) and known(ratio := mean(rows[lag], f"pos_ratio_{split}"))
            ]
            if counts:
                add_balance(drawn, split, counts, COLOURS[index], SYMBOLS[index], 14 - 4 * index)
        return (f"examples of each split; target {quoted(target)}, model {results.model}", drawn) if drawn.data else None

    return compose(
        "class_balance",
        "Class balance",
        [
            "Full colour: positives; pale: negatives. Training may be a drawn sample, balanced or capped for each "
            "seed; where seeds or kinds differ, the mean is drawn and the text says the range."
        ],
        [("target", options(results.targets, quoted))],
        draw,
    )


def pale(colour) -> str:
    """Two thirds of the way to white: "#0072b2" -> "#aad0e5"."""
    return "#" + "".join(f"{(int(colour[at : at + 2], 16) + 510) // 3:02x}" for at in (1, 3, 5))


def add_balance(drawn, split, counts, colour, symbol, size):
    """size: of the symbol, in pixels: equal shares stay visible one on another."""
    x, texts = [lag_label(lag) for lag, *_ in counts], [text for *_, text in counts]
    positive = [round(n * ratio) for _, n, ratio, _ in counts]
    negative = [round(n) - count for (_, n, *_), count in zip(counts, positive, strict=True)]
    parts = (("positives", positive, None, colour), ("negatives", negative, positive, pale(colour)))
    for part, heights, base, paint in parts:
        drawn.add_bar(
            x=x,
            y=heights,
            base=base,
            name=f"{split} {part}",
            offsetgroup=split,
            marker={"color": paint},
            hovertext=texts,
            hoverinfo="text",
        )
    drawn.add_scatter(
        x=x,
        y=[ratio for _, _, ratio, _ in counts],
        name=f"{split} share",
        mode="lines+markers",
        xaxis="x2",
        yaxis="y2",
        line={"color": colour},
        marker={"symbol": symbol, "size": size},
        hovertext=texts,
        hoverinfo="text",
        showlegend=False,
    )
