"""Whole texts with a label: an index of sets, one table, a folder of tables, or a dataset of the Hub."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from utils.base.errors import UserError
from utils.base.files import csv_text
from utils.data.readers.annotated import (
    ALL_TARGETS,
    Annotated,
    Collection,
    did_you_mean,
    join_by_keys,
    merge_copies,
    normalised,
    read_bytes,
)
from utils.data.readers.published import KEPT_FIRST, SplitChoice, check_groups
from utils.data.readers.table.csv_tables import TextTable
from utils.data.readers.table.expressions import Expression
from utils.data.readers.table.table_files import load_table, read_table_file, with_splits
from utils.data.readers.table.table_rows import TextSet, UsableRows, usable_rows

SOURCE, TAG, SAVE_NAME, KIND = "source", "tag", "save_name", "Data type"
TEXT_FROM, LABEL_FROM = "Probe from", "Probe to"
TEXT_EXPRESSION, LABEL_EXPRESSION = "probe from extraction", "probe to extraction"
INDEX_COLUMNS = (SOURCE, TAG, TEXT_FROM, LABEL_FROM, TEXT_EXPRESSION, LABEL_EXPRESSION)
BINARY = "Binary Classification"
RAW = "raw"  # the folder beside the index that holds its sources


def is_index(path: str | Path) -> bool:
    """Does this CSV list sets, rather than texts?"""
    header = read_bytes(path).split(b"\n", 1)[0] if Path(path).is_file() else b""
    return TEXT_EXPRESSION.encode() in header and LABEL_EXPRESSION.encode() in header


def read_indexed_sets(
    path: str | Path,
    datasets: str | list[str] = ALL_TARGETS,
    group_column: str | None = None,
    as_published: bool = False,
    choice: SplitChoice = SplitChoice(),
) -> Collection:
    """Read the sets of an index CSV, each a target named by its tag. Their sources lie in `raw/` beside it, or beside it.

    datasets      tags, or "all": every row of the type Binary Classification
    group_column  rows with the same value there are one group, in the sets that have such a column
    as_published  keep copies and contradictions, every row a group of its own, to measure what leakage buys; never for a
                  result
    choice        which of the splits that the sources publish are used

    See `collect` for counts.
    """
    table = read_table_file(path, INDEX_COLUMNS).frame
    if lacking := [name for name in INDEX_COLUMNS if name not in table]:
        raise UserError(f"--input {path} lacks {', '.join(lacking)}; an index has the columns {', '.join(INDEX_COLUMNS)}")
    entries = {}
    for number, row in enumerate(table.to_dict("records"), 2):
        row = {key: "" if value != value else str(value).strip() for key, value in row.items()}
        if row[TAG] in entries:
            raise UserError(f"{path}, row {number}: tag {row[TAG]!r} stands there twice; tags are names of their own")
        entries[row[TAG]] = (number, row)
    chosen = choose_sets(entries, datasets, path)
    sets = [text_set(Path(path), number, row) for number, row in chosen]
    found = []
    for item in sets:
        columns = item.text_column, item.label_column
        table = read_table_file(source_path(Path(path), item), columns, (item.text_column, group_column))
        found.append(usable_rows(item, with_splits(table, choice), group_column, choice))
    require_group_column(found, group_column)
    require_splits_everywhere(found, path)
    collection = collect(found, path, group_column, as_published)
    collection.counts["sets_of_another_type"] = len(entries) - len(chosen) if datasets == ALL_TARGETS else 0
    collection.counts["save_names"] = {item.tag: item.save_name for item in sets}
    return collection


def read_table(
    source: str | Path | tuple[str, TextTable],
    text_column: str = "text",
    label_column: str = "label",
    group_column: str | None = None,
    label_expression: str = "col",
    as_published: bool = False,
    choice: SplitChoice = SplitChoice(),
) -> Collection:
    """Read one set, whose target is named by its label column: a table, a folder of tables, or a Hub dataset.

    source            the file, the folder or the dataset; or its name, and the table where that has been read
    label_expression  which labels are positive; `col` itself will do where they are 0 and 1
    as_published      as for `read_indexed_sets`
    choice            which of the published splits are used
    """
    columns = (text_column, label_column), (text_column, group_column)
    source, table = source if isinstance(source, tuple) else (source, load_table(source, *columns, choice))
    item = TextSet(
        label_column,
        str(source),
        text_column,
        label_column,
        Expression("col", "--text_column"),
        Expression(label_expression, "--label_expression"),
        f"--input {source}",
        f"{label_column}.csv",
    )
    found = [usable_rows(item, table, group_column, choice)]
    require_group_column(found, group_column)
    return collect(found, source, group_column, as_published)


def choose_sets(entries: dict[str, tuple[int, dict]], datasets: str | list[str], path: str | Path) -> list[tuple[int, dict]]:
    """Return (row number, row) of the sets asked for. Raises UserError for one that is not there or not binary."""
    if datasets == ALL_TARGETS:
        chosen = [entry for entry in entries.values() if is_binary(entry[1])]
        if not chosen:
            raise UserError(f"--input {path} lists no set of the type {BINARY}")
        return chosen
    for tag in datasets:
        if tag not in entries:
            raise UserError(
                f"--datasets {tag}: {path} has no such tag{did_you_mean(tag, entries)}; it has {', '.join(entries)}"
            )
        if not is_binary(entries[tag][1]):
            raise UserError(f"--datasets {tag} is {entries[tag][1][KIND]!r} in {path}; only {BINARY} can be probed")
    return [entries[tag] for tag in dict.fromkeys(datasets)]


def is_binary(row: dict) -> bool:
    """Does this row of an index list a set of two classes?"""
    return row.get(KIND, "") in ("", BINARY)


def text_set(path: Path, number: int, row: dict) -> TextSet:
    """Read one row of an index."""
    of_texts, of_labels = (
        Expression(row[name] or "col", f"{path}, row {number}, {name!r}") for name in (TEXT_EXPRESSION, LABEL_EXPRESSION)
    )
    return TextSet(
        row[TAG],
        row[SOURCE],
        row[TEXT_FROM],
        row[LABEL_FROM],
        of_texts,
        of_labels,
        f"{path}, row {number}",
        row.get(SAVE_NAME) or f"{row[TAG]}.csv",
    )


def source_path(index: Path, item: TextSet) -> Path:
    """Find a set's source in raw/ beside the index, or beside it; never outside of that folder."""
    relative = Path(item.source)
    if not item.source or relative.is_absolute() or ".." in relative.parts:
        raise UserError(f"{item.where}: source {item.source!r} is not a file name below {index.parent}; mend the index")
    places = [index.parent / RAW / relative, index.parent / relative]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise UserError(f"{item.where}: there is no {places[0]}; put the source there")
    return found


def require_group_column(found: list[UsableRows], group_column: str | None) -> None:
    """Raise UserError where --group_column has no value in any of the sets."""
    if group_column and not any(any(rows.groups) for rows in found):
        spare = dict.fromkeys(name for rows in found for name in rows.counts["unused_text_columns"])
        raise UserError(
            f"--group_column {group_column}: no chosen set has a value there{did_you_mean(group_column, spare)}; "
            f"other columns of text: {', '.join(spare) or 'none'}"
        )


def require_splits_everywhere(found: list[UsableRows], path: str | Path) -> None:
    """Raise UserError where some sets publish splits and others do not."""
    without = [rows.tag for rows in found if not any(rows.splits)]
    if 0 < len(without) < len(found):
        raise UserError(
            f"--input {path}: set {without[0]!r} publishes no splits, others do; choose sets of one kind with --datasets, "
            "or deal all texts out with --split_column none"
        )


def collect(
    found: list[UsableRows], source: str | Path, group_column: str | None = None, as_published: bool = False
) -> Collection:
    """Make one document of each text, with the label of every set that holds it.

    Within a set, copies of a text (letter case and spaces aside) are merged, and those with contradicting labels dropped;
    the same text in two sets is one document with two labels. Documents that share a text or a group value, in whatever
    set, are one group. A text that stands in several published splits is kept in the one that is held out.

    counts: documents, groups, largest_group, texts_in_several_sets, and by set in "sets": rows, empty_texts,
    missing_labels, duplicates_merged, conflicting_rows, documents, positives, groups, unused_text_columns (one of these may
    be a group column that was not named).
    """
    documents, keys, index_of = [], [], {}
    for rows in found:
        same = [normalised(text) for text in rows.texts]
        ranks = [KEPT_FIRST.index(split) for split in rows.splits]
        kept, dropped = (range(len(same)), {}) if as_published else merge_copies(same, rows.labels, ranks)
        rows.counts.update(dropped)
        if len({rows.labels[row] for row in kept}) < 2:
            raise UserError(
                f"set {rows.tag}: one class only is left after copies were merged and contradictions dropped; "
                "give more texts"
            )
        for row in kept:
            text = rows.texts[row]
            identity = (rows.tag, row) if as_published else text
            if identity not in index_of:
                index_of[identity] = len(documents)
                documents.append(Annotated(text, f"{rows.tag}:{rows.numbers[row]}", "", split=rows.splits[row]))
                keys.append(set() if as_published else {("text", same[row])})
            document = documents[index_of[identity]]
            document.labels[rows.tag] = rows.labels[row]
            if rows.groups[row] and not as_published:
                keys[index_of[identity]].add(rows.groups[row])
    documents = named_groups(documents, keys)
    if group_column is None and any(document.split for document in documents):
        documents = held_out_together(documents)
    check_groups(documents, source, "leave out --group_column")
    notes = tuple(note for rows in found for note in rows.notes)
    return Collection(documents, [rows.tag for rows in found], table_counts(documents, found), notes)


def named_groups(documents: list[Annotated], keys: list[set[tuple[str, str]]]) -> list[Annotated]:
    """Name each group by its first document's group value, or by that document's name. keys: what joins documents."""
    first_of = join_by_keys([sorted(own) for own in keys])
    values = [min((f"{column}={value}" for column, value in own if column != "text"), default=None) for own in keys]
    return [
        replace(document, group=values[first] or documents[first].name)
        for document, first in zip(documents, first_of, strict=True)
    ]


def held_out_together(documents: list[Annotated]) -> list[Annotated]:
    """Move the copies of a text, which may stand in several sets, into the split of the one that is held out."""
    rank_of: dict[str, int] = {}
    for document in documents:
        rank_of[document.group] = min(rank_of.get(document.group, len(KEPT_FIRST)), KEPT_FIRST.index(document.split))
    return [replace(document, split=KEPT_FIRST[rank_of[document.group]]) for document in documents]


def table_counts(documents: list[Annotated], found: list[UsableRows]) -> dict:
    """Count documents and groups, in all and by set; see `collect`."""
    sizes = Counter(document.group for document in documents)
    for rows in found:
        own = [document for document in documents if rows.tag in document.labels]
        rows.counts |= {
            "documents": len(own),
            "positives": sum(document.labels[rows.tag] for document in own),
            "groups": len({document.group for document in own}),
        }
    splits = Counter(document.split for document in documents if document.split)
    return {
        "documents": len(documents),
        "groups": len(sizes),
        "largest_group": max(sizes.values()),
        "texts_in_several_sets": sum(len(document.labels) > 1 for document in documents),
        **({"splits": dict(splits)} if splits else {}),
        "sets": {rows.tag: rows.counts for rows in found},
    }


def cleaned_csv(collection: Collection, target: str, lengths: list[int]) -> str:
    """Write the documents of one target as `prompt,prompt_len,target`; lengths: tokens of each document."""
    rows = [
        {"prompt": document.text, "prompt_len": int(length), "target": document.labels[target]}
        for document, length in zip(collection.documents, lengths, strict=True)
        if target in document.labels
    ]
    return csv_text(("prompt", "prompt_len", "target"), rows)
