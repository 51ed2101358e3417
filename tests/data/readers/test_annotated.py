"""Readers of annotated files: what stands where, what belongs together, and every broken file told by line."""

import json
from pathlib import Path

import pandas as pd
import pytest

from helpers import part_of, write_jsonl
from utils.base.errors import UserError
from utils.data.readers.annotated import ALL_TARGETS, choose_targets, complement, join_by_keys, merge_copies, normalised
from utils.data.readers.chains import LABELS, read_chains
from utils.data.readers.spans import read_spans
from utils.data.readers.tables import cleaned_csv, is_index, read_indexed_sets, read_table


def spans_of(document):
    return {(document.text[start:end], label) for start, end, label in document.spans}


# Spans

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
    "deep json": (["[" * 100_000], "line 1: not JSON"),
    "a list": (["[1]"], "line 1: a JSON list"),
    "not utf-8": ([b'{"text": "a", "spans": []}', b'{"text": "na\xefve", "spans": []}'], "line 2: not UTF-8 (byte 0xef)"),
    "utf-16": (['{"text": "a"}'.encode("utf-16")], "line 1: not UTF-8"),
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
    "split": ([{"text": "abc", "spans": [], "split": "holdout"}], "line 1: split 'holdout' is none of"),
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


# Chains

ORIGINAL = "Let me see.\n\nIt is 4. It is 4. Wait, no.  Hmm. It is 5, I guess. Done"
MARKED = (
    '["initializing"]Let me see.["end-section"]\n["deduction"] It is 4.["end-section"]["backtracking"] Wait, no.'
    '["end-section"]["backtracking"]\nHmm.["end-section]["deduction"]It is nine.["end-section"]'
    '["uncertainty-estimation"]It is 5,  I guess.'
)


def chain(annotated=MARKED, original=ORIGINAL, problem="2 + 2?", task="one"):
    return {"task_id": task, "problem": problem, "reasoning_chain": original, "annotated_chain": annotated}


def write_chains(path, chains) -> Path:
    path.write_text(json.dumps(chains), encoding="utf-8")
    return path


def test_segments_are_found_in_the_original_after_its_problem(tmp_path):
    found = read_chains(write_chains(tmp_path / "a.json", [chain()]), prompt=lambda problem: f"Q: {problem} A: ")
    (document,) = found.documents
    start = len("Q: 2 + 2? A: ")
    assert document.text == "Q: 2 + 2? A: " + ORIGINAL and document.meta["chain_start"] == start
    assert spans_of(document) == {
        ("Let me see.", "initializing"),
        ("It is 4.", "deduction"),
        ("Wait, no.  Hmm.", "backtracking"),
        ("It is 5, I guess.", "uncertainty-estimation"),
    }
    assert document.spans[1][0] == start + ORIGINAL.index("It is 4")  # the first of two, from the cursor
    unknown = [document.text[start:end] for start, end in document.unknown]
    assert unknown == ["Q: 2 + 2? A: ", "\n\n", " It is 4. ", " ", " Done"]
    counts = found.counts
    assert {name: counts[name] for name in ("segments", "unmatched_segments", "unclosed_segments", "broken_marks")} == {
        "segments": 6,
        "unmatched_segments": 1,
        "unclosed_segments": 1,
        "broken_marks": 1,
    }


def test_the_cursor_finds_the_second_of_two_equal_segments(tmp_path):
    marked = '["deduction"]It is 4.["end-section"]["backtracking"] It is 4.["end-section"]'
    (document,) = read_chains(write_chains(tmp_path / "a.json", [chain(marked)])).documents
    (first, _, one), (second, _, other) = document.spans
    assert (one, other) == ("deduction", "backtracking") and second - first == len("It is 4. ")


def test_chains_of_one_problem_are_one_group(tmp_path):
    chains = [
        chain(),
        chain(original=ORIGINAL + " Now.", problem="2  + 2?", task="two"),
        chain(task="copy"),
        chain(problem="else", original="It is 4. Now.", task="three"),
    ]
    found = read_chains(write_chains(tmp_path / "a.json", chains))
    assert [document.group for document in found.documents] == ["problem 1 (one)", "problem 1 (one)", "problem 3 (three)"]
    assert found.counts["duplicates_merged"] == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON (Expecting property name enclosed in double quotes: line 1"),
        ('{"a": 1}', "a JSON dict, not a list"),
        ("[]", "holds no chains"),
        ("[3]", "item 1: a JSON int"),
        ('[{"problem": "a"}]', "item 1: no 'reasoning_chain'"),
        (json.dumps([chain(), chain(original=None)]), "item 2: 'reasoning_chain' holds NoneType"),
        (json.dumps([chain("no marks")]), "no segment of any annotated_chain was found"),
        (json.dumps([chain('["deduction"]It is 4.["end-section"]')]), "one class only: every segment is 'deduction'"),
    ],
)
def test_a_broken_file_of_chains_is_told(content, message, tmp_path):
    path = tmp_path / "chains.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_chains(path)
    assert message in str(caught.value)


def test_the_chains_corpus(shared_data):
    """The counts are those of the published chains: 2.6 % of the text is backtracking, 77 characters on average."""
    found = read_chains(part_of(shared_data, "corpora/reasoning_chains") / "annotated_chains.json")
    counts = found.counts
    assert (counts["documents"], counts["groups"], counts["segments"]) == (700, 698, 15318)
    assert (counts["unmatched_segments"], counts["unclosed_segments"], counts["empty_segments"], counts["broken_marks"]) == (
        9,
        16,
        13,
        36,
    )
    assert set(choose_targets(found, ALL_TARGETS)) == set(LABELS)  # three labels more stand in one chain each
    lengths = [
        end - start for document in found.documents for start, end, label in document.spans if label == "backtracking"
    ]
    text = sum(len(document.text) - document.meta["chain_start"] for document in found.documents)
    assert round(sum(lengths) / len(lengths)) == 77 and round(sum(lengths) / text, 3) == 0.026
    for document in found.documents:  # every character is in one span or unknown, and none in both
        parts = sorted((start, end) for start, end, *_ in (*document.spans, *document.unknown))
        assert parts[0][0] == 0 and parts[-1][1] == len(document.text)
        assert all(end == start for (_, end), (start, _) in zip(parts, parts[1:], strict=False))
    with pytest.raises(UserError, match="'observation' is positive in 1 groups, 3 are needed"):
        choose_targets(found, ["observation"])
    with pytest.raises(UserError, match="did you mean 'backtracking'"):
        choose_targets(found, ["backtraking"])


# Tables


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
    found = read_table(tmp_path, "sentence", label_expression='col == "x"', split="test")
    assert [document.labels["label"] for document in found.documents] == [1, 0, 1]
    with pytest.raises(UserError, match="no split 'train'; it has test"):
        read_table(tmp_path, "sentence")


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


# What they share


def test_grouping_follows_chains_of_keys():
    assert join_by_keys([["a"], ["b"], ["a", "c"], ["d"], ["c", "b"]]) == [0, 0, 0, 3, 0]
    assert join_by_keys([[index, index + 1] for index in range(50_000)]) == [0] * 50_000  # no recursion
    assert join_by_keys([[], []]) == [0, 1]


def test_copies_and_complements():
    assert merge_copies("aabbc", [1, 1, 0, 1, 0]) == ([0, 4], {"duplicates_merged": 1, "conflicting_rows": 2})
    assert complement([(2, 4), (3, 6), (8, 9)], 0, 10) == ((0, 2), (6, 8), (9, 10))
    assert complement([], 3, 3) == ()
