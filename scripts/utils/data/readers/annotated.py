"""What every reader of annotated files hands on: texts with what is known of them, in characters; no tokens, no model."""

import difflib
import json
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from utils.base.errors import UserError
from utils.data.readers.document import Document

ALL = "all"
LEAST_GROUPS = 3  # one each for train, val and test


@dataclass(frozen=True)
class Annotated(Document):
    """One text and what is known of it. Offsets count characters (Unicode code points) of `text`, ends are exclusive.

    spans    ((start, end, label), ...), sorted; those of one label lie apart
    unknown  ((start, end), ...), sorted, apart from each other and from the spans: the truth of this text is not known
    labels   {target: 0 or 1} of the text as a whole; a target that is missing here is not known of this text
    split    "train", "val" or "test" where the file decides, else None
    meta     whatever else the file says of the text, JSON-like

    What a token with the characters [start, end) is for a target, the first that holds: 1 if it overlaps a span of that
    label; 0 if it overlaps a span of another; -1 if it overlaps unknown text; 0.
    """

    spans: tuple[tuple[int, int, str], ...] = ()
    unknown: tuple[tuple[int, int], ...] = ()
    labels: dict[str, int] = field(default_factory=dict)
    split: str | None = None
    meta: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Collection:
    """The documents of a file, the names of all targets in it (most frequent first), and what was counted on the way."""

    documents: list[Annotated]
    targets: list[str]
    counts: dict


def choose_targets(collection, wanted) -> list[str]:
    """`wanted` names, or with "all" every target that can be split: positive in 3 groups, or in each split of the file."""
    splits = {document.split for document in collection.documents} - {None}
    positive_in = {target: set() for target in collection.targets}
    for document in collection.documents:
        positives = {label for _, _, label in document.spans} | {name for name, truth in document.labels.items() if truth}
        for target in positives:
            positive_in[target].add(document.split if splits else document.group)
    needed = len(splits) or LEAST_GROUPS
    enough = [target for target in collection.targets if len(positive_in[target]) >= needed]
    for name in [] if wanted == ALL else wanted:
        if name not in positive_in:
            raise UserError(
                f"there is no label {name!r}{nearest(name, collection.targets)}; "
                f"the labels are {', '.join(collection.targets)}"
            )
        if name not in enough:
            raise UserError(
                f"label {name!r} is positive in {len(positive_in[name])} {'splits' if splits else 'groups'}, "
                f"{needed} are needed; choose another or give more texts"
            )
    if not enough:
        raise UserError(f"no label is positive in {needed} {'splits' if splits else 'groups'}; give more texts")
    return enough if wanted == ALL else list(dict.fromkeys(wanted))


def nearest(name, known) -> str:
    found = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""


def describe(counts) -> str:
    """{"rows": 1494, "duplicates_merged": 0, "groups": 12} -> "1,494 rows, 12 groups"; what is not a number is left out."""
    return ", ".join(
        f"{value:,} {key.replace('_', ' ')}"
        for key, value in counts.items()
        if isinstance(value, int) and not isinstance(value, bool) and value
    )


def normalised(text) -> str:
    """By which two texts are the same: letter case, kinds of space and compatibility forms do not count."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def merge_copies(keys: Sequence[Hashable], truths: Sequence) -> tuple[list[int], dict[str, int]]:
    """Rows to keep: the first of each key, unless rows of that key contradict each other. And what was dropped.

    merge_copies("aabbc", [1, 1, 0, 1, 0]) -> [0, 4], {"duplicates_merged": 1, "conflicting_rows": 2}
    """
    first, contradicted = {}, set()
    for row, (key, truth) in enumerate(zip(keys, truths, strict=True)):
        if truths[first.setdefault(key, row)] != truth:
            contradicted.add(key)
    kept = [row for key, row in first.items() if key not in contradicted]
    conflicting = sum(key in contradicted for key in keys)
    return kept, {"duplicates_merged": len(keys) - conflicting - len(kept), "conflicting_rows": conflicting}


def join_by_keys(keys: Sequence[Sequence[Hashable]]) -> list[int]:
    """The first row that each row is tied to: rows that share any key are one group, and so are their neighbours.

    join_by_keys([["a"], ["b"], ["a", "c"], ["c", "b"]]) -> [0, 0, 0, 0]
    """
    parent = list(range(len(keys)))

    def root(row):
        while parent[row] != row:
            parent[row] = row = parent[parent[row]]
        return row

    holder = {}
    for row, own in enumerate(keys):
        for key in own:
            one, other = root(holder.setdefault(key, row)), root(row)
            parent[max(one, other)] = min(one, other)
    return [root(row) for row in range(len(keys))]


def merged(intervals, text=None) -> tuple[list[list], int]:
    """Sorted [start, end], those that overlap or touch as one, and those with only space of `text` between them where a
    text is given; and how many overlapped."""
    result, overlapping = [], 0
    for start, end in sorted(intervals):
        if result and (start <= result[-1][1] or text is not None and text[result[-1][1] : start].isspace()):
            overlapping += start < result[-1][1]
            result[-1][1] = max(result[-1][1], end)
        else:
            result.append([start, end])
    return result, overlapping


def complement(intervals, start, end) -> tuple[tuple[int, int], ...]:
    """The parts of [start, end) that no (start, end, ...) of `intervals` covers."""
    gaps, reached = [], start
    for item in sorted(intervals):
        if item[0] > reached:
            gaps.append((reached, item[0]))
        reached = max(reached, item[1])
    return (*gaps, (reached, end)) if reached < end else tuple(gaps)


def by_frequency(names) -> list[str]:
    return [name for name, _ in sorted(Counter(names).items(), key=lambda item: (-item[1], item[0]))]


def read_bytes(path) -> bytes:
    """The whole file; a UserError that names --input where it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"--input {path}: {error.strerror or error}; give a file that you may read") from error


def decode(data, path, first_line=1) -> str:
    """UTF-8, with or without a byte order mark; the error names the line."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = first_line + data.count(b"\n", 0, error.start)
        raise UserError(
            f"{path}, line {line}: not UTF-8 (byte {data[error.start]:#04x}); convert it (iconv -t UTF-8)"
        ) from error


def json_lines(path) -> Iterator[tuple[int, dict]]:
    """(line number, row) of each line of a JSONL file; empty lines are passed over."""
    for number, line in enumerate(read_bytes(path).split(b"\n"), 1):
        if line.strip():
            yield number, json_object(decode(line, path, number), f"{path}, line {number}")


def parse_json(text, where, remedy):
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON ({error}); {remedy}") from error


def json_object(text, where) -> dict:
    row = parse_json(text, where, "one JSON object a line")
    if not isinstance(row, dict):
        raise UserError(f'{where}: a JSON {type(row).__name__}, not an object such as {{"text": ...}}')
    return row


def shown(value) -> str:
    """For an error message: short, whatever it is."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def require_text(value, where) -> str:
    """The value, if it is text that can be written as UTF-8."""
    if not isinstance(value, str):
        raise UserError(f"{where} holds {type(value).__name__}, not text; mend or leave out the row")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(
            f"{where}: {value[error.start]!r} at character {error.start} is half a surrogate pair and no text; "
            "mend or leave out the row"
        ) from error
    return value
