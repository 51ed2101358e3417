"""Describe the tables of the report as plain data, which the page and report.md both write."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from utils.pages.charts.words import DASH

LONG_TABLE = 12  # rows; longer tables can be filtered


@dataclass(frozen=True)
class Head:
    """The head of a column. how: how its numbers were computed; below: what stands below the first line of its cells."""

    name: str
    how: str = ""
    below: tuple[str, ...] = ()
    word: bool = False  # its cells hold words, not numbers


@dataclass(frozen=True)
class Cell:
    """What a cell says first, by which its column sorts, and the lines below. look: "", "strong" or "above"."""

    text: str
    small: tuple[str, ...] = ()
    look: str = ""


@dataclass(frozen=True)
class ReportTable:
    """A table with its title and notes.

    name: its id on the page; ours: of each row, whether it is of a probe; folded: whether it opens only when asked.
    """

    name: str
    title: str
    about: str
    heads: list[Head]
    rows: list[list[Cell]]
    notes: list[str] = field(default_factory=list)
    ours: list[bool] = field(default_factory=list)
    folded: bool = False

    @property
    def long(self) -> bool:
        return len(self.rows) > LONG_TABLE


Column = tuple[Head, Callable[[dict], Cell]]


def word(name: str, key: str, how: str = "") -> Column:
    """Make a column of words, such as names."""
    return Head(name, how, word=True), lambda row: Cell(row[key] or DASH)


def numbers(head: Head, key: str, *below: str, look: str = "") -> Column:
    """Make a column of numbers, from the row's texts of these keys."""
    return head, lambda row: Cell(row[key], tuple(text for name in below if (text := row[name]) not in ("", DASH)), look)


def table_of(
    name: str, title: tuple[str, str], columns: Iterable[Column], rows: list[dict], notes: Iterable[str] = ()
) -> ReportTable:
    """Put a table together. title: its title, and what it is about; rows: plain dicts, what the columns read."""
    columns = list(columns)
    cells = [[cell(row) for _, cell in columns] for row in rows]
    ours = [row.get("ours", False) for row in rows]
    return ReportTable(name, *title, [head for head, _ in columns], cells, [note for note in notes if note], ours)
