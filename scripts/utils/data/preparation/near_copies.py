"""Find texts that are nearly the same, so that they come into one split: one word changed, or a longer stretch shared."""

import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from utils.data.readers.annotated import Annotated, Collection, join_by_keys, normalised
from utils.data.splits import BOILERPLATE, group_near_duplicates, sketch

FEWEST_WORDS = 4  # of shorter texts, such as names, one word is too large a part to speak of a copy
FRAMED_WORDS = 16  # in texts of at most so many, two places may be what a template fills
COMPARED_WORDS = 64  # in texts of at most so many, one word may differ; longer ones share a stretch all the same
COMMON = 200  # a trigram of more problems is a phrase, such as "what is the"
BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that it has an inverse modulo 2^64
INVERSE = np.uint64(pow(int(BASE), -1, 2**64))
PUNCTUATED = re.compile(r"\w+(?:['’]\w+)*")


def group_near_copies(collection: Collection) -> Collection:
    """Join the groups of near copies, within a published split where there are some, and count what was found.

    Near copies across published splits stay where they are, and a warning counts them.
    """
    documents = collection.documents
    splits = [document.split or "" for document in documents]
    near = join_by_keys(near_copies(documents))
    keys = [[(split, document.group), (split, one)] for split, document, one in zip(splits, documents, near, strict=True)]
    splits_of = defaultdict(set)
    for one, split in zip(near, splits, strict=True):
        splits_of[one].add(split)
    apart = [split for one, split in zip(near, splits, strict=True) if len(splits_of[one]) > 1]
    first = join_by_keys(keys)
    joined = [replace(document, group=documents[row].group) for document, row in zip(documents, first, strict=True)]
    counts = recounted(collection.counts, joined)
    if moved := sum(new.group != old.group for new, old in zip(joined, documents, strict=True)):
        counts["texts_grouped_as_near_copies"] = moved
    notes = collection.notes
    if apart:
        counts["near_copies_across_splits"] = len(apart)
        notes += (
            f"WARNING: {len(apart):,} texts have a near copy in another of the published splits "
            f"({', '.join(f'{count:,} of {split}' for split, count in Counter(apart).items())}): scores may profit from it; "
            "--split_column none deals all texts out by group",
        )
    return replace(collection, documents=joined, counts=counts, notes=notes)


def recounted(counts: dict, documents: Sequence[Annotated]) -> dict:
    """Count groups anew: in all, the largest where it was counted, and of each set."""
    sizes = Counter(document.group for document in documents)
    largest = {"largest_group": max(sizes.values())} if "largest_group" in counts else {}
    sets = {
        tag: {**own, "groups": len({document.group for document in documents if tag in document.labels})}
        for tag, own in counts.get("sets", {}).items()
    }
    return {**counts, "groups": len(sizes), **largest, **({"sets": sets} if sets else {})}


def near_copies(documents: Sequence[Annotated]) -> list[list[Hashable]]:
    """List the keys of each document, which it shares with its near copies.

    Copies are texts that are the same when one word of each is left out, texts that share a fifth of their runs of 16
    words, as editions of a book do, and chains whose problems share half of their trigrams. Texts of a template, such as
    "The city of X is in Y.", are not copies of each other.
    """
    if not documents:
        return []
    words = [PUNCTUATED.findall(normalised(document.own_text)) for document in documents]
    codes = [np.array([zlib.crc32(word.encode()) for word in own], dtype=np.int64) for own in words]
    editions = group_near_duplicates(list(map(str, range(len(words)))), [sketch(own) for own in codes])
    keys: list[list[Hashable]] = [[("edition", edition)] for edition in editions]
    for index, key in one_word_apart(words):
        keys[index].append(("word", key))
    problems = [normalised(document.meta["problem"]) if "chain_start" in document.meta else "" for document in documents]
    for pair in share_half(problems):
        for index in pair:
            keys[index].append(("problem", pair))
    return keys


def one_word_apart(words: Sequence[Sequence[str]]) -> Iterator[tuple[int, int]]:
    """Yield (text, key) where texts are the same when at most one word of each is left out: they share a key.

    What more than 8 texts have in common but for one word, or in short texts but for two, is a template.
    """
    found = shared_keys(*keys_of(words))
    frames: Counter[int] = Counter()
    frames_of: dict[int, set[int]] = {}
    for index in {index for those in found.values() for index in those}:
        frames_of[index] = set(without(words[index], 2)) if len(words[index]) <= FRAMED_WORDS else set()
        frames.update(frames_of[index])
    filled = {index for index, own in frames_of.items() if any(frames[frame] > BOILERPLATE for frame in own)}
    yield from ((index, key) for key, those in found.items() for index in those if index not in filled)


def keys_of(words: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
    """Hash each text of comparable length as it is, and without each of its words: (texts int64, keys uint64), both [n].

    A hash is the sum of each word's code times BASE to the power of its place, modulo 2^64. Leaving out a word takes its
    term away and divides the terms behind it by BASE, so all keys of all texts come from one running sum.
    """
    texts = [index for index, own in enumerate(words) if FEWEST_WORDS <= len(own) <= COMPARED_WORDS]
    lengths = np.array([len(words[index]) for index in texts], dtype=np.int64)
    codes = np.fromiter((hash(word) for index in texts for word in words[index]), np.int64, lengths.sum()).view(np.uint64)
    number, starts = np.repeat(np.arange(len(texts)), lengths), np.cumsum(lengths) - lengths
    powers = np.cumprod(np.full(COMPARED_WORDS, BASE, dtype=np.uint64))
    terms = codes * powers[np.arange(len(codes)) - starts[number]]
    sums = np.concatenate([[np.uint64(0)], np.cumsum(terms, dtype=np.uint64)])
    whole = sums[starts + lengths] - sums[starts]
    before = sums[:-1] - sums[starts][number]
    left_out = before + (whole[number] - before - terms) * INVERSE
    of_text = np.array(texts, dtype=np.int64)
    return np.concatenate([of_text, of_text[number]]), np.concatenate([whole, left_out])


def shared_keys(texts: np.ndarray, keys: np.ndarray) -> dict[int, list[int]]:
    """Find the texts that share a key, where they are at least two and no more than a template has."""
    order = np.lexsort((texts, keys))
    texts, keys = texts[order], keys[order]
    once = np.ones(len(keys), dtype=bool)  # a text of "the the" has one key twice
    once[1:] = (keys[1:] != keys[:-1]) | (texts[1:] != texts[:-1])
    texts, keys = texts[once], keys[once]
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.zeros(0, dtype=np.int64)
    counts = np.diff(np.append(starts, len(keys)))
    shared = (counts > 1) & (counts <= BOILERPLATE)
    return {
        int(keys[start]): texts[start : start + count].tolist()
        for start, count in zip(starts[shared], counts[shared], strict=True)
    }


def without(words: Sequence[str], count: int) -> Iterator[int]:
    """Hash the text without each `count` of its words."""
    for left_out in combinations(range(len(words)), count):
        yield hash(tuple(word for place, word in enumerate(words) if place not in left_out))


def share_half(texts: Sequence[str]) -> list[tuple[int, int]]:
    """List the pairs of texts that share at least half of the trigrams of words of the one that has fewer.

    Trigrams of more than 200 texts count for nothing.

        share_half(["a b c d", "a b c e", "x y z"]) -> [(0, 1)]
    """
    from scipy.sparse import csr_array

    words = [text.split() for text in texts]
    trigrams = [set(zip(own, own[1:], own[2:], strict=False)) for own in words]
    holders = Counter(trigram for own in trigrams for trigram in own)
    number_of = {trigram: number for number, trigram in enumerate(sorted(holders)) if 1 < holders[trigram] <= COMMON}
    known = [[number_of[trigram] for trigram in own if trigram in number_of] for own in trigrams]
    sizes = np.array([sum(holders[trigram] <= COMMON for trigram in own) for own in trigrams])
    ends = np.cumsum([0, *map(len, known)])
    if not ends[-1]:
        return []
    held = csr_array((np.ones(ends[-1]), np.concatenate(known).astype(int), ends), shape=(len(texts), holders.total()))
    shared = (held @ held.T).tocoo()
    near = (shared.row < shared.col) & (2 * shared.data >= np.minimum(sizes[shared.row], sizes[shared.col]))
    return list(zip(shared.row[near].tolist(), shared.col[near].tolist(), strict=True))
