"""Write the report as plain Markdown, for papers and pull requests: the figures of the page."""

import re

MARKDOWN_SIGNS = re.compile(r"([\\`*_{}\[\]()<>#+!|~&])")


def marked(text: object) -> str:
    """Write text so that Markdown and the HTML that it becomes show it as it is."""
    return MARKDOWN_SIGNS.sub(r"\\\1", " ".join(str(text).split()))


def markdown_table(heads: list[str], rows: list[list[object]]) -> list[str]:
    """Write the lines of a table."""
    lines = [heads, ["---"] * len(heads), *([marked(cell) for cell in row] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines] + [""]


def report_text(values: dict) -> str:
    """Write report.md. values: those of the page, as `index_values` gives them."""
    lines = [f"# {values['title']}", "", marked(values["about"]), "", "## What was asked", "", marked(values["asked"]), ""]
    lines += ["## What was found", "", *found_lines(values), "## What speaks against it", "", *doubt_lines(values)]
    if values["rows"]:
        lines += ["## Chosen probes", "", *chosen_lines(values)]
    if values["documents"]:
        heads = ["target", "lag", "what", "aggregate", "lengths", "AUROC", "interval", "minus baseline", "interval", "n"]
        names = ["target", "lag", "name", "aggregate", "bucket", "auc", "interval", "minus", "minus_interval", "n"]
        lines += [
            "## Whole documents",
            "",
            *markdown_table(heads, [[row[name] for name in names] for row in values["documents"]]),
        ]
    if values["baselines"] and values["columns"]:
        heads = ["target", "lag", *map(marked, values["columns"])]
        rows = [[row["target"], row["lag"], *(cell["score"] for cell in row["scores"])] for row in values["baselines"]]
        lines += [f"## Baselines: {values['metric']}, {values['split']}", "", *markdown_table(heads, rows)]
    lines += [f"Tables: {', '.join(map(marked, values['files']))}", ""]
    return "\n".join(lines)


def found_lines(values: dict) -> list[str]:
    """Write a sentence for each target."""
    if not values["found"]:
        return ["Nothing was chosen: the tables have no validation scores.", ""]
    return [*(f"- {marked(one['target'])}: {marked(one['text'])}" for one in values["found"]), ""]


def doubt_lines(values: dict) -> list[str]:
    """Write each reason for doubt, and of which targets it holds."""
    lines = []
    for doubt in values["doubts"]:
        lines.append(f"- **{marked(doubt['name'])}** ({len(doubt['of'])} of {len(values['found'])})")
        lines += [f"  - {marked(one['target'])}: {marked(one['text'])}" for one in doubt["of"]]
    if not lines:
        lines.append("No check found anything.")
    if values["not_checked"]:
        lines += ["", f"Not checked: {marked('; '.join(values['not_checked']))}."]
    return [*lines, ""]


def chosen_lines(values: dict) -> list[str]:
    """Write the table of chosen probes."""
    metric, split = values["metric"], values["split"]
    heads = ["probe", "target", "lag", "layer", f"validation {metric}", f"{split} {metric}", "95 % interval"]
    heads += ["best baseline", "AUROC minus baseline's", "95 % interval", "n", "seeds"]
    names = [
        "probe",
        "target",
        "lag",
        "layer",
        "validation",
        "score",
        "interval",
        "best",
        "minus",
        "minus_interval",
        "n",
        "seeds",
    ]
    return markdown_table(heads, [[row[name] for name in names] for row in values["rows"]])
