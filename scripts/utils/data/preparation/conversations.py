"""What is different where the texts are conversations: their frame, their tokens, and the flags that they settle."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from utils.base.errors import UserError
from utils.data.preparation.annotated_tokens import Tokens, tokenize
from utils.data.preparation.settings import AnnotatedPreparation
from utils.data.readers.annotated import Annotated, Collection
from utils.data.readers.chats import ANSWER, OF_A_CHAT
from utils.data.tokenizer import Frame, Tokenizer, read_special_tokens_as, special_frame


def are_chats(documents: Sequence[Annotated]) -> bool:
    """Tell whether the documents of a file were conversations."""
    return any(OF_A_CHAT in document.meta for document in documents)


def settled_for_chats(preparation: AnnotatedPreparation) -> AnnotatedPreparation:
    """Settle the flags that conversations leave no choice of. Raises UserError for one that contradicts them.

    Special tokens are those that the template wrote; a label on the last token before the answer bears no lost end.
    """
    file, windows = preparation.file, preparation.windows
    if file.special_tokens == "text":
        raise UserError(
            f"--special_tokens text: {file.input} holds conversations, whose template writes special tokens; leave it out"
        )
    if file.task == "documents":
        if windows.truncation_side == "right":
            raise UserError(
                "--truncation_side right would cut off the token before the answer, which the label is of; leave it out"
            )
        windows = replace(windows, truncation_side="left")
    return replace(preparation, file=replace(file, special_tokens="encode"), windows=windows)


def about_template(tokenizer: Tokenizer) -> str:
    """Return what is to be said of the chat template, a line or nothing."""
    if "strftime_now" not in str(tokenizer.chat_template):
        return ""
    return "note: the chat template can write today's date: tomorrow the same command may give other tokens\n"


def require_chats(preparation: AnnotatedPreparation, collection: Collection) -> None:
    """Raise UserError for flags of conversations where there are none."""
    if preparation.file.add_generation_prompt:
        raise UserError(
            f"--add_generation_prompt: {preparation.file.input} holds {len(collection.documents):,} texts and no "
            "conversations (messages); leave it out"
        )


def chat_frame(tokenizer: Tokenizer, documents: Sequence[Annotated]) -> Frame:
    """Return what stands around every window of these conversations: the BOS, where their template begins each with it."""
    own, bos = special_frame(tokenizer)[0], tokenizer.bos_token_id
    for before in (own, [bos] if isinstance(bos, int) else []):
        begins = "".join(tokenizer.convert_ids_to_tokens(before))
        if before and all(document.text.startswith(begins) for document in documents):
            return before, []
    return [], []


def tokenize_chats(tokenizer: Tokenizer, documents: Sequence[Annotated], before: Sequence[int]) -> list[Tokens]:
    """Tokenize conversations as their template wrote them, special tokens encoded; before: the ids of their frame.

    The tokenizer is left so that it encodes special tokens. An answer that follows a text is tokenized with it, as in the
    whole conversation, and cut off: the last token is the one before the answer's first.
    """
    read_special_tokens_as(tokenizer, "encode")
    found = tokenize(tokenizer, [document.text + document.meta[ANSWER] for document in documents])
    result = []
    for document, tokens in zip(documents, found, strict=True):
        if tokens.ids[: len(before)].tolist() != list(before):
            raise UserError(f"{document.name}: the conversation does not begin with token {before}; mend the chat template")
        last = int(np.searchsorted(tokens.ends, len(document.text), side="right"))
        result.append(tokens.part(len(before), last))
    return result
