"""Texts with marked spans, as {"text", "spans"}, with the fields of the needle datasets, or as annotation tools export."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from utils.base.errors import UserError
from utils.data.readers.annotated import Annotated, Collection, by_frequency, merge_copies, normalised, require_text
from utils.data.readers.marks import span_field, spans_of_row, unread_marks
from utils.data.readers.published import KEPT_FIRST, SourceRow, SplitChoice, check_groups, rows_of_input, use_splits

FAMILY = "needle_family"
ANSWERS = {"reject", "ignore"}  # of an annotator of Prodigy: such a row says nothing of its text
COUNTED_ROWS = ("rows_not_accepted", "empty_texts", "empty_spans", "overlapping_spans", "spans_that_cut_a_character")


def read_spans(
    path: str | Path,
    text_column: str = "text",
    group_by: str | None = None,
    choice: SplitChoice = SplitChoice(),
    as_texts: Callable = lambda rows, column: rows,
) -> Collection:
    """Read documents whose spans are positive and all else negative.

    A row: {"text": ..., "spans": [[start, end], [start, end, label], ...]} or {"text": ..., "needle_char_span": [start,
    end] or null}, or as Prodigy and doccano write it (`marks`), and where given "id", the split (`choice`), and the field
    `group_by` names (by default needle_family where there is one); a row without a group is a group of its own. Offsets
    count characters, ends are exclusive. A span must lie inside the text and hold `needle_text` where the row says it;
    spans that part a base character from its combining marks are counted. Empty spans and texts are counted and skipped,
    overlapping spans of one label are counted and merged, the same text with other spans is dropped. Rows that a Prodigy
    user rejected are left out. as_texts: `chats`.

    counts: rows, empty_texts, empty_spans, overlapping_spans, spans_that_cut_a_character, duplicates_merged,
    conflicting_rows, documents, documents_with_spans, groups, spans {label: n}, splits {name: n}, grouped_by.
    """
    rows, notes = rows_of_input(path, choice)
    rows = as_texts(rows, text_column)
    if not rows:
        raise UserError(f"--input {path} holds no rows; give one JSON object a line")
    key = span_field([row.values for row in rows], path)
    group_by = group_field(rows, group_by, path)
    counts: Counter[str] = Counter()
    accepted = [row for row in rows if has_text(row, text_column, counts)]
    used = use_splits([row.split for row in accepted], choice, path)
    documents = [
        read_row(row, key, text_column, group_by, used.split(row.split), counts) for row in accepted if used.keeps(row.split)
    ]
    ranks = [KEPT_FIRST.index(item.split) for item in documents]
    kept, dropped = merge_copies(
        [normalised(item.text) for item in documents], [marked_texts(item) for item in documents], ranks
    )
    documents = [documents[row] for row in kept]
    check_groups(documents, path, f"group by another field than {group_by}")
    require_positives_and_negatives(documents, path)
    labels = [label for document in documents for _, _, label in document.spans]
    counted = {
        "rows": len(rows),
        **used.counts,
        **{name: counts[name] for name in COUNTED_ROWS if name != COUNTED_ROWS[0] or counts[name]},
        **dropped,
        **counts_of(documents, labels),
        "grouped_by": group_by,
    }
    notes = (*notes, *unread_marks((row.values for row in rows), key), *used.notes)
    return Collection(documents, by_frequency(labels), counted, notes)


def counts_of(documents: list[Annotated], labels: list[str]) -> dict:
    """Count documents, groups, splits, and the spans of each label. labels: of all spans."""
    return {
        "documents": len(documents),
        "documents_with_spans": sum(bool(item.spans) for item in documents),
        "groups": len({item.group for item in documents}),
        "spans": dict(Counter(labels).most_common()),
        "splits": dict(Counter(item.split for item in documents if item.split)),
    }


def group_field(rows: list[SourceRow], group_by: str | None, path: str | Path) -> str | None:
    """Return the field that texts of one group share: the one asked for, or needle_family where there is one."""
    fields = dict.fromkeys(key for row in rows for key in row.values)
    if group_by is None:
        return FAMILY if FAMILY in fields else None
    if group_by not in fields:
        raise UserError(f"--group_by {group_by}: no row of {path} has it; the fields are {', '.join(fields)}")
    return group_by


def has_text(row: SourceRow, text_column: str, counts: Counter) -> bool:
    """Has the row a text that its annotator did not reject? Raises UserError where the text is missing or is no text."""
    if row.values.get("answer") in ANSWERS:
        counts["rows_not_accepted"] += 1
        return False
    if text_column not in row.values:
        raise UserError(f"{row.where}: no {text_column!r} (found {', '.join(row.values)}); choose one with --text_column")
    if require_text(row.values[text_column], f"{row.where}: {text_column!r}").strip():
        return True
    counts["empty_texts"] += 1
    return False


def read_row(
    row: SourceRow, key: str, text_column: str, group_by: str | None, split: str | None, counts: Counter
) -> Annotated:
    """Make the document of one row. key: the field that holds the spans; split: train, val, test or None."""
    values, text = row.values, row.values[text_column]
    group = values.get(group_by) if group_by else None
    if isinstance(group, (list, dict)):
        raise UserError(f"{row.where}: --group_by {group_by} holds a {type(group).__name__}; choose a field with one value")
    if group is not None and (group != group or not str(group).strip()):
        group = None  # an empty group ties nothing
    return Annotated(
        text,
        str(values["id"]) if values.get("id") is not None else row.name,
        row.place if group is None else f"{group_by}={group}",
        spans_of_row(values, key, text, row.where, counts),
        split=split,
        meta={name: value for name, value in values.items() if name not in (text_column, key, "split", "id")},
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
