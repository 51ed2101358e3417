"""Token ids of texts -> windows: which are read, from all over each text."""

from collections.abc import Sequence

import numpy as np

from utils.base.errors import UserError
from utils.data.preparation.dataset_files import fitting_length
from utils.data.sequences import Sequences, unlabelled_sequences
from utils.data.tokenizer import Frame

USUAL_CONTEXT = 255  # text tokens before a window's last one
FEWEST_TOKENS = 2  # of a window: a single one stands at position 0

Tiles = dict[int, list[int]]  # where the windows of each document start


def window_width(context_length: int | None, model_name: str, frame: Frame, trust_remote_code: bool) -> int:
    """Give the text tokens of a full window. Raise UserError for more than the model takes."""
    fitting = fitting_length(context_length, model_name, frame, trust_remote_code)
    return (fitting if context_length is not None else min(fitting, USUAL_CONTEXT)) + 1


def tiles_of(ids: Sequence[np.ndarray], documents: np.ndarray, width: int) -> Tiles:
    """Tile these documents with windows of `width` tokens; shorter rests are kept too."""
    return {document: list(range(0, len(ids[document]) - FEWEST_TOKENS + 1, width)) for document in documents.tolist()}


def chosen_tiles(ids: Sequence[np.ndarray], tiles: Tiles, width: int, most: int) -> Tiles:
    """Choose windows that give `most` tokens, or a little more: of each document as many as of the others, or all that it
    has, from all over it, since its beginning may be unlike its end.
    """
    sizes = {document: sum(min(width, len(ids[document]) - start) for start in starts) for document, starts in tiles.items()}
    part, chosen = even_part(np.array(list(sizes.values())), most), {}
    for document, starts in tiles.items():
        given = len(starts) if part >= sizes[document] else -(-part // width)
        chosen[document] = [starts[place] for place in evenly_spread(len(starts), given)]
    return chosen


def even_part(sizes: np.ndarray, wanted: int) -> int:
    """Find how many tokens each text gives, or all that it has, so that together they are `wanted`, or a little more.

    [10, 2, 10], 12 -> 5
    """
    ordered, left = np.sort(sizes), len(sizes)
    before = np.concatenate([[0], np.cumsum(ordered)[:-1]])
    for size, given in zip(ordered.tolist(), before.tolist(), strict=True):
        if given + size * left >= wanted:
            return max(FEWEST_TOKENS, -(-(wanted - given) // left))
        left -= 1
    return int(ordered[-1])


def windows_of(ids: Sequence[np.ndarray], tiles: Tiles, width: int, most: int, frame: Frame) -> Sequences:
    """Cut the windows of these tiles that `chosen_tiles` chooses; the last one is cut short where they are `most` tokens."""
    windows, of_document, begins, count = [], [], [], 0
    for document, starts in chosen_tiles(ids, tiles, width, most).items():
        for start in starts:
            window = ids[document][start : start + width][: most - count]
            if len(window) < FEWEST_TOKENS:
                break
            windows.append(window)
            of_document.append(document)
            begins.append(start)
            count += len(window)
    if not windows:
        raise UserError("there are too few tokens for a window; give more or longer texts, or a larger --num_tokens")
    return unlabelled_sequences(windows, frame, of_document, begins)


def evenly_spread(tiles: int, given: int) -> list[int]:
    """Choose `given` tiles evenly: 10, 3 -> [1, 5, 8]; 4, 4 -> [0, 1, 2, 3]."""
    return [(2 * number + 1) * tiles // (2 * given) for number in range(min(given, tiles))]
