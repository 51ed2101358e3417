"""Write the pages of a sweep: one for each chart, the report, and Plotly's script, once."""

from functools import partial
from pathlib import Path

from utils.base.files import WriteTogether
from utils.base.paths import link_to
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

    links, values = [(chart.name, chart.heading) for chart in charts], index_values(results, charts, beside)
    values["at"] = link_to(results.folder, folder)
    pages = {  # each is written before the next is made: a large sweep's chart has 20 MB
        **{f"{chart.name}.html": partial(render_chart, chart, links, run_line(results)) for chart in charts},
        "index.html": partial(render, "charts/results", WITH_PLOTLY, **values),
        "report.md": partial(report_text, values),
        PLOTLY: get_plotlyjs,
    }
    with locked(folder), WriteTogether() as files:
        for name, text in pages.items():
            with files.open(Path(folder) / name) as file:
                file.write(text().encode("utf-8", "replace"))
    return [Path(folder) / name for name in pages]
