"""Write the page of a chart around its figures, beside Plotly's script."""

from utils.base.paths import short_path
from utils.pages.html.page import WITH_PLOTLY, render

PLOTLY = "plotly.min.js"


def render_chart(chart, links, about) -> str:
    """Render the page of one chart. links: [(name, heading)] of all pages; about: the line below its heading."""
    data = {"views": chart.views, "hover": chart.hover, "first": chart.first, "name": chart.name, "plotly": PLOTLY}
    return render("charts/charts", WITH_PLOTLY, title=chart.heading, data=data, chart=chart, links=links, about=about)


def run_line(results) -> str:
    data = results.record.get("arguments", {}).get("train_data")
    return f"model {results.model}" + (f", data {short_path(data)}" if data else "") + f", split {results.split}"
