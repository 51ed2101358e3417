"""Spans of messages become spans of the text that the template writes, and the rest of that text is unknown."""

import pytest

import chat_data
from helpers import write_jsonl
from utils.base.errors import UserError
from utils.data.readers.chats import Chats
from utils.data.readers.spans import read_spans
from utils.data.tokenizer import load_tokenizer


@pytest.fixture
def collect(tiny_model, tmp_path):
    """Read rows with spans by a tokenizer with this template: the collection."""

    def collection(template, rows):
        path = write_jsonl(tmp_path / "rows.jsonl", rows)
        chats = Chats(
            load_tokenizer(str(chat_data.with_template(tmp_path / "model", tiny_model, template))), False, str(path)
        )
        return chats.described(read_spans(path, as_texts=chats.in_rows))

    return collection


@pytest.fixture
def read(collect):
    """The documents of that collection."""
    return lambda template, rows: collect(template, rows).documents


def row(*contents, spans):
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[n % 2], "content": content} for n, content in enumerate(contents)], "spans": spans}


def marked(document):
    return [(document.text[start:end], label) for start, end, label in document.spans]


def known(document):
    """The text of which something is known, its stretches parted by |."""
    edges = [0, *(edge for stretch in document.unknown for edge in stretch), len(document.text)]
    return "|".join(document.text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)).strip("|")


def test_spans_lie_in_the_message_that_they_name(read):
    (found,) = read(
        chat_data.CHATML, [row("It is it", "It is it", "It", spans=[[1, 6, 8, "it"], [2, 0, 2], [0, 0, 2, "it"]])]
    )
    assert marked(found) == [("It", "it"), ("it", "it"), ("It", "span")]
    assert known(found) == "It is it|It is it|It"
    starts = [found.text[:start].count("<|im_start|>") for start, _, _ in found.spans]
    assert starts == [1, 2, 3]


def test_spans_as_objects_are_the_same(read):
    spans = [{"message": 1, "start": 0, "end": 2, "label": "it"}]
    (found,) = read(chat_data.CHATML, [row("Say", "It is", spans=spans)])
    assert marked(found) == [("It", "it")] and found.text[: found.spans[0][0]].endswith("assistant\n")


def test_a_span_over_spaces_that_are_trimmed_is_what_is_left_of_it(read):
    (found,) = read(chat_data.TRIMS, [row(" one two ", "  It is ", spans=[[0, 0, 4], [1, 0, 8, "all"]])])
    assert marked(found) == [("one", "span"), ("It is", "all")]
    assert known(found) == "one two|It is"


def test_a_span_over_two_parts_is_two_where_the_template_parts_them(read):
    parts = [{"type": "text", "text": "One "}, {"type": "text", "text": "two three"}]
    (found,) = read(chat_data.PARTS, [row(parts, "So", spans=[[0, 1, 7, "x"]])])
    assert found.text.startswith("<|im_start|>user\nOne|two three|")
    assert marked(found) == [("ne", "x"), ("two", "x")]
    (found,) = read(chat_data.CHATML, [row(parts, "So", spans=[[0, 1, 7, "x"]])])
    assert marked(found) == [("ne two", "x")]


def test_a_span_of_a_message_that_the_template_changes_is_refused_and_without_it_the_message_is_unknown(read):
    thought = "<think>Hm.</think>\nIt is."
    with pytest.raises(UserError, match="line 1: the chat template does not show message 1 as it stands"):
        read(chat_data.FORGETS_THOUGHTS, [row("Say", thought, spans=[[1, 0, 3]])])
    (found,) = read(chat_data.FORGETS_THOUGHTS, [row("Say", thought, "More", spans=[[0, 0, 3]])])
    assert known(found) == "Say|More"


def test_the_conversation_is_known_by_its_messages_alone(read):
    texts = {
        read(template, [row("Say", "It", spans=[[1, 0, 2]])])[0].own_text for template in (chat_data.CHATML, chat_data.TRIMS)
    }
    assert texts == {"user: Say\n\nassistant: It"}


def test_rows_of_texts_stay_as_they_are(read):
    (found,) = read(chat_data.CHATML, [{"text": "It is", "messages": [], "spans": [[0, 2]]}])
    assert found.text == "It is" and marked(found) == [("It", "span")] and found.unknown == ()


def test_tools_that_the_template_is_not_given_are_said(collect):
    rows = [row(f"Say {number}", "It is", spans=[[1, 0, 2]]) for number in range(3)]
    assert collect(chat_data.CHATML, rows).notes == ()
    rows[0]["tools"], rows[1]["tools"] = [{"type": "function", "function": {"name": "look_up"}}], []
    (note,) = collect(chat_data.CHATML, rows).notes
    assert note.startswith("1 conversations come with tools")
