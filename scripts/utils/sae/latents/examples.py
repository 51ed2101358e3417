"""Keep examples of each latent: its strongest ones, and a few drawn at random from each interval of its activations."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from utils.sae.latents.activity import Activity
from utils.sae.latents.codes import Codes
from utils.sae.latents.text_rows import TextRows
from utils.sae.latents.token_counts import ranks

INTERVALS = 8  # that [0, 2^exponent) is cut into; see Activity

Windows = Callable[[np.ndarray], np.ndarray]  # takes numbers of candidates, gives float32 [n, width]


@dataclass(frozen=True)
class ExampleChoice:
    """Which examples are kept of each latent, and how much is shown around them.

    top           the strongest, each from another sequence and another context (see TextRows.contexts)
    of_interval   drawn from each interval of activations
    before, after tokens around the one where the latent is active
    seed          of the draw
    """

    top: int = 10
    of_interval: int = 2
    before: int = 16
    after: int = 8
    seed: int = 0

    @property
    def width(self) -> int:
        """Count the tokens of an example."""
        return self.before + 1 + self.after


@dataclass(frozen=True)
class Candidates:
    """Activations that may be kept.

    slot   int64 [n]: where; score: float64 [n], the highest are kept; value: float32 [n]; row: int64 [n], of the plan
    same   int64 [n]: of those in a slot that are the same, only the best is kept
    windows  gives the activations of the latent around some of them
    """

    slot: np.ndarray
    score: np.ndarray
    value: np.ndarray
    row: np.ndarray
    same: np.ndarray
    windows: Windows


class BestOfSlots:
    """The best `most` candidates of each slot.

    row      int64 [slots, most], -1 where there is none
    score, value, same  of each, as in Candidates
    windows  float32 [slots, most, width]: the activations of the latent around it, NaN where no state was read

    What is kept does not depend on the order or the portions in which the candidates come: of equal scores the first row is
    better.
    """

    def __init__(self, slots: int, most: int, width: int) -> None:
        self.row = np.full((slots, most), -1, dtype=np.int64)
        self.score = np.full((slots, most), -np.inf)
        self.value = np.zeros((slots, most), dtype=np.float32)
        self.same = np.zeros((slots, most), dtype=np.int64)
        self.windows = np.zeros((slots, most, width), dtype=np.float32)

    def may_enter(self, slot: np.ndarray, score: np.ndarray) -> np.ndarray:
        """Say which can be kept at all: those no worse than the worst that is kept. bool [n]"""
        if not self.score.shape[1]:
            return np.zeros(len(slot), dtype=bool)
        return score >= self.score.min(1)[slot]

    def add(self, new: Candidates) -> None:
        """Keep those that are among the best of their slots."""
        if not len(new.slot) or not self.score.shape[1]:
            return
        changed = np.unique(new.slot)
        old_slot, old_place = np.nonzero(self.row[changed] >= 0)
        old_slot = changed[old_slot]
        old = len(old_slot)

        def both(name):
            return np.concatenate([getattr(self, name)[old_slot, old_place], getattr(new, name)])

        slot = np.concatenate([old_slot, new.slot])
        score, row, same, value = both("score"), both("row"), both("same"), both("value")
        order = np.lexsort((row, -score, same, slot))
        first = np.ones(len(order), dtype=bool)
        first[1:] = (np.diff(slot[order]) != 0) | (np.diff(same[order]) != 0)
        order = order[first]
        order = order[np.lexsort((row[order], -score[order], slot[order]))]
        place = ranks(slot[order])
        order, place = order[place < self.row.shape[1]], place[place < self.row.shape[1]]
        windows = np.empty((len(order), self.windows.shape[2]), dtype=np.float32)
        was = order < old
        windows[was] = self.windows[old_slot[order[was]], old_place[order[was]]]
        windows[~was] = new.windows(order[~was] - old)
        self.clear(changed)
        to = slot[order], place
        self.row[to], self.score[to], self.value[to], self.same[to] = row[order], score[order], value[order], same[order]
        self.windows[to] = windows

    def clear(self, slots: np.ndarray) -> None:
        """Forget what is kept in these slots."""
        self.row[slots], self.score[slots] = -1, -np.inf


class KeptExamples:
    """The examples that are kept of the latents of one sparse autoencoder.

    top    the strongest; a slot is a latent
    drawn  at random from each interval; a slot is latent * INTERVALS + interval

    A number is drawn for each latent and row, a hash of both, and an interval keeps the examples with the highest: an equal
    chance for each activation, whatever the batches. Where two intervals become one, the best of both are among those kept.
    """

    def __init__(self, text: TextRows, choice: ExampleChoice, latents: int) -> None:
        self.text, self.choice = text, choice
        self.top = BestOfSlots(latents, choice.top, choice.width)
        self.drawn = BestOfSlots(latents * INTERVALS, choice.of_interval, choice.width)

    def add(self, codes: Codes, first_row: int, activity: Activity, wider: np.ndarray) -> None:
        """Keep what is to be kept of a batch of whole sequences. activity: with this batch; wider: as it returned."""
        self._widen(activity, np.flatnonzero(wider))
        self._add_top(codes, first_row)
        slot = codes.latent * INTERVALS + activity.bins(codes.latent, codes.value, INTERVALS)
        score = drawn_numbers(self.choice.seed, codes.latent, codes.row + first_row)
        chosen = np.flatnonzero(self.drawn.may_enter(slot, score))
        self.drawn.add(
            self._candidates(codes, first_row, chosen, slot[chosen], score[chosen], codes.row[chosen] + first_row)
        )

    def _add_top(self, codes: Codes, first_row: int) -> None:
        """Offer of each latent and sequence the first of the strongest."""
        chosen = np.flatnonzero(self.top.may_enter(codes.latent, codes.value))
        if not len(chosen):
            return
        latent, value = codes.latent[chosen], codes.value[chosen]
        sequence = self.text.plan.sequence[codes.row[chosen] + first_row]
        order = np.lexsort((-value, sequence, latent))  # stable: of equal ones the first row
        first = np.ones(len(order), dtype=bool)
        first[1:] = (np.diff(latent[order]) != 0) | (np.diff(sequence[order]) != 0)
        chosen = chosen[order[first]]
        same = self.text.contexts(codes.row[chosen] + first_row)
        score = codes.value[chosen].astype(np.float64)
        self.top.add(self._candidates(codes, first_row, chosen, codes.latent[chosen], score, same))

    def _candidates(self, codes, first_row, chosen, slot, score, same) -> Candidates:
        """Offer some activations of a batch. chosen: their numbers."""

        def windows(some):
            latent, row = codes.latent[chosen[some]], codes.row[chosen[some]] + first_row
            around = self.text.rows_around(row, self.choice.before, self.choice.after)
            return codes.at(latent[:, None], np.where(around >= 0, around - first_row, -1))

        return Candidates(slot, score, codes.value[chosen], codes.row[chosen] + first_row, same, windows)

    def _widen(self, activity: Activity, latents: np.ndarray) -> None:
        """Put the examples of these latents into the intervals that they belong to now."""
        if not len(latents):
            return
        kept, slots = self.drawn, (latents[:, None] * INTERVALS + np.arange(INTERVALS)).ravel()
        slot, place = np.nonzero(kept.row[slots] >= 0)
        slot = slots[slot]
        value, windows = kept.value[slot, place], kept.windows[slot, place]
        to = slot // INTERVALS * INTERVALS + activity.bins(slot // INTERVALS, value, INTERVALS)
        moved = Candidates(
            to, kept.score[slot, place], value, kept.row[slot, place], kept.same[slot, place], lambda some: windows[some]
        )
        kept.clear(slots)
        kept.add(moved)


def drawn_numbers(seed: int, latent: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Draw a number in [0, 1) for each latent and row: the same one whenever it is asked for. float64 [n]

    The mixing is that of SplitMix64 (Steele, Lea and Flood 2014).
    """
    with np.errstate(over="ignore"):
        mixed = row.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        for part in (latent.astype(np.uint64), np.uint64(seed)):
            mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            mixed = (mixed ^ (mixed >> np.uint64(31))) + part * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (mixed >> np.uint64(11)) * 2.0**-53
