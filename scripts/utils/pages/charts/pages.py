"""The pages of a sweep: a page a chart, the table of what validation chose, and Plotly's script once beside them."""

from pathlib import Path

from utils.base.files import WriteTogether
from utils.pages.charts.tables import SCORES, baselines_at, best_baseline, interval, known, mean, order_of, values
from utils.pages.charts.words import DASH, bounds, kind_name, lag_label, number, positives, quoted, seed_name, signed, span
from utils.pages.html.page import HERE, hash_of

PLOTLY = "plotly.min.js"


def write_pages(folder, results, charts):
    """NAME.html of each chart, index.html and plotly.min.js, all or none. Returns the paths."""
    from plotly.offline import get_plotlyjs

    links = [(chart.name, chart.heading) for chart in charts]
    texts = {f"{chart.name}.html": render("charts", chart=chart, links=links, about=about(results)) for chart in charts}
    texts["index.html"] = render("results", **index_values(results, charts))
    texts[PLOTLY] = get_plotlyjs()
    with WriteTogether() as files:
        for name, text in texts.items():
            with files.open(Path(folder) / name) as file:
                file.write(text.encode("utf-8", "replace"))
    return [Path(folder) / name for name in texts]


def render(name, **values) -> str:
    """NAME.html with `values` (plain data), charts.css and charts.js; the one boundary between data and HTML: Jinja2
    escapes every value in text and attributes, `tojson` those inside <script>. The page's policy allows no request but
    that for plotly.min.js beside it; Plotly sets styles of its own, and saves pictures through blobs.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}  # a browser's JSON knows no NaN
    style, script = ((HERE / f"charts.{ending}").read_text(encoding="utf-8") for ending in ("css", "js"))
    policy = (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'unsafe-inline'; img-src data: blob:; "
        f"script-src 'self' file: {hash_of(script)}"
    )
    template = environment.get_template(f"{name}.html")
    return template.render(style=style, script=script, policy=policy, plotly=PLOTLY, **values)


def about(results) -> str:
    data = (results.record.get("arguments") or {}).get("train_data")
    return f"model {results.model}" + (f", data {data}" if data else "") + f", split {results.split}"


def index_values(results, charts) -> dict:
    """The values of results.html."""
    metric = SCORES[results.metric]
    table = [chosen_row(results, *key, layer) for key, layer in results.chosen.items()]
    table.sort(key=lambda row: -order_of(row["order"]))
    columns, beside = baseline_table(results)
    previews = [{"name": chart.name, "heading": chart.heading, **chart.views[chart.first]} for chart in charts]
    return {
        "about": about(results),
        "metric": metric,
        "split": results.split,
        "rows": table,
        "columns": columns,
        "beside": beside,
        "previews": previews,
        "several": any("seeds" in row["seeds"] for row in table),
        "shown": {
            name: any(row[name] not in ("", DASH) for row in table) for name in ("best", "minus", "selectivity", "auc")
        },
    }


def chosen_row(results, target, probe, lag, layer) -> dict:
    rows, split = results.rows(target, probe, lag, layer), results.split
    validation, score = mean(rows, f"val_{results.metric}"), mean(rows, f"{split}_{results.metric}")
    best = best_baseline(results, target, lag, probe, rows)
    beside = baselines_at(results, target, lag, probe).get(best, ("", {}))[1].get(split, [])
    minus, low = mean(rows, f"{split}_minus_baseline"), interval(rows, f"{split}_minus_baseline")[0]
    if not known(minus):
        minus = mean(rows, f"{split}_auc") - mean(beside, "auc")
    found = values(rows, f"{split}_{results.metric}")
    return {
        "order": validation,
        "target": quoted(target),
        "probe": kind_name(probe),
        "lag": lag_label(lag),
        "layer": layer,
        "validation": number(validation),
        "score": number(score),
        "interval": bounds(rows, f"{split}_{results.metric}"),
        "auc": number(mean(rows, f"{split}_auc")) if results.metric != "auc" else "",
        "auc_interval": bounds(rows, f"{split}_auc"),
        "best": best or "",
        "best_score": number(mean(beside, results.metric)),
        "minus": signed(minus),
        "minus_interval": bounds(rows, f"{split}_minus_baseline", signed),
        "above": bool(known(low) and low > 0),
        "selectivity": signed(mean(rows, f"{split}_selectivity")),
        "gap": signed(validation - score) if split != "val" else signed(mean(rows, f"train_{results.metric}") - score),
        "n": span(values(rows, f"n_{split}")),
        "positives": span(positives(rows, split)),
        "seeds": f"{len(rows)} seeds: {number(min(found))} to {number(max(found))}"
        if len(found) > 1
        else f"seed {seed_name(rows[0])}",
        "l2": span([row["l2"] for row in rows if known(row["l2"])], "{:g}".format),
    }


def baseline_table(results) -> tuple[list[str], list[dict]]:
    """Columns and rows; what is of one kind of probe only, such as random weights, has a column for each kind."""
    found = {}
    for at in sorted(results.beside):
        cells = found.setdefault(at, {})
        for kind in results.kinds:
            for name, (label, by_split) in baselines_at(results, *at, kind).items():
                layered = label != name
                rows = by_split.get(results.split, [])
                cells[f"{name} ({kind_name(kind)})" if layered else name] = {
                    "score": number(mean(rows, results.metric)),
                    "interval": bounds(rows, results.metric),
                    "layer": label.rpartition(" ")[2] if layered else "",
                }
    columns = list(dict.fromkeys(name for cells in found.values() for name in cells))
    empty = {"score": DASH, "interval": "", "layer": ""}
    return columns, [
        {"target": quoted(target), "lag": lag_label(lag), "scores": [cells.get(name, empty) for name in columns]}
        for (target, lag), cells in found.items()
    ]
