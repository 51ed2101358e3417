"""The text of a CSV file -> a table: its delimiter, what stands before its header, rows that a quotation mark swallows."""

import csv
import io
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from utils.base.errors import UserError

DELIMITERS = (",", "\t", ";", "|")
LONE_RETURN = re.compile(r"\r(?!\n)")
EXCEL_HINT = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)  # a line of Excel's own before the header


@dataclass
class TextTable:
    """Rows of texts and labels, and what is known of them.

    numbers  where each row stands in the file, as its name says it; the header is row 1
    splits   of each row, as published, or None
    notes    what is to be said of the reading
    """

    frame: pd.DataFrame
    numbers: list[str]
    splits: list[str | None] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def parse_csv(text: str, where: str, delimiter: str, needed: Sequence[str], text_columns: Iterable[str]) -> TextTable:
    """Read a CSV as it stands: only an empty cell is missing ("NA" is a text); `text_columns` are never read as numbers.

    needed: columns that tell the header and the delimiter where the first line or `delimiter` is not it.
    """
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UserError(f"{where}, line {line}: holds a NUL byte and is no text (UTF-16?); convert it (iconv -t UTF-8)")
    csv.field_size_limit(sys.maxsize)
    text = text if "\n" in text else text.replace("\r", "\n")  # line ends of old Macs
    skipped, delimiter, body = from_header_on(text, where, delimiter, needed)
    notes = [f"{where}: {skipped} {'lines' if skipped > 1 else 'line'} before the header skipped"] if skipped else []
    quoting = csv.QUOTE_NONE if a_row_each_line(body, delimiter) else csv.QUOTE_MINIMAL
    eaten = []
    if quoting == csv.QUOTE_NONE:
        notes.append(f"{where}: quotation marks are read as part of the texts, as every line is a row of its own")
    elif '"' in body and not well_formed(io.StringIO(body, newline=""), delimiter):
        lines = list(io.StringIO(body, newline=""))
        eaten = broken_records(lines, delimiter, where, skipped)
        gone = {number - skipped for _, first, last in eaten for number in range(first, last + 1)}
        body = "".join(line for number, line in enumerate(lines, 1) if number not in gone)
    frame = read_frame(body, where, sep=delimiter, quoting=quoting, dtype=dict.fromkeys(text_columns, str))
    require_single_names(frame, body, delimiter, needed, where)
    broken = {record for record, _, _ in eaten}
    kept = [number for number in range(len(frame) + len(broken)) if number not in broken]
    table = TextTable(frame, [str(number + 2 + skipped) for number in kept], notes=notes)
    if eaten:
        lost = sum(last - first + 1 for _, first, last in eaten)
        table.counts = {"rows_with_broken_quotes": len(eaten), "lines_lost_in_them": lost}
        places = ", ".join(f"{first} to {last}" for _, first, last in eaten[:5]) + (", ..." if len(eaten) > 5 else "")
        table.notes.append(
            f"WARNING: {where}: a quotation mark that is not closed swallows rows: lines {places}; {lost} lines are left "
            "out; close the marks, or double those inside a text"
        )
    return table


def from_header_on(text: str, where: str, delimiter: str, needed: Sequence[str]) -> tuple[int, str, str]:
    """Return what `find_header` does, and the text from the header on.

    Raises UserError where a carriage return stands inside a cell: pandas would make two rows of it.
    """
    try:
        skipped, delimiter = find_header(text, delimiter, needed)
        body = text.split("\n", skipped)[skipped]
        if LONE_RETURN.search(body):
            for _ in csv.reader(io.StringIO(body), delimiter=delimiter):
                pass
    except csv.Error as error:
        line = text.count("\n", 0, match.start()) + 1 if (match := LONE_RETURN.search(text)) else 1
        raise UserError(
            f"{where}, line {line}: a carriage return stands inside a row ({error}); put the cell into quotation marks"
        ) from error
    return skipped, delimiter, body


def find_header(text: str, delimiter: str, needed: Sequence[str]) -> tuple[int, str]:
    """Return how many lines stand before the header (comments, Excel's `sep=`), and the delimiter that parts its cells."""
    if hint := EXCEL_HINT.match(text):
        return 1, hint[1]
    most_before = 0  # cells of a comment
    for number, line in enumerate(io.StringIO(text)):
        cells = {sign: next(csv.reader([line], delimiter=sign), []) for sign in dict.fromkeys((delimiter, *DELIMITERS))}
        for sign, names in cells.items():
            if all(name in names for name in needed):
                return number, sign
        if line.strip() and not line.startswith("#"):
            if len(cells[delimiter]) < 2:  # the error will name its columns, parted by what parts most of them
                delimiter = max(cells, key=lambda sign: len(cells[sign]))
            return (number if len(cells[delimiter]) > most_before else 0), delimiter
        most_before = max(most_before, len(cells[delimiter]))
    return 0, delimiter


def a_row_each_line(body: str, delimiter: str) -> bool:
    """Are quotation marks mere signs? Where tabs part the cells, they are if lines have equal tabs and marks join lines."""
    if delimiter != "\t" or '"' not in body:
        return False
    lines = [line for line in io.StringIO(body, newline="") if line.strip()]
    if len({line.count("\t") for line in lines}) > 1:
        return False
    return sum(1 for cells in csv.reader(iter(lines), delimiter=delimiter) if cells) < len(lines)


def broken_records(lines: list[str], delimiter: str, where: str, skipped: int) -> list[tuple[int, int, int]]:
    """Return (record, first line, last line) of each record of several lines whose quotation marks do not fit.

    Records count from 0 behind the header; lines from 1, with the `skipped` ones before them. A mark that is never closed
    is a UserError.
    """
    reader, first, record, found = csv.reader(iter(lines), delimiter=delimiter), 0, -1, []
    for cells in reader:
        last = reader.line_num
        if last - first > 1 and not well_formed(lines[first:last], delimiter):
            if last == len(lines) and not closed(lines[first:last], delimiter):
                raise UserError(
                    f"{where}, line {first + skipped + 1}: is no CSV table: a quotation mark that begins there is never "
                    "closed; close it, or double those inside a text"
                )
            found.append((record, first + skipped + 1, last + skipped))
        record += bool(cells)
        first = last
    return found


def well_formed(lines: Iterable[str], delimiter: str) -> bool:
    """Do all quotation marks of these lines open and close cells?"""
    try:
        for _ in csv.reader(iter(lines), delimiter=delimiter, strict=True):
            pass
    except csv.Error:
        return False
    return True


def closed(lines: list[str], delimiter: str) -> bool:
    """Is the last quotation mark of a record closed before the file ends?"""
    return len(list(csv.reader([*lines, "\n", "end"], delimiter=delimiter))) > 1


def read_frame(body: str, where: str, **options: Any) -> pd.DataFrame:
    """Let pandas read the cells. Raises UserError for what is no table, and for rows that are longer than the header."""
    options |= {"keep_default_na": False, "na_values": [""], "low_memory": False}
    try:
        frame = pd.read_csv(io.StringIO(body), **options)
        if isinstance(frame.index, pd.RangeIndex):
            return frame
        if not isinstance(frame.index, pd.MultiIndex) and frame.iloc[:, -1].isna().all():  # a delimiter ends each row
            return pd.read_csv(io.StringIO(body), index_col=False, **options)
    except ValueError as error:  # pandas' own errors are of this kind
        raise UserError(
            f"{where} is no CSV table ({error}); give one with a header and as many cells in each row"
        ) from error
    raise UserError(f"{where}: its rows have more cells than its header; put texts with commas into quotation marks")


def require_single_names(frame: pd.DataFrame, body: str, delimiter: str, needed: Sequence[str], where: str) -> None:
    """Raise UserError where a column that is needed stands in the header twice."""
    names = next(csv.reader(io.StringIO(body), delimiter=delimiter), [])
    twice = [name for name in needed if names.count(name) > 1]
    if twice:
        raise UserError(f"{where}: the header names {twice[0]!r} twice; rename one of the columns")
