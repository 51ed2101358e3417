"""Read whole texts for the page of probes that judge texts: those that their data were made from, or any others."""

from collections.abc import Iterator

import numpy as np

from utils.data.preparation.settings import TextWindows
from utils.data.readers.document import text_hash
from utils.data.tokenizer import CHARACTERS_A_TOKEN, first_tokens
from utils.pages.texts.annotated import frame_of, gaps_of, labelled, own_hash, read_annotated
from utils.pages.texts.plain import read_documents
from utils.pages.texts.shown import Amount, ShownText, what_is_known
from utils.pages.texts.source import TextSource, split_by_text
from utils.saved.running_text import LONGEST_WINDOW


def whole_texts_of(source: TextSource, amount: Amount, probes, tokenizer) -> list[ShownText]:
    """Read as many whole texts as are asked for, each as far as the probes were trained on it.

    They come in the order of their hashes, which is as good as drawn: files are often sorted by label. A text that the
    tokens left have no room for is passed over.
    """
    read = from_file if source.kind == "annotated" else from_plain_texts
    texts, missing = [], amount.tokens
    for text in read(source, amount, probes, tokenizer):
        if 0 < len(text.ids) <= missing:
            texts.append(text)
            missing -= len(text.ids)
        if len(texts) == amount.texts or not missing:
            break
    return texts


def from_file(source: TextSource, amount: Amount, probes, tokenizer) -> Iterator[ShownText]:
    """Yield the texts of the annotated file, cut and labelled as scripts/prepare_data.py does it."""
    split_of, targets = split_by_text(probes), list(amount.targets)
    collection = read_annotated(probes, targets, tokenizer)
    hashes = {id(document): own_hash(document) for document in collection.documents}
    wanted = [
        document
        for document in sorted(collection.documents, key=lambda document: hashes[id(document)])
        if not source.only_test or split_of.get(hashes[id(document)]) == "test"
    ]
    before = frame_of(source, probes, tokenizer)[0]
    windows = training_windows(probes)
    for item in labelled(wanted, targets, probes, tokenizer, CHARACTERS_A_TOKEN * amount.tokens, before, windows):
        note = what_is_known(split_of.get(hashes[id(item.document)]), split_of)
        gaps = gaps_of(item, tokenizer)[: len(item.tokens)]
        yield ShownText(item.document.name, note, item.tokens.ids, gaps, item.labels)


def from_plain_texts(source: TextSource, amount: Amount, probes, tokenizer) -> Iterator[ShownText]:
    """Yield plain texts, cut likewise; nothing is known of them but whether the probes have seen them."""
    split_of, windows = split_by_text(probes), training_windows(probes)
    for document in read_documents(source):
        kept = slice(0, windows.width)
        if windows.truncation_side == "left":
            ids, gaps = first_tokens(tokenizer, document.text, max(1, len(document.text.encode())))
            kept = slice(max(0, len(ids) - windows.width), None)
        else:
            ids, gaps = first_tokens(tokenizer, document.text, windows.width)
        note = what_is_known(split_of.get(text_hash(document.text)), split_of)
        ids = ids[kept]
        yield ShownText(document.name, note, ids, gaps[kept], np.full((len(amount.targets), len(ids)), -1, dtype=np.int8))


def training_windows(probes) -> TextWindows:
    """Say how the texts were cut that the probes were trained on."""
    metadata = probes.common
    usual = "left" if (metadata.get("source") or {}).get("frame") else "right"  # of conversations, of other texts
    length = metadata.get("context_length") or LONGEST_WINDOW - 1  # files of before tell neither
    return TextWindows(length, None, metadata.get("truncation_side") or usual)
