#!/usr/bin/env python3
"""Make a report and charts from the tables of a sweep: HTML pages that any browser shows, without a network."""

from utils.base.processes.signals import listen

if __name__ == "__main__":
    listen()  # first, so that Ctrl-C during the imports shows no traceback

from pathlib import Path

from utils.base.cli.parser import Parser, quiet_libraries, run
from utils.base.files import require_writable_folder
from utils.base.paths import folder_path
from utils.base.progress import Progress
from utils.base.text_table import how_many
from utils.pages.charts.cells import SCORE_LABELS


def build_parser() -> Parser:
    parser = Parser(
        __file__, __doc__, "next: python scripts/visualize_probe.py, to see what the probes say of every token of a text"
    )
    tables = parser.add_argument_group("tables")
    tables.add_argument(
        "--results_dir",
        type=folder_path,
        default="results",
        help="folder of probe_results.csv, and of baselines.csv, run_record.json and learning_curve.csv if there are any",
    )
    tables.add_argument(
        "--split",
        choices=("val", "test"),
        help="the split whose scores are shown (default: test where the table has it, else val)",
    )
    tables.add_argument(
        "--metric",
        choices=tuple(SCORE_LABELS),
        help="the score by which layers are chosen on validation, and which the overview shows (default: as "
        "the run chose: balanced_accuracy for next-token data, else auc)",
    )
    tables.add_argument(
        "--compare",
        type=folder_path,
        metavar="OTHER_RESULTS",
        help="the results of another run, which the report sets beside these: rows of one target, lag, kind and layer, with "
        "paired intervals of their differences where both were scored on the same examples",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--output_dir",
        type=folder_path,
        help="folder of the pages: index.html, a page for each chart and plotly.min.js, which they share "
        "(default: --results_dir)",
    )
    return parser


def parse(argv):
    return build_parser().parse_args(argv)


def main(argv=None):
    arguments = parse(argv)
    quiet_libraries()
    from utils.base.processes.locks import locked
    from utils.pages.charts.results import read_results

    folders = [arguments.results_dir, *filter(None, [arguments.compare])]
    with locked(*folders):  # tables of one run, while another writes
        results = read_results(arguments.results_dir, arguments.split, arguments.metric)
        beside = compare(results, arguments.compare)
    folder = arguments.output_dir or arguments.results_dir
    require_writable_folder(folder, "--output_dir")
    charts = draw(results)
    from utils.pages.report.writing import write_pages

    paths = write_pages(folder, results, charts, beside)
    pages = ", ".join(path.name for path in paths[:-1])
    print(
        f"wrote {Path(folder) / ''}: {pages}; {how_many(len(results.chosen), 'probe')} chosen on validation, scores of "
        f"{results.split}\nnext: open {(Path(folder) / 'index.html').resolve().as_uri()} in a browser"
    )
    return 0


def compare(results, other) -> dict | None:
    """Set another run beside this one, where one is given."""
    if other is None:
        return None
    from utils.pages.report.two_runs import two_runs

    return two_runs(results, other)


def draw(results) -> list:
    """Draw the charts that these tables have the numbers for."""
    from utils.pages.charts.class_balance import class_balance
    from utils.pages.charts.comparison import comparison
    from utils.pages.charts.heatmap import heatmap
    from utils.pages.charts.learning_curve import learning_curve
    from utils.pages.charts.lineplot import lineplot
    from utils.pages.charts.words import DIFFERENCES

    accuracies = {name: SCORE_LABELS[name] for name in ("balanced_accuracy", "acc", "auc")}
    texts = {}
    charts = [
        lambda: heatmap(results, "heatmap_accuracy", "Accuracy heatmap", {**accuracies, **DIFFERENCES}, texts),
        lambda: lineplot(results, results.metric),
        lambda: heatmap(results, "heatmap_f1", "F1 heatmap", {"f1": SCORE_LABELS["f1"]}, texts),
        *([lambda: lineplot(results)] if results.metric != "f1" else []),
        lambda: comparison(results),
        lambda: class_balance(results),
        lambda: learning_curve(results),
    ]
    drawn = []
    with Progress("draw", "chart", len(charts)) as progress:
        for make in charts:
            drawn.append(make())
            progress.update(1)
    return [chart for chart in drawn if chart]


if __name__ == "__main__":
    run(main)
