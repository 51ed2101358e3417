"""Guess the label from the tokens around the one that is read: the baseline `context`.

It sees what the model sees, without the model: up to the token that is read where the model is causal, else on both sides.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from utils.data.sequences import Sequences
from utils.scores.baselines.lesson import RARE, Lesson, logistic_logits
from utils.states.positions import Examples

NEARBY, FAR = 8, 32  # tokens that are seen each in its place, and tokens that are seen in a bag
HASHED = 2**18  # columns of a kind of feature; where ids need more, they are hashed
EXACT, OCTAVE = 16, 4  # distances below the first have a column each, larger ones so many for each doubling
CONTEXT_PENALTIES = (0.01, 0.1, 1.0)  # scikit-learn's C
CHUNK = 2**15  # examples whose features are made at a time


@dataclass(frozen=True)
class Surroundings:
    """What `context` must know of model and tokenizer.

    ends: bool [vocabulary], which tokens end a sentence or a line; causal: whether a state sees only what is before it.
    """

    ends: np.ndarray
    causal: bool


def context_logits(
    lesson: Lesson,
    examples_by_split: Mapping[str, Examples],
    sequences_by_split: Mapping[str, Sequences],
    surroundings: Surroundings,
) -> dict[str, np.ndarray]:
    """Compute log-odds of the label from the context: {split: float64 [n]}.

    This is logistic regression on the last 8 tokens by place, their pairs, a bag of the tokens 9 to 32 away, the distance
    since the last sentence or line ended, and the place in the document. A bidirectional model's baseline sees as many
    tokens on the other side too, and the distance to the next end.
    """
    taught = list(in_chunks(lesson.examples, lesson.sequences, surroundings))
    counts = np.sum([np.bincount(codes[codes >= 0], minlength=columns) for codes, _, columns in taught], axis=0)
    known = np.flatnonzero(counts >= RARE)
    column = np.full(len(counts), -1, dtype=np.int32)
    column[known] = np.arange(len(known))
    scored = {
        split: sparse(in_chunks(examples, sequences_by_split[split], surroundings), column)
        for split, examples in examples_by_split.items()
    }
    of_val = examples_by_split["val"].labels
    return logistic_logits(sparse(taught, column), lesson.labels, lesson.weights, scored, of_val, CONTEXT_PENALTIES)


def in_chunks(
    examples: Examples, sequences: Sequences, surroundings: Surroundings
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Yield the features of some examples after the others: (column of each, -1 for none, [n, k]; values [k]; columns)."""
    for start in range(0, len(examples), CHUNK):
        codes, values, columns = [], [], 0
        for found, size, value in features(examples[start : start + CHUNK], sequences, surroundings):
            few = min(size, HASHED)
            codes.append(np.where(found >= 0, columns + (found if few == size else hashed(found)), -1))
            values.append(np.full(found.shape[1], value))
            columns += few
        yield np.concatenate(codes, axis=1), np.concatenate(values), columns


def features(
    examples: Examples, sequences: Sequences, surroundings: Surroundings
) -> Iterator[tuple[np.ndarray, int, float]]:
    """Yield each kind of feature: (which one each example has, int64 [n, k], -1 for none; how many there are; value)."""
    ends, ahead = surroundings.ends, not surroundings.causal
    size = len(ends) + 1  # of the ids, and one for what lies outside the text
    near = tokens_at(examples, sequences, np.arange(1 - NEARBY, NEARBY * ahead + 1), size - 1)
    places = near.shape[1]
    yield near + size * np.arange(places), size * places, 1.0
    yield near, size, 1.0  # also wherever they stand
    pairs = near[:, :-1] * size + near[:, 1:]
    yield pairs[:, NEARBY - 2 : NEARBY - 1], size**2, 1.0  # that ends at the token that is read
    yield pairs, size**2, 1.0
    far = np.arange(NEARBY, FAR)
    far = tokens_at(examples, sequences, np.concatenate([-far, far + 1] if ahead else [-far]), size - 1)
    yield np.where(far < len(ends), far, -1), size, far.shape[1] ** -0.5  # a bag is as long as one place
    widest = int(bucket(np.array(2**40)))
    for distance in distances(examples, sequences, surroundings):
        yield bucket(distance)[:, None], widest, 1.0


def tokens_at(examples: Examples, sequences: Sequences, offsets: np.ndarray, outside: int) -> np.ndarray:
    """Take the ids of the text tokens so far from the one that is read, int64 [n, offsets]; `outside` where none is."""
    position = examples.read[:, None] + offsets
    there = (position >= sequences.text_start) & (position < sequences.text_ends[examples.sequence, None])
    ids = sequences.input_ids[examples.sequence[:, None], np.where(there, position, 0)]
    return np.where(there, ids, outside).astype(np.int64)


def distances(examples: Examples, sequences: Sequences, surroundings: Surroundings) -> Iterator[np.ndarray]:
    """Yield the place in the document, the tokens since the last sentence or line ended, and till the next: int64 [n]."""
    start, read = sequences.text_start, examples.read
    yield sequences.starts[examples.sequence] + read - start
    rows, row = np.unique(examples.sequence, return_inverse=True)
    column = np.arange(sequences.input_ids.shape[1])
    text_ends = sequences.text_ends[rows, None]
    found = surroundings.ends[sequences.input_ids[rows]] & (column >= start) & (column < text_ends)
    yield read - np.maximum.accumulate(np.where(found, column, start - 1), axis=1)[row, read]
    if not surroundings.causal:
        following = np.where(found, column, text_ends)[:, ::-1]
        yield np.minimum.accumulate(following, axis=1)[:, ::-1][row, read] - read


def bucket(distance: np.ndarray) -> np.ndarray:
    """Number distances of at least 0: small ones as they are, larger ones by the quarters of their doublings.

    bucket([0, 15, 16, 19, 20, 32]) -> [0, 15, 16, 17, 17, 20]
    """
    quarters = np.floor(OCTAVE * np.log2(np.maximum(distance, EXACT) / EXACT)).astype(np.int64)
    return np.where(distance < EXACT, distance, EXACT + quarters)


def hashed(codes: np.ndarray) -> np.ndarray:
    """Hash codes to less than HASHED, evenly (Knuth's multiplication)."""
    mixed = codes.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return (mixed >> np.uint64(64 - (HASHED.bit_length() - 1))).astype(np.int64)


def sparse(found: Iterable[tuple[np.ndarray, np.ndarray, int]], column: np.ndarray) -> Any:
    """Make the matrix of chunks, float64 [n, known columns]. column: [columns], -1 for one that the lesson lacks."""
    from scipy.sparse import csr_array, vstack

    width = int(column.max(initial=0)) + 1
    parts = []
    for codes, values, _ in found:
        known = np.where(codes >= 0, column[codes], -1)
        there = known >= 0
        ends = np.concatenate([[0], np.cumsum(there.sum(1))])
        parts.append(csr_array((np.broadcast_to(values, there.shape)[there], known[there], ends), shape=(len(known), width)))
    return vstack(parts, format="csr")
