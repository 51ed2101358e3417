"""Write the pages of a sweep: one for each chart, the report, and Plotly's script, once."""

from pathlib import Path

from utils.base.files import WriteTogether
from utils.base.processes.locks import locked
from utils.pages.charts.pages import PLOTLY, render_chart, run_line
from utils.pages.html.page import WITH_PLOTLY, render
from utils.pages.report.markdown import report_text
from utils.pages.report.overview import index_values


def write_pages(folder, results, charts, beside=None):
    """Write NAME.html of each chart, index.html, report.md and plotly.min.js, all of them or none. Returns the paths.

    beside: another run, as `two_runs` gives it.
    """
    from plotly.offline import get_plotlyjs

    links = [(chart.name, chart.heading) for chart in charts]
    texts = {f"{chart.name}.html": render_chart(chart, links, run_line(results)) for chart in charts}
    values = index_values(results, charts, beside)
    texts["index.html"] = render("charts/results", WITH_PLOTLY, plotly=PLOTLY, **values)
    texts["report.md"] = report_text(values)
    texts[PLOTLY] = get_plotlyjs()
    with locked(folder), WriteTogether() as files:
        for name, text in texts.items():
            with files.open(Path(folder) / name) as file:
                file.write(text.encode("utf-8", "replace"))
    return [Path(folder) / name for name in texts]
