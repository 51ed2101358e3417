"""Deal labels anew as if they had nothing to do with the states, and keep what makes neighbouring labels alike.

Whole texts are exchanged between groups; the labels of tokens are shifted around within their document. Logits stay as they
are, so that no probe is fitted again.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from utils.scores.rows import divide


class Null(Protocol):
    """A way to deal n labels anew. moving: int [m], the examples whose label can change."""

    @property
    def moving(self) -> np.ndarray: ...

    def draw(self, random: np.random.Generator, count: int) -> np.ndarray:
        """Deal so many times: bool [count, m], the labels of the examples in `moving`."""
        ...


@dataclass(frozen=True)
class Exchange:
    """Each group takes the share of positives of another group, at random places.

    That is exact where groups have equal sizes, or one class each; else the number of positives is rounded at random.

    moving: int [n], the examples by group; group: int [n], of each of these, 0 to groups - 1; sizes, positives: [groups].
    """

    moving: np.ndarray
    group: np.ndarray
    sizes: np.ndarray
    positives: np.ndarray

    @classmethod
    def of(cls, labels: ArrayLike, groups: ArrayLike) -> "Exchange":
        _, group = np.unique(groups, return_inverse=True)
        moving = np.argsort(group, kind="stable")
        return cls(moving, group[moving], np.bincount(group), np.bincount(group, np.asarray(labels) == 1))

    def draw(self, random: np.random.Generator, count: int) -> np.ndarray:
        dealt = random.permuted(np.tile(self.positives / self.sizes, (count, 1)), axis=1)
        if self.pure:
            return dealt[:, self.group] > 0.5
        wanted = np.floor(dealt * self.sizes + random.uniform(1e-9, 1 - 1e-9, dealt.shape))  # whole numbers stay
        shuffled = np.argsort(self.group + random.random((count, len(self.group))), axis=1)  # within each group
        starts = np.cumsum(self.sizes) - self.sizes
        return shuffled < np.repeat(starts + wanted, self.sizes, axis=1)

    @property
    def pure(self) -> bool:
        """Say whether each group holds one class."""
        return bool(((self.positives == 0) | (self.positives == self.sizes)).all())


@dataclass(frozen=True)
class Shift:
    """The labels of each document move on by a random number of its labelled tokens, around its end to its beginning.

    Documents of one class have nothing to move. moving: int [m], the examples of the others, by document and place; labels:
    bool [m]; starts, sizes: [m], of the document of each.
    """

    moving: np.ndarray
    labels: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, labels: ArrayLike, documents: ArrayLike, places: ArrayLike) -> "Shift":
        """places: [n], where in its document a token is."""
        true, (_, document) = np.asarray(labels) == 1, np.unique(documents, return_inverse=True)
        share = divide(np.bincount(document, true), np.bincount(document))[document]
        order = np.lexsort((np.asarray(places), document))
        order = order[((share > 0) & (share < 1))[order]]
        sizes = np.bincount(document[order])
        sizes = sizes[sizes > 0]
        return cls(order, true[order], np.repeat(np.cumsum(sizes) - sizes, sizes), np.repeat(sizes, sizes))

    def draw(self, random: np.random.Generator, count: int) -> np.ndarray:
        first = np.flatnonzero(np.arange(len(self.starts)) == self.starts)
        steps = (random.random((count, len(first))) * self.sizes[first]).astype(np.int64)
        place = np.arange(len(self.starts)) - self.starts
        moved = place + np.repeat(steps, self.sizes[first], axis=1)
        return self.labels[self.starts + moved % self.sizes]


def null_of(labels: ArrayLike, groups: ArrayLike, documents: ArrayLike, places: ArrayLike | None) -> Exchange | Shift:
    """Choose how to deal labels [n] anew: by shifts of tokens, or between groups of whole texts (places: None).

    Between groups also where no document holds tokens of both classes.
    """
    if places is not None:
        shift = Shift.of(labels, documents, places)
        if len(shift.moving):
            return shift
    return Exchange.of(labels, groups)
