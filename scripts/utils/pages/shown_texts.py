"""Find the texts that the page of probes shows, and the truth of each token.

They are plain texts, or the annotated texts that the probes were made from.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from utils.base.errors import UserError
from utils.base.text_table import how_many
from utils.data.label_rule import LabelRule
from utils.data.readers.chats import OF_A_CHAT
from utils.data.readers.document import text_hash
from utils.data.tokenizer import CHARACTERS_A_TOKEN, Frame, batches_by_size, first_tokens, special_frame
from utils.pages.text_source import TextSource, own_file, split_by_text
from utils.saved.probe_sets import rule_of, task_of

PROSE, MOST_BREAKS, MOST_SKIPPED = 60, 3, 2000  # tokens with so few line breaks are prose; tokens that may stand before it
KNOWN = {
    "test": "of the test split",
    "val": "seen when epochs and thresholds were chosen",
    "train": "seen in training",
    None: "not among the probes' texts",
    "?": "perhaps seen in training",
}


@dataclass(frozen=True)
class Amount:
    """How much is shown: at most `tokens` tokens of at most `texts` texts, and which targets' truth is asked for.

    targets: {name: token id}, None for a label
    """

    tokens: int
    texts: int
    targets: Mapping[str, int | None]


@dataclass(frozen=True)
class ShownText:
    """Some tokens of one text, side by side.

    name: of the text
    note: what the probes know of the text
    ids: int32 [tokens]
    gaps: what of the text lies before each token and in none
    truth: int8 [targets, tokens], 1 for the target (or a positive label), 0 for others, -1 where it is unknown
    """

    name: str
    note: str
    ids: np.ndarray
    gaps: list[str]
    truth: np.ndarray


def read_shown(source: TextSource, amount: Amount, probes, tokenizer) -> list[ShownText]:
    """Read the texts that are shown, of at least one text, those with most positives first. Print what is known of them.

    probes: any set of those that are shown: of their data, model and rule of the labels
    """
    read = annotated_texts if source.kind == "annotated" else plain_texts
    texts = read(source, amount, probes, tokenizer)
    if not texts:
        raise UserError(
            f"{source.place} holds "
            + (
                "none of the texts that were kept from training, has it changed?; give another text with --text_file"
                if source.only_test
                else "no text; give another"
            )
        )
    count = sum(len(text.ids) for text in texts)
    if count < amount.tokens:
        more = "; show more texts with --num_texts" if len(texts) == amount.texts else ""
        there = f"{how_many(len(texts), 'text')} with {count:,} tokens"
        print(f"note: {source.place}: {there}, fewer than --num_tokens {amount.tokens:,}{more}", flush=True)
    for note in dict.fromkeys(text.note for text in texts if text.note != KNOWN["test"]):
        print(f"note: {sum(note == text.note for text in texts)} of {len(texts)} texts: {note}", flush=True)
    for number, target in enumerate(amount.targets):
        if source.kind == "annotated" and not any((text.truth[number] == 1).any() for text in texts):
            print(f"note: {target!r} is nowhere in what is shown; show more with --num_tokens", flush=True)
    return sorted(texts, key=lambda text: -int((text.truth == 1).sum()))


def what_is_known(split: str | None, split_of: dict[str, str]) -> str:
    return KNOWN[split] if split_of else KNOWN["?"]


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


def annotated_texts(source: TextSource, amount: Amount, probes, tokenizer) -> list[ShownText]:
    """Read the texts of the annotated file; tokens and their truth are made as scripts/prepare_data.py makes them."""
    split_of, targets = split_by_text(probes), list(amount.targets)
    wanted = [
        document
        for document in read_annotated(probes, targets, tokenizer).documents
        if not source.only_test or split_of.get(own_hash(document)) == "test"
    ]
    texts, missing = [], amount.tokens
    before = frame_of(source, probes, tokenizer)[0]
    for item in labelled(wanted, targets, probes, tokenizer, CHARACTERS_A_TOKEN * amount.tokens, before):
        count = min(len(item.tokens), missing)
        if count:
            note = what_is_known(split_of.get(own_hash(item.document)), split_of)
            ids, gaps = item.tokens.ids[:count], gaps_of(item, tokenizer)[:count]
            texts.append(ShownText(item.document.name, note, ids, gaps, item.labels[:, :count]))
            missing -= count
        if missing == 0 or len(texts) == amount.texts:
            break
    return texts


def own_hash(document) -> str:
    """Hash a document as the data's metadata do: of a chain, without the prompt that stands before it."""
    return text_hash(document.own_text)


def read_annotated(probes, targets, tokenizer):
    """Read the Collection of the file that the probes are of, by its reader and with the same flags."""
    from utils.data.preparation.annotated_task import read_file
    from utils.data.preparation.annotated_tokens import prompt_kind
    from utils.data.preparation.settings import AnnotatedFile

    metadata, path = probes.common, own_file(probes)
    source, prompt = metadata["source"], prompt_kind(tokenizer)
    if source.get("prompt", prompt) != prompt:
        raise UserError(
            f"{probes.paths[0]} is of texts with a prompt by the {source['prompt']}, the tokenizer now gives "
            f"one by the {prompt}; give the tokenizer as it was"
        )
    remedy = "put it back, or show a text of your own with --text_file"
    if not os.path.exists(path):
        raise UserError(f"{path}, which the probes were made from, is not there; {remedy}")
    try:
        collection, _ = read_file(AnnotatedFile.from_metadata(task_of(metadata), source), tokenizer)
    except UserError as error:
        raise UserError(f"{path}, which the probes were made from, cannot be read as it was ({error}); {remedy}") from error
    if gone := [target for target in targets if target not in collection.targets]:
        raise UserError(f"{path}, which the probes were made from, has no label {gone[0]!r} any more; {remedy}")
    return collection


def frame_of(source: TextSource, probes, tokenizer) -> Frame:
    """Return the ids around every window: of conversations as their data have them, else the tokenizer's own."""
    before, after = (source.kind == "annotated" and probes.common["source"].get("frame")) or special_frame(tokenizer)
    return before, after


def labelled(documents, targets, probes, tokenizer, characters, before) -> Iterator:
    """Yield each document with its tokens and their labels for all targets. A batch to tokenize has about `characters`."""
    from utils.data.preparation.annotated_task import label_documents

    task, rule = task_of(probes.common), LabelRule.parse(rule_of(probes.common))
    for batch in batches_by_size(documents, characters, lambda document: len(document.text)):
        yield from label_documents(batch, targets, task, rule, tokenizer, before=before)


def gaps_of(item, tokenizer) -> list[str]:
    """List what of the text lies before each token and in none.

    The special tokens that a chat template writes before the first one are left out, since they are put before every window.
    """
    text, starts, ends = item.document.text, item.tokens.starts.tolist(), item.tokens.ends.tolist()
    first = starts[0] if starts and tokenizer.chat_template and {"chain_start", OF_A_CHAT} & set(item.document.meta) else 0
    return [text[end:start] for end, start in zip([first, *ends], starts, strict=False)]
