"""Labelled documents -> the rows of a dataset: a window once for each target that it has a label of."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from utils.data.preparation.annotated_tokens import Tokens
from utils.data.preparation.dataset_files import sequences_of_windows
from utils.data.readers.annotated import Annotated
from utils.data.sequences import Sequences
from utils.data.tokenizer import Frame
from utils.data.windows import Stretch, Window, covering_windows


@dataclass(frozen=True)
class LabelledDocument:
    """A document, its tokens as far as they are used, and their labels, int8 [targets, tokens].

    first: the number of its first token here among its `length` tokens; not 0 where its beginning was cut off.
    """

    document: Annotated
    tokens: Tokens
    labels: np.ndarray
    first: int
    length: int

    @property
    def positives(self) -> np.ndarray:
        return (self.labels == 1).sum(1)

    @property
    def negatives(self) -> np.ndarray:
        return (self.labels == 0).sum(1)

    @property
    def truncated(self) -> bool:
        return len(self.tokens) < self.length

    @property
    def text(self) -> str:
        """The document's text, without the characters of tokens that were cut off."""
        text = self.document.text
        if not self.truncated:
            return text
        return text[self.tokens.starts[0] :] if self.first else text[: self.tokens.ends[-1]]

    def of_targets(self, rows: Sequence[int]) -> "LabelledDocument":
        """Keep the labels of these targets only; rows: their numbers."""
        return replace(self, labels=self.labels[rows])


def cut_rows(
    labelled: Sequence[LabelledDocument], group_names: Sequence[str], width: int, overlap: int | None
) -> tuple[list[list[tuple[Window, int, int, int]]], int]:
    """Cut each document into its rows (window, document, group, target).

    width    text tokens of a window at most
    overlap  as in `TextWindows`; None: each document is one window

    Returns them, and how many windows have no label and were left out.
    """
    group_of = {name: number for number, name in enumerate(group_names)}
    without, result = 0, []
    for number, item in enumerate(labelled):
        size = len(item.tokens)
        stretches = [Stretch(0, size, 0, size)] if overlap is None else covering_windows(size, width, overlap)
        rows = []
        for stretch in stretches:
            windows = windows_of(item, stretch)
            without += not windows
            rows += [(window, number, group_of[item.document.group], task) for task, window in windows]
        result.append(rows)
    return result, without


def windows_of(item: LabelledDocument, stretch: Stretch) -> list[tuple[int, Window]]:
    """Return (target, window) of each target that has a label among the tokens kept from this stretch."""
    kept = slice(stretch.keep_from, stretch.keep_to)
    found = []
    for target in np.flatnonzero((item.labels[:, kept] >= 0).any(1)).tolist():
        labels = np.full(stretch.end - stretch.start, -1, dtype=np.int8)
        labels[stretch.keep_from - stretch.start : stretch.keep_to - stretch.start] = item.labels[target, kept]
        found.append((target, Window(item.first + stretch.start, item.tokens.ids[stretch.start : stretch.end], labels)))
    return found


def sequences_of(
    labelled: Sequence[LabelledDocument],
    rows: Sequence[list[tuple[Window, int, int, int]]],
    chosen: Iterable[int],
    frame: Frame,
    with_texts: bool = True,
) -> Sequences:
    """Make the sequences of the chosen documents, with the texts that document scores and text baselines read."""
    chosen = list(chosen)
    sequences = sequences_of_windows([row for document in chosen for row in rows[document]], frame)
    sequences.texts = [labelled[document].text for document in chosen] if with_texts else []
    return sequences
