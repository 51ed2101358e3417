"""Chart the class balance: how many examples each split has at each lag, and the share of positives."""

from utils.data.sequences import SPLITS
from utils.data.tokenizer import isolated
from utils.pages.charts.cells import known, mean
from utils.pages.charts.figures import COLOURS, SYMBOLS, Chart, figure, make_chart, options
from utils.pages.charts.words import balance_text, lag_label, quoted


def class_balance(results) -> Chart | None:
    """Chart the numbers of examples and the share of positives, by split and lag."""

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
        rows = {lag: results.rows_at(target, [lag]) for lag in lags}
        for index, split in enumerate(SPLITS):
            counts = [
                (lag, n, ratio, balance_text(split, lag, rows[lag], results.groups.get((target, lag, split))))
                for lag in lags
                if known(n := mean(rows[lag], f"n_{split}")) and known(ratio := mean(rows[lag], f"pos_ratio_{split}"))
            ]
            if counts:
                add_balance(drawn, split, counts, COLOURS[index], SYMBOLS[index], 14 - 4 * index)
        return (
            (f"examples of each split; target {isolated(quoted(target))}, model {results.model}", drawn)
            if drawn.data
            else None
        )

    return make_chart(
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
    """Mix a colour two thirds of the way to white: "#0072b2" -> "#aad0e5"."""
    return "#" + "".join(f"{(int(colour[at : at + 2], 16) + 510) // 3:02x}" for at in (1, 3, 5))


def add_balance(drawn, split, counts, colour, symbol, size):
    """Add the bars of one split and the line of its share of positives.

    counts: [(lag, examples, share of positives, text)]
    size: of the symbol, in pixels, so that equal shares stay visible one on another
    """
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
