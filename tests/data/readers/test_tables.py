"""Whole texts with labels: copies, contradictions and groups of tables and indexes, and every bad one refused."""

from pathlib import Path

import pandas as pd
import pytest

from helpers import part_of
from utils.base.errors import UserError
from utils.data.readers.annotated import ALL_TARGETS, normalised
from utils.data.readers.tables import cleaned_csv, is_index, read_indexed_sets, read_table


def write_csv(path, **columns) -> Path:
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def test_copies_merge_contradictions_go_and_groups_join(tmp_path):
    path = write_csv(
        tmp_path / "a.csv",
        text=["One", "one ", "Two", "two", "NA", "Five", None, "Seven", "Eight"],
        label=[1, 1, 0, 1, 0, 1, 1, None, 0],
        city=["A", "B", "B", "C", "b", "a", "A", "A", None],
    )
    found = read_table(path, group_column="city")
    assert [(document.text, document.labels, document.group) for document in found.documents] == [
        ("One", {"label": 1}, "city=a"),
        ("NA", {"label": 0}, "city=b"),
        ("Five", {"label": 1}, "city=a"),
        ("Eight", {"label": 0}, "label:10"),
    ]
    counts = found.counts["sets"]["label"]
    assert (
        counts["rows"],
        counts["empty_texts"],
        counts["missing_labels"],
        counts["duplicates_merged"],
        counts["conflicting_rows"],
    ) == (9, 1, 1, 1, 2)
    raw = read_table(path, group_column="city", as_published=True)
    assert len(raw.documents) == len({document.group for document in raw.documents}) == 7
    assert cleaned_csv(found, "label", [3, 4, 5, 6]).splitlines()[:2] == ["prompt,prompt_len,target", "One,3,1"]


@pytest.mark.parametrize(
    ("columns", "arguments", "message"),
    [
        ({"text": ["a", "b"], "label": ["spam", "ham"]}, {}, "are 'spam', 'ham', not 0 and 1; say which are 1"),
        ({"text": ["a", "b"], "label": [1, 2]}, {}, "are 1, 2, not 0 and 1"),
        ({"text": ["a", "b"], "label": [1, 1]}, {}, "one class only"),
        ({"text": ["a", "A"], "label": [1, 0]}, {}, "one class only is left after copies were merged"),
        (
            {"text": ["a", "b"], "label": ["x", "y"]},
            {"label_expression": 'col == "z"'},
            "are all 0; the column holds 'x', 'y'",
        ),
        ({"text": ["a", "b"], "label": [0, 1]}, {"label_expression": "col.map(open)"}, "col.map(open)"),
        ({"text": ["a", "b"], "lable": [0, 1]}, {}, "no label column 'label' (did you mean 'lable'?)"),
        ({"text": ["a", "b"], "label": [0, 1], "town": ["x", "x"]}, {"group_column": "city"}, "other columns of text: town"),
        ({"text": [None, None], "label": [0, 1]}, {}, "no row of"),
    ],
)
def test_a_table_that_says_too_little_is_refused(columns, arguments, message, tmp_path):
    with pytest.raises(UserError) as caught:
        read_table(write_csv(tmp_path / "a.csv", **columns), **arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"text,label\na,1\nb,\xff0\n", "a.csv, line 3: not UTF-8 (byte 0xff)"),
        (b"", "is no CSV table"),
        (b"text,label\na,1\nb,0,0\n", "is no CSV table (Error tokenizing data. C error: Expected 2 fields in line 3"),
        (b"text,label\na,b,1\nc,d,0\n", "more cells than its header"),
        (b'text,label\n"a,1\nb,0\n', "is no CSV table"),
    ],
)
def test_a_broken_table_is_told(content, message, tmp_path):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_table(tmp_path / "a.csv")
    assert message in str(caught.value)


def test_a_folder_laid_out_like_a_dataset_of_the_hub(tmp_path):
    (tmp_path / "data").mkdir()
    write_csv(tmp_path / "data" / "test-00000.csv", sentence=["a", "b", "c"], label=["x", "y", "x"])
    found = read_table(tmp_path, "sentence", label_expression='col == "x"')
    assert [document.labels["label"] for document in found.documents] == [1, 0, 1]
    assert "the only split is test (3 rows)" in found.notes[0]


@pytest.fixture
def index(tmp_path):
    (tmp_path / "raw").mkdir()
    write_csv(tmp_path / "raw" / "one.csv", prompt=["The red", "the blue", "grey", "new"], target=[1, 0, 1, 0])
    write_csv(tmp_path / "raw" / "two.csv", prompt=["The red", "The Blue", "Green"], kind=["warm", "cold", "cold"])
    row = {
        "number": 1,
        "source": "one.csv",
        "name": "One",
        "tag": "one",
        "save_name": "1_one.csv",
        "Probe from": "prompt",
        "Probe to": "target",
        "Data type": "Binary Classification",
        "probe from extraction": "col",
        "probe to extraction": "col == 1",
    }
    rows = [
        row,
        row | {"source": "two.csv", "tag": "two", "Probe to": "kind", "probe to extraction": 'col == "warm"'},
        row | {"tag": "size", "Data type": "Continuous Data"},
    ]

    def write(**changes):
        pd.DataFrame([rows[0] | changes, *rows[1:]]).to_csv(tmp_path / "main.csv", index=False)
        return tmp_path / "main.csv"

    return write


def test_sets_of_an_index_share_documents_and_groups(index):
    path = index()
    found = read_indexed_sets(path)
    assert found.targets == ["one", "two"] and found.counts["sets_of_another_type"] == 1
    by_text = {document.text: document for document in found.documents}
    assert by_text["The red"].labels == {"one": 1, "two": 1} and by_text["Green"].labels == {"two": 0}
    assert by_text["the blue"].group == by_text["The Blue"].group != by_text["The red"].group
    assert (
        read_indexed_sets(path, ["two"]).targets == ["two"]
        and is_index(path)
        and not is_index(path.parent / "raw" / "one.csv")
    )


@pytest.mark.parametrize(
    ("changes", "datasets", "message"),
    [
        ({}, ["on"], "--datasets on: "),
        ({}, ["size"], "--datasets size is 'Continuous Data'"),
        ({"source": "../main.csv"}, ALL_TARGETS, "row 2: source '../main.csv' is not a file name below"),
        ({"source": "/etc/passwd"}, ALL_TARGETS, "'/etc/passwd' is not a file name below"),
        ({"source": "no.csv"}, ALL_TARGETS, "row 2: there is no"),
        ({"tag": "two"}, ALL_TARGETS, "row 3: tag 'two' stands there twice"),
        ({"Probe from": "promt"}, ALL_TARGETS, "no text column 'promt'"),
        ({"probe to extraction": '__import__("os").system("x")'}, ALL_TARGETS, '__import__("os").system("x")'),
        ({"probe from extraction": "col.str.len()"}, ALL_TARGETS, "'col.str.len()' of 'prompt', hold"),
    ],
)
def test_a_bad_index_is_refused(index, changes, datasets, message):
    with pytest.raises(UserError) as caught:
        read_indexed_sets(index(**changes), datasets)
    assert message in str(caught.value)


def test_the_documents_corpus(shared_data):
    folder = part_of(shared_data, "corpora/documents")
    found = read_indexed_sets(folder / "main.csv", group_column="city")
    assert len(found.targets) == 10 and sum(counts["rows"] for counts in found.counts["sets"].values()) == 31076
    assert found.counts["documents"] == 25326 and found.counts["groups"] == 24578
    for target in found.targets:
        own = [document for document in found.documents if target in document.labels]
        assert len({normalised(document.text) for document in own}) == len(own)  # the raw sets are full of copies
    cities = [document for document in found.documents if "cities_true" in document.labels]
    pairs = {}
    for document in cities:
        pairs.setdefault(document.group, []).append(document.labels["cities_true"])
    assert len(pairs) == 748 and all(sorted(labels) == [0, 1] for labels in pairs.values())
    raw = pd.read_csv(folder / "raw" / "spam_is.csv")
    truth = dict(zip(raw["prompt"].map(normalised), raw["target"], strict=True))
    spam = [document for document in found.documents if "spam_is" in document.labels]
    assert {normalised(document.text): document.labels["spam_is"] for document in spam} == truth
    assert len(read_indexed_sets(folder / "main.csv", as_published=True).documents) == 31076
