"""One table -> its usable rows: texts and 0 or 1 labels, as the expressions of a set take them from its columns."""

import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from utils.base.errors import UserError
from utils.base.hub import loading
from utils.data.readers.annotated import decode, did_you_mean, json_lines, normalised, read_bytes, shown
from utils.data.readers.expressions import Expression


@dataclass(frozen=True)
class TextSet:
    """Where the texts and labels of one target come from. `where` begins its error messages."""

    tag: str
    source: str
    text_column: str
    label_column: str
    text_expression: Expression
    label_expression: Expression
    where: str
    save_name: str


@dataclass
class UsableRows:
    """The rows of one set that have a text and a label, as parallel lists.

    groups   (column, normalised value), or None
    numbers  of the rows in the file; the header is row 1
    """

    tag: str
    texts: list[str]
    labels: list[int]
    groups: list[tuple[str, str] | None]
    numbers: list[int]
    counts: dict = field(default_factory=dict)


def read_csv_table(path: str | Path, text_columns: Iterable[str | None] = ()) -> pd.DataFrame:
    """Read a CSV as it stands: only an empty cell is missing ("NA" is a text); `text_columns` are never read as numbers."""
    text = decode(read_bytes(path), path)
    try:
        table = pd.read_csv(
            io.StringIO(text),
            keep_default_na=False,
            na_values=[""],
            low_memory=False,
            dtype={name: str for name in text_columns if name},
        )
    except ValueError as error:  # pandas' own errors are of this kind
        raise UserError(f"{path} is no CSV table ({error}); give one with a header and as many cells in each row") from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes surplus first cells for names of rows
        raise UserError(f"{path}: its rows have more cells than its header; put texts with commas into quotation marks")
    return table


def read_row_file(path: str | Path) -> pd.DataFrame:
    """Read a file of JSON lines, or a parquet file."""
    if Path(path).suffix == ".jsonl":
        return pd.DataFrame([row for _, row in json_lines(path)])
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise UserError(f"--input {path} is damaged or not a parquet file: {error}; download or make it again") from error


def load_split(name: str, split: str) -> pd.DataFrame:
    """Load one split of a dataset of the Hub, or of a folder laid out like one."""
    with loading("dataset", name, "--input"):
        import datasets

        known = datasets.get_dataset_split_names(name)
        if split not in known:
            raise UserError(f"--input {name} has no split {split!r}; it has {', '.join(map(str, known))}")
        return pd.DataFrame(datasets.load_dataset(name, split=split).to_pandas())


def usable_rows(item: TextSet, table: pd.DataFrame, group_column: str | None) -> UsableRows:
    """Select the rows that have a text and a label, both as their expressions give them."""
    for name, flag in ((item.text_column, "text"), (item.label_column, "label")):
        if name not in table:
            raise UserError(
                f"{item.where}: {item.source} has no {flag} column {name!r}{did_you_mean(name, table.columns)}; it "
                f"has {', '.join(map(str, table.columns))}"
            )
    counts: dict[str, object] = {"rows": len(table)}
    texts = extracted_texts(item, pd.Series(table[item.text_column]))
    empty = texts.isna() | (texts.str.strip() == "")
    missing = table[item.label_column].isna() & ~empty & (not item.label_expression.uses_missing)
    counts |= {"empty_texts": int(empty.sum()), "missing_labels": int(missing.sum())}
    usable = table[~empty & ~missing]
    if usable.empty:
        raise UserError(f"{item.where}: no row of {item.source} has a text and a label")
    labels = extracted_labels(item, pd.Series(usable[item.label_column]))
    groups: list[tuple[str, str] | None] = [None] * len(usable)
    if group_column is not None and group_column in table:
        groups = [
            None if value != value or value is None else (group_column, normalised(str(value)))
            for value in usable[group_column]
        ]
    spare = [
        str(name)
        for name in table
        if name not in (item.text_column, item.label_column, group_column)
        and pd.api.types.infer_dtype(table[name], skipna=True) == "string"
    ]
    counts["unused_text_columns"] = spare
    return UsableRows(item.tag, texts[usable.index].tolist(), labels, groups, (usable.index + 2).tolist(), counts)


def extracted_texts(item: TextSet, column: pd.Series) -> pd.Series:
    """Evaluate the text expression. Raises UserError where it gives anything but texts and missing values."""
    texts = item.text_expression.of(column)
    wrong = next((value for value in texts if not isinstance(value, str) and value == value and value is not None), None)
    if wrong is not None:
        raise UserError(
            f"{item.where}: the texts, {item.text_expression.text!r} of {item.text_column!r}, hold {wrong!r}; "
            "choose a column of texts"
        )
    return texts


def extracted_labels(item: TextSet, column: pd.Series) -> list[int]:
    """Evaluate the label expression: 0 or 1 a row. Anything else is a UserError: the user says which label counts as 1."""
    values = item.label_expression.of(column)
    found = distinct(values)
    expression = f"{item.label_expression.text!r} of {item.label_column!r}"
    if not set(map(type, found)) <= {bool, int, float} or not set(found) <= {0, 1}:
        some = ", ".join(map(shown, found[:5])) + (", ..." if len(found) > 5 else "")
        raise UserError(
            f"{item.where}: the labels, {expression}, are {some}, not 0 and 1; say which are 1 with an "
            f"expression such as col == {shown(found[0])}"
        )
    if len(found) < 2:
        there = ", ".join(map(shown, distinct(column)[:5]))
        raise UserError(
            f"{item.where}: one class only: the labels, {expression}, are all {int(found[0])}; the column holds "
            f"{there}; mend the expression or give both classes"
        )
    return values.astype(int).tolist()


def distinct(values: pd.Series) -> list:
    """Return the different values of a column, lists included, in the order in which they come."""
    return list({repr(value): value for value in values.tolist()}.values())
