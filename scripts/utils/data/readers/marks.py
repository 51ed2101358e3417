"""The marked spans of a row, in the forms in which annotation tools write them, their offsets checked against the text."""

import unicodedata
from collections import Counter
from collections.abc import Iterable

from utils.base.errors import UserError
from utils.data.readers.annotated import merge_intervals, shown
from utils.data.tokenizer import JOINERS

SPANS, NEEDLE = "spans", "needle_char_span"
FIELDS_OF_SPANS = (SPANS, NEEDLE, "entities", "labels", "label")  # the last three are doccano's
NEEDLE_LABEL, PLAIN_LABEL = "needle", "span"  # of spans that the file does not label
START_KEYS, END_KEYS, LABEL_KEYS = ("start", "start_offset"), ("end", "end_offset"), ("label", "labels", "tag", "type")
SKIN_TONES = {chr(code) for code in range(0x1F3FB, 0x1F400)}


def span_field(rows: Iterable[dict], source: object) -> str:
    """Return the field that holds the spans. Raises UserError where no row has one."""
    rows = list(rows)
    for key in FIELDS_OF_SPANS:
        values = [row[key] for row in rows if key in row]
        if values and (key in (SPANS, NEEDLE) or all(value is None or isinstance(value, list) for value in values)):
            return key
    if any("annotations" in row and "data" in row for row in rows):
        raise UserError(f"--input {source} is a Label Studio export; export it as JSON-MIN")
    raise UserError(
        f"--input {source}: no row has {SPANS!r} or {NEEDLE!r} (found {', '.join(rows[0])}); add spans as "
        "[[start, end], ...]" + (", or give --task documents for labels of whole texts" if "label" in rows[0] else "")
    )


def unread_marks(rows: Iterable[dict], key: str) -> list[str]:
    """Say which other fields hold marks, too, and are not read, since the spans are those of `key`."""
    rows = list(rows)
    return [
        f"spans are those of {key!r}; what {other!r} marks is not read"
        for other in FIELDS_OF_SPANS
        if other != key and any(isinstance(row.get(other), list) and holds_marks(row[other]) for row in rows)
    ]


def holds_marks(values: list) -> bool:
    """Is any of them a span, not a label of the whole?"""
    return any(isinstance(value, (list, dict)) for value in values)


def spans_of_row(row: dict, key: str, text: str, where: str, counts: Counter) -> tuple[tuple[int, int, str], ...]:
    """Return the spans of a row, checked, sorted and merged by label. key: the field that holds them."""
    if key not in row:
        raise UserError(f"{where}: no {key!r}, which other rows have; [] or null says that nothing is there")
    given = needle_span(row, text, where) if key == NEEDLE else given_spans(row[key], key, where)
    return clean_spans(given, text, where, counts)


def given_spans(spans: object, key: str, where: str) -> list[tuple]:
    """Return (start, end, label) of each span as it stands in the row, its form checked."""
    if spans is None:
        return []
    if not isinstance(spans, list):
        raise UserError(f"{where}: {key!r} holds {type(spans).__name__}, not a list of [start, end, label]")
    result = []
    for span in spans:
        if isinstance(span, dict):
            result += spans_of_object(span, where)
            continue
        if not isinstance(span, list) or len(span) not in (2, 3):
            raise UserError(f"{where}: span {shown(span)} is not [start, end] or [start, end, label]")
        result.append((*span[:2], checked_label(span[2] if len(span) == 3 else PLAIN_LABEL, span, where)))
    return result


def spans_of_object(span: dict, where: str) -> list[tuple]:
    """Return (start, end, label) for each label of {"start": 0, "end": 4, "label": "x"}, as Prodigy and doccano write it."""
    start, end, label = (
        next((span[name] for name in names if name in span), None) for names in (START_KEYS, END_KEYS, LABEL_KEYS)
    )
    if start is None or end is None:
        raise UserError(f'{where}: span {shown(span)} has no start and end; write {{"start": 0, "end": 4, "label": "x"}}')
    labels = label if isinstance(label, list) else [PLAIN_LABEL if label is None else label]
    return [(start, end, checked_label(one, span, where)) for one in labels]


def checked_label(label: object, span: object, where: str) -> str:
    """Return the label of a span. Raises UserError where it is no name."""
    if not isinstance(label, str) or not label.strip():
        raise UserError(f"{where}: span {shown(span)} has the label {label!r}; labels are names")
    return label


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
