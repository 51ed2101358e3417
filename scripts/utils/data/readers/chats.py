"""Conversations: rows of `messages` become texts by the tokenizer's chat template, with spans and answers found in them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from utils.base.errors import UserError
from utils.base.progress import Progress
from utils.data.chat_template import (
    Rendered,
    checked_messages,
    content_of,
    in_readable_form,
    is_answer,
    locate,
    require_template,
    write_chat,
)
from utils.data.readers.annotated import Annotated, Collection, complement, require_text, shown
from utils.data.readers.marks import PLAIN_LABEL, SPANS, check_offsets
from utils.data.readers.published import SourceRow
from utils.data.readers.table.csv_tables import TextTable
from utils.data.tokenizer import Tokenizer

MESSAGES = "messages"  # the field that is read where there is none of the name of --text_column
TOOLS = "tools"  # the field of the functions that a model may call, which the template is not given
OF_A_CHAT = "conversation"  # the key in a document's meta under which its messages stand as plain text
ANSWER = "answer"  # and what follows the text: the model's answer, as far as it is tokenised together with it


@dataclass(frozen=True)
class Chat:
    """What is known of a text that was a conversation.

    plain    its messages as plain text, whatever the template: by it the conversation is known again
    answer   what the template writes behind the text: the answer that the label foresees, and the end
    unknown  ((start, end), ...) the characters that are no message's: the template's own, neither positive nor negative
    """

    plain: str
    answer: str = ""
    unknown: tuple[tuple[int, int], ...] = ()


class Chats:
    """Turns rows with conversations into rows with texts, and remembers what each text was.

    prompt  whether each text ends with the beginning of the model's next answer
    """

    def __init__(self, tokenizer: Tokenizer, prompt: bool, source: str):
        self.tokenizer, self.prompt, self.source = tokenizer, prompt, source
        self.of_text: dict[str, Chat] = {}
        self.with_tools = 0
        self.last_roles: Counter[str] = Counter()
        self.prompted = False

    def in_rows(self, rows: Sequence[SourceRow], column: str) -> Sequence[SourceRow]:
        """Give rows with spans the text of their conversation as `column`, and spans in its characters.

        Rows that hold texts stay as they are. Raises UserError where only some rows hold conversations.
        """
        field = chat_field([row.values for row in rows], column)
        if field is None:
            return rows
        result = []
        with Progress("write conversations", "row", len(rows)) as progress:
            for row in rows:
                result.append(replace(row, values=self.with_spans(row.values, field, column, row.where)))
                progress.update(1)
        return result

    def with_spans(self, row: dict, field: str, column: str, where: str) -> dict:
        """Turn one row; see `in_rows`."""
        messages = self.messages(row.get(field), where)
        self.with_tools += bool(row.get(TOOLS))
        result = {name: value for name, value in row.items() if name != field}
        if not any(content_of(message).strip() for message in messages):
            return {**result, column: ""}
        chat = locate(self.tokenizer, messages, self.prompt, where)
        self.look_for_prompt(messages, chat.text, where)
        if row.get(SPANS) is not None:
            result[SPANS] = [
                span for given in self.given(row[SPANS], where) for span in placed(given, messages, chat, where)
            ]
        known = [(start, start + len(piece.text)) for piece, start in chat.places.items()]
        self.of_text[chat.text] = Chat(plain_text(messages), unknown=complement(known, 0, len(chat.text)))
        return {**result, column: chat.text}

    def in_table(self, table: TextTable, column: str) -> TextTable:
        """Put the text of each conversation, up to the answer at its end, in its place; the column is then `column`."""
        frame = table.frame
        fields = [name for name in (column, MESSAGES) if name in frame and holds_chats(frame[name])]
        if not fields or column in frame and fields[0] != column:
            return table
        field, texts = fields[0], []
        if TOOLS in frame:
            self.with_tools += sum(bool(as_lists(value)) for value in frame[TOOLS] if not isinstance(value, float))
        with Progress("write conversations", "row", len(frame)) as progress:
            for number, value in zip(table.numbers, frame[field], strict=True):
                missing = value is None or isinstance(value, float)
                texts.append(None if missing else self.before_answer(value, f"{self.source}, row {number}"))
                progress.update(1)
        return replace(table, frame=frame.drop(columns=[field]).assign(**{column: texts}))

    def before_answer(self, value: object, where: str) -> str:
        """Return the text of a conversation up to the last message where that is an answer, and no other is asked for."""
        messages = self.messages(value, where)
        if not any(content_of(message).strip() for message in messages):
            return ""
        text, answer = write_chat(self.tokenizer, messages, self.prompt, where), ""
        self.look_for_prompt(messages, text, where)
        self.last_roles[messages[-1]["role"]] += 1
        if is_answer(messages[-1]) and not self.prompt:
            start = answer_start(self.tokenizer, messages, text, where)
            text, answer, messages = text[:start], text[start:], messages[:-1]
        self.of_text.setdefault(text, Chat(plain_text(messages), answer))
        return text

    def look_for_prompt(self, messages: list[dict], text: str, where: str) -> None:
        """Note whether the template has written the beginning of an answer; of all conversations one is enough."""
        if self.prompt and not self.prompted:
            self.prompted = text != write_chat(self.tokenizer, messages, False, where)

    def messages(self, value: object, where: str) -> list[dict]:
        """Check a conversation and bring it into a form that the template can show."""
        require_template(self.tokenizer, self.source)
        messages = checked_messages(as_lists(value), where)
        for number, message in enumerate(messages):
            require_text(content_of(message), f"{where}: message {number}")
        return in_readable_form(self.tokenizer, messages, where) if messages else []

    def given(self, spans: object, where: str) -> list[tuple]:
        """Return (message, start, end, label) of each span as it stands in the row, its form checked."""
        result = []
        for span in spans if isinstance(spans, list) else [spans]:
            if isinstance(span, dict):
                span = [span.get("message"), span.get("start"), span.get("end"), span.get("label", PLAIN_LABEL)]
            if not isinstance(span, list) or len(span) not in (3, 4) or isinstance(span[2], str):
                raise UserError(
                    f"{where}: span {shown(span)} is not [message, start, end] or [message, start, end, label], with "
                    "messages counted from 0 and characters of the message"
                )
            result.append((*span[:3], span[3] if len(span) == 4 else PLAIN_LABEL))
        return result

    def described(self, collection: Collection) -> Collection:
        """Say of each document that was a conversation what is known of it; count them."""
        documents = [self.describe(document) for document in collection.documents]
        found = sum(OF_A_CHAT in document.meta for document in documents)
        counts = {**collection.counts, **({"conversations": found} if found else {})}
        return replace(collection, documents=documents, counts=counts, notes=(*collection.notes, *self.notes()))

    def notes(self) -> list[str]:
        """Say who wrote the last messages and where labels lie, and what the template was asked for in vain or not given."""
        notes = []
        if self.last_roles:
            ends = ", ".join(f"{role} {number:,}" for role, number in self.last_roles.most_common())
            answers = sum(number for role, number in self.last_roles.items() if is_answer({"role": role}))
            cut = f"; {answers:,} are answers: they are cut off, and the label lies before them" if answers else ""
            notes.append(f"last messages of the conversations are by {ends}{cut * (not self.prompt)}")
        if self.prompt and self.of_text and not self.prompted:
            notes.append(
                "WARNING: the chat template writes no beginning of an answer, so --add_generation_prompt adds nothing: a "
                "conversation that ends with an answer is read with it"
            )
        if self.with_tools:
            notes.append(
                f"{self.with_tools:,} conversations come with {TOOLS}, which the template is not given: no text lists them"
            )
        return notes

    def describe(self, document: Annotated) -> Annotated:
        chat = self.of_text.get(document.text)
        if chat is None:
            return document
        meta = {**document.meta, OF_A_CHAT: chat.plain, ANSWER: chat.answer}
        return replace(document, unknown=chat.unknown, meta=meta)


def chat_field(rows: Sequence[dict], column: str) -> str | None:
    """Return the field that holds conversations: `column`, or "messages" where no row has that; None where none does."""
    if any(column in row for row in rows):
        field = column if any(isinstance(row.get(column), list) for row in rows) else None
    else:
        field = MESSAGES if any(MESSAGES in row for row in rows) else None
    return field


def holds_chats(values: pd.Series) -> bool:
    """Are there lists among the values?"""
    return any(isinstance(value, (list, np.ndarray)) for value in values)


def as_lists(value: object) -> object:
    """Make lists of the arrays that pandas makes of lists."""
    if isinstance(value, (list, np.ndarray)):
        return [as_lists(item) for item in value]
    return {key: as_lists(item) for key, item in value.items()} if isinstance(value, dict) else value


def plain_text(messages: Sequence[dict]) -> str:
    """Write a conversation without any template: "user: Hello\\n\\nassistant: ..." """
    return "\n\n".join(f"{message['role']}: {content_of(message)}" for message in messages)


def placed(given: tuple, messages: Sequence[dict], chat: Rendered, where: str) -> list[list]:
    """Return [start, end, label] in the rendered text of a span of one message; several where its parts stand apart.

    Raises UserError for a message that is not there, and for one that the template does not show as it stands.
    """
    number, start, end, label = given
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < len(messages):
        raise UserError(
            f"{where}: span {shown(list(given))} is of message {shown(number)}; there are messages 0 to {len(messages) - 1}"
        )
    content = content_of(messages[number])
    check_offsets(start, end, content, f"{where}, message {number}")
    own = [(piece, place) for piece, place in chat.places.items() if piece.message == number]
    cut = [(max(start, piece.start), min(end, piece.start + len(piece.text)), place - piece.start) for piece, place in own]
    found = [[first + moved, last + moved, label] for first, last, moved in cut if first < last]
    if not found and content[start:end].strip():
        raise UserError(
            f"{where}: the chat template does not show message {number} as it stands, so its spans cannot be found in the "
            "text; leave out the spans or the row"
        )
    return found or [[0, 0, label]]  # of an empty span, or of spaces that the template trims


def answer_start(tokenizer: Tokenizer, messages: Sequence[dict], text: str, where: str) -> int:
    """Return where the answer, which is the last of the messages, begins in the text that the template writes of them.

    That is its first character, or the end of what the template writes as the prompt for it where it cannot be found: an
    answer without text, or one that calls a tool.
    """
    last = len(messages) - 1
    if content_of(messages[last]).strip():
        found = locate(tokenizer, messages, False, where)
        starts = [place for piece, place in found.places.items() if piece.message == last]
        if starts:
            return min(starts)
    before = write_chat(tokenizer, messages[:last], True, where) if last else ""
    if not last or not text.startswith(before):
        raise UserError(
            f"{where}: the chat template does not show the answer, message {last}, as it stands, so the token before it "
            "cannot be found; leave out the row, or the answer (with --add_generation_prompt)"
        )
    return len(before)
