"""Account for probes that are scored on the same examples: their scores in, the further columns of each out."""

from collections.abc import Mapping, Sequence

import numpy as np

from utils.data.sequences import Sequences
from utils.scores.differences import DIFFERENCES_OF
from utils.scores.search.account import ENDS, account
from utils.scores.search.nulls import Exchange, Shift, null_of
from utils.states.positions import Examples

SEARCH = (  # what each probe gets
    "balanced_accuracy_band_low",
    "balanced_accuracy_band_high",
    "auc_band_low",
    "auc_band_high",
    "permutation_p",
    "permutation_p_in_sweep",
)


def null_of_examples(examples: Examples, sequences: Sequences, of_sequences: bool) -> Exchange | Shift:
    """Choose how to deal the labels of examples anew: those of whole sequences between groups, else within documents."""
    places = None if of_sequences else sequences.starts[examples.sequence] + examples.position
    return null_of(examples.labels, examples.groups, sequences.documents[examples.sequence], places)


def searched(
    logits: np.ndarray, labels: np.ndarray, groups: np.ndarray, scored: Sequence[Mapping], null: Exchange | Shift
) -> list[dict[str, float]]:
    """Compute the columns of `account` for each probe, from logits [probes, n] and their scores, one mapping each."""
    needed = ("threshold", *(f"{metric}{end}" for metric in DIFFERENCES_OF for end in ENDS))
    found = account(logits, labels, groups, {name: np.array([one[name] for one in scored]) for name in needed}, null)
    return [dict(zip(found, map(float, values), strict=True)) for values in zip(*found.values(), strict=True)]
