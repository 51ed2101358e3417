"""Spans in the forms in which annotation tools export them; offsets that fit no text are refused whatever the form."""

import pytest

from helpers import spans_of, write_jsonl
from utils.base.errors import UserError
from utils.data.readers.spans import read_spans

TEXT = "Anna saw Paris"
FORMS = {
    "lists": {"spans": [[0, 4, "PER"], [9, 14, "LOC"]]},
    "prodigy": {
        "spans": [
            {"start": 0, "end": 4, "label": "PER", "token_start": 0, "token_end": 0},
            {"start": 9, "end": 14, "label": "LOC"},
        ],
        "answer": "accept",
    },
    "doccano label": {"label": [[0, 4, "PER"], [9, 14, "LOC"]]},
    "doccano labels": {"labels": [[0, 4, "PER"], [9, 14, "LOC"]]},
    "doccano relations": {
        "entities": [
            {"id": 1, "label": "PER", "start_offset": 0, "end_offset": 4},
            {"id": 2, "label": "LOC", "start_offset": 9, "end_offset": 14},
        ],
        "relations": [],
    },
    "spacy": {"entities": [[0, 4, "PER"], [9, 14, "LOC"]]},
    "label studio json-min": {
        "label": [
            {"start": 0, "end": 4, "text": "Anna", "labels": ["PER"]},
            {"start": 9, "end": 14, "text": "Paris", "labels": ["LOC"]},
        ]
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_the_forms_of_annotation_tools_mean_the_same(form, tmp_path):
    found = read_spans(write_jsonl(tmp_path / "a.jsonl", [{"text": TEXT, **FORMS[form]}]))
    assert [spans_of(document) for document in found.documents] == [{("Anna", "PER"), ("Paris", "LOC")}]


def test_marks_in_another_field_are_said_not_to_be_read(tmp_path):
    row = {"text": TEXT, **FORMS["lists"]}
    found = read_spans(write_jsonl(tmp_path / "a.jsonl", [row | FORMS["spacy"]]))
    assert found.notes == ("spans are those of 'spans'; what 'entities' marks is not read",)
    assert read_spans(write_jsonl(tmp_path / "b.jsonl", [row | {"labels": ["a", "b"], "entities": []}])).notes == ()


def test_what_an_annotator_rejected_says_nothing(tmp_path):
    rows = [{"text": f"{TEXT} {answer}", **FORMS["lists"], "answer": answer} for answer in ("accept", "reject", "ignore")]
    found = read_spans(write_jsonl(tmp_path / "a.jsonl", rows))
    assert [document.text for document in found.documents] == [f"{TEXT} accept"] and found.counts["rows_not_accepted"] == 2


@pytest.mark.parametrize(
    "row, message",
    [
        ({"spans": [{"start": 9, "end": 15, "label": "LOC"}]}, "line 1: span [9, 15] reaches beyond the 14 characters"),
        ({"entities": [{"start_offset": 5, "end_offset": 2, "label": "LOC"}]}, "span [5, 2] ends before it starts"),
        ({"label": [[9, 14, 3]]}, "has the label 3; labels are names"),
        ({"spans": [{"begin": 9, "stop": 14}]}, "has no start and end; write"),
        ({"label": "LOC"}, "or give --task documents for labels of whole texts"),
        ({"label": ["LOC"]}, "span 'LOC' is not [start, end]"),
        ({"data": {"text": TEXT}, "annotations": []}, "is a Label Studio export; export it as JSON-MIN"),
    ],
)
def test_what_is_no_span_is_refused(row, message, tmp_path):
    with pytest.raises(UserError) as caught:
        read_spans(write_jsonl(tmp_path / "a.jsonl", [row if "data" in row else {"text": TEXT, **row}]))
    assert message in str(caught.value) and "\n" not in str(caught.value)
