"""A long text in pieces that give the tokens of the whole, so that encoding it takes little memory.

The library keeps some 125 bytes for each character that it encodes at once. A text is cut at a seam: a place around which
the tokens are the same whether or not the text is cut there. A piece is encoded with the few characters before it, whose
tokens are then dropped, because many tokenizers treat the beginning of a text as special ("▁" before the first word).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from utils.data.tokenizer import Tokenizer, batches_by_size, encode_batch

CHARACTERS_AT_ONCE = 2_000_000  # some 250 MB in the library
PIECE = 250_000  # characters: little memory, and pieces enough to keep every core busy
LEAD = 64  # characters encoded before a piece
AROUND = 1_000  # characters on either side of a seam that are encoded to prove it
SEARCHED = 20_000  # characters before the end of a full piece in which a seam is looked for
TRIED = 8  # places of each sort
PLACES = (  # where a seam is likely, the likeliest first
    re.compile(r"(?<=\w)(?= \w)"),  # before a word's space, where most tokenizers cut
    re.compile(r"(?<=\n\n)(?=\S)"),  # a new paragraph
    re.compile(r"(?<=\n)(?=\S)"),  # a new line
    re.compile(r"(?<=[^\w\s])(?=\w)"),  # after punctuation, in scripts without spaces
    re.compile(r"(?=\S)"),
)

Encode = Callable[[str], list[int]]  # a text -> its ids, without special tokens


@dataclass(frozen=True)
class CutPiece:
    """Part of a text, and how many of the first ids that it is encoded as belong to the piece before it."""

    text: str
    dropped: int


def pieces(encode: Encode, text: str, most: int = PIECE) -> Iterator[CutPiece]:
    """Yield pieces of about `most` characters; where no seam is found, a longer one."""
    start, dropped, reach = 0, 0, most
    while len(text) - start > reach:
        if (found := seam(encode, text, start + reach)) is None:
            reach += most
            continue
        yield CutPiece(text[max(start - LEAD, 0) : found[0]], dropped)
        start, dropped = found
        reach = most
    yield CutPiece(text[max(start - LEAD, 0) :], dropped)


def seam(encode: Encode, text: str, end: int) -> tuple[int, int] | None:
    """Find the last place before `end` where the text can be cut, and the number of ids of the LEAD before it."""
    for likely in PLACES:
        ends = [match.start() for match in likely.finditer(text, max(end - SEARCHED, LEAD), end)]
        for place in islice(reversed(ends), TRIED):
            lead = encode(text[place - LEAD : place])
            if is_seam(encode, text, place, lead):
                return place, len(lead)
    return None


def is_seam(encode: Encode, text: str, place: int, lead: list[int]) -> bool:
    """Compare the ids around `place` with those of the text before it and, with its lead, after it."""
    before, after = text[max(place - AROUND, 0) : place], text[place : place + AROUND]
    led = encode(text[place - LEAD : place] + after)
    return led[: len(lead)] == lead and encode(before + after) == encode(before) + led[len(lead) :]


def encode_long(tokenizer: Tokenizer, texts: Sequence[str]) -> list[np.ndarray]:
    """Encode texts of any length without special tokens: the int32 ids that `encode_batch` gives, in little memory."""
    found: list[list[np.ndarray]] = [[] for _ in texts]

    def encode(text: str) -> list[int]:
        return tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids

    everything = ((number, piece) for number, text in enumerate(texts) for piece in pieces(encode, text))
    for batch in batches_by_size(everything, CHARACTERS_AT_ONCE, lambda item: len(item[1].text)):
        encoded = encode_batch(tokenizer, [piece.text for _, piece in batch])
        for (number, piece), ids in zip(batch, encoded, strict=True):
            found[number].append(ids[piece.dropped :].copy() if piece.dropped else ids)
    return [ids[0] if len(ids) == 1 else np.concatenate(ids) for ids in found]
