"""Labels of the tokens of an annotated document for a target: 1, 0 or -1 (truth unknown), from the characters they cover.

`starts` and `ends`, int64 [tokens], are the tokenizer's own offsets into the document's text, ends exclusive, neither ever
running backwards; tokens that share one character share its offsets. A token overlaps [start, end) if its own start lies
before `end` and its own end behind `start`. Labels are int8 [tokens].
"""

from collections.abc import Sequence

import numpy as np

from utils.data.label_rule import LabelRule
from utils.data.readers.annotated import Annotated


def labels_by_rule(rule: LabelRule, document: Annotated, starts: np.ndarray, ends: np.ndarray, target: str) -> np.ndarray:
    """Label the tokens by this rule. Raises ValueError for one that reads no annotations."""
    if rule.kind == "whole":
        return label_whole(document, len(starts), target)
    if rule.kind in ("onsets", "onsets_all"):
        return label_onsets(document, starts, ends, target, "all" if rule.kind == "onsets_all" else "others")
    if rule.kind == "within" and rule.count is not None:
        return label_within(document, starts, ends, target, rule.count)
    if rule.kind == "tokens":
        return label_tokens(document, starts, ends, target)
    raise ValueError(f"the rule {str(rule)!r} does not read annotations")


def label_tokens(document: Annotated, starts: np.ndarray, ends: np.ndarray, target: str) -> np.ndarray:
    """Label each token by the first of these that holds.

    1 if it overlaps a span of the target; 0 if it overlaps a span of another label; -1 if it overlaps unknown text; else 0.

        "no wait", spans ((3, 7, "doubt"),), tokens "no", " wait" -> [0, 1]
    """
    labels = np.zeros(len(starts), dtype=np.int8)
    if document.unknown:
        labels[covered(document.unknown, starts, ends) & ~covered(document.spans, starts, ends)] = -1
    if target in document.spans_of:
        labels[covered(document.spans_of[target], starts, ends)] = 1
    return labels


def label_onsets(document: Annotated, starts: np.ndarray, ends: np.ndarray, target: str, negatives: str) -> np.ndarray:
    """Label the beginnings of spans.

    1 at the first token of each span of the target, 0 at the first token of each span of another label, else -1; a token
    that begins both is 1. negatives="all": every other token of known truth is 0.
    """
    known = label_tokens(document, starts, ends, target) >= 0
    labels = np.where(known & (negatives == "all"), 0, -1).astype(np.int8)
    labels[onsets([span for span in document.spans if span[2] != target], starts, ends)] = 0
    labels[onsets(document.spans_of.get(target, ()), starts, ends)] = 1
    return labels


def label_within(document: Annotated, starts: np.ndarray, ends: np.ndarray, target: str, count: int) -> np.ndarray:
    """Label each token by whether a span of the target begins at one of the `count` tokens after it.

    1 if one does; else -1 if one of them is unknown, for it might; else 0, also where the text ends sooner. A token of
    unknown truth is -1 itself.

        onset at token 3 of 6, count 2 -> [0, 1, 1, 0, 0, 0]
    """
    unknown = label_tokens(document, starts, ends, target) < 0
    begins = np.zeros(len(starts), dtype=bool)
    begins[onsets(document.spans_of.get(target, ()), starts, ends)] = True
    labels = np.where(any_ahead(unknown, count), -1, 0).astype(np.int8)
    labels[any_ahead(begins, count)] = 1
    labels[unknown] = -1
    return labels


def label_whole(document: Annotated, tokens: int, target: str) -> np.ndarray:
    """Put the document's own label on the last of its `tokens` tokens (a number), -1 on the others."""
    labels = np.full(tokens, -1, dtype=np.int8)
    labels[-1:] = document.labels.get(target, -1)
    return labels


def tokens_over_each(intervals: Sequence[tuple], starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the tokens that overlap each interval (start, end, ...).

    Returns int64 [n] each: tokens first[i] to after[i] - 1 overlap interval i; none do where first[i] >= after[i].
    """
    if (np.diff(starts) < 0).any() or (np.diff(ends) < 0).any():
        raise ValueError("the offsets of the tokens run backwards")
    edges = np.array([interval[:2] for interval in intervals], dtype=np.int64).reshape(-1, 2)
    return np.searchsorted(ends, edges[:, 0], side="right"), np.searchsorted(starts, edges[:, 1], side="left")


def covered(intervals: Sequence[tuple], starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Tell which tokens overlap any of the intervals: bool [tokens]."""
    first, after = tokens_over_each(intervals, starts, ends)
    size = len(starts) + 1
    return np.cumsum(np.bincount(first, minlength=size) - np.bincount(after, minlength=size))[:-1] > 0


def onsets(spans: Sequence[tuple], starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return the first token that overlaps each span; none for a span that no token overlaps."""
    first, after = tokens_over_each(spans, starts, ends)
    return first[first < after]


def any_ahead(marks: np.ndarray, count: int) -> np.ndarray:
    """Tell whether any of the next `count` tokens is marked, the token itself not counted: bool [tokens]."""
    before = np.concatenate([[0], np.cumsum(marks)])
    here = np.arange(1, len(marks) + 1)
    return before[np.minimum(here + count, len(marks))] > before[here]
