"""Labelled documents -> the rows of a dataset: a window once for each target that it has a label of."""

from dataclasses import dataclass, replace

import numpy as np

from utils.data.preparation.annotated_tokens import Tokens
from utils.data.preparation.dataset_files import assemble
from utils.data.readers.annotated import Annotated
from utils.data.token_labels import label_onsets, label_tokens, label_whole, label_within
from utils.data.windows import Stretch, Window, covering_windows


@dataclass(frozen=True)
class Labelled:
    """A document, its tokens as far as they are used, and int8 [targets, tokens] labels of them.

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

    def of_targets(self, rows) -> "Labelled":
        return replace(self, labels=self.labels[rows])


def label_function(arguments):
    """What makes the labels: a function of document, tokens and target."""
    if arguments.task == "documents":
        return lambda document, tokens, target: label_whole(document, len(tokens), target)
    if arguments.onset_only:
        return lambda document, tokens, target: label_onsets(
            document, tokens.starts, tokens.ends, target, arguments.onset_negatives
        )
    if arguments.within:
        return lambda document, tokens, target: label_within(document, tokens.starts, tokens.ends, target, arguments.within)
    return lambda document, tokens, target: label_tokens(document, tokens.starts, tokens.ends, target)


def label_rule(arguments) -> str:
    """The name of it in the metadata."""
    if arguments.task == "documents":
        return "whole"
    if arguments.onset_only:
        return "onsets_all" if arguments.onset_negatives == "all" else "onsets"
    return f"within {arguments.within}" if arguments.within else "tokens"


def cut_rows(labelled, group_names, arguments) -> tuple[list[list[tuple]], int]:
    """Of each document its rows (window, document, group, target), and how many windows have no label and were left out."""
    group_of = {name: number for number, name in enumerate(group_names)}
    width, without, result = arguments.context_length + 1, 0, []
    for number, item in enumerate(labelled):
        size = len(item.tokens)
        stretches = (
            [Stretch(0, size, 0, size)] if arguments.overlap is None else covering_windows(size, width, arguments.overlap)
        )
        rows = []
        for stretch in stretches:
            windows = windows_of(item, stretch)
            without += not windows
            rows += [(window, number, group_of[item.document.group], task) for task, window in windows]
        result.append(rows)
    return result, without


def windows_of(item, stretch) -> list[tuple[int, Window]]:
    """(target, window) of each target that has a label among the tokens kept from this stretch."""
    kept = slice(stretch.keep_from, stretch.keep_to)
    found = []
    for target in np.flatnonzero((item.labels[:, kept] >= 0).any(1)).tolist():
        labels = np.full(stretch.end - stretch.start, -1, dtype=np.int8)
        labels[stretch.keep_from - stretch.start : stretch.keep_to - stretch.start] = item.labels[target, kept]
        found.append((target, Window(item.first + stretch.start, item.tokens.ids[stretch.start : stretch.end], labels)))
    return found


def sequences_of(labelled, rows, chosen, frame, task):
    """The Sequences of the chosen documents, with the texts that document scores and text baselines read."""
    sequences = assemble([row for document in chosen for row in rows[document]], frame)
    sequences.texts = [] if task == "chains" else [labelled[document].text for document in chosen]
    return sequences
