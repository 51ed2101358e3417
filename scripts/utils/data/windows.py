"""Windows of a document's tokens: ending at a drawn token, tiling the document, or overlapping over all of it."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Window:
    """Text tokens of one document from `start` on, with a label each (-1 where the truth is not asked for)."""

    start: int
    ids: np.ndarray
    labels: np.ndarray


def label_by_token(tokens: np.ndarray, target: int) -> np.ndarray:
    """Label each token: 1 where it is the target, else 0 (int8 [tokens])."""
    return (tokens == target).astype(np.int8)


def window(tokens: np.ndarray, labels: np.ndarray, start: int, end: int, labelled_from: int) -> Window:
    """Cut out tokens[start:end], labelled from its own token `labelled_from` on."""
    own = labels[start:end].copy()
    own[:labelled_from] = -1
    return Window(start, tokens[start:end].copy(), own)


def windows_at_drawn_tokens(
    tokens: np.ndarray, labels: np.ndarray, width: int, random: np.random.Generator
) -> list[tuple[Window, Window]]:
    """Draw pairs (positive, negative) of windows of `width` tokens that overlap nowhere; only the last token is labelled.

    Positions of either class are drawn uniformly at random, the classes alternating; one is accepted if its window,
    which ends at it, overlaps no accepted window. Both classes meet the same rule, so nothing but the label differs
    between them: a walk that takes the next target after the last window would give away the distance since the last
    target. The pairs are in random order.
    """
    positives, negatives = draw_apart(labels, width, random)

    def ending_at(position) -> Window:
        return window(tokens, labels, position - width + 1, position + 1, width - 1)

    return [(ending_at(yes), ending_at(no)) for yes, no in zip(positives, negatives, strict=False)]  # the odd one is left


def draw_apart(labels: np.ndarray, width: int, random: np.random.Generator) -> tuple[list[int], list[int]]:
    """Return the accepted positions of the positive and of the negative class, in the order of drawing."""
    blocked = np.zeros(len(labels), dtype=bool)
    blocked[: width - 1] = True
    waiting = {label: random.permutation(np.flatnonzero(labels == label)) for label in (0, 1)}
    accepted: dict[int, list[int]] = {0: [], 1: []}
    label = int(random.integers(2))
    while True:
        position, waiting[label] = next_free(waiting[label], blocked)
        if position is None:
            return accepted[1], accepted[0]
        accepted[label].append(position)
        blocked[max(position - width + 1, 0) : position + width] = True
        label = 1 - label


def next_free(positions: np.ndarray, blocked: np.ndarray) -> tuple[int | None, np.ndarray]:
    """Return the first of `positions` that is free, and those after it; None where none is."""
    looked, step = 0, 64
    while looked < len(positions):
        free = np.flatnonzero(~blocked[positions[looked : looked + step]])
        if len(free):
            found = looked + free[0]
            return int(positions[found]), positions[found + 1 :]
        looked, step = looked + step, step * 4
    return None, positions[:0]


def windows_side_by_side(tokens: np.ndarray, labels: np.ndarray, width: int, min_context: int) -> list[Window]:
    """Tile the document with windows, each labelled from its token `min_context` on; a rest too short is left out."""
    return [
        window(tokens, labels, start, start + width, min_context) for start in range(0, len(tokens) - min_context, width)
    ]


@dataclass(frozen=True)
class Stretch:
    """Tokens start to end - 1 of a document are run together; those from keep_from to keep_to - 1 are kept from this run."""

    start: int
    end: int
    keep_from: int
    keep_to: int


def overlapping_windows(length: int, width: int, overlap: int, causal: bool) -> list[Stretch]:
    """Lay windows of at most `width` tokens that overlap by `overlap`; each token is kept from exactly one of them.

    A token is kept where it has most context: in a causal model from the earlier window, which ends at it or later, so
    that it has at least `overlap` tokens before it (or all there are); in a bidirectional one from the window in whose
    middle it lies, so that it has at least half of `overlap` on either side.

        overlapping_windows(10, 6, 2, causal=True) -> [Stretch(0, 6, 0, 6), Stretch(4, 10, 6, 10)]
    """
    windows = []
    start, kept = 0, 0
    while kept < length:
        end = min(start + width, length)
        keep_to = end if causal or end == length else end - overlap // 2
        windows.append(Stretch(start, end, kept, keep_to))
        start, kept = start + width - overlap, keep_to
    return windows


def default_overlap(width: int) -> int:
    """Return how many tokens each label has before and after it in its window where the user does not say.

    It is the larger of 64 and a quarter of the width, but at most a third, so that windows of few tokens still move on.
    """
    return min(max(64, width // 4), (width - 1) // 3)


def covering_windows(length: int, width: int, overlap: int) -> list[Stretch]:
    """Lay windows of at most `width` tokens, `width` - 2 * `overlap` apart.

    Each token is kept from the window whose nearest edge is farthest away from it, the earlier of two.

    So a token has at least `overlap` tokens before it and after it in its window, or all that the document has. The last
    window is moved back until it is full. Raises ValueError where 2 * `overlap` >= `width`.

        covering_windows(10, 6, 2) -> [Stretch(0, 6, 0, 4), Stretch(2, 8, 4, 6), Stretch(4, 10, 6, 10)]
    """
    if overlap < 0 or 2 * overlap >= width:
        raise ValueError(f"windows of {width} tokens cannot overlap by {overlap} on either side")
    if length == 0:
        return []
    last = max(length - width, 0)
    starts = [*range(0, last, width - 2 * overlap), last]
    ends = [min(start + width, length) for start in starts]
    between = [(start + end - 1) // 2 + 1 for start, end in zip(starts, ends[1:], strict=False)]  # of their middles
    return [Stretch(*stretch) for stretch in zip(starts, ends, [0, *between], [*between, length], strict=True)]
