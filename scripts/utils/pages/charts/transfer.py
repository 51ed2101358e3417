"""Chart the transfer matrix: AUROC of probes that were trained on one target and scored on the data of another."""

from utils.base.paths import short_path
from utils.pages.charts.figures import DIVERGING, LAG_NOTE, WRITTEN, Chart, colorscale, figure, make_chart, options
from utils.pages.charts.pages import PLOTLY, render_chart
from utils.pages.charts.words import DASH, kind_name, lag_label, layer_label, number_text, plotly_text, quoted

PAGE = "transfer"
PROBE_HEIGHT, AROUND_PROBES = 44, 190  # pixels
NOTES = [
    "Rows: what probes were trained to find, each the layer that was best on its own validation data. Columns: the data "
    "that they are read on, without training, and what is positive there.",
    "AUROC: 0.5 is what a coin gets; orange, below it, ranks the wrong way round. Grey: not computed, or one class.",
    "A cell's own p is for a layer that was chosen before; who picks the best of many reads the p as the best of all.",
    "Documents that a probe was trained on or chosen by are left out, unless the text of a cell says otherwise.",
    LAG_NOTE,
]


def transfer_chart(matrix) -> Chart | None:
    """Chart the matrix, a view for each kind of probe and lag."""

    def draw(kind, lag):
        rows = [row for row in reversed(matrix.rows) if row[2:] == (kind, lag)]  # a chart begins at the bottom
        if not rows:
            return None
        cells = [[matrix.cells.get((row, column)) for column in matrix.columns] for row in rows]
        title = f"AUROC of {kind_name(kind)} probes at lag {lag_label(lag)}, model {short_path(matrix.model)}"
        return title, matrix_figure(
            [row_label(matrix, row) for row in rows],
            list(map(column_label, matrix.columns)),
            [[cell["auc"] if cell else float("nan") for cell in row] for row in cells],
            [[comparison_text(cell) if cell else "not computed" for cell in row] for row in cells],
        )

    kinds, lags = (list(dict.fromkeys(row[at] for row in matrix.rows)) for at in (2, 3))
    choices = [("probe", options(kinds, kind_name)), ("lag", options(sorted(lags), lag_label))]
    return make_chart(PAGE, "Transfer", NOTES, choices, draw)


def row_label(matrix, row) -> str:
    folder, target, *_ = row
    return (
        f"{plotly_text(quoted(target))}, {layer_label(matrix.chosen(row)['layer_idx'])}<br>{plotly_text(short_path(folder))}"
    )


def column_label(column) -> str:
    file, target = column
    return f"{plotly_text(quoted(target))}<br>{plotly_text(short_path(file))}"


def matrix_figure(rows, columns, z, texts):
    result = figure(
        height=AROUND_PROBES + PROBE_HEIGHT * len(rows),
        plot_bgcolor="#dedee3",
        xaxis={"type": "category", "title": {"text": "read on"}, "showgrid": False},
        yaxis={"type": "category", "title": {"text": "trained on"}, "showgrid": False},
    )
    result.add_heatmap(
        z=z,
        x=columns,
        y=rows,
        zmin=0,
        zmax=1,
        hovertext=texts,
        hoverinfo="text",
        xgap=1,
        ygap=1,
        colorscale=colorscale(DIVERGING),
        colorbar={"title": {"text": "AUROC", "side": "right"}, "thickness": 12, "outlinewidth": 0},
        texttemplate="%{z:.3f}" if len(columns) <= WRITTEN else None,
    )
    return result


def comparison_text(cell) -> str:
    """Write the text of one cell: what is compared, scores with their intervals, how many examples, what was left out."""
    same = cell["probe_dataset_fingerprint"] == cell["dataset_fingerprint"]
    lines = [
        f"{plotly_text(quoted(cell['probe_target']))} → {plotly_text(quoted(cell['target']))}"
        + (", of the preparation that it was trained on" if same else ""),
        f"{layer_label(cell['layer_idx'])}, seed {plotly_text(cell['seed'])}, {plotly_text(short_path(cell['probe_file']))}",
        f"{plotly_text(short_path(cell['data_file']))}, {plotly_text(cell['split'])}",
        f"AUROC {cell_score(cell, 'auc')}",
        f"AUPRC {cell_score(cell, 'auprc')}",
        f"balanced accuracy at the saved threshold {cell_score(cell, 'balanced_accuracy')}",
        f"true positives at 1 % false ones {number_text(cell['tpr_at_1_fpr'])}",
        f"n {cell['n']:,}, positives {number_text(cell['pos_ratio'])}, groups {cell['groups']:,}",
    ]
    if cell["probes_together"] > 0:
        p, best = (number_text(cell[f"permutation_p{end}"]) for end in ("", "_in_sweep"))
        lines.append(f"permutation p {p}; as the best of {cell['probes_together']:,} probes scored here {best}")
        lines.append(
            f"AUROC together with all of them {number_text(cell['auc_band_low'])} to {number_text(cell['auc_band_high'])}"
        )
    for name, words in (
        ("n_seen_left_out", "documents of its training or validation left out"),
        ("n_seen_kept", "documents of its training or validation are among these"),
        ("n_no_state", "labelled tokens have no state at this lag"),
        ("n_not_finite", "states were not finite"),
    ):
        if cell[name] > 0:
            lines.append(f"{cell[name]:,} {words}")
    if cell["n_seen_left_out"] != cell["n_seen_left_out"]:
        lines.append("which documents it has seen is not known")
    return "<br>".join(lines)


def cell_score(cell, name) -> str:
    """Write a score with its interval: '0.853 (0.832 to 0.870)'."""
    low, high = number_text(cell[f"{name}_low"]), number_text(cell[f"{name}_high"])
    return number_text(cell[name]) + (f" ({low} to {high})" if low != DASH else "")


def transfer_pages(matrix) -> dict[str, str]:
    """Render the page and Plotly's script, {file name: text}."""
    from plotly.offline import get_plotlyjs

    chart = transfer_chart(matrix)
    data = ", ".join(dict.fromkeys(short_path(file) for file, _ in matrix.columns))
    page = render_chart(chart, [(PAGE, chart.heading)], f"model {short_path(matrix.model)}, data {data}")
    return {f"{PAGE}.html": page, PLOTLY: get_plotlyjs()}
