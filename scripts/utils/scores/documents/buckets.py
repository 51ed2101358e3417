"""Group documents by length: into the file's own buckets, else into thirds of the lengths on validation."""

from collections.abc import Mapping

import numpy as np

from utils.scores.documents.layout import Documents

ALL = "all"
THIRDS = ("short", "medium", "long")


def bucketed(documents: Mapping[str, Documents]) -> dict[str, dict[str, np.ndarray]]:
    """Mark the documents of each bucket: {split: {bucket: bool [d]}}, first ALL, then those that the split has any of.

    documents: {split: Documents}. Thirds are cut at the lengths that a third and two thirds of validation's documents do not
    exceed, the same in each split, and carry their bounds: "short (at most 40 tokens)", "medium (41 to 90 tokens)", "long
    (91 tokens or more)".
    """
    if all(those.buckets for those in documents.values()):
        names = {split: np.array(those.buckets) for split, those in documents.items()}
        every = sorted(set(np.concatenate(list(names.values())).tolist()), key=lambda name: (len(name), name))
    else:
        low, high = np.quantile(documents["val"].lengths, [1 / 3, 2 / 3], method="inverted_cdf")
        every = [
            f"{THIRDS[0]} (at most {low} tokens)",
            f"{THIRDS[1]} ({low + 1} to {high} tokens)",
            f"{THIRDS[2]} ({high + 1} tokens or more)",
        ]
        names = {split: np.array(every)[np.searchsorted([low, high], those.lengths)] for split, those in documents.items()}
    return {
        split: {ALL: np.ones(len(found), dtype=bool), **{name: found == name for name in every if (found == name).any()}}
        for split, found in names.items()
    }
