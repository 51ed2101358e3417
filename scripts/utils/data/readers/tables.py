"""Whole texts with a label: an index of CSV sets, one CSV, or a dataset of the Hub."""

import io
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from utils.base.errors import UserError
from utils.base.files import csv_text
from utils.base.hub import loading
from utils.data.readers.annotated import (
    ALL,
    Annotated,
    Collection,
    decode,
    join_by_keys,
    merge_copies,
    nearest,
    normalised,
    read_bytes,
    shown,
)
from utils.data.readers.expressions import Expression

SOURCE, TAG, SAVE_NAME, KIND = "source", "tag", "save_name", "Data type"
TEXT_FROM, LABEL_FROM = "Probe from", "Probe to"
TEXT_EXPRESSION, LABEL_EXPRESSION = "probe from extraction", "probe to extraction"
INDEX_COLUMNS = (SOURCE, TAG, TEXT_FROM, LABEL_FROM, TEXT_EXPRESSION, LABEL_EXPRESSION)
BINARY = "Binary Classification"
RAW = "raw"  # the folder beside the index that holds its sources


@dataclass(frozen=True)
class TextSet:
    """Where one target's texts and labels come from. `where` begins its error messages."""

    tag: str
    source: str
    text_column: str
    label_column: str
    text_expression: Expression
    label_expression: Expression
    where: str
    save_name: str


@dataclass
class Rows:
    """The usable rows of one set: parallel lists. groups: (column, normalised value) or None; the header is row 1."""

    tag: str
    texts: list[str]
    labels: list[int]
    groups: list[tuple[str, str] | None]
    numbers: list[int]
    counts: dict = field(default_factory=dict)


def is_index(path) -> bool:
    """Does this CSV list sets, rather than texts?"""
    header = decode(read_bytes(path).split(b"\n", 1)[0], path) if Path(path).is_file() else ""
    return TEXT_EXPRESSION in header and LABEL_EXPRESSION in header


def read_index(path, datasets=ALL, group_column=None, as_published=False) -> Collection:
    """The sets of an index CSV, each a target named by its tag; sources lie in `raw/` beside it, or beside it.

    datasets: tags, or "all": every row of the type Binary Classification. group_column: rows with the same value there are
    one group, in the sets that have such a column. as_published: keep copies and contradictions, every row a group of its
    own, to measure what leakage buys; never for a result. See `collect` for counts.
    """
    table = read_csv_table(path)
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
    found = [
        usable_rows(item, read_csv_table(source_path(Path(path), item), (item.text_column, group_column)), group_column)
        for item in sets
    ]
    require_group_column(found, group_column)
    collection = collect(found, as_published)
    collection.counts["sets_of_another_type"] = len(entries) - len(chosen) if datasets == ALL else 0
    collection.counts["save_names"] = {item.tag: item.save_name for item in sets}
    return collection


def read_table(
    source,
    text_column="text",
    label_column="label",
    group_column=None,
    label_expression="col",
    name=None,
    split="train",
    as_published=False,
) -> Collection:
    """One set: a CSV file, or a dataset of the Hub (or a folder laid out like one), of which `split` is read.

    label_expression says which labels are positive; `col` itself will do where they are 0 and 1. name: of the target,
    by default the label column.
    """
    name = name or label_column
    item = TextSet(
        name,
        str(source),
        text_column,
        label_column,
        Expression("col", "--text_column"),
        Expression(label_expression, "--label_expression"),
        f"--input {source}",
        f"{name}.csv",
    )
    local = Path(source).is_file()
    table = read_csv_table(source, (text_column, group_column)) if local else read_dataset(str(source), split)
    found = [usable_rows(item, table, group_column)]
    require_group_column(found, group_column)
    return collect(found, as_published)


def choose_sets(entries, datasets, path) -> list[tuple[int, dict]]:
    if datasets == ALL:
        chosen = [entry for entry in entries.values() if is_binary(entry[1])]
        if not chosen:
            raise UserError(f"--input {path} lists no set of the type {BINARY}")
        return chosen
    for tag in datasets:
        if tag not in entries:
            raise UserError(f"--datasets {tag}: {path} has no such tag{nearest(tag, entries)}; it has {', '.join(entries)}")
        if not is_binary(entries[tag][1]):
            raise UserError(f"--datasets {tag} is {entries[tag][1][KIND]!r} in {path}; only {BINARY} can be probed")
    return [entries[tag] for tag in dict.fromkeys(datasets)]


def is_binary(row) -> bool:
    return row.get(KIND, "") in ("", BINARY)


def text_set(path, number, row) -> TextSet:
    expressions = [
        Expression(row[name] or "col", f"{path}, row {number}, {name!r}") for name in (TEXT_EXPRESSION, LABEL_EXPRESSION)
    ]
    return TextSet(
        row[TAG],
        row[SOURCE],
        row[TEXT_FROM],
        row[LABEL_FROM],
        *expressions,
        f"{path}, row {number}",
        row.get(SAVE_NAME) or f"{row[TAG]}.csv",
    )


def source_path(index, item) -> Path:
    """The source in raw/ beside the index, or beside it; never outside of that folder."""
    relative = Path(item.source)
    if not item.source or relative.is_absolute() or ".." in relative.parts:
        raise UserError(f"{item.where}: source {item.source!r} is not a file name below {index.parent}; mend the index")
    places = [index.parent / RAW / relative, index.parent / relative]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise UserError(f"{item.where}: there is no {places[0]}; put the source there")
    return found


def read_csv_table(path, text_columns=()) -> pd.DataFrame:
    """A CSV as it stands: only an empty cell is missing ("NA" is a text); `text_columns` are never read as numbers."""
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


def read_dataset(name, split) -> pd.DataFrame:
    """One split of a dataset of the Hub, or of a folder laid out like one."""
    with loading("dataset", name, "--input"):
        import datasets

        known = datasets.get_dataset_split_names(name)
        if split not in known:
            raise UserError(f"--input {name} has no split {split!r}; it has {', '.join(map(str, known))}")
        return datasets.load_dataset(name, split=split).to_pandas()


def usable_rows(item, table, group_column) -> Rows:
    """The rows that have a text and a label, both as their expressions give them."""
    for name, flag in ((item.text_column, "text"), (item.label_column, "label")):
        if name not in table:
            raise UserError(
                f"{item.where}: {item.source} has no {flag} column {name!r}{nearest(name, table.columns)}; it "
                f"has {', '.join(map(str, table.columns))}"
            )
    counts = {"rows": len(table)}
    texts = extracted_texts(item, table[item.text_column])
    empty = texts.isna() | (texts.str.strip() == "")
    missing = table[item.label_column].isna() & ~empty & (not item.label_expression.uses_missing)
    counts |= {"empty_texts": int(empty.sum()), "missing_labels": int(missing.sum())}
    usable = table[~empty & ~missing]
    if usable.empty:
        raise UserError(f"{item.where}: no row of {item.source} has a text and a label")
    labels = extracted_labels(item, usable[item.label_column])
    groups = [None] * len(usable)
    if group_column in table:
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
    return Rows(item.tag, texts[usable.index].tolist(), labels, groups, (usable.index + 2).tolist(), counts)


def extracted_texts(item, column) -> pd.Series:
    texts = item.text_expression.of(column)
    wrong = next((value for value in texts if not isinstance(value, str) and value == value and value is not None), None)
    if wrong is not None:
        raise UserError(
            f"{item.where}: the texts, {item.text_expression.text!r} of {item.text_column!r}, hold {wrong!r}; "
            "choose a column of texts"
        )
    return texts


def extracted_labels(item, column) -> list[int]:
    """0 or 1 a row. Anything else is an error: which label counts as 1 is the user's to say."""
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


def distinct(values) -> list:
    """The different values of a column in the order of their coming, lists among them too."""
    return list({repr(value): value for value in values.tolist()}.values())


def require_group_column(found, group_column):
    if group_column and not any(any(rows.groups) for rows in found):
        spare = dict.fromkeys(name for rows in found for name in rows.counts["unused_text_columns"])
        raise UserError(
            f"--group_column {group_column}: no chosen set has a value there{nearest(group_column, spare)}; "
            f"other columns of text: {', '.join(spare) or 'none'}"
        )


def collect(found, as_published=False) -> Collection:
    """One document a text, with the label of every set that holds it.

    Within a set, copies of a text (letter case and spaces aside) are merged and those with contradicting labels dropped;
    the same text in two sets is one document with two labels. Documents that share a text or a group value, in whatever
    set, are one group.

    counts: documents, groups, largest_group, texts_in_several_sets, and by set in "sets": rows, empty_texts,
    missing_labels, duplicates_merged, conflicting_rows, documents, positives, groups, unused_text_columns (one of these may
    be a group column that was not named).
    """
    documents, keys, index_of = [], [], {}
    for rows in found:
        same = [normalised(text) for text in rows.texts]
        kept, dropped = (range(len(same)), {}) if as_published else merge_copies(same, rows.labels)
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
                documents.append(Annotated(text, f"{rows.tag}:{rows.numbers[row]}", ""))
                keys.append(set() if as_published else {("text", same[row])})
            document = documents[index_of[identity]]
            document.labels[rows.tag] = rows.labels[row]
            if rows.groups[row] and not as_published:
                keys[index_of[identity]].add(rows.groups[row])
    documents = named_groups(documents, keys)
    return Collection(documents, [rows.tag for rows in found], table_counts(documents, found))


def named_groups(documents, keys) -> list[Annotated]:
    """Each group goes by its first document's group value, or by that document's name."""
    joined = join_by_keys([sorted(own) for own in keys])
    values = [min((f"{column}={value}" for column, value in own if column != "text"), default=None) for own in keys]
    return [
        replace(document, group=values[first] or documents[first].name)
        for document, first in zip(documents, joined, strict=True)
    ]


def table_counts(documents, found) -> dict:
    sizes = Counter(document.group for document in documents)
    for rows in found:
        own = [document for document in documents if rows.tag in document.labels]
        rows.counts |= {
            "documents": len(own),
            "positives": sum(document.labels[rows.tag] for document in own),
            "groups": len({document.group for document in own}),
        }
    return {
        "documents": len(documents),
        "groups": len(sizes),
        "largest_group": max(sizes.values()),
        "texts_in_several_sets": sum(len(document.labels) > 1 for document in documents),
        "sets": {rows.tag: rows.counts for rows in found},
    }


def cleaned_csv(collection, target, lengths) -> str:
    """The documents of one target as `prompt,prompt_len,target`; lengths: tokens of each document of the collection."""
    rows = [
        {"prompt": document.text, "prompt_len": int(length), "target": document.labels[target]}
        for document, length in zip(collection.documents, lengths, strict=True)
        if target in document.labels
    ]
    return csv_text(("prompt", "prompt_len", "target"), rows)
