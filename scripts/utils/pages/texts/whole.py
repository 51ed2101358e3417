"""Read whole texts for the page of probes that judge texts: those that their data were made from, or any others."""

from collections.abc import Iterator
from itertools import chain, zip_longest

import numpy as np

from utils.data.preparation.settings import TextWindows
from utils.data.readers.document import text_hash
from utils.data.tokenizer import CHARACTERS_A_TOKEN, first_tokens
from utils.pages.texts.annotated import frame_of, gaps_of, labelled, own_hash, read_annotated
from utils.pages.texts.plain import read_documents
from utils.pages.texts.shown import Amount, ShownText, what_is_known
from utils.pages.texts.source import TextSource, split_by_text

LITTLE = 100  # where this part of the tokens is left, no further text is looked for that has room


def whole_texts_of(source: TextSource, amount: Amount, probes, tokenizer) -> list[ShownText]:
    """Read as many whole texts as are asked for, each as far as the probes were trained on it.

    Those of the annotated file come in the order of their hashes, which is as good as drawn: files are often sorted by
    label. A text that the tokens left have no room for is passed over, but not the first. Print what is left out.
    """
    annotated = source.kind == "annotated"
    texts, missing, left_out = [], amount.tokens, False
    for text in (from_file if annotated else from_plain_texts)(source, amount, probes, tokenizer):
        if len(texts) == amount.texts or texts and len(text.ids) > missing:
            left_out = True
            if len(texts) == amount.texts or missing <= amount.tokens // LITTLE:
                break
        elif len(text.ids):
            texts.append(text)
            missing -= len(text.ids)
    if left_out:
        which = "of its texts, as good as drawn" if annotated else "of its texts, the first that there is room for"
        print(f"note: {source.place}: {len(texts)} {which}; show more with --num_texts or --num_tokens", flush=True)
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
    tell_missing(source, wanted, split_of)
    wanted = in_turn(wanted, targets)
    before = frame_of(source, probes, tokenizer)[0]
    windows = training_windows(probes, amount.width)
    for item in labelled(wanted, targets, probes, tokenizer, CHARACTERS_A_TOKEN * amount.tokens, before, windows):
        note = what_is_known(split_of.get(hashes[id(item.document)]), split_of)
        gaps = gaps_of(item, tokenizer)[: len(item.tokens)]
        yield ShownText(item.document.name, note, item.tokens.ids, gaps, item.labels)


def from_plain_texts(source: TextSource, amount: Amount, probes, tokenizer) -> Iterator[ShownText]:
    """Yield plain texts, cut likewise; nothing is known of them but whether the probes have seen them."""
    split_of, windows = split_by_text(probes), training_windows(probes, amount.width)
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


def in_turn(documents, targets) -> list:
    """Order the documents that have a label of these targets so that each target has its turn; the others are left out."""
    of_each = [[document for document in documents if target in document.labels] for target in targets]
    turns = chain.from_iterable(zip_longest(*of_each))
    return list({id(document): document for document in turns if document is not None}.values())


def tell_missing(source: TextSource, found, split_of: dict[str, str]) -> None:
    """Print how many of the test texts are not in the file any more."""
    count = sum(split == "test" for split in split_of.values())
    if source.only_test and found and len(found) < count:
        print(
            f"note: {count - len(found)} of {count} test texts are not in {source.place} any more: it has changed since the "
            "data were prepared",
            flush=True,
        )


def training_windows(probes, most: int) -> TextWindows:
    """Say how the texts were cut that the probes were trained on.

    most: text tokens that the model can read together, for files of before, which do not tell
    """
    metadata = probes.common
    usual = "left" if (metadata.get("source") or {}).get("frame") else "right"  # of conversations, of other texts
    side = metadata.get("truncation_side")
    return TextWindows(metadata.get("context_length") or most - 1, None, side if side in ("left", "right") else usual)
