"""Read plain texts for the page of probes: what stands before a text's prose is left out."""

from collections.abc import Iterator

import numpy as np

from utils.data.readers.document import text_hash
from utils.data.tokenizer import first_tokens
from utils.pages.texts.shown import Amount, ShownText, what_is_known
from utils.pages.texts.source import TextSource, split_by_text

PROSE, MOST_BREAKS, MOST_SKIPPED = 60, 3, 2000  # tokens with so few line breaks are prose; tokens that may stand before it


def plain_texts(source: TextSource, amount: Amount, probes, tokenizer) -> list[ShownText]:
    """Read plain texts.

    For next-token probes the truth is whether a token is the target; whether a label of spans or chains fits a plain text is
    unknown. What stands before a text's prose is left out. Each text gives as much as the others, and short ones leave their
    share to the rest.
    """
    split_of = split_by_text(probes)
    found: list[tuple[str, str, np.ndarray, list[str]]] = []
    for document in read_documents(source):
        split = split_of.get(text_hash(document.text))
        if source.only_test and split != "test":
            continue
        ids, gaps = first_tokens(tokenizer, document.text, amount.tokens + MOST_SKIPPED)
        if len(ids):
            found.append((document.name, what_is_known(split, split_of), ids, gaps))
        if len(found) == amount.texts:
            break
    tokens = np.array([[-1 if token is None else token] for token in amount.targets.values()])
    counts, texts = shared_out([len(ids) for _, _, ids, _ in found], amount.tokens), []
    for (name, note, ids, gaps), count in zip(found, counts, strict=True):
        start = min(prose_begins(tokenizer, ids, gaps), len(ids) - count)
        ids, gaps = ids[start : start + count], gaps[start : start + count]
        if count:
            texts.append(ShownText(name, note, ids, gaps, np.where(tokens < 0, -1, ids == tokens).astype(np.int8)))
    return texts


def shared_out(lengths: list[int], total: int) -> list[int]:
    """Share out a total, in equal parts but for what is shorter, and for a remainder of 1 each."""
    found = [0] * len(lengths)
    for done, index in enumerate(sorted(range(len(lengths)), key=lengths.__getitem__)):
        found[index] = min(lengths[index], -(-total // (len(lengths) - done)))
        total -= found[index]
    return found


def prose_begins(tokenizer, ids: np.ndarray, gaps: list[str]) -> int:
    """Find the first token behind which lines are long: a title page is short lines and empty ones."""
    if len(ids) < PROSE:
        return 0
    breaks = {int(token): "\n" in str(tokenizer.decode([int(token)])) for token in np.unique(ids)}
    ends = np.array([breaks[int(token)] for token in ids]) | np.array(["\n" in gap for gap in gaps])
    lines = np.convolve(ends, np.ones(PROSE), "valid")  # breaks in the PROSE tokens from each one on
    starts = np.flatnonzero((lines <= MOST_BREAKS) & np.concatenate([[True], ends[: len(lines) - 1]]))
    return int(starts[0]) if len(starts) else 0


def read_documents(source: TextSource) -> Iterator:
    from utils.data.readers.plain import read_text_file, read_texts

    if source.kind == "file":
        return read_text_file(source.place, source.column)
    return read_texts(source.place, source.column, source.language, source.max_texts, config=source.config)
