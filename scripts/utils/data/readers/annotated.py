"""What every reader of annotated files hands on: texts and what is known of them, in characters. No tokens, no model."""

import difflib
import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from utils.base.errors import UserError
from utils.data.readers.document import Document, require_whole_characters

ALL_TARGETS = "all"  # in the place of a list of names
LEAST_GROUPS = 3  # one each for train, val and test


@dataclass(frozen=True)
class Annotated(Document):
    """One text and what is known of it. Offsets count characters (Unicode code points) of `text`, ends are exclusive.

    spans    ((start, end, label), ...), sorted; those of one label lie apart
    unknown  ((start, end), ...), sorted, apart from each other and from the spans: the truth of this text is not known
    labels   {target: 0 or 1} of the text as a whole; a target that is missing here is not known of this text
    meta     whatever else the file says of the text, JSON-like

    The label of a token with the characters [start, end) for a target follows from the first of these that holds: 1 if it
    overlaps a span of that label; 0 if it overlaps a span of another; -1 if it overlaps unknown text; else 0.
    """

    spans: tuple[tuple[int, int, str], ...] = ()
    unknown: tuple[tuple[int, int], ...] = ()
    labels: dict[str, int] = field(default_factory=dict)
    meta: dict = field(default_factory=dict)

    @cached_property
    def spans_of(self) -> dict[str, list[tuple[int, int, str]]]:
        """The spans of each label that has some: with many labels, to look through all for each would take long."""
        found = defaultdict(list)
        for span in self.spans:
            found[span[2]].append(span)
        return dict(found)

    @property
    def own_text(self) -> str:
        """The text without what a chat template adds: a chain, or a conversation, is the same whatever the tokenizer."""
        return self.meta.get("conversation", self.text[self.meta.get("chain_start", 0) :])


@dataclass(frozen=True)
class Collection:
    """The documents of a file, the names of all targets in it (most frequent first), and what the reader counted.

    notes: lines that the reader has to say, such as what a label's values became
    """

    documents: list[Annotated]
    targets: list[str]
    counts: dict
    notes: tuple[str, ...] = ()


def choose_targets(collection: Collection, wanted: str | list[str]) -> list[str]:
    """Return the targets that can be split: positive in 3 groups, or in each split of the file.

    wanted: names, of which each must be so, or "all". Raises UserError.
    """
    splits = {document.split for document in collection.documents} - {None}
    positive_in = {target: set() for target in collection.targets}
    for document in collection.documents:
        positives = {label for _, _, label in document.spans} | {name for name, truth in document.labels.items() if truth}
        for target in positives:
            positive_in[target].add(document.split if splits else document.group)
    needed = len(splits) or LEAST_GROUPS
    enough = [target for target in collection.targets if len(positive_in[target]) >= needed]
    for name in [] if wanted == ALL_TARGETS else wanted:
        if name not in positive_in:
            raise UserError(
                f"there is no label {name!r}{did_you_mean(name, collection.targets)}; "
                f"the labels are {', '.join(collection.targets)}"
            )
        if name not in enough:
            raise UserError(
                f"label {name!r} is positive in {len(positive_in[name])} {'splits' if splits else 'groups'}, "
                f"{needed} are needed; choose another or give more texts"
            )
    if not enough:
        raise UserError(f"no label is positive in {needed} {'splits' if splits else 'groups'}; give more texts")
    return enough if wanted == ALL_TARGETS else list(dict.fromkeys(wanted))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the part of an error message that offers the known name closest to `name`; empty where none is close."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""


def counts_in_words(counts: Mapping) -> str:
    """Say what was counted, without zeros and without what is not a number.

    {"rows": 1494, "duplicates_merged": 0, "groups": 12} -> "1,494 rows, 12 groups"
    """
    return ", ".join(
        f"{value:,} {key.replace('_', ' ')}"
        for key, value in counts.items()
        if isinstance(value, int) and not isinstance(value, bool) and value
    )


def normalised(text: str) -> str:
    """Return the form in which two texts are compared: letter case, kinds of space and compatibility forms do not count."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def merge_copies(
    keys: Sequence[Hashable], truths: Sequence, ranks: Sequence[int] | None = None
) -> tuple[list[int], dict[str, int]]:
    """Keep the first row of each key, unless rows of that key contradict each other; and count what was dropped.

    ranks: of the rows; the first of the lowest rank is kept. Copies of several ranks are counted too.

    merge_copies("aabbc", [1, 1, 0, 1, 0]) -> [0, 4], {"duplicates_merged": 1, "conflicting_rows": 2}
    """
    ranks = [0] * len(keys) if ranks is None else ranks
    first, contradicted, crossing = {}, set(), set()
    for row, (key, truth) in enumerate(zip(keys, truths, strict=True)):
        other = first.setdefault(key, row)
        if truths[other] != truth:
            contradicted.add(key)
        if ranks[other] != ranks[row]:
            crossing.add(key)
            first[key] = min(other, row, key=lambda one: ranks[one])
    kept = [row for key, row in first.items() if key not in contradicted]
    conflicting = sum(key in contradicted for key in keys)
    counts = {"duplicates_merged": len(keys) - conflicting - len(kept), "conflicting_rows": conflicting}
    crossed = len(crossing - contradicted)
    return kept, counts | ({"texts_in_several_splits": crossed} if crossed else {})


def join_by_keys(keys: Sequence[Sequence[Hashable]]) -> list[int]:
    """Return the first row of each row's group: rows that share any key are one group, and so are their neighbours.

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


def merge_intervals(intervals: Iterable[tuple[int, int]], text: str | None = None) -> tuple[list[list[int]], int]:
    """Sort intervals and merge those that overlap or touch; returns [start, end] each, and how many overlapped.

    text: where it is given, intervals with only space of it between them are merged too.
    """
    result: list[list[int]] = []
    overlapping = 0
    for start, end in sorted(intervals):
        if result and (start <= result[-1][1] or text is not None and text[result[-1][1] : start].isspace()):
            overlapping += start < result[-1][1]
            result[-1][1] = max(result[-1][1], end)
        else:
            result.append([start, end])
    return result, overlapping


def complement(intervals: Iterable[tuple], start: int, end: int) -> tuple[tuple[int, int], ...]:
    """Return the parts of [start, end) that no (start, end, ...) of `intervals` covers."""
    gaps, reached = [], start
    for item in sorted(intervals):
        if item[0] > reached:
            gaps.append((reached, item[0]))
        reached = max(reached, item[1])
    return (*gaps, (reached, end)) if reached < end else tuple(gaps)


def by_frequency(names: Iterable[str]) -> list[str]:
    """Return each name once: the most frequent first, equally frequent ones by the alphabet."""
    return [name for name, _ in sorted(Counter(names).items(), key=lambda item: (-item[1], item[0]))]


def read_bytes(path: str | Path) -> bytes:
    """Read a whole file. Raises a UserError that names --input where it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"--input {path}: {error.strerror or error}; give a file that you may read") from error


def decode(data: bytes, path: str | Path, first_line: int = 1) -> str:
    """Decode UTF-8, with or without a byte order mark. The UserError names the line."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = first_line + data.count(b"\n", 0, error.start)
        raise UserError(
            f"{path}, line {line}: not UTF-8 (byte {data[error.start]:#04x}); convert it (iconv -t UTF-8)"
        ) from error


def parse_json(text: str, where: str, remedy: str) -> object:
    """Parse JSON. The UserError says where the text stands and what to do."""
    try:
        return json.loads(text, object_pairs_hook=object_of_pairs)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON ({error}); {remedy}") from error


def object_of_pairs(pairs: list[tuple[str, object]]) -> dict:
    """Make the dict of a JSON object. Raises ValueError for a key that stands twice: which value counts, nobody knows."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for number, (key, _) in enumerate(pairs) if key in dict(pairs[:number]))
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found


def json_object(text: str, where: str) -> dict:
    """Parse a JSON object. Raises UserError for any other JSON."""
    row = parse_json(text, where, "one JSON object a line")
    if not isinstance(row, dict):
        raise UserError(f'{where}: a JSON {type(row).__name__}, not an object such as {{"text": ...}}')
    return row


def shown(value: object) -> str:
    """Show a value in an error message, short whatever it is."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def require_text(value: object, where: str) -> str:
    """Return the value if it is text that can be written as UTF-8. Raises UserError otherwise."""
    if not isinstance(value, str):
        raise UserError(f"{where} holds {type(value).__name__}, not text; mend or leave out the row")
    require_whole_characters(value, where)
    return value
