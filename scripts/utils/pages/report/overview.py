"""Gather all that the report shows, as plain data."""

from collections.abc import Sequence
from typing import Any

from utils.pages.charts.cells import SCORE_LABELS
from utils.pages.charts.pages import PLOTLY, run_line
from utils.pages.charts.results import Results
from utils.pages.report.beside import baselines_table, codelength_table
from utils.pages.report.calibration import calibration_table
from utils.pages.report.chosen import chosen_table
from utils.pages.report.documents import documents_table
from utils.pages.report.findings import best_results, findings_of
from utils.pages.report.latents import latents_table, read_latents_table
from utils.pages.report.promoted import promoted_table


def index_values(results: Results, charts: Sequence, beside: dict | None = None) -> dict[str, Any]:
    """Gather the values of results.html and report.md. beside: what `two_runs` gives of another run; `at`, the way to the
    files, is that of a page beside them."""
    found = best_results(results)
    tables = [
        chosen_table(results),
        documents_table(results),
        latents_table(results),
        calibration_table(results),
        promoted_table(results, found),
        read_latents_table(results),
        baselines_table(results),
        codelength_table(results),
    ]
    previews = [{"name": chart.name, "heading": chart.heading, **chart.views[chart.first]} for chart in charts]
    return {
        "title": "What the probes found",
        "about": run_line(results),
        **findings_of(results, found),
        "beside": beside,
        "tables": [table for table in tables if table],
        "files": results.files,
        "pages": results.pages,
        "at": "",
        "data": {"previews": previews, "plotly": PLOTLY},
        "metric": SCORE_LABELS[results.metric],
        "split": results.split,
        "previews": previews,
    }
