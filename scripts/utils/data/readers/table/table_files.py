"""A file, a folder or a dataset of the Hub -> one table, with the split of each of its rows as it is published."""

import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from utils.base.errors import UserError
from utils.base.hub import loading
from utils.data.readers.annotated import decode
from utils.data.readers.forms import CSV, PARQUET, TSV, json_rows, parquet_table, read_form
from utils.data.readers.published import (
    IGNORED,
    SPLIT_COLUMN,
    SplitChoice,
    about_column,
    column_of_splits,
    files_of_folder,
    split_value,
)
from utils.data.readers.table.csv_tables import TextTable, parse_csv

CSV_OPTIONS = {"keep_default_na": False, "na_values": [""]}  # as `parse_csv` reads: "NA" is a text
CARD_NAMES_FILES = re.compile(r"^(configs|data_files):", re.MULTILINE)


def read_table_file(path: str | Path, needed: Iterable[str] = (), text_columns: Iterable[str | None] = ()) -> TextTable:
    """Read a table of any form: CSV (also with tabs or semicolons), JSON lines, a JSON list of objects, or parquet.

    needed: the columns that tell the header; text_columns are never read as numbers.
    """
    form, data = read_form(path)
    if form in (None, CSV, TSV):
        delimiter = "\t" if form == TSV else ","
        return parse_csv(decode(data, path), str(path), delimiter, list(needed), [name for name in text_columns if name])
    if form == PARQUET:
        frame = pd.DataFrame(parquet_table(data, path).to_pandas(ignore_metadata=True))
        return TextTable(frame, [str(number) for number in range(1, len(frame) + 1)])
    rows = list(json_rows(data, path))
    return TextTable(pd.DataFrame([row for _, _, row in rows]), [str(number) for number, _, _ in rows])


def load_table(
    source: str | Path, needed: Iterable[str], text_columns: Iterable[str | None], choice: SplitChoice
) -> TextTable:
    """Read a file, all tables of a folder, or all splits of a dataset of the Hub, with the split of each row.

    A folder whose README says which files are which split is read as the Hub reads it.
    """
    path = Path(source)
    if path.is_file():
        table = read_table_file(path, needed, text_columns)
    elif path.is_dir() and not card_names_files(path):
        found, notes = files_of_folder(path)
        tables = {file: read_table_file(file, needed, text_columns) for file in found}
        table = joined([(file.relative_to(path).as_posix(), split, tables[file]) for file, split in found.items()])
        table.notes += notes
    else:
        frames = load_splits(str(source))
        table = joined([(name, name, TextTable(frame, numbered(frame))) for name, frame in frames.items()])
    return with_splits(table, choice)


def card_names_files(folder: Path) -> bool:
    """Does the folder's README say which files are which split, as a dataset's card does?"""
    card = folder / "README.md"
    return card.is_file() and bool(CARD_NAMES_FILES.search(card.read_text(encoding="utf-8", errors="replace")))


def numbered(frame: pd.DataFrame) -> list[str]:
    """Number rows as those of a CSV with a header."""
    return [str(number) for number in range(2, len(frame) + 2)]


def joined(parts: list[tuple[str, str | None, TextTable]]) -> TextTable:
    """Put tables under one another, each with its name and the split that all its rows are of."""
    if len(parts) == 1:
        _, split, table = parts[0]
        table.splits = [split] * len(table.frame)
        return table
    counts: dict[str, int] = {}
    for _, _, table in parts:
        counts |= {name: counts.get(name, 0) + number for name, number in table.counts.items()}
    return TextTable(
        pd.concat([table.frame for _, _, table in parts], ignore_index=True),
        [f"{name}:{number}" for name, _, table in parts for number in table.numbers],
        [split for _, split, table in parts for _ in table.numbers],
        counts,
        [note for _, _, table in parts for note in table.notes],
    )


def with_splits(table: TextTable, choice: SplitChoice) -> TextTable:
    """Fill in the splits of the rows: those of their files or of the dataset, else those that a column names."""
    rows = len(table.frame)
    names = [name for name in table.frame if isinstance(name, str)]
    column = column_of_splits(names, lambda name: table.frame[name].tolist(), choice.column)
    if choice.ignored:
        table.splits = [None] * rows
    elif not any(table.splits) and column in table.frame:
        table.splits = [split_value(value) for value in table.frame[column].tolist()]
        table.notes += about_column(column, choice.column, names)
    elif not table.splits:
        table.splits = [None] * rows
    if choice.column not in table.frame and not any(table.splits) and choice.column not in (SPLIT_COLUMN, IGNORED):
        raise UserError(
            f"--split_column {choice.column}: there is no such column; it has {', '.join(map(str, table.frame.columns))}"
        )
    return table


def load_splits(name: str) -> dict[str, pd.DataFrame]:
    """Load all splits of a dataset of the Hub, or of a folder laid out like one."""
    with loading("dataset", name, "--input"):
        import datasets
        from datasets.packaged_modules.csv.csv import Csv

        options = CSV_OPTIONS if isinstance(datasets.load_dataset_builder(name), Csv) else {}
        found = datasets.load_dataset(name, **options)
        return {str(split): pd.DataFrame(rows.to_pandas()) for split, rows in found.items()}
