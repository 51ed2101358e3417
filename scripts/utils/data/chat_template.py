"""A tokenizer's chat template: a conversation -> the text that the model reads, and where each message stands in it.

A conversation is a list of messages {"role": ..., "content": ...}. Content is text, or a list of parts {"type": "text",
"text": ...}; characters of such a message count through its parts.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from utils.base.errors import UserError
from utils.data.tokenizer import Tokenizer

ANSWERERS = ("assistant", "model", "gpt", "bot", "ai")  # roles of messages that the model wrote, in small letters
TEXT_PARTS = ("text", "input_text", "output_text")  # types of the parts of a content that are text
MARKS = re.compile("[\U000f0000-\U000ffffd]")  # private use: stand around messages to see where a template puts them
FIRST_MARK, MOST_PIECES = 0xF0000, 0x7FFF


@dataclass(frozen=True)
class Piece:
    """A part of message number `message` with the characters [start, start + len(text)) of its content."""

    message: int
    start: int
    text: str


@dataclass(frozen=True)
class Rendered:
    """A conversation as its template writes it.

    places  {piece: where it begins in the text}; of a message that the template trims, the piece without outer spaces.
            Pieces that the template changes or leaves out are not there, nor are empty ones
    """

    text: str
    places: dict[Piece, int]


def require_template(tokenizer: Tokenizer, what: str) -> None:
    """Raise UserError where the tokenizer has no chat template. what: that which holds conversations."""
    if not tokenizer.chat_template:
        raise UserError(
            f"{what} holds conversations, and the tokenizer of {tokenizer.name_or_path} has no chat template; choose a chat "
            "model with --model_name"
        )


def write_chat(tokenizer: Tokenizer, messages: Sequence[dict], prompt: bool, where: str) -> str:
    """Write a conversation by the chat template. prompt: with the beginning of the model's next answer.

    Raises a UserError that begins with `where` for a conversation that the template refuses.
    """
    from jinja2 import TemplateError

    try:
        return str(tokenizer.apply_chat_template(list(messages), add_generation_prompt=prompt, tokenize=False))
    except (TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise UserError(
            f"{where}: the chat template of {tokenizer.name_or_path} refuses it ({error}); mend or leave out the row, or "
            "mend the template"
        ) from error


def checked_messages(value: object, where: str) -> list[dict]:
    """Return the messages of a conversation, without keys that are null. Raises UserError for what is none."""
    if not isinstance(value, list) or not all(isinstance(message, dict) for message in value):
        raise UserError(f'{where}: holds no list of messages {{"role": ..., "content": ...}}; mend or leave out the row')
    messages = [{key: item for key, item in message.items() if item is not None} for message in value]
    for number, message in enumerate(messages):
        if not isinstance(message.get("role"), str):
            raise UserError(
                f'{where}: message {number} has no "role" (found {", ".join(message) or "nothing"}); messages are '
                '{"role": ..., "content": ...}'
            )
        pieces_of(number, message, where)
    return messages


def is_answer(message: dict) -> bool:
    """Did the model write it?"""
    return message["role"].strip().casefold() in ANSWERERS


def pieces_of(number: int, message: dict, where: str) -> list[Piece]:
    """Return the texts of a message. Raises UserError for content that is no text."""
    content = message.get("content", "")
    parts = content if isinstance(content, list) else [{"text": content, "type": "text"}]
    pieces, start = [], 0
    for part in parts:
        kind = part.get("type", "text") if isinstance(part, dict) else type(part).__name__
        text = part.get("text") if kind in TEXT_PARTS else None
        if not isinstance(text, str):
            kind = type(text).__name__ if kind in TEXT_PARTS else kind
            raise UserError(f"{where}: message {number} holds {kind!r} content, only text can be read; leave out the row")
        pieces.append(Piece(number, start, text))
        start += len(text)
    return pieces


def content_of(message: dict) -> str:
    """Return the text of a message, its parts joined."""
    return "".join(piece.text for piece in pieces_of(0, message, ""))


def in_readable_form(tokenizer: Tokenizer, messages: list[dict], where: str) -> list[dict]:
    """Join the parts of contents that are lists, unless the template can show them as they are.

    Many templates know text alone, and would write out a list as Python does, or nothing of it.
    """
    listed = {number for number, message in enumerate(messages) if isinstance(message.get("content"), list)}
    if not listed:
        return messages
    joined = [
        {**message, "content": content_of(message)} if number in listed else message
        for number, message in enumerate(messages)
    ]
    try:
        shown = {piece.message for piece in locate(tokenizer, messages, False, where).places}
    except UserError:
        return joined
    return messages if all(number in shown or not content_of(messages[number]).strip() for number in listed) else joined


def locate(tokenizer: Tokenizer, messages: Sequence[dict], prompt: bool, where: str) -> Rendered:
    """Write a conversation and find its messages in the text.

    A character of private use is put before and behind each of them. Where the text without these is the one that the
    template writes without them, they show where each message stands, also where several are alike. A template that trims
    spaces, or looks at how a message begins, gives another text; then each message is tried by itself, also with the marks
    inside of its outer spaces. Raises UserError where no message with text is found.
    """
    text = write_chat(tokenizer, messages, prompt, where)
    pieces = [
        piece for number, message in enumerate(messages) for piece in pieces_of(number, message, where) if piece.text.strip()
    ]
    if MARKS.search(text) or len(pieces) > MOST_PIECES:
        raise UserError(
            f"{where}: holds characters of private use (or too many messages), so messages cannot be found in it"
        )

    def found(chosen: Sequence[Piece]) -> dict[Piece, int] | None:
        marked = with_marks(messages, chosen, where)
        return places_of_marks(write_chat(tokenizer, marked, prompt, where), text, chosen)

    places = found(pieces)
    if places is None:
        places = {}
        for piece in pieces:
            places |= found([piece]) or found([trimmed(piece)]) or {}
    if pieces and not places:
        raise UserError(
            f"{where}: the chat template of {tokenizer.name_or_path} shows no message as it stands, so that nothing of them "
            "can be found in its text; choose another model, or give texts"
        )
    return Rendered(text, places)


def trimmed(piece: Piece) -> Piece:
    """Return the piece without the space around it."""
    return Piece(piece.message, piece.start + len(piece.text) - len(piece.text.lstrip()), piece.text.strip())


def with_marks(messages: Sequence[dict], chosen: Sequence[Piece], where: str) -> list[dict]:
    """Put marks number 2k and 2k + 1 around piece k of the chosen ones."""
    of_message: dict[int, list[tuple[int, Piece]]] = {}
    for index, piece in enumerate(chosen):
        of_message.setdefault(piece.message, []).append((index, piece))
    result = list(messages)
    for number, own in of_message.items():
        texts = [marked_text(piece, own) for piece in pieces_of(number, messages[number], where)]
        content = messages[number]["content"]
        if isinstance(content, list):
            content = [{**part, "text": text} for part, text in zip(content, texts, strict=True)]
        else:
            (content,) = texts
        result[number] = {**messages[number], "content": content}
    return result


def marked_text(whole: Piece, chosen: Sequence[tuple[int, Piece]]) -> str:
    """Put marks into the text of one piece, around that of the chosen (number, piece) which lies in it."""
    for index, piece in chosen:
        first = piece.start - whole.start
        if 0 <= first < len(whole.text):
            before, after = chr(FIRST_MARK + 2 * index), chr(FIRST_MARK + 2 * index + 1)
            return whole.text[:first] + before + piece.text + after + whole.text[first + len(piece.text) :]
    return whole.text


def places_of_marks(marked: str, text: str, chosen: Sequence[Piece]) -> dict[Piece, int] | None:
    """Return where each of the chosen pieces begins in `text`, which is `marked` without marks; None where it is not."""
    if MARKS.sub("", marked) != text:
        return None
    at: dict[int, list[int]] = {}
    for before, mark in enumerate(MARKS.finditer(marked)):
        at.setdefault(ord(mark.group()) - FIRST_MARK, []).append(mark.start() - before)
    places = {}
    for index, piece in enumerate(chosen):
        begins, ends = at.get(2 * index, []), at.get(2 * index + 1, [])
        if len(begins) == len(ends) == 1 and text[begins[0] : ends[0]] == piece.text:
            places[piece] = begins[0]
    return places
