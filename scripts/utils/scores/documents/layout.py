"""Lay out the documents of a split: which columns of the logits are theirs, and what is known of each.

Nothing here knows of models. `documents_of` lays out a split; scoring.score_documents chooses, calibrates and judges.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from utils.data.sequences import Sequences


@dataclass(frozen=True)
class Documents:
    """d documents of one split whose label is known, and those of their tokens that are scored.

    columns  int64 [tokens]  columns of the logits, document by document, in reading order
    counts   int64 [d]       how many of them each document has
    numbers  int64 [d]       which document, rising
    labels   int8  [d]       1 if any token of the document is positive, else 0
    groups   int64 [d]
    lengths  int64 [d]       text tokens of the document up to the end of its last sequence, scored or not
    buckets  list of str [d] the file's own length buckets; empty where it has none
    texts    list of str [d] empty where they are not known
    """

    columns: np.ndarray
    counts: np.ndarray
    numbers: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    lengths: np.ndarray
    buckets: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def __len__(self):
        return len(self.labels)


NO_BUCKET = "no bucket"  # of a document for which the file names none, where it does for others


def documents_of(sequences: Sequences, sequence: np.ndarray | None = None, position: np.ndarray | None = None) -> Documents:
    """Lay out the documents of a split of one target (`per_target`), and the tokens whose logits are scored.

    sequence, position: int64 [n], the row and the labelled position of each column of the logits, such as those of Examples.
    Without them the documents have no tokens, which is enough to fit baselines on.

    Documents without a labelled token are left out, since nothing is known of them, and so (where tokens are given) are
    those without a scored one. A document's label is that of its labelled tokens, scored or not, so that it is the same at
    every lag; one that holds unknown text and otherwise negatives counts as negative. Raises ValueError where a token is
    given twice.
    """
    names, first, owner = np.unique(sequences.documents, return_index=True, return_inverse=True)
    known = np.zeros(len(names), dtype=bool)
    positive = np.zeros(len(names), dtype=bool)
    np.logical_or.at(known, owner, (sequences.labels >= 0).any(1))
    np.logical_or.at(positive, owner, (sequences.labels == 1).any(1))
    lengths = np.zeros(len(names), dtype=np.int64)
    np.maximum.at(lengths, owner, sequences.starts + sequences.text_ends - sequences.text_start)
    columns, counts = np.zeros(0, dtype=np.int64), np.zeros(len(names), dtype=np.int64)
    if sequence is not None:
        columns, counts = reading_order(owner[sequence], sequences.starts[sequence] + position, len(names))
        columns = columns[np.repeat(known, counts)]
        known &= counts > 0
    kept, buckets = np.flatnonzero(known), sequences.metadata.get("length_buckets")
    return Documents(
        columns,
        counts[kept],
        names[kept].astype(np.int64),
        positive[kept].astype(np.int8),
        sequences.groups[first[kept]].astype(np.int64),
        lengths[kept],
        [NO_BUCKET if buckets[number] is None else str(buckets[number]) for number in names[kept]] if buckets else [],
        [sequences.texts[index] for index in kept] if sequences.texts else [],
    )


def reading_order(owner: ArrayLike, place: ArrayLike, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Order tokens document by document, and by place within each: (columns [n], counts [count]).

    reading_order([1, 0, 1], [7, 3, 2], 2) -> [1, 2, 0], [1, 2]
    """
    owner, place = np.asarray(owner), np.asarray(place)
    columns = np.lexsort((place, owner))
    same = (np.diff(owner[columns]) == 0) & (np.diff(place[columns]) == 0)
    if same.any():
        twice = columns[np.flatnonzero(same)[0]]
        raise ValueError(f"the token at place {place[twice]} of document {owner[twice]} is given twice")
    return columns, np.bincount(owner, minlength=count)
