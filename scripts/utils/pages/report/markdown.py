"""Write the report as plain Markdown, for papers and pull requests: the figures of the page."""

import re

from utils.pages.report.tables import Cell, Head, ReportTable

MARKDOWN_SIGNS = re.compile(r"([\\`*_{}\[\]()<>#+!|~&$])")
LINKS = re.compile(r"(?<=[a-z])(://)|(?<=www)(\.)|@(?=\w)")  # what GitHub makes a link of by itself


def marked(text: object) -> str:
    """Write text so that Markdown and the HTML that it becomes show it as it is."""
    escaped = MARKDOWN_SIGNS.sub(r"\\\1", " ".join(str(text).split()))
    return LINKS.sub(lambda found: f"{found[0][0]}\u2060{found[0][1:]}", escaped)


def report_text(values: dict) -> str:
    """Write report.md. values: those of the page, as `index_values` gives them."""
    lines = [f"# {values['title']}", "", marked(values["about"]), "", "## What was asked", "", marked(values["asked"]), ""]
    lines += ["## What was found", "", *found_lines(values), "## What speaks against it", "", *doubt_lines(values)]
    if values["beside"]:
        lines += beside_lines(values["beside"])
    for table in values["tables"]:
        lines += table_lines(table)
    lines += [f"Tables: {', '.join(map(marked, values['files']))}", ""]
    return "\n".join(lines)


def found_lines(values: dict) -> list[str]:
    """Write a sentence for each target."""
    if not values["found"]:
        return ["Nothing was chosen: the tables have no validation scores.", ""]
    return [
        *(f"- {marked(one['target'])}: {marked(' '.join((one['text'], one['latents'])))}" for one in values["found"]),
        "",
    ]


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


def beside_lines(beside: dict) -> list[str]:
    """Write the comparison with another run."""
    lines = [f"## Beside {marked(beside['name'])}", "", marked(beside["about"]), "", marked(beside["text"]), ""]
    lines += [
        f"- {marked(one['name'])}: {marked(one['ours'])} here, {marked(one['theirs'])} there" for one in beside["unlike"]
    ]
    return [*lines, "", *(line for table in beside["tables"] for line in table_lines(table))]


def table_lines(table: ReportTable) -> list[str]:
    """Write a table with its title and notes."""
    rows = [map(marked_head, table.heads), ["---"] * len(table.heads), *(map(marked_cell, row) for row in table.rows)]
    notes = [line for note in table.notes for line in (marked(note), "")]
    return [
        f"## {marked(table.title)}",
        "",
        marked(table.about),
        "",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        *notes,
    ]


def marked_head(head: Head) -> str:
    return marked(head.name + (f" ({'; '.join(head.below)})" if head.below else ""))


def marked_cell(cell: Cell) -> str:
    """Write a cell on one line: '0.890 (0.860 to 0.920)'."""
    return marked(cell.text + (f" ({'; '.join(cell.small)})" if cell.small else ""))
