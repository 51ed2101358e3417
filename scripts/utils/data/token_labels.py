"""What each token of an annotated document is for a target: 1, 0 or -1 (truth unknown), from the characters it covers.

`starts` and `ends`, int64 [tokens], are the tokenizer's own offsets into the document's text, ends exclusive, neither ever
running backwards; tokens that share one character share its offsets. A token overlaps [start, end) if its own start lies
before `end` and its own end behind `start`. Labels are int8 [tokens].
"""

import numpy as np


def label_tokens(document, starts, ends, target) -> np.ndarray:
    """The first that holds: 1 if the token overlaps a span of the target; 0 if it overlaps a span of another label; -1 if
    it overlaps unknown text; 0.

        "no wait", spans ((3, 7, "doubt"),), tokens "no", " wait" -> [0, 1]
    """
    own = [span for span in document.spans if span[2] == target]
    other = [span for span in document.spans if span[2] != target]
    labels = np.zeros(len(starts), dtype=np.int8)
    labels[covered(document.unknown, starts, ends)] = -1
    labels[covered(other, starts, ends)] = 0
    labels[covered(own, starts, ends)] = 1
    return labels


def label_onsets(document, starts, ends, target, negatives) -> np.ndarray:
    """1 at the first token of each span of the target, 0 at the first token of each span of another label, else -1; a
    token that begins both is 1. negatives="all": every other token of known truth is 0.
    """
    known = label_tokens(document, starts, ends, target) >= 0
    labels = np.where(known & (negatives == "all"), 0, -1).astype(np.int8)
    labels[onsets([span for span in document.spans if span[2] != target], starts, ends)] = 0
    labels[onsets([span for span in document.spans if span[2] == target], starts, ends)] = 1
    return labels


def label_within(document, starts, ends, target, count) -> np.ndarray:
    """Does a span of the target begin at one of the `count` tokens after this one? 1 if one does; else -1 if one of them
    is unknown, for it might; else 0, also where the text ends sooner. A token of unknown truth is -1 itself.

        onset at token 3 of 6, count 2 -> [0, 1, 1, 0, 0, 0]
    """
    unknown = label_tokens(document, starts, ends, target) < 0
    begins = np.zeros(len(starts), dtype=bool)
    begins[onsets([span for span in document.spans if span[2] == target], starts, ends)] = True
    labels = np.where(any_ahead(unknown, count), -1, 0).astype(np.int8)
    labels[any_ahead(begins, count)] = 1
    labels[unknown] = -1
    return labels


def label_whole(document, tokens, target) -> np.ndarray:
    """The document's own label on the last of its `tokens` tokens (a number), -1 on the others."""
    labels = np.full(tokens, -1, dtype=np.int8)
    labels[-1:] = document.labels.get(target, -1)
    return labels


def reach(intervals, starts, ends) -> tuple[np.ndarray, np.ndarray]:
    """int64 [n] each: interval i, (start, end, ...), is overlapped by the tokens first[i] to after[i] - 1, or by none."""
    if (np.diff(starts) < 0).any() or (np.diff(ends) < 0).any():
        raise ValueError("the offsets of the tokens run backwards")
    edges = np.array([interval[:2] for interval in intervals], dtype=np.int64).reshape(-1, 2)
    return np.searchsorted(ends, edges[:, 0], side="right"), np.searchsorted(starts, edges[:, 1], side="left")


def covered(intervals, starts, ends) -> np.ndarray:
    """bool [tokens]: which tokens overlap any of the intervals."""
    first, after = reach(intervals, starts, ends)
    size = len(starts) + 1
    return np.cumsum(np.bincount(first, minlength=size) - np.bincount(after, minlength=size))[:-1] > 0


def onsets(spans, starts, ends) -> np.ndarray:
    """The first token that overlaps each span; none for a span that no token overlaps."""
    first, after = reach(spans, starts, ends)
    return first[first < after]


def any_ahead(marks, count) -> np.ndarray:
    """bool [tokens]: is any of the next `count` tokens marked, the token itself not counted?"""
    before = np.concatenate([[0], np.cumsum(marks)])
    here = np.arange(1, len(marks) + 1)
    return before[np.minimum(here + count, len(marks))] > before[here]
