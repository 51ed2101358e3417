"""Which texts the page of probes shows: plain ones, or the annotated texts that the probes are of; each token's truth."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from utils.base.errors import UserError
from utils.data.label_rule import LabelRule
from utils.data.readers.document import text_hash
from utils.data.tokenizer import CHARACTERS_A_TOKEN, batches_by_size, first_tokens
from utils.saved.probe_sets import rule_of, task_of

GUTENBERG = "manu/project_gutenberg"
KNOWN = {
    "test": "of the test split",
    "val": "seen when epochs and thresholds were chosen",
    "train": "seen in training",
    None: "not among the probes' texts",
    "?": "perhaps seen in training",
}


@dataclass(frozen=True)
class ShownText:
    """The first tokens of one text. note: what is known of it; ids int32 [tokens]; gaps: what of the text lies before each
    token and in none; truth int8 [tokens]: 1 the target (or the answer is yes), 0 not, -1 unknown.
    """

    name: str
    note: str
    ids: np.ndarray
    gaps: list[str]
    truth: np.ndarray


def read_shown(arguments, probes, tokenizer) -> list[ShownText]:
    """The first --num_tokens tokens of the texts, at least one. Says what is known of them; fills in --dataset."""
    split_of = {one: split for split, hashes in probes.common.get("texts", {}).items() for one in hashes}
    read = annotated_texts if shows_annotated(arguments, probes) else plain_texts
    texts, only_test = read(arguments, probes, tokenizer, split_of)
    where = arguments.text_file or arguments.dataset
    if not texts:
        raise UserError(
            f"{where} holds "
            + (
                "none of the texts that were kept from training, has it changed?; give another text with --text_file"
                if only_test
                else "no text; give another"
            )
        )
    count = sum(len(text.ids) for text in texts)
    if count < arguments.num_tokens:
        print(f"note: {where} has {count:,} tokens to show, fewer than --num_tokens {arguments.num_tokens:,}", flush=True)
    for note in dict.fromkeys(text.note for text in texts if text.note != KNOWN["test"]):
        print(f"note: {sum(note == text.note for text in texts)} of {len(texts)} texts: {note}", flush=True)
    if read is annotated_texts and not any((text.truth == 1).any() for text in texts):
        print(f"note: {probes.common['target']!r} is nowhere in what is shown; show more with --num_tokens", flush=True)
    return texts


def what_is_known(split, split_of) -> str:
    return KNOWN[split] if split_of else KNOWN["?"]


# Plain texts


def plain_texts(arguments, probes, tokenizer, split_of) -> tuple[list[ShownText], bool]:
    """The texts, and whether only those of the test split were wanted. Their truth is that of the token asked for; whether
    a label of spans or chains fits is unknown.
    """
    documents, only_test = choose_texts(arguments, probes, set(split_of.values()))
    texts, missing = [], arguments.num_tokens
    for document in documents:
        split = split_of.get(text_hash(document.text))
        if only_test and split != "test":
            continue
        ids, gaps = first_tokens(tokenizer, document.text, missing)
        if len(ids):
            truth = np.full(len(ids), -1) if probes.annotated else ids == probes.common["token"]
            texts.append(ShownText(document.name, what_is_known(split, split_of), ids, gaps, truth.astype(np.int8)))
            missing -= len(ids)
        if missing == 0:
            break
    return texts, only_test


def choose_texts(arguments, probes, splits):
    """The documents, and whether only those of the test split are wanted, as of the dataset that the probes are of."""
    from utils.data.readers.plain import read_text_file, read_texts

    source = {} if probes.annotated else probes.common.get("source") or {"dataset": GUTENBERG}
    own = arguments.dataset is None or same_place(arguments.dataset, source.get("dataset"))
    defaults = {"text_column": "text", "language": "en", **(source if own else {})}
    column, language = (getattr(arguments, name) or defaults[name] for name in ("text_column", "language"))
    if arguments.text_file:
        return read_text_file(arguments.text_file, arguments.text_column or "text"), False
    arguments.dataset = arguments.dataset or source["dataset"]
    return read_texts(arguments.dataset, column, language, defaults.get("max_texts")), own and "test" in splits


def same_place(one, other) -> bool:
    """Do two dataset arguments name one thing? Paths are compared as places, Hub names as they are."""
    return one == other or (
        other is not None and os.path.exists(one) and os.path.exists(other) and os.path.samefile(one, other)
    )


# Annotated texts


def shows_annotated(arguments, probes) -> bool:
    """Is it the annotated file that the probes are of, rather than a plain text?"""
    return (
        probes.annotated
        and not arguments.text_file
        and (arguments.dataset is None or same_place(arguments.dataset, own_file(probes)))
    )


def own_file(probes) -> str:
    source = probes.common.get("source")
    path = source.get("input") if isinstance(source, dict) else None
    if not isinstance(path, str):
        raise UserError(f"{probes.paths[0]} does not say which file it was made from; give a text with --text_file")
    return path


def annotated_texts(arguments, probes, tokenizer, split_of) -> tuple[list[ShownText], bool]:
    """As plain_texts, of the annotated file: tokens and their truth as scripts/prepare_data.py makes them."""
    arguments.dataset = own_file(probes)
    only_test = "test" in split_of.values()
    wanted = [
        document
        for document in read_annotated(probes, tokenizer).documents
        if not only_test or split_of.get(own_hash(document)) == "test"
    ]
    texts, missing = [], arguments.num_tokens
    for item in labelled(wanted, probes, tokenizer, CHARACTERS_A_TOKEN * arguments.num_tokens):
        count = min(len(item.tokens), missing)
        if count:
            note = what_is_known(split_of.get(own_hash(item.document)), split_of)
            texts.append(
                ShownText(
                    item.document.name,
                    note,
                    item.tokens.ids[:count],
                    gaps_of(item, tokenizer)[:count],
                    item.labels[0, :count],
                )
            )
            missing -= count
        if missing == 0:
            break
    return texts, only_test


def own_hash(document) -> str:
    """As in the metadata of the data: a chain is known whatever prompt stands before it."""
    return text_hash(document.own_text)


def read_annotated(probes, tokenizer):
    """The Collection of the file that the probes are of, read by its reader with the same flags."""
    from utils.data.preparation.annotated_task import read_file
    from utils.data.preparation.annotated_tokens import prompt_kind
    from utils.data.preparation.settings import AnnotatedFile

    metadata, path = probes.common, own_file(probes)
    source, prompt = metadata["source"], prompt_kind(tokenizer)
    if source.get("prompt", prompt) != prompt:
        raise UserError(
            f"{probes.paths[0]} is of chains after a prompt by the {source['prompt']}, the tokenizer now gives "
            f"one by the {prompt}; give the tokenizer as it was"
        )
    remedy = "put it back, or show a text of your own with --text_file"
    if not os.path.isfile(path):
        raise UserError(f"{path}, which the probes were made from, is not there; {remedy}")
    try:
        collection, _ = read_file(AnnotatedFile.from_metadata(task_of(metadata), source), tokenizer)
    except UserError as error:
        raise UserError(f"{path}, which the probes were made from, cannot be read as it was ({error}); {remedy}") from error
    if metadata["target"] not in collection.targets:
        raise UserError(f"{path}, which the probes were made from, has no label {metadata['target']!r} any more; {remedy}")
    return collection


def labelled(documents, probes, tokenizer, characters) -> Iterator:
    """Each document with its tokens and their labels; tokenized together: as many as have so many characters."""
    from utils.data.preparation.annotated_task import label_documents

    task, rule = task_of(probes.common), LabelRule.parse(rule_of(probes.common))
    for batch in batches_by_size(documents, characters, lambda document: len(document.text)):
        yield from label_documents(batch, [probes.common["target"]], task, rule, tokenizer)


def gaps_of(item, tokenizer) -> list[str]:
    """What lies before each token and in none; not the special tokens that a chat template writes before the first, since
    they are put before every window.
    """
    text, starts, ends = item.document.text, item.tokens.starts.tolist(), item.tokens.ends.tolist()
    first = starts[0] if tokenizer.chat_template and "chain_start" in item.document.meta else 0
    return [text[end:start] for end, start in zip([first, *ends], starts, strict=False)]
