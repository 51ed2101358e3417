"""Each message is found where the template put it, or it is said that it cannot be."""

import pytest

import chat_data
from utils.base.errors import UserError
from utils.data.chat_template import Piece, checked_messages, in_readable_form, locate, write_chat
from utils.data.tokenizer import load_tokenizer


@pytest.fixture
def tokenizer_with(tiny_model, tmp_path):
    def make(template):
        return load_tokenizer(str(chat_data.with_template(tmp_path / "model", tiny_model, template)))

    return make


def say(*contents, roles=("user", "assistant")):
    return [{"role": roles[number % len(roles)], "content": content} for number, content in enumerate(contents)]


def shown(tokenizer, messages):
    """{(message, start of the piece): what the text holds at its place}, checked against the text of the piece itself"""
    found = locate(tokenizer, messages, False, "here")
    assert found.text == tokenizer.apply_chat_template(messages, tokenize=False)
    result = {}
    for piece, place in found.places.items():
        assert found.text[place : place + len(piece.text)] == piece.text
        result[piece.message, piece.start] = found.text[:place]
    return result


def test_messages_that_are_alike_are_told_apart(tokenizer_with):
    before = shown(tokenizer_with(chat_data.CHATML), say("user", "Hello", "user", "Hello", "Hello"))
    assert [before[number, 0].count("<|im_start|>") for number in range(5)] == [1, 2, 3, 4, 5]
    assert all(text.endswith(("user\n", "assistant\n")) for text in before.values())


@pytest.mark.parametrize("content", ["  Hello ", "\nHello", "Hello\t\n", "Hello"])
def test_a_message_that_the_template_trims_is_found_without_the_spaces_around_it(tokenizer_with, content):
    before = shown(tokenizer_with(chat_data.TRIMS), say(content, content))
    first = content.index("Hello") if content.strip() != content else 0
    assert before == {(0, first): "<s>[INST] ", (1, first): "<s>[INST] Hello [/INST] "}


def test_a_template_that_trims_only_answers_leaves_the_spaces_of_others(tokenizer_with):
    before = shown(tokenizer_with(chat_data.TRIMS_ANSWERS), say("\n Hello ", "\n Hello "))
    assert before == {(0, 0): "<|user|>", (1, 2): "<|user|>\n Hello <|assistant|>"}


def test_a_message_that_the_template_changes_is_not_found(tokenizer_with):
    messages = say("Say it.", "<think>Hm.</think>\nIt.", "And?", "It.")
    messages.append({"role": "tool", "content": 'a "quoted" word'})
    assert set(shown(tokenizer_with(chat_data.FORGETS_THOUGHTS), messages)) == {(0, 0), (2, 0), (3, 0)}
    with pytest.raises(UserError, match="line 7: the chat template of .* shows no message as it stands"):
        locate(tokenizer_with(chat_data.SHOUTS), say("Hello"), False, "line 7")


def test_empty_messages_are_nowhere_and_hide_no_others(tokenizer_with):
    assert set(shown(tokenizer_with(chat_data.CHATML), say("", "Hello", " ", "one"))) == {(1, 0), (3, 0)}


def test_parts_are_shown_as_the_template_shows_them_or_joined(tokenizer_with):
    parts = [{"type": "text", "text": "One "}, {"type": "text", "text": "two"}]
    knows, does_not = tokenizer_with(chat_data.PARTS), None
    messages = in_readable_form(knows, [{"role": "user", "content": parts}], "here")
    assert write_chat(knows, messages, False, "here") == "<|im_start|>user\nOne|two|<|im_end|>\n"
    assert set(locate(knows, messages, False, "here").places) == {Piece(0, 0, "One"), Piece(0, 4, "two")}
    does_not = tokenizer_with("{% for message in messages %}{{ message.content }}{% endfor %}")
    messages = in_readable_form(does_not, [{"role": "user", "content": parts}], "here")
    assert write_chat(does_not, messages, False, "here") == "One two"  # and not "[{'type': 'text', ...}]"


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ("Hello", "holds no list of messages"),
        (["Hello"], "holds no list of messages"),
        ([{"from": "human", "value": "Hello"}], r'message 0 has no "role" \(found from, value\)'),
        ([{"role": "user", "content": 7}], "message 0 holds 'int' content"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}], "message 0 holds 'image_url' content"),
    ],
)
def test_what_is_no_conversation_is_said(messages, problem):
    with pytest.raises(UserError, match=f"line 3: {problem}"):
        checked_messages(messages, "line 3")


def test_a_conversation_that_the_template_refuses_is_one_line(tokenizer_with):
    with pytest.raises(UserError, match="line 3: the chat template of .* refuses it .Only user and assistant roles"):
        write_chat(tokenizer_with(chat_data.TRIMS), say("x", roles=("system",)), False, "line 3")
