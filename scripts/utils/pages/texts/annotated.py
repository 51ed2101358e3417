"""Read the annotated texts that probes were made from, for their page: as scripts/prepare_data.py reads them."""

import os
from collections.abc import Iterator

from utils.base.errors import UserError
from utils.data.label_rule import LabelRule
from utils.data.readers.chats import OF_A_CHAT
from utils.data.readers.document import text_hash
from utils.data.tokenizer import CHARACTERS_A_TOKEN, Frame, batches_by_size, special_frame
from utils.pages.texts.shown import Amount, ShownText, what_is_known
from utils.pages.texts.source import TextSource, own_file, split_by_text
from utils.saved.probe_sets import rule_of, task_of


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
    on_the_hub = task_of(metadata) == "documents" and not os.path.isabs(path) and not os.path.splitext(path)[1]
    if not os.path.exists(path) and not on_the_hub:
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


def labelled(documents, targets, probes, tokenizer, characters, before, windows=None) -> Iterator:
    """Yield each document with its tokens and their labels for all targets. A batch to tokenize has about `characters`.

    windows: how whole texts are cut; None: they are not
    """
    from utils.data.preparation.annotated_task import label_documents

    task, rule = task_of(probes.common), LabelRule.parse(rule_of(probes.common))
    for batch in batches_by_size(documents, characters, lambda document: len(document.text)):
        yield from label_documents(batch, targets, task, rule, tokenizer, windows, before)


def gaps_of(item, tokenizer) -> list[str]:
    """List what of the text lies before each token and in none.

    The special tokens that a chat template writes before the first one are left out, since they are put before every window.
    """
    text, starts, ends = item.document.text, item.tokens.starts.tolist(), item.tokens.ends.tolist()
    of_a_template = tokenizer.chat_template and {"chain_start", OF_A_CHAT} & set(item.document.meta)
    first = starts[0] if starts and (of_a_template or item.first) else 0
    return [text[end:start] for end, start in zip([first, *ends], starts, strict=False)]
