"""Count which tokens are read while each latent is active, beside how often they are read at all."""

import numpy as np

ROOM = 128  # pairs of a latent and a token that are kept, on average over the latents
SMALL = 2**22  # pairs that are kept in any case: 64 MB
BUFFER = 2**21  # pairs that wait to be counted


class TokenCounts:
    """How often each latent was active at each token.

    Exact while the pairs of a latent and a token are at most SMALL, or ROOM times the latents. Beyond that the rarest tokens
    are forgotten of latents with more than ROOM of them, by the rule of Misra and Gries (1982; for merged counts Agarwal et
    al. 2012): a count is then too low by at most `missed`, which is at most 1 / ROOM of the latent's activations.

    base    int64 [vocabulary]: how often each token was read
    active  int64 [latents]: how often each latent was active at a token, never forgotten
    missed  int64 [latents]
    """

    def __init__(self, latents: int, vocabulary: int) -> None:
        self._vocabulary = vocabulary
        self._pairs, self._counts = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self.base = np.zeros(vocabulary, dtype=np.int64)
        self.active = np.zeros(latents, dtype=np.int64)
        self.missed = np.zeros(latents, dtype=np.int64)

    def add(self, tokens: np.ndarray, latent: np.ndarray, row: np.ndarray) -> None:
        """Count a batch. tokens: int [rows], -1 for none; latent, row: int64 [n], of each activation."""
        self.base += np.bincount(tokens[tokens >= 0], minlength=self._vocabulary)
        at = tokens[row]
        there = at >= 0
        self.active += np.bincount(latent[there], minlength=len(self.active))
        self._waiting.append(np.unique(latent[there] * self._vocabulary + at[there], return_counts=True))
        if sum(len(pairs) for pairs, _ in self._waiting) > max(BUFFER, len(self._pairs)):
            self._merge()

    def pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Give (latent, token, count), int64 [n] each, latent by latent."""
        self._merge()
        return *np.divmod(self._pairs, self._vocabulary), self._counts

    def _merge(self) -> None:
        if not self._waiting:
            return
        pairs = np.concatenate([self._pairs, *(pairs for pairs, _ in self._waiting)])
        counts = np.concatenate([self._counts, *(counts for _, counts in self._waiting)])
        self._waiting = []
        order = np.argsort(pairs, kind="stable")
        pairs, counts = pairs[order], counts[order]
        starts = np.flatnonzero(np.diff(pairs, prepend=-1))
        self._pairs = pairs[starts]
        self._counts = np.add.reduceat(counts, starts) if len(starts) else counts
        if len(self._pairs) > max(SMALL, ROOM * len(self.missed)):
            self._forget()

    def _forget(self) -> None:
        """Take from each count of a latent its count at rank ROOM + 1, and keep what is left above 0."""
        latent = self._pairs // self._vocabulary
        order = np.lexsort((-self._counts, latent))
        rank = ranks(latent[order])
        lost = np.zeros_like(self.missed)
        next_one = order[rank == ROOM]
        lost[latent[next_one]] = self._counts[next_one]
        left = self._counts - lost[latent]
        self.missed += lost
        self._pairs, self._counts = self._pairs[left > 0], left[left > 0]


def ranks(groups: np.ndarray) -> np.ndarray:
    """Number the members of each run of equal values: [4, 4, 7, 7, 7] -> [0, 1, 0, 1, 2]."""
    if not len(groups):
        return np.zeros(0, dtype=np.int64)
    starts = np.flatnonzero(np.diff(groups, prepend=groups[0] - 1))
    lengths = np.diff(starts, append=len(groups))
    return np.arange(len(groups)) - np.repeat(starts, lengths)
