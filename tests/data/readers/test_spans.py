"""Texts with marked spans: what stands where, which texts belong together, and every broken file told by its line."""

import json

import pytest

from helpers import part_of, spans_of, write_jsonl
from utils.base.errors import UserError
from utils.data.readers.annotated import ALL_TARGETS, choose_targets
from utils.data.readers.spans import read_spans

ROWS = [
    {"id": "a", "text": "keep the red door shut", "spans": [[9, 12]], "family": "x", "split": "train"},
    {"id": "b", "text": "nothing here", "spans": [], "family": None, "split": "validation"},
    {
        "id": "c",
        "text": "naïve 👍 blue sky",
        "spans": [[8, 12, "colour"], [10, 16, "colour"], [3, 3]],
        "family": None,
        "split": "test",
    },
    {"id": "d", "text": "keep the  RED door shut", "spans": [[10, 13]], "family": "x", "split": "train"},
    {"text": " ", "spans": None, "split": "test"},
]


def test_spans_are_read_as_they_stand(tmp_path):
    found = read_spans(write_jsonl(tmp_path / "a.jsonl", ROWS), group_by="family")
    assert [spans_of(document) for document in found.documents] == [{("red", "span")}, set(), {("blue sky", "colour")}]
    assert [document.group for document in found.documents] == ["family=x", "line 2", "line 3"]  # null: a group of its own
    assert [document.split for document in found.documents] == ["train", "val", "test"]
    counts = found.counts
    assert [counts[name] for name in ("duplicates_merged", "empty_texts", "empty_spans", "overlapping_spans")] == [1] * 4
    assert counts["rows"] == 5 and counts["documents"] == 3 and counts["groups"] == 3


def test_the_same_text_with_other_spans_is_dropped(tmp_path):
    rows = [
        {"text": "a red door", "spans": [[2, 5]]},
        {"text": "A red  door", "spans": []},
        {"text": "the end", "spans": [[0, 3]]},
    ]
    found = read_spans(write_jsonl(tmp_path / "a.jsonl", rows))
    assert [document.text for document in found.documents] == ["the end"] and found.counts["conflicting_rows"] == 2


def test_a_span_that_parts_an_accent_from_its_letter_is_counted(tmp_path):
    whole = {"text": "plain été", "spans": [[6, 7]]}
    rows = [{"text": "e\u0301te\u0301 now", "spans": [[0, 1]]}, whole]
    assert read_spans(write_jsonl(tmp_path / "a.jsonl", rows)).counts["spans_that_cut_a_character"] == 1


def needle(text="say yes, naïve one", span=(9, 14), **more):
    return {"text": text, "needle_char_span": span and list(span), "needle_text": span and "naïve", **more}


BROKEN = {
    "not json": (['{"text": "a", "spans": []}', "", '{"text": '], "line 3: not JSON"),
    "deep json": (["[" * 100_000], "broken.jsonl: not JSON"),
    "a list": (["[1]"], "item 1: a JSON int"),
    "a list below an object": (['{"text": "a", "spans": []}', "[1]"], "line 2: a JSON list"),
    "a key twice": (['{"text": "a", "text": "b", "spans": []}'], "line 1: not JSON (the key 'text' stands twice"),
    "not utf-8": ([b'{"text": "a", "spans": []}', b'{"text": "na\xefve", "spans": []}'], "line 2: not UTF-8 (byte 0xef)"),
    "utf-16": (['{"text": "a"}'.encode("utf-16")], "is text in UTF-16, which is not UTF-8; convert it"),
    "surrogate": (['{"text": "\\ud83d", "spans": []}'], "line 1: 'text': '\\ud83d' at character 0"),
    "no text": ([{"body": "a", "spans": []}], "line 1: no 'text' (found body, spans)"),
    "text a number": ([{"text": 5, "spans": []}], "line 1: 'text' holds int"),
    "no spans": ([{"text": "a"}], "no row has 'spans' or 'needle_char_span'"),
    "no spans in one": ([{"text": "a", "spans": []}, {"text": "b"}], "line 2: no 'spans', which other rows have"),
    "beyond": ([{"text": "abc", "spans": [[1, 9]]}], "line 1: span [1, 9] reaches beyond the 3 characters"),
    "bytes": ([{"text": "ïïï", "spans": [[2, 6]]}], "it has 6 bytes: offsets count characters"),
    "backwards": ([{"text": "abc", "spans": [[2, 1]]}], "line 1: span [2, 1] ends before it starts"),
    "negative": ([{"text": "abc", "spans": [[-1, 1]]}], "line 1: span [-1, 1] starts before the text"),
    "fraction": ([{"text": "abc", "spans": [[0.5, 1]]}], "offsets are whole numbers"),
    "truth": ([{"text": "abc", "spans": [[False, True]]}], "offsets are whole numbers"),
    "flat": ([{"text": "abc", "spans": [0, 1]}], "span 0 is not [start, end]"),
    "one number": ([{"text": "abc", "spans": [[0]]}], "span [0] is not [start, end]"),
    "an object": ([{"text": "abc", "spans": {"start": 0}}], "'spans' holds dict"),
    "label": ([{"text": "abc", "spans": [[0, 1, 7]]}], "has the label 7"),
    "only negatives": ([{"text": "abc", "spans": []}], "one class only"),
    "only positives": ([{"text": "abc", "spans": [[0, 3]]}], "one class only"),
    "split": (
        [{"text": "abc", "spans": [], "split": "holdout"}, {"text": "d", "spans": [], "split": "train"}],
        "has the splits holdout (1 row), train (1 row); 'holdout' may be train, val or test",
    ),
    "half split": ([{"text": "abc", "spans": [], "split": "val"}, {"text": "d", "spans": []}], "1 of 2 rows have no split"),
    "needle in bytes": ([needle(text="naïve naïve one", span=(7, 13))], "in UTF-8 bytes; offsets count characters"),
    "needle in utf-16": ([needle(text="👍 naïve one", span=(3, 8))], "in UTF-16 units; offsets count characters"),
    "another needle": ([needle(span=(4, 7))], "holds 'yes', needle_text is 'naïve'"),
    "needle denied": ([needle(needle_present=False)], "needle_present is False but needle_char_span is [9, 14]"),
    "nothing": ([], "holds no rows"),
}


@pytest.mark.parametrize(("lines", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_told_by_its_line(lines, message, tmp_path):
    path = tmp_path / "broken.jsonl"
    path.write_bytes(
        b"\n".join(
            line if isinstance(line, bytes) else (line if isinstance(line, str) else json.dumps(line)).encode()
            for line in lines
        )
    )
    with pytest.raises(UserError) as caught:
        read_spans(path)
    assert message in str(caught.value) and "broken.jsonl" in str(caught.value) and len(str(caught.value)) < 400


def test_needle_fields_that_agree_are_read(tmp_path):
    rows = [needle(needle_present=True), needle("none", None, needle_present=False)]
    found = read_spans(write_jsonl(tmp_path / "a.jsonl", rows))
    assert [spans_of(document) for document in found.documents] == [{("naïve", "needle")}, set()]


def test_a_group_in_two_splits_is_refused(tmp_path):
    rows = [
        {"text": "a b", "spans": [[0, 1]], "split": "train", "k": "x"},
        {"text": "c", "spans": [], "split": "test", "k": "x"},
    ]
    path = write_jsonl(tmp_path / "a.jsonl", rows)
    with pytest.raises(UserError, match="k=x stands in train and in test"):
        read_spans(path, group_by="k")
    assert len(read_spans(path).documents) == 2
    with pytest.raises(UserError, match="--group_by familly: no row"):
        read_spans(path, group_by="familly")


def test_the_needles_corpus(shared_data):
    path = part_of(shared_data, "corpora/needles") / "needles_v1.jsonl"
    found = read_spans(path)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [[document.text[start:end] for start, end, _ in document.spans] for document in found.documents] == [
        [row["needle_text"]] if row["needle_present"] else [] for row in rows
    ]
    families = {
        split: {document.group for document in found.documents if document.split == split and document.spans}
        for split in ("train", "val", "test")
    }
    assert {split: len(names) for split, names in families.items()} == {"train": 5, "val": 1, "test": 2}
    assert found.counts["groups"] == 208 and choose_targets(found, ALL_TARGETS) == ["needle"]
