"""Labelled documents -> the sequences of a dataset: each window once, with labels of each target."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from utils.data.preparation.annotated_tokens import Tokens
from utils.data.readers.annotated import Annotated
from utils.data.sequences import Sequences, unlabelled_sequences
from utils.data.tokenizer import Frame
from utils.data.windows import Stretch, covering_windows


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

    def known(self, window: Stretch) -> np.ndarray:
        """Tell which targets have a label among the tokens kept from this window: bool [targets]."""
        return np.any(self.labels[:, window.keep_from : window.keep_to] >= 0, axis=1)


def cut_into_windows(
    labelled: Sequence[LabelledDocument], width: int, overlap: int | None
) -> tuple[list[list[Stretch]], int]:
    """Cut each document into windows.

    width    text tokens of a window at most
    overlap  as in `TextWindows`; None: each document is one window

    Returns the windows of each document, and how many have no label and were left out.
    """
    without, result = 0, []
    for item in labelled:
        size = len(item.tokens)
        windows = [Stretch(0, size, 0, size)] if overlap is None else covering_windows(size, width, overlap)
        result.append([window for window in windows if item.known(window).any()])
        without += len(windows) - len(result[-1])
    return result, without


def sequences_of(
    labelled: Sequence[LabelledDocument],
    cuts: Sequence[list[Stretch]],
    chosen: Iterable[int],
    frame: Frame,
    group_names: Sequence[str],
    with_texts: bool = True,
) -> Sequences:
    """Make the sequences of the chosen documents, with the texts that document scores and text baselines read.

    cuts: the windows of each document.
    """
    chosen = list(chosen)
    windows = [(document, labelled[document], window) for document in chosen for window in cuts[document]]
    sequences = unlabelled_sequences(
        [item.tokens.ids[window.start : window.end] for _, item, window in windows],
        frame,
        [document for document, *_ in windows],
        [item.first + window.start for _, item, window in windows],
    )
    sequences.texts = [labelled[document].text for document in chosen] if with_texts else []
    group_of = {name: number for number, name in enumerate(group_names)}
    sequences.groups = np.array([group_of[item.document.group] for _, item, _ in windows], dtype=np.int32)
    known = np.stack([item.known(window) for _, item, window in windows], axis=1)
    tasks, of_window = (numbers.astype(np.int32) for numbers in np.nonzero(known))
    labels = np.full((len(tasks), sequences.input_ids.shape[1]), -1, dtype=np.int8)
    row_of = np.cumsum(known).reshape(known.shape) - 1  # of each target and window
    for number, (_, item, window) in enumerate(windows):
        there = known[:, number]
        first = len(frame[0]) + window.keep_from - window.start
        kept = item.labels[there, window.keep_from : window.keep_to]
        labels[row_of[there, number], first : first + kept.shape[1]] = kept
    return replace(sequences, labels=labels, tasks=tasks, windows=of_window if len(known) > 1 else None)
