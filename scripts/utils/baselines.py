"""What a probe must beat: the majority class, the identity of the token that is read, the model's own probability."""

import numpy as np

SMOOTHING = 1.0  # examples of the average token that each token is thought to have had


def majority_logits(train_labels, n) -> np.ndarray:
    """The same log-odds for every example: those of the classes in train."""
    positives = np.mean(np.asarray(train_labels) == 1)
    return np.full(n, np.log(positives) - np.log1p(-positives))


def read_token_logits(train_tokens, train_labels, tokens) -> np.ndarray:
    """Log-odds of the label given nothing but which token is read: frequencies of train, smoothed to its average.

    With p of the n training examples of a token positive and q the share overall: (p + s q) / (n - p + s (1 - q)).

        read_token_logits([7, 7, 7, 9], [1, 1, 0, 0], [7, 9, 8]) -> log of 2.5/1.5, 0.5/1.5, 0.5/0.5
    """
    train_tokens, tokens = np.asarray(train_tokens), np.asarray(tokens)
    true = np.asarray(train_labels) == 1
    size = int(max(train_tokens.max(initial=0), tokens.max(initial=0))) + 1
    positives, negatives = (np.bincount(train_tokens[mask], minlength=size) for mask in (true, ~true))
    share = true.mean()
    return np.log((positives + SMOOTHING * share) / (negatives + SMOOTHING * (1 - share)))[tokens]
