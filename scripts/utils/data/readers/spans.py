"""Texts with marked spans: JSONL with `text` and `spans`, or with the `needle_*` fields of the span datasets."""

import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from utils.base.errors import UserError
from utils.data.readers.annotated import (
    Annotated,
    Collection,
    by_frequency,
    json_lines,
    merge_copies,
    merge_intervals,
    normalised,
    require_text,
    shown,
)
from utils.data.tokenizer import JOINERS

SPANS, NEEDLE, FAMILY = "spans", "needle_char_span", "needle_family"
NEEDLE_LABEL, PLAIN_LABEL = "needle", "span"  # of spans that the file does not label
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
}
SKIN_TONES = {chr(code) for code in range(0x1F3FB, 0x1F400)}


def read_spans(
    path: str | Path, text_column: str = "text", group_by: str | None = None, as_texts: Callable = lambda rows, _: rows
) -> Collection:
    """Read documents whose spans are positive and all else negative.

    A row: {"text": ..., "spans": [[start, end], [start, end, label], ...]} or {"text": ..., "needle_char_span": [start,
    end] or null}, and where given "id", "split", and the field `group_by` names (by default needle_family where there is
    one); a row without a group is a group of its own. Offsets count characters, ends are exclusive: a span cannot lie
    inside the bytes of a character, so what is checked is that it lies inside the text, that it holds `needle_text` where
    the row says it, and, counted, whether it parts a base character from its combining marks. Empty spans and texts are
    counted and skipped, overlapping spans of one label merged, copies with other spans dropped. as_texts: see `chats`.

    counts: rows, empty_texts, empty_spans, overlapping_spans, spans_that_cut_a_character, duplicates_merged,
    conflicting_rows, documents, documents_with_spans, groups, spans {label: n}, splits {name: n}, grouped_by.
    """
    rows = as_texts(list(json_lines(path)), text_column)
    if not rows:
        raise UserError(f"--input {path} holds no rows; give one JSON object a line")
    key = span_field(rows, path)
    group_by = group_field(rows, group_by, path)
    counts = Counter()
    documents = [
        document for number, row in rows if (document := read_row(path, number, row, key, text_column, group_by, counts))
    ]
    check_splits(documents, len(rows) - counts["empty_texts"], path)
    kept, dropped = merge_copies(
        [normalised(document.text) for document in documents], [marked_texts(document) for document in documents]
    )
    documents = [documents[row] for row in kept]
    check_groups(documents, group_by, path)
    require_positives_and_negatives(documents, path)
    labels = [label for document in documents for _, _, label in document.spans]
    return Collection(
        documents,
        by_frequency(labels),
        {
            "rows": len(rows),
            **{
                name: counts[name]
                for name in ("empty_texts", "empty_spans", "overlapping_spans", "spans_that_cut_a_character")
            },
            **dropped,
            "documents": len(documents),
            "documents_with_spans": sum(bool(item.spans) for item in documents),
            "groups": len({item.group for item in documents}),
            "spans": dict(Counter(labels).most_common()),
            "splits": dict(Counter(item.split for item in documents if item.split)),
            "grouped_by": group_by,
        },
    )


def span_field(rows: list[tuple[int, dict]], path: str | Path) -> str:
    """Return the field that holds the spans. Raises UserError where no row has one."""
    for key in (SPANS, NEEDLE):
        if any(key in row for _, row in rows):
            return key
    raise UserError(
        f"--input {path}: no row has {SPANS!r} or {NEEDLE!r} (found {', '.join(rows[0][1])}); add spans as "
        "[[start, end], ...]"
    )


def group_field(rows: list[tuple[int, dict]], group_by: str | None, path: str | Path) -> str | None:
    """Return the field that texts of one group share: the one asked for, or needle_family where there is one."""
    fields = dict.fromkeys(key for _, row in rows for key in row)
    if group_by is None:
        return FAMILY if FAMILY in fields else None
    if group_by not in fields:
        raise UserError(f"--group_by {group_by}: no row of {path} has it; the fields are {', '.join(fields)}")
    return group_by


def read_row(
    path: str | Path, number: int, row: dict, key: str, text_column: str, group_by: str | None, counts: Counter
) -> Annotated | None:
    """Make the document of one row, or None for a text that is empty. key: the field that holds the spans."""
    where = f"{path}, line {number}"
    if text_column not in row:
        raise UserError(f"{where}: no {text_column!r} (found {', '.join(row)}); choose one with --text_column")
    text = require_text(row[text_column], f"{where}: {text_column!r}")
    if not text.strip():
        counts["empty_texts"] += 1
        return None
    if key not in row:
        raise UserError(f"{where}: no {key!r}, which other rows have; [] or null says that nothing is there")
    given = given_spans(row, where) if key == SPANS else needle_span(row, text, where)
    spans = clean_spans(given, text, where, counts)
    group = row.get(group_by) if group_by else None
    if isinstance(group, (list, dict)):
        raise UserError(f"{where}: --group_by {group_by} holds a {type(group).__name__}; choose a field with one value")
    return Annotated(
        text,
        str(row["id"]) if row.get("id") is not None else f"{Path(path).name}:{number}",
        f"line {number}" if group is None else f"{group_by}={group}",
        spans,
        split=split_name(row.get("split"), where),
        meta={name: value for name, value in row.items() if name not in (text_column, key, "split", "id")},
    )


def given_spans(row: dict, where: str) -> list[tuple]:
    """Return (start, end, label) of each span as it stands in the row, its form checked."""
    spans = row[SPANS] if row[SPANS] is not None else []
    if not isinstance(spans, list):
        raise UserError(f"{where}: {SPANS!r} holds {type(spans).__name__}, not a list of [start, end, label]")
    result = []
    for span in spans:
        if not isinstance(span, list) or len(span) not in (2, 3):
            raise UserError(f"{where}: span {shown(span)} is not [start, end] or [start, end, label]")
        label = span[2] if len(span) == 3 else PLAIN_LABEL
        if not isinstance(label, str) or not label.strip():
            raise UserError(f"{where}: span {shown(span)} has the label {label!r}; labels are names")
        result.append((*span[:2], label))
    return result


def needle_span(row: dict, text: str, where: str) -> list[tuple]:
    """Return the span of the row's needle, if any. Raises UserError where needle_present or needle_text contradict it."""
    span = row[NEEDLE]
    if row.get("needle_present") is not None and bool(row["needle_present"]) != (span is not None):
        raise UserError(f"{where}: needle_present is {row['needle_present']} but {NEEDLE} is {shown(span)}; mend one")
    if span is None:
        return []
    if not isinstance(span, list) or len(span) != 2:
        raise UserError(f"{where}: {NEEDLE} {shown(span)} is not [start, end]")
    check_offsets(span[0], span[1], text, where)
    needle = row.get("needle_text")
    if needle is not None and text[span[0] : span[1]] != needle:
        raise UserError(
            f"{where}: {NEEDLE} {span} holds {shown(text[slice(*span)])}, needle_text is {shown(needle)}"
            f"{other_units(text, span, needle)}; offsets count characters"
        )
    return [(*span, NEEDLE_LABEL)]


def other_units(text: str, span: list[int], needle: object) -> str:
    """Say in which other units, bytes or UTF-16 units, the offsets would fit the needle; empty where in none."""
    for encoding, width, unit in (("utf-8", 1, "UTF-8 bytes"), ("utf-16-le", 2, "UTF-16 units")):
        part = text.encode(encoding)[width * span[0] : width * span[1]]
        if isinstance(needle, str) and part == needle.encode(encoding, "surrogatepass"):
            return f", which it holds in {unit}"
    return ""


def clean_spans(given: list[tuple], text: str, where: str, counts: Counter) -> tuple[tuple[int, int, str], ...]:
    """Check and sort the spans, drop empty ones, and merge those of one label that overlap or touch."""
    of_label = {}
    for start, end, label in given:
        check_offsets(start, end, text, where)
        if start == end:
            counts["empty_spans"] += 1
            continue
        counts["spans_that_cut_a_character"] += cuts_character(text, start) or cuts_character(text, end)
        of_label.setdefault(label, []).append((start, end))
    spans = []
    for label, own in of_label.items():
        joined, overlapping = merge_intervals(own)
        counts["overlapping_spans"] += overlapping
        spans += [(start, end, label) for start, end in joined]
    return tuple(sorted(spans))


def check_offsets(start: object, end: object, text: str, where: str) -> None:
    """Raise UserError for offsets that are not two places of the text in order."""
    if not (isinstance(start, int) and isinstance(end, int)) or isinstance(start, bool) or isinstance(end, bool):
        raise UserError(f"{where}: span [{shown(start)}, {shown(end)}]: offsets are whole numbers")
    if 0 <= start <= end <= len(text):
        return
    problem = (
        "ends before it starts"
        if start > end
        else "starts before the text"
        if start < 0
        else f"reaches beyond the {len(text)} characters of the text"
    )
    size = len(text.encode("utf-8"))
    units = f" (it has {size} bytes: offsets count characters)" if len(text) < end <= size else ""
    raise UserError(f"{where}: span [{shown(start)}, {shown(end)}] {problem}{units}; mend or leave out the row")


def cuts_character(text: str, position: int) -> bool:
    """Does `position` part a character from what belongs to it: accents, variation selectors, joined emoji?"""
    if not 0 < position < len(text):
        return False
    return (
        unicodedata.category(text[position]) in ("Mn", "Me")
        or text[position] in SKIN_TONES
        or text[position] in JOINERS
        or text[position - 1] in JOINERS
    )


def split_name(value: object, where: str) -> str | None:
    """Return train, val or test for any of the names that files give them; None where the row has no split."""
    if value is None:
        return None
    name = SPLIT_NAMES.get(str(value).strip().lower())
    if name is None:
        raise UserError(f"{where}: split {shown(value)} is none of train, val, test; mend it")
    return name


def check_splits(documents: list[Annotated], rows: int, path: str | Path) -> None:
    """Raise UserError where some of the `rows` rows have a split and others have none."""
    without = sum(document.split is None for document in documents)
    if 0 < without < rows:
        raise UserError(f"--input {path}: {without} of {rows} rows have no split; give all rows one, or none")


def check_groups(documents: list[Annotated], group_by: str | None, path: str | Path) -> None:
    """Raise UserError where a group stands in two of the file's splits."""
    split_of = {}
    for document in documents:
        other = split_of.setdefault(document.group, document.split)
        if other != document.split:
            raise UserError(
                f"--input {path}: {document.group} stands in {other} and in {document.split}; group by another "
                f"field than {group_by}, or take the splits out of the file"
            )


def marked_texts(document: Annotated) -> list[tuple[str, str]]:
    """Return (label, text) of each span, by which copies of a text agree or contradict each other."""
    return sorted((label, normalised(document.text[start:end])) for start, end, label in document.spans)


def require_positives_and_negatives(documents: list[Annotated], path: str | Path) -> None:
    """Raise UserError where no text has a span, or where spans cover all of every text."""
    if not any(document.spans for document in documents):
        raise UserError(f"--input {path}: none of the {len(documents)} texts has a span: one class only, nothing to find")
    for document in documents:
        reached = 0
        for start, end, _ in document.spans:
            if document.text[reached:start].strip():
                return
            reached = max(reached, end)
        if document.text[reached:].strip():
            return
    raise UserError(f"--input {path}: spans cover all of every text: one class only, nothing to tell them from")
