"""Published splits: which names are understood, what is left out, and every remedy that an error names works."""

import json
import re
import shlex
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from helpers import part_of, write_jsonl
from utils.base.errors import UsageError, UserError
from utils.data.preparation.annotated_splits import published_splits, split_documents
from utils.data.readers.chains import read_chains
from utils.data.readers.published import SPLIT_OF, SplitChoice, files_of_folder
from utils.data.readers.spans import read_spans
from utils.data.readers.tables import read_table


def rows_of(*splits):
    return [
        {"text": f"a red door {number}", "spans": [[2, 5]], "label": number % 2, "split": split}
        for number, split in enumerate(splits)
    ]


def splits_of(collection):
    return Counter(document.split for document in collection.documents)


@pytest.mark.parametrize(
    "word", ["dev", "Development", "DEVEL", "valid", "val", "eval", "evaluation", " validation ", "Validation"]
)
@pytest.mark.parametrize("read", [read_spans, read_table])
def test_every_usual_word_for_validation_is_understood(word, read, tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", rows_of("Train", word, "TEST", "training", word, "testing"))
    assert splits_of(read(path)) == {"train": 2, "val": 2, "test": 2}


def test_each_task_believes_the_split_and_its_name_is_a_flag(tmp_path):
    rows = rows_of("train", "train", "dev", "dev", "test", "test")
    marked = '["a"]a red["end-section"]["b"]door {}["end-section"]'
    chains = [
        {
            "problem": "",
            "reasoning_chain": row["text"],
            "annotated_chain": marked.format(number),
            "fold": row["split"],
        }
        for number, row in enumerate(rows)
    ]
    for row in rows:
        row["fold"] = row.pop("split")
    choice = SplitChoice("fold")
    expected = {"train": 2, "val": 2, "test": 2}
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    pd.DataFrame(rows)[["text", "label", "fold"]].to_csv(tmp_path / "a.csv", index=False)
    assert splits_of(read_spans(path, choice=choice)) == expected
    assert splits_of(read_chains(write_jsonl(tmp_path / "chains.jsonl", chains), choice=choice)) == expected
    for name in ("a.csv", "a.jsonl"):
        assert splits_of(read_table(tmp_path / name, choice=choice)) == expected
        assert splits_of(read_table(tmp_path / name)) == {None: 6}  # the negative control
    for read in (read_spans, read_table):
        with pytest.raises(UserError, match="--split_column flod: "):
            read(path, choice=SplitChoice("flod"))


def remedies(message):
    """Every choice of splits that an error proposes."""
    found = [SplitChoice(wanted=tuple(shlex.split(text)[0].split(","))) for text in re.findall(r"--splits (\S+)", message)]
    return found + [SplitChoice(name) for name in re.findall(r"--split_column (\w+)", message)]


@pytest.mark.parametrize(
    "splits, words, count",
    [
        (("train", "train", "dev", "test", "holdout", "holdout"), "holdout (2 rows)", 3),
        (("one", "one", "two", "two", "three", "three"), "one (2 rows), two (2 rows), three (2 rows)", 2),
        (("train", "dev", "test", None, None, "train"), "2 of 6 rows have no split", 2),
        (("train", "dev", "test", "", " ", "train"), "2 of 6 rows have no split", 2),
    ],
)
@pytest.mark.parametrize("read", [read_spans, read_table])
def test_an_unknown_word_is_named_with_its_rows_and_each_remedy_works(splits, words, count, read, tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", rows_of(*splits))
    with pytest.raises(UserError) as caught:
        read(path)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    proposed = remedies(str(caught.value))
    assert len(proposed) == count
    for choice in proposed:
        assert read(path, choice=choice).documents, choice


def test_a_remedy_does_not_make_held_out_texts_those_of_training(tmp_path):
    for splits, proposed in (
        (("train", "holdout"), ("train", "holdout=test")),
        (("0", "1", "2"), ("0=train", "1=test", "2=val")),
        (("train", "test", "extra", "more"), ("train", "test", "extra=val", "more=train")),
    ):
        path = write_jsonl(tmp_path / "a.jsonl", rows_of(*splits, *splits))
        with pytest.raises(UserError) as caught:
            read_table(path)
        assert remedies(str(caught.value))[0].wanted == proposed


@pytest.mark.parametrize(
    "name, words, believed",
    [
        ("Split", ("train", "Dev"), True),
        ("set", ("train", "test"), True),
        ("Subset", ("train", "mine"), False),
        ("origin", ("train", "test"), False),
    ],
)
@pytest.mark.parametrize("read", [read_spans, read_table])
def test_splits_are_found_under_usual_names_too(name, words, believed, read, tmp_path):
    rows = [{name: row.pop("split"), **row} for row in rows_of(*words, *words)]
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    found = read(path)
    assert set(splits_of(found)) == ({SPLIT_OF[word.lower()] for word in words} if believed else {None})
    assert any(note.startswith(f"splits are those of {name!r}") for note in found.notes) == believed
    assert set(splits_of(read(path, choice=SplitChoice("none")))) == {None}


@pytest.mark.parametrize("read", [read_spans, read_table])
def test_a_split_in_another_form_is_not_left_out_in_silence(read, tmp_path):
    form, other = ("jsonl", "csv") if read is read_spans else ("csv", "jsonl")
    write_folder(write_folder(tmp_path, ("train", "dev"), form), ("test",), other)
    with pytest.raises(UserError, match=f"test.{other} is of another form than dev.{form}, so its split test would be left"):
        read(tmp_path)
    write_folder(tmp_path, ("train", "dev", "test"), form)  # of which the other is a copy
    assert set(splits_of(read(tmp_path))) == {"train", "val", "test"}


def test_what_is_left_out_is_counted_and_roles_are_read(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", rows_of("train", "unsupervised", "unsupervised", "final", "train", "final"))
    found = read_spans(path, choice=SplitChoice(wanted=("train", "final=test")))
    assert splits_of(found) == {"train": 2, "test": 2} and found.counts["rows_of_other_splits"] == 2
    assert found.notes == ("left out by --splits: unsupervised (2 rows)",)
    with pytest.raises(UserError, match=r"--splits dev: there is no such split in .*; it has train \(2 rows\), unsup"):
        read_spans(path, choice=SplitChoice(wanted=("train", "dev")))
    with pytest.raises(UsageError, match="'tset' is none of train, val, test"):
        SplitChoice(wanted=("final=tset",)).roles()
    with pytest.raises(UserError, match="--splits train: the input has no splits"):
        read_spans(
            write_jsonl(tmp_path / "b.jsonl", [{"text": "a b", "spans": [[0, 1]]}]), choice=SplitChoice(wanted=("train",))
        )


def test_validation_is_taken_from_train_by_group_and_said(tmp_path):
    rows = [row | {"group": number // 2} for number, row in enumerate(rows_of(*["train"] * 40, *["test"] * 10))]
    found = read_spans(write_jsonl(tmp_path / "a.jsonl", rows), group_by="group")
    assert published_splits(found) == ("train", "test")
    split_of, said = split_documents(found, ("train", "test"), 0.8, 0)
    assert split_of[40:] == ["test"] * 10 and Counter(split_of[:40]) == {"train": 36, "val": 4}
    assert split_of[0:40:2] == split_of[1:40:2]  # no group on both sides
    assert said == ["the input has no val: 4 of the 40 texts of train are taken for it, by group"]


def test_a_text_in_two_splits_is_kept_where_it_is_held_out(tmp_path):
    rows = rows_of("train", "train", "dev", "test")
    rows += [rows[0] | {"split": "test"}, rows[1] | {"split": "validation"}]
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    for found, counts in ((one, one.counts.get("sets", {}).get("label", one.counts)) for one in map_readers(path)):
        assert {document.text[-1]: document.split for document in found.documents} == {
            "0": "test",
            "1": "val",
            "2": "val",
            "3": "test",
        }
        assert counts["texts_in_several_splits"] == 2 and counts["duplicates_merged"] == 2


def map_readers(path):
    return [read(path) for read in (read_spans, read_table)]


def test_a_group_in_two_splits_is_refused_and_the_remedies_work(tmp_path):
    frame = pd.DataFrame(rows_of("train", "train", "test", "test")).assign(city=["a", "b", "b", "c"])
    frame[["text", "label", "split", "city"]].to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(UserError, match="city=b stands in train and in test; leave out --group_column, or deal"):
        read_table(tmp_path / "a.csv", group_column="city")
    assert len(read_table(tmp_path / "a.csv").documents) == 4
    assert splits_of(read_table(tmp_path / "a.csv", group_column="city", choice=SplitChoice("none"))) == {None: 4}


@pytest.mark.parametrize("empty", ["", "  ", None, float("nan")])
def test_an_empty_group_ties_nothing(empty, tmp_path):
    rows = [row | {"city": empty} for row in rows_of(*[None] * 4)]
    path = write_jsonl(tmp_path / "a.jsonl", [*rows, rows[0] | {"text": "other", "city": "x"}])
    assert read_spans(path, group_by="city").counts["groups"] == 5
    assert read_table(path, group_column="city").counts["groups"] == 5
    chain = {"reasoning_chain": "one two", "annotated_chain": '["a"]one["end-section"]["b"]two["end-section"]'}
    problem = empty if empty == empty else ""
    chains = [{"problem": problem, **{name: f"{text} {number}" for name, text in chain.items()}} for number in range(4)]
    for number, row in enumerate(chains):
        row["annotated_chain"] = f'["a"]one["end-section"]["b"]two {number}["end-section"]'
    assert read_chains(write_jsonl(tmp_path / "chains.jsonl", chains)).counts["groups"] == 4


# Folders


def write_folder(folder, names, form="csv"):
    for number, name in enumerate(names):
        path = folder / f"{name}.{form}"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [{"text": f"a red door {number} {row}", "label": row % 2, "spans": [[2, 5]]} for row in range(4)]
        if form == "csv":
            pd.DataFrame(rows)[["text", "label"]].to_csv(path, index=False)
        else:
            write_jsonl(path, rows)
    return folder


@pytest.mark.parametrize(
    "names, expected",
    [
        (("train", "development", "test"), {"train": 4, "val": 4, "test": 4}),
        (
            ("data/Train-00000-of-00002", "data/Train-00001-of-00002", "data/eval", "data/test"),
            {"train": 8, "val": 4, "test": 4},
        ),
        (("train/a", "train/b", "test/a"), {"train": 8, "test": 4}),
        (("sst.train", "sst.dev"), {"train": 4, "val": 4}),
        (("test",), {None: 4}),
        (("en", "fr"), {None: 8}),
    ],
)
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_all_splits_of_a_folder_are_seen(names, expected, form, tmp_path):
    folder = write_folder(tmp_path, names, form)
    assert splits_of(read_table(folder)) == expected
    if form == "jsonl":
        assert splits_of(read_spans(folder)) == expected
    assert splits_of(read_table(folder, choice=SplitChoice("none"))) == {None: 4 * len(names)}


def test_a_file_without_a_word_in_a_folder_of_splits_is_named_and_the_remedies_work(tmp_path):
    folder = write_folder(tmp_path, ("train", "test", "extra"))
    (tmp_path / "stats.json").write_text("{}")
    with pytest.raises(
        UserError, match=r"has the splits extra \(4 rows\), test \(4 rows\), train \(4 rows\); 'extra' may be"
    ):
        read_table(folder)
    found = read_table(folder, choice=SplitChoice(wanted=("train", "test")))
    assert splits_of(found) == {"train": 4, "test": 4}
    assert set(found.notes) == {"left out by --splits: extra (4 rows)", "left out: 1 JSON file"}
    assert splits_of(read_table(folder, choice=SplitChoice(wanted=("train", "test", "extra=val")))) == {
        "train": 4,
        "test": 4,
        "val": 4,
    }


def test_a_folder_whose_card_names_its_files_is_read_as_the_hub_reads_it(tmp_path):
    write_folder(tmp_path, ("one", "two"))
    (tmp_path / "one.csv").write_text("text,label\nNA,0\nnull,1\nb,0\n")
    files = "".join(f"  - {{split: {split}, path: {name}.csv}}\n" for split, name in (("train", "one"), ("test", "two")))
    card = f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}---\n"
    (tmp_path / "README.md").write_text(card)
    found = read_table(tmp_path)
    assert splits_of(found) == {"train": 3, "test": 4}
    assert [document.text for document in found.documents[:2]] == ["NA", "null"]


def test_a_published_split_without_labels_is_not_there(tmp_path):
    (tmp_path / "train.csv").write_text("text,label\na,0\nb,1\nc,0\nd,1\n")
    (tmp_path / "test.csv").write_text("id,text\n1,e\n2,f\n")
    found = read_table(tmp_path)
    assert splits_of(found) == {None: 4} and "split test: none of its 2 rows has a label" in found.notes
    (tmp_path / "test.csv").write_text("text,label\ne,-1\nf,-1\n")  # as GLUE withholds them
    assert splits_of(read_table(tmp_path, label_expression="col == 1")) == {None: 4}
    (tmp_path / "train.csv").write_text("text,label\na,-1\nb,1\nc,-1\nd,1\n")  # there -1 is a class
    assert splits_of(read_table(tmp_path, label_expression="col == 1")) == {"train": 4, "test": 2}


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no .csv"):
        files_of_folder(tmp_path)


# The cases that once went wrong


@pytest.fixture
def cases(shared_data):
    return part_of(shared_data, "cases/data")


def test_the_cases_of_splits(cases):
    own = read_table(cases / "own_split.csv")
    truth = pd.read_csv(cases / "own_split.csv").set_index("text")["split"]
    assert all(
        document.split == {"validation": "val"}.get(truth[document.text], truth[document.text]) for document in own.documents
    )
    assert splits_of(own)["test"] == (truth == "test").sum() > 0
    assert splits_of(read_table(cases / "folder_three_splits")) == {"train": 16, "val": 4, "test": 4}
    alone = read_table(cases / "folder_only_test")
    assert splits_of(alone) == {None: 24} and "the only split is test (24 rows)" in alone.notes[0]
    assert splits_of(read_spans(cases / "split_tt.jsonl")) == {"train": 8, "test": 4}
    assert splits_of(read_spans(cases / "split_devel.jsonl")) == {"train": 4, "val": 4, "test": 4}
    rows = json.loads(Path(cases / "empty_problem.json").read_text(encoding="utf-8"))
    assert read_chains(cases / "empty_problem.json").counts["groups"] == len(rows) == 20
