"""Reasoning chains whose sentences carry marks: `["label"]text["end-section"]`, found again in the original chain."""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from utils.base.errors import UserError
from utils.data.readers.annotated import (
    Annotated,
    Collection,
    by_frequency,
    complement,
    join_by_keys,
    merge_copies,
    merge_intervals,
    normalised,
    require_text,
)
from utils.data.readers.published import (
    KEPT_FIRST,
    SourceRow,
    SplitChoice,
    UsedSplits,
    check_groups,
    rows_of_input,
    use_splits,
)

FIELDS = ("problem", "reasoning_chain", "annotated_chain")
LABELS = ("initializing", "deduction", "adding-knowledge", "example-testing", "uncertainty-estimation", "backtracking")
END_LABEL = "end-section"
COUNTED = (
    "segments",
    "unmatched_segments",
    "unclosed_segments",
    "empty_segments",
    "broken_marks",
    "stray_end_marks",
    "uncovered_characters",
    "characters",
)
MARK = re.compile(r'\["([^"\[\]\n]{1,60})("?)\]')  # the last quotation mark is missing where an answer was cut and repaired


def plain_prompt(problem: str) -> str:
    """Return what stands before a chain where the tokenizer has no chat template."""
    return f"{problem}\n\n"


def read_chains(
    path: str | Path, prompt: Callable[[str], str] = plain_prompt, choice: SplitChoice = SplitChoice()
) -> Collection:
    """Read documents `prompt(problem) + reasoning_chain`, their labelled segments as spans, all else unknown.

    The file: a JSON list (or lines) of {"task_id", "problem", "reasoning_chain", "annotated_chain"}, and where given the
    split (`choice`). A segment is searched in the original chain from the end of the one before, kinds of space not
    counting; the space around it is not part of it. Adjacent segments of one label merge. One that is not closed ends at
    the next mark. Any label is read; LABELS are those of the published chains. Chains of the same problem are one group, an
    empty problem ties nothing; meta["chain_start"] is where the chain begins.

    counts: rows, chains_without_segments, duplicates_merged, conflicting_rows, documents, groups, segments,
    unmatched_segments, unclosed_segments, empty_segments, broken_marks, stray_end_marks, uncovered_characters (of the
    chains, space not counted), characters, segments_by_label, spans (after merging, by label).
    """
    rows, notes = rows_of_input(path, choice)
    if not rows:
        raise UserError(f"--input {path} holds no chains")
    used = use_splits([row.split for row in rows], choice, path)
    documents, counts, by_label = marked_chains(rows, used, prompt)
    if not documents:
        raise UserError(
            f"--input {path}: no segment of any annotated_chain was found in its reasoning_chain; segments are "
            '["label"]text["end-section"]'
        )
    ranks = [KEPT_FIRST.index(item.split) for item in documents]
    kept, dropped = merge_copies([normalised(item.text) for item in documents], [item.spans for item in documents], ranks)
    documents = grouped_by_problem([documents[row] for row in kept])
    check_groups(documents, path, "mend the splits of the file")
    labels = [label for document in documents for _, _, label in document.spans]
    if len(set(labels)) < 2:
        raise UserError(
            f"--input {path}: one class only: every segment is {labels[0]!r}, and what has no label is unknown; "
            "mark other segments too"
        )
    counted = {
        "rows": len(rows),
        **used.counts,
        "chains_without_segments": counts["chains_without_segments"],
        **dropped,
        "documents": len(documents),
        "groups": len({item.group for item in documents}),
        **{name: counts[name] for name in COUNTED},
        "segments_by_label": dict(by_label.most_common()),
        "spans": dict(Counter(labels).most_common()),
        **({"splits": dict(splits)} if (splits := Counter(item.split for item in documents if item.split)) else {}),
    }
    return Collection(documents, by_frequency(labels), counted, (*notes, *used.notes))


def marked_chains(
    rows: Sequence[SourceRow], used: UsedSplits, prompt: Callable[[str], str]
) -> tuple[list[Annotated], Counter[str], Counter[str]]:
    """Make a document of each chain that is used and has segments. Returns what was counted, and segments by label, too."""
    counts: Counter[str] = Counter()
    by_label: Counter[str] = Counter()
    documents = []
    for row in rows:
        if not used.keeps(row.split):
            continue
        chain = check_chain(row)
        if segments := find_segments(chain["annotated_chain"], chain["reasoning_chain"], counts):
            by_label.update(label for _, _, label in segments)
            document = as_document(chain_name(row), chain, segments, prompt, counts)
            documents.append(replace(document, split=used.split(row.split)))
        else:
            counts["chains_without_segments"] += 1
    return documents, counts, by_label


def chain_name(row: SourceRow) -> str:
    """Return the name of a chain: its task_id, else its place in the file."""
    return str(row.values["task_id"]) if row.values.get("task_id") is not None else row.name


def check_chain(row: SourceRow) -> dict[str, str]:
    """Return the texts of a chain; a problem that is null is empty. Raises UserError where one is missing or no text."""
    values = {}
    for name in FIELDS:
        if name not in row.values:
            raise UserError(f"{row.where}: no {name!r} (found {', '.join(row.values)}); a chain has {', '.join(FIELDS)}")
        value = "" if name == "problem" and row.values[name] is None else row.values[name]
        values[name] = require_text(value, f"{row.where}: {name!r}")
    return values


def find_segments(annotated: str, original: str, counts: Counter) -> list[tuple[int, int, str]]:
    """Return (start, end, label) in `original` of every marked segment that is found there, in order."""
    words = list(re.finditer(r"\S+", original))
    begins, size = [], 0  # where each word begins in the chain with single spaces
    for word in words:
        begins.append(size)
        size += len(word.group()) + 1
    squeezed = " ".join(word.group() for word in words)

    def in_original(position) -> int:
        word = bisect_right(begins, position) - 1
        return words[word].start() + position - begins[word]

    found, cursor = [], 0
    for label, text in marked_segments(annotated, original, counts):
        segment = " ".join(text.split())
        place = squeezed.find(segment, cursor) if segment else -1
        if place < 0:
            counts["unmatched_segments" if segment else "empty_segments"] += 1
            continue
        cursor = place + len(segment)
        found.append((in_original(place), in_original(cursor - 1) + 1, label))
    return found


def marked_segments(annotated: str, original: str, counts: Counter) -> list[tuple[str, str]]:
    """Return (label, text) of each segment, up to the next mark. A mark that the original chain itself holds is text."""
    marks = [mark for mark in MARK.finditer(annotated) if mark.group() not in original]
    segments, open_label = [], False
    ends = [mark.start() for mark in marks[1:]] + [len(annotated)]
    for mark, end in zip(marks, ends, strict=False):  # without marks one end is left
        label = mark.group(1)
        counts["broken_marks"] += not mark.group(2)
        if label == END_LABEL:
            counts["stray_end_marks"] += not open_label
            open_label = False
            continue
        counts["unclosed_segments"] += open_label  # the one before
        open_label = True
        segments.append((label, annotated[mark.end() : end]))
    counts["unclosed_segments"] += open_label
    counts["segments"] += len(segments)
    return segments


def as_document(
    name: str, row: dict, segments: list[tuple[int, int, str]], prompt: Callable[[str], str], counts: Counter
) -> Annotated:
    """Put the chain after its prompt and merge adjacent segments of one label; all that no segment covers is unknown."""
    before, chain = prompt(row["problem"]), row["reasoning_chain"]
    spans = []
    for label in {label for _, _, label in segments}:
        own, _ = merge_intervals([(start, end) for start, end, other in segments if other == label], chain)
        spans += [(start, end, label) for start, end in own]
    gaps = complement(spans, 0, len(chain))
    counts["characters"] += sum(len(word) for word in chain.split())
    counts["uncovered_characters"] += sum(len(word) for start, end in gaps for word in chain[start:end].split())
    offset = len(before)
    text = before + chain
    spans = tuple(sorted((start + offset, end + offset, label) for start, end, label in spans))
    return Annotated(
        text, name, name, spans, complement(spans, 0, len(text)), meta={"chain_start": offset, "problem": row["problem"]}
    )


def grouped_by_problem(documents: list[Annotated]) -> list[Annotated]:
    """Give the documents their groups: chains of one problem, and copies of one chain, belong together.

    A problem without a word ties nothing.
    """
    keys = [
        [
            *([("problem", problem)] if (problem := normalised(document.meta["problem"])) else []),
            ("chain", normalised(document.own_text)),
        ]
        for document in documents
    ]
    return [
        replace(
            document,
            group=f"problem {first + 1} ({documents[first].name})",
        )
        for document, first in zip(documents, join_by_keys(keys), strict=True)
    ]
