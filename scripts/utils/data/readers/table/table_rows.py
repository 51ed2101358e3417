"""One table -> its usable rows: texts and 0 or 1 labels, as the expressions of a set take them from its columns."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from utils.base.errors import UserError
from utils.data.readers.annotated import did_you_mean, normalised, shown
from utils.data.readers.published import SplitChoice, use_splits, usual
from utils.data.readers.table.csv_tables import TextTable
from utils.data.readers.table.expressions import Expression
from utils.data.readers.table.label_values import from_words, hint, mapping_in_words, withheld


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
    splits   train, val or test; all None where none are published
    notes    what is to be said of the reading
    """

    tag: str
    texts: list[str]
    labels: list[int]
    groups: list[tuple[str, str] | None]
    numbers: list[str]
    splits: list[str | None]
    counts: dict = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def usable_rows(item: TextSet, table: TextTable, group_column: str | None, choice: SplitChoice) -> UsableRows:
    """Select the rows that have a text and a label, both as their expressions give them, and are of a split that is used."""
    frame = table.frame
    for name, flag in ((item.text_column, "text"), (item.label_column, "label")):
        if name not in frame:
            raise UserError(
                f"{item.where}: {item.source} has no {flag} column {name!r}{did_you_mean(name, map(str, frame.columns))}; "
                f"it has {', '.join(map(str, frame.columns))}"
            )
    texts = extracted_texts(item, pd.Series(frame[item.text_column]))
    empty = texts.isna() | (texts.str.strip() == "")
    column = withheld(from_words(pd.Series(frame[item.label_column]), item.label_expression), table.splits)
    missing = column.isna() & ~empty & (not item.label_expression.uses_missing)
    usable = ~empty & ~missing
    used = use_splits([name for name, kept in zip(table.splits, usable, strict=True) if kept], choice, item.source)
    usable &= pd.Series([used.keeps(name) for name in table.splits], index=frame.index)
    if not usable.any():
        raise UserError(f"{item.where}: no row of {item.source} has a text and a label")
    labels, notes = extracted_labels(item, column[usable])
    kept = usable.to_numpy().nonzero()[0].tolist()
    return UsableRows(
        item.tag,
        texts[usable].tolist(),
        labels,
        group_values(frame[usable], group_column),
        [table.numbers[row] for row in kept],
        [used.split(table.splits[row]) for row in kept],
        {
            "rows": len(frame),
            "empty_texts": int(empty.sum()),
            "missing_labels": int(missing.sum()),
            **table.counts,
            **used.counts,
            "unused_text_columns": spare_columns(
                frame, (item.text_column, item.label_column, group_column, choice.column), any(table.splits)
            ),
        },
        [*table.notes, *unlabelled_splits(table.splits, usable, missing), *used.notes, *notes],
    )


def unlabelled_splits(splits: Sequence[str | None], usable: pd.Series, missing: pd.Series) -> list[str]:
    """Say which published splits have no label at all, and so are not there."""
    without = Counter(name for name, unlabelled in zip(splits, missing, strict=True) if unlabelled and name)
    there = {name for name, kept in zip(splits, usable, strict=True) if kept}
    return [
        f"split {name}: none of its {number:,} rows has a label" for name, number in without.items() if name not in there
    ]


def group_values(frame: pd.DataFrame, group_column: str | None) -> list[tuple[str, str] | None]:
    """Return (column, value) of each row; None where there is no column or its cell is empty."""
    if group_column is None or group_column not in frame:
        return [None] * len(frame)
    values = ["" if value is None or value != value else normalised(str(value)) for value in frame[group_column]]
    return [(group_column, value) if value else None for value in values]


def spare_columns(frame: pd.DataFrame, used: Sequence[str | None], with_splits: bool) -> list[str]:
    """List the columns of text that nothing reads. with_splits: splits are read, from whichever column."""
    return [
        str(name)
        for name in frame
        if name not in used
        and not (with_splits and usual(name))
        and pd.api.types.infer_dtype(frame[name], skipna=True) == "string"
    ]


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


def extracted_labels(item: TextSet, column: pd.Series) -> tuple[list[int], list[str]]:
    """Evaluate the label expression: 0 or 1 a row, and what the column's own values became, where that is not plain.

    Anything but 0 and 1 is a UserError: the user says which label counts as 1.
    """
    values = item.label_expression.of(column)
    found = distinct(values)
    expression = f"{item.label_expression.text!r} of {item.label_column!r}"
    if not set(map(type, found)) <= {bool, int, float} or not set(found) <= {0, 1}:
        some = ", ".join(map(shown, found[:5])) + (", ..." if len(found) > 5 else "")
        of_a_flag = item.label_expression.where.startswith("--")
        raise UserError(f"{item.where}: the labels, {expression}, are {some}, not 0 and 1; {hint(found, of_a_flag)}")
    if len(set(found)) < 2:
        there = ", ".join(map(shown, distinct(column)[:5]))
        raise UserError(
            f"{item.where}: one class only: the labels, {expression}, are all {int(found[0])}; the column holds "
            f"{there}; mend the expression or give both classes"
        )
    labels = values.astype(int).tolist()
    plain = item.label_expression.text == "col"
    return labels, [] if plain else [f"{item.tag}: {mapping_in_words(column.tolist(), labels)}"]


def distinct(values: pd.Series) -> list:
    """Return the different values of a column, lists included, in the order in which they come."""
    return list({repr(value): value for value in values.tolist()}.values())
