"""Guess the label from few tokens: none, the one that is read, that and those before it; and from lengths alone."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from utils.data.sequences import Sequences
from utils.scores.baselines.lesson import RARE, Lesson, logistic_logits
from utils.states.positions import Examples

SMOOTHING = 1.0  # examples of the average token that each token is thought to have had
TOKENS_SEEN = 4  # the token that is read and its predecessors, for `neighbours`


def majority_logits(train_labels: ArrayLike, n: int) -> np.ndarray:
    """Give every example the same log-odds: those of the classes in train."""
    positives = np.mean(np.asarray(train_labels) == 1)
    return np.full(n, np.log(positives) - np.log1p(-positives))


def read_token_logits(train_tokens: ArrayLike, train_labels: ArrayLike, tokens: ArrayLike) -> np.ndarray:
    """Compute log-odds of the label from the token that is read alone: train's frequencies, smoothed to its average.

    For a token with n training examples, p of them positive, and an overall share q, the odds are (p + s q) / (n - p + s (1
    - q)).

        read_token_logits([7, 7, 7, 9], [1, 1, 0, 0], [7, 9, 8]) -> log of 2.5/1.5, 0.5/1.5, 0.5/0.5
    """
    train_tokens, tokens = np.asarray(train_tokens), np.asarray(tokens)
    true = np.asarray(train_labels) == 1
    size = int(max(train_tokens.max(initial=0), tokens.max(initial=0))) + 1
    positives, negatives = (np.bincount(train_tokens[mask], minlength=size) for mask in (true, ~true))
    share = true.mean()
    return np.log((positives + SMOOTHING * share) / (negatives + SMOOTHING * (1 - share)))[tokens]


def runs_read(parts: Sequence[tuple[Examples, Sequences]]) -> np.ndarray:
    """Number the runs of 1, 2, ... TOKENS_SEEN tokens that end at each read position: int64 [TOKENS_SEEN, n of all parts].

    Within a row, equal numbers mean equal runs. Special tokens before the text count as its beginning, whatever their ids.
    """
    codes = []
    for back in range(TOKENS_SEEN):
        tokens = []
        for examples, sequences in parts:
            position = examples.read - back
            inside = position >= sequences.text_start
            tokens.append(np.where(inside, sequences.input_ids[examples.sequence, np.maximum(position, 0)], -1))
        token = 1 + np.concatenate(tokens).astype(np.int64)
        shorter = codes[-1] if codes else np.zeros_like(token)
        codes.append(np.unique(shorter * (token.max() + 1) + token, return_inverse=True)[1])
    return np.stack(codes)


def neighbour_logits(
    lesson: Lesson, examples_by_split: Mapping[str, Examples], sequences_by_split: Mapping[str, Sequences]
) -> dict[str, np.ndarray]:
    """Compute log-odds of the label from the token that is read and the three before it, and nothing else.

    This is logistic regression on which runs of one to four tokens end there (one-hot). Its penalty smooths: a rare run
    moves little and leaves the decision to the shorter ones. A run that the lesson has at most once is left out.
    """
    from scipy.sparse import csr_array

    parts = [(lesson.examples, lesson.sequences)]
    parts += [(examples, sequences_by_split[split]) for split, examples in examples_by_split.items()]
    runs = runs_read(parts)
    taught, *others = np.split(runs, np.cumsum([len(examples) for examples, _ in parts])[:-1], axis=1)
    columns, count = np.full((TOKENS_SEEN, runs.max() + 1), -1), 0
    for column, codes in zip(columns, taught, strict=True):
        known = np.flatnonzero(np.bincount(codes, minlength=len(column)) >= RARE)
        column[known] = count + np.arange(len(known))
        count += len(known)

    def one_hot(codes: np.ndarray) -> csr_array:
        found = columns[np.arange(TOKENS_SEEN)[:, None], codes].T  # [n, TOKENS_SEEN]
        there = found >= 0
        ends = np.concatenate([[0], np.cumsum(there.sum(1))])
        return csr_array((np.ones(there.sum()), found[there], ends), shape=(len(found), max(count, 1)))

    scored = {split: one_hot(codes) for split, codes in zip(examples_by_split, others, strict=True)}
    return logistic_logits(one_hot(taught), lesson.labels, lesson.weights, scored, examples_by_split["val"].labels)


def length_logits(
    lesson: Lesson, examples_by_split: Mapping[str, Examples], sequences_by_split: Mapping[str, Sequences]
) -> dict[str, np.ndarray]:
    """Fit a logistic regression on the sequence's length and the place that is read, both in text tokens (C is 1)."""
    from sklearn.preprocessing import StandardScaler

    def counts(examples: Examples, sequences: Sequences) -> np.ndarray:
        ends = np.stack([sequences.text_ends[examples.sequence], examples.read], axis=1)
        return (ends - sequences.text_start).astype(np.float64)

    taught = counts(lesson.examples, lesson.sequences)
    scaler = StandardScaler().fit(taught)
    scored = {
        split: scaler.transform(counts(examples, sequences_by_split[split])) for split, examples in examples_by_split.items()
    }
    return logistic_logits(
        scaler.transform(taught), lesson.labels, lesson.weights, scored, examples_by_split["val"].labels, (1.0,)
    )
