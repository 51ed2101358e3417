"""Cells that a spreadsheet would run: text such as `=HYPERLINK(...)`, from a label or a file name, in a table of results.

They are written with an apostrophe before them, as spreadsheets do themselves, and read without it: '=1+1 -> =1+1. Text that
begins with apostrophes and then so gets one more, so that what is read is what was written. Numbers are left as they are.
"""

import re
from typing import Any

FIRST = frozenset("'=+-@\t\r\n")
RUN = re.compile(r"'*[=+\-@\t\r\n]")  # the beginning of what a spreadsheet runs, or of what looks like our way to write it
NUMBER = re.compile(r"-?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf|nan)", re.IGNORECASE)


def guarded(cell: Any) -> Any:
    """Write a cell so that no spreadsheet runs it."""
    if not isinstance(cell, str) or cell[:1] not in FIRST:  # most cells of a long table
        return cell
    return f"'{cell}" if RUN.match(cell) and not NUMBER.fullmatch(cell) else cell


def unguarded(cell: Any) -> Any:
    """Read a cell that `guarded` has written."""
    return cell[1:] if isinstance(cell, str) and cell.startswith("'") and RUN.match(cell) else cell
