"""The texts that the page of probes shows, and what the probes know of each."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

KNOWN = {
    "test": "of the test split",
    "val": "seen when epochs and thresholds were chosen",
    "train": "seen in training",
    None: "not among the probes' texts",
    "?": "perhaps seen in training",
}


@dataclass(frozen=True)
class Amount:
    """How much is shown: at most `tokens` tokens of at most `texts` texts, and which targets' truth is asked for.

    targets: {name: token id}, None for a label
    width: text tokens that the model can read together
    """

    tokens: int
    texts: int
    targets: Mapping[str, int | None]
    width: int


@dataclass(frozen=True)
class ShownText:
    """Some tokens of one text, side by side.

    name: of the text
    note: what the probes know of the text
    ids: int32 [tokens]
    gaps: what of the text lies before each token and in none
    truth: int8 [targets, tokens], 1 for the target (or a positive label), 0 for others, -1 where it is unknown; the label of
        a whole text stands on its last token
    """

    name: str
    note: str
    ids: np.ndarray
    gaps: list[str]
    truth: np.ndarray


def what_is_known(split: str | None, split_of: dict[str, str]) -> str:
    return KNOWN[split] if split_of else KNOWN["?"]
