"""Annotated texts -> tokens that know their characters; a chain after its problem as the model would meet it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Encoding

from utils.base.progress import Progress
from utils.data.chat_template import write_chat
from utils.data.readers.annotated import Annotated
from utils.data.readers.chains import plain_prompt
from utils.data.tokenizer import Tokenizer, batches_by_size

CHARACTERS_TOGETHER = 2_000_000  # offsets are Python's tuples for a moment: little enough that memory stays small


@dataclass(frozen=True)
class Tokens:
    """The tokens of one text: ids int32 [tokens]; starts, ends int64 [tokens], the characters of each, end exclusive."""

    ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    def __len__(self):
        return len(self.ids)

    def part(self, start: int, end: int) -> "Tokens":
        """Return the tokens `start` to `end` - 1; their characters are still those of the whole text."""
        return Tokens(self.ids[start:end], self.starts[start:end], self.ends[start:end])


def tokenize(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Tokens]:
    """Tokenize each text whole, without special tokens, in batches that the library spreads over the processor's cores."""
    result = []
    with Progress("tokenize", "token") as progress:
        for batch in batches_by_size(texts, CHARACTERS_TOGETHER, len):
            for encoding in tokenizer.backend_tokenizer.encode_batch(batch, add_special_tokens=False):
                result.append(as_tokens(encoding))
                progress.update(len(result[-1]), note=f"{len(result)} of {len(texts)} texts")
    return result


def as_tokens(encoding: Encoding) -> Tokens:
    """Take ids and offsets out of the library's encoding."""
    offsets = np.maximum.accumulate(np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2))  # never run backwards
    return Tokens(np.array(encoding.ids, dtype=np.int32), offsets[:, 0].copy(), offsets[:, 1].copy())


def prompt_kind(tokenizer: Tokenizer) -> str:
    """Name what `chat_prompt` puts before a chain, for the metadata."""
    return "chat template" if tokenizer.chat_template else "plain"


def chat_prompt(tokenizer: Tokenizer) -> Callable[[str], str]:
    """Return a function of a problem that gives what stands before its chain: the chat template, or the bare problem."""
    if not tokenizer.chat_template:
        return plain_prompt

    return lambda problem: write_chat(tokenizer, [{"role": "user", "content": problem}], True, "a problem")


def tokenize_chains(tokenizer: Tokenizer, documents: Sequence[Annotated], before: Sequence[int]) -> list[Tokens]:
    """Tokenize prompt and chain of each document; before: the ids that every sequence begins with.

    With a chat template the prompt's special tokens are recognised, and those of `before` are taken off where the template
    writes them itself; the chain is tokenized by itself, since that is how the model wrote it. Without one, problem and
    chain are one text.
    """
    if not tokenizer.chat_template:
        return tokenize(tokenizer, [document.text for document in documents])
    starts = [document.meta["chain_start"] for document in documents]
    chains = tokenize(tokenizer, [document.text[start:] for document, start in zip(documents, starts, strict=True)])
    texts = [document.text[:start] for document, start in zip(documents, starts, strict=True)]
    backend = tokenizer.backend_tokenizer
    as_text, backend.encode_special_tokens = backend.encode_special_tokens, False
    try:
        prompts = [
            as_tokens(encoding)
            for batch in batches_by_size(texts, CHARACTERS_TOGETHER, len)
            for encoding in backend.encode_batch(batch, add_special_tokens=False)
        ]
    finally:
        backend.encode_special_tokens = as_text
    return [after_prompt(prompt, chain, start, before) for prompt, chain, start in zip(prompts, chains, starts, strict=True)]


def after_prompt(prompt: Tokens, chain: Tokens, start: int, before: Sequence[int]) -> Tokens:
    """Join prompt and chain, which begins at character `start`, without the ids of `before` that the template writes too."""
    if before and prompt.ids[: len(before)].tolist() == list(before):
        prompt = prompt.part(len(before), len(prompt))
    return Tokens(
        np.concatenate([prompt.ids, chain.ids]),
        np.concatenate([prompt.starts, chain.starts + start]),
        np.concatenate([prompt.ends, chain.ends + start]),
    )
