"""The values of a label column: which are missing, which are numbers written as text, and which may count as 1."""

import math
import shlex
from collections import Counter
from collections.abc import Sequence

import pandas as pd

from utils.data.readers.annotated import shown
from utils.data.readers.table.expressions import Expression
from utils.data.readers.table.literals import COLUMN, MOST_WHOLE

MISSING = {"", "nan", "-nan", "+nan", "nat", "<na>", "#n/a", "#na", "n/a", "null"}  # whatever the other labels are
MISSING_AMONG_NUMBERS = {"na", "none", "nil", "?", "-", "."}  # among words they may be names of classes
TRUTH_WORDS = {"true": True, "false": False}
POSITIVE = {"1", "1.0", "true", "t", "yes", "y", "pos", "positive"}
NEGATIVE = {"0", "0.0", "-1", "false", "f", "no", "n", "neg", "negative", "none", "normal", "neutral", "safe", "benign"}
NEGATIVE |= {"clean", "ham", "other", "o", "control", "absent"}
NEGATED = ("not", "non", "no ", "no_", "no-")
WITHHELD = -1  # what published test splits hold in the place of labels
MOST_VALUES = 20  # of a column that are told one by one
LONG = 60  # characters of a value that a hint repeats whole


def from_words(column: pd.Series, expression: Expression) -> pd.Series:
    """Make missing what a word for "missing" stands for, and numbers or truth values what is one written as text.

    A word that the expression itself names is a label; so are numbers where it reads the column as text.
    """
    texts = column.map(lambda value: isinstance(value, str)).astype(bool)
    if not texts.any():
        return column
    words = pd.Series([value.strip().casefold() for value in column[texts]], index=column.index[texts], dtype=object)
    named = {text.strip().casefold() for text in expression.texts}
    missing = words.isin(MISSING - named)
    values = pd.to_numeric(words.map(lambda word: TRUTH_WORDS.get(str(word), word)), errors="coerce")
    plain = values.notna() | missing | words.isin(MISSING_AMONG_NUMBERS)
    if plain.all():
        missing |= words.isin(MISSING_AMONG_NUMBERS - named)
    if missing.any():
        column = column.mask(missing.reindex(column.index, fill_value=False))
    left = values[~missing]
    if expression.reads_text or left.empty or left.isna().any():
        return column
    column = column.astype(object)
    truths = words[~missing].isin(TRUTH_WORDS).all()
    column[left.index] = [bool(value) for value in left] if truths else left.tolist()
    return pd.Series(column.tolist(), index=column.index).infer_objects()


def withheld(column: pd.Series, splits: Sequence[str | None]) -> pd.Series:
    """Make the labels of each published split missing in which all are -1, where no other split has a -1."""
    if not any(splits) or not pd.api.types.is_numeric_dtype(column):
        return column
    minus, names = column == WITHHELD, pd.Series(list(splits), index=column.index, dtype=object)
    held = {name for name in names[minus].unique() if (minus | column.isna())[names == name].all()}
    if set(names[minus].unique()) - held or len(held) == names.nunique():
        return column
    return column.mask(minus)


def mapping_in_words(values: Sequence, labels: Sequence[int]) -> str:
    """Say what each value became, with its rows: "rows that count as 1: 'spam' (12); as 0: 'ham' (30), 'none' (4)"."""
    parts = []
    for label in (1, 0):
        counts = Counter(named(value) for value, own in zip(values, labels, strict=True) if own == label)
        told = [f"{name} ({number:,})" for name, number in counts.most_common(MOST_VALUES)]
        if more := list(counts.most_common())[MOST_VALUES:]:
            told.append(f"{len(more):,} other values ({sum(number for _, number in more):,})")
        parts.append(f"as {label}: {', '.join(told)}")
    return f"rows that count {'; '.join(parts)}"


def named(value: object) -> str:
    """Show a value of a column; 1.0 is 1, for a column with missing labels makes floats of whole numbers."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "missing" if value is None or value != value else shown(value)


def hint(found: Sequence, of_a_flag: bool) -> str:
    """Say how to tell which of these values count as 1: an expression that can be pasted as it stands."""
    value = likely_positive(found)
    if value is None:
        return "choose a column of numbers or short texts with --label_column"
    if isinstance(value, str) and len(value) > LONG:
        expression = f"{COLUMN}.str.startswith({value[:40]!r})"
    else:
        expression = f"{COLUMN} == {value!r}"
    if not of_a_flag:
        return f"say which are 1 with an expression such as {expression}"
    quoted = shlex.quote(expression) if set(expression) & set('"$`\\!') else f'"{expression}"'
    return f"say which are 1, such as --label_expression {quoted}"


def likely_positive(found: Sequence) -> object:
    """Return the value that counts as 1 most likely, of those that an expression can name; None where none can be named."""
    numbers = [value for value in found if isinstance(value, (bool, int, float)) and math.isfinite(value)]
    texts = [value for value in found if isinstance(value, str)]
    if numbers and not texts:
        return max((value for value in numbers if abs(value) <= MOST_WHOLE), default=None)
    words = {value: value.strip().casefold() for value in texts}
    positive = [value for value in texts if words[value] in POSITIVE]
    other = [value for value in texts if words[value] not in NEGATIVE and not words[value].startswith(NEGATED)]
    return next(iter([*positive, *other, *texts]), None)
