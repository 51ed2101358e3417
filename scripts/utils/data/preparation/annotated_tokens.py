"""Annotated texts -> tokens that know their characters; a chain after its problem as the model would meet it."""

from dataclasses import dataclass

import numpy as np

from utils.base.errors import UserError
from utils.base.progress import Progress
from utils.data.readers.chains import plain_prompt

CHARACTERS_A_BATCH = 2_000_000  # offsets are Python's tuples for a moment: little enough that memory stays small


@dataclass(frozen=True)
class Tokens:
    """Of the tokens of one text: ids int32 [tokens]; starts, ends int64 [tokens], the characters of each, end exclusive."""

    ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    def __len__(self):
        return len(self.ids)

    def part(self, start, end) -> "Tokens":
        return Tokens(self.ids[start:end], self.starts[start:end], self.ends[start:end])


def tokenize(tokenizer, texts) -> list[Tokens]:
    """Each text whole, without special tokens, in batches that the library spreads over the processor's cores."""
    result = []
    with Progress("tokenize", "token") as progress:
        for batch in batches(texts):
            for encoding in tokenizer.backend_tokenizer.encode_batch(batch, add_special_tokens=False):
                result.append(as_tokens(encoding))
                progress.update(len(result[-1]), note=f"{len(result)} of {len(texts)} texts")
    return result


def batches(texts):
    batch, size = [], 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= CHARACTERS_A_BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def as_tokens(encoding) -> Tokens:
    offsets = np.maximum.accumulate(np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2))  # never run backwards
    return Tokens(np.array(encoding.ids, dtype=np.int32), offsets[:, 0].copy(), offsets[:, 1].copy())


def chat_prompt(tokenizer):
    """What stands before a chain, as a function of its problem: the tokenizer's chat template, or the bare problem."""
    if not tokenizer.chat_template:
        return plain_prompt

    def prompt(problem):
        from jinja2 import TemplateError

        try:
            return tokenizer.apply_chat_template(
                [{"role": "user", "content": problem}], add_generation_prompt=True, tokenize=False
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise UserError(
                f"the chat template of {tokenizer.name_or_path} cannot show a problem: {error}; mend it, or "
                "take it out of the tokenizer's folder"
            ) from error

    return prompt


def tokenize_chains(tokenizer, documents, before) -> list[Tokens]:
    """Prompt and chain of each document; before: the ids that every sequence begins with.

    With a chat template the prompt's special tokens are recognised, and those of `before` are taken off where the template
    writes them itself; the chain is tokenized by itself, since that is how the model wrote it. Without one, problem and
    chain are one text.
    """
    if not tokenizer.chat_template:
        return tokenize(tokenizer, [document.text for document in documents])
    starts = [document.meta["chain_start"] for document in documents]
    chains = tokenize(tokenizer, [document.text[start:] for document, start in zip(documents, starts, strict=True)])
    backend = tokenizer.backend_tokenizer
    backend.encode_special_tokens = False
    try:
        prompts = [
            as_tokens(encoding)
            for batch in batches([document.text[:start] for document, start in zip(documents, starts, strict=True)])
            for encoding in backend.encode_batch(batch, add_special_tokens=False)
        ]
    finally:
        backend.encode_special_tokens = True
    return [
        joined(without(prompt, before), chain, start) for prompt, chain, start in zip(prompts, chains, starts, strict=True)
    ]


def without(prompt, before) -> Tokens:
    doubled = bool(before) and prompt.ids[: len(before)].tolist() == list(before)
    return prompt.part(len(before) if doubled else 0, len(prompt))


def joined(prompt, chain, start) -> Tokens:
    return Tokens(
        np.concatenate([prompt.ids, chain.ids]),
        np.concatenate([prompt.starts, chain.starts + start]),
        np.concatenate([prompt.ends, chain.ends + start]),
    )
