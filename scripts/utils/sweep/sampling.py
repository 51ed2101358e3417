"""Draw what each seed trains on: caps, negatives for the positives, the balance of the classes."""

from dataclasses import dataclass

import numpy as np

from utils.base.errors import UserError
from utils.data.sequences import Sequences
from utils.states.positions import Examples

BY_DOCUMENT, NEGATIVES, TOKENS = (
    1,
    2,
    3,
)  # one stream of random numbers each, so that one cap does not move another's draw


@dataclass(frozen=True)
class Sampling:
    """The rules by which train is sampled; None means no such limit.

    class_balance: "weighted" (a positive weighs negatives / positives, at most `pos_weight_cap`, and no more than
    `pos_weight_cap` negatives are kept for each positive), "downsample" (the larger class is cut to the smaller) or "none".
    negatives_per_doc: the most negatives of one document. token_matched: prefer negatives of the positives' tokens (see
    `matched_tokens`), at most `most_of_a_token` of each token in a document. max_documents, max_tokens: the most documents
    and labelled tokens.
    """

    class_balance: str = "weighted"
    pos_weight_cap: float | None = 5.0
    negatives_per_doc: int | None = None
    token_matched: bool = False
    most_of_a_token: int | None = 2
    max_documents: int | None = None
    max_tokens: int | None = None


def sample_for_training(
    examples: Examples, sequences: Sequences, settings: Sampling, seed: int
) -> tuple[Examples, np.ndarray]:
    """Draw the sample of `draw_sample`; give it with the weight of each of its examples in the loss, float32 [n]."""
    sample = examples[draw_sample(examples, sequences, settings, seed)]
    everywhere = np.ones((len(sample), 1))
    return sample, class_weights(everywhere, sample.labels[:, None], settings.class_balance, settings.pos_weight_cap)[:, 0]


def draw_sample(examples: Examples, sequences: Sequences, settings: Sampling, seed: int) -> np.ndarray:
    """Draw the examples of train that this seed trains on: int64 [n], in order.

    Steps: whole documents, negatives of each document, the balance of the classes, then the cap on tokens, which takes
    the same share of both classes. Every draw is uniform over what it draws from. Raise UserError where a class is lost.
    """
    documents = sequences.documents[examples.sequence]
    kept = some_documents(documents, settings, seed)
    require_classes(examples.labels[kept], "--max_train_docs", settings.max_documents)
    if settings.negatives_per_doc is not None or settings.token_matched:
        kept = kept[some_negatives(examples[kept], sequences, documents[kept], settings, seed)]
        require_classes(examples.labels[kept], "--negatives_per_doc", settings.negatives_per_doc)
    kept = kept[balanced(examples.labels[kept], settings, seed)]
    require_classes(examples.labels[kept], "--pos_weight_cap", settings.pos_weight_cap)
    kept = kept[same_share(examples.labels[kept], settings.max_tokens, seed)]
    require_classes(examples.labels[kept], "--max_train_tokens", settings.max_tokens)
    return kept


def require_classes(labels: np.ndarray, flag: str, value: float | None) -> None:
    """Raise UserError where the flag's value has left no example of a class."""
    for label, kind in ((1, "positive"), (0, "negative")):
        if not (labels == label).any():
            raise UserError(f"{flag} {value} leaves no {kind} to train on; make it larger")


def some_documents(documents: np.ndarray, settings: Sampling, seed: int) -> np.ndarray:
    """Draw the rows of at most `max_documents` documents, drawn uniformly at random."""
    names = np.unique(documents)
    if settings.max_documents is None or len(names) <= settings.max_documents:
        return np.arange(len(documents))
    drawn = np.random.default_rng([seed, BY_DOCUMENT]).choice(names, settings.max_documents, replace=False)
    return np.flatnonzero(np.isin(documents, drawn))


def some_negatives(
    examples: Examples, sequences: Sequences, documents: np.ndarray, settings: Sampling, seed: int
) -> np.ndarray:
    """Draw the rows of all positives, and of the negatives drawn in each document.

    Token-matched: at most `most_of_a_token` of each token per document, and those that match before those that do not.
    Without `negatives_per_doc`, which says how many to fill up to, only those that match.
    """
    rows = np.flatnonzero(examples.labels == 0)
    turn = np.random.default_rng([seed, NEGATIVES]).random(len(rows))
    unmatched = np.zeros(len(rows), dtype=bool)
    if settings.token_matched:
        _, tokens = matched_tokens(examples, sequences)
        unmatched = ~np.isin(tokens[rows], tokens[examples.labels == 1])
        most = len(rows) if settings.most_of_a_token is None else settings.most_of_a_token
        within = place_among_equals(turn, documents[rows], tokens[rows]) < most
        if settings.negatives_per_doc is None:
            within &= ~unmatched
        rows, turn, unmatched = rows[within], turn[within], unmatched[within]
    if settings.negatives_per_doc is not None:
        matched_first = np.argsort(np.lexsort((turn, unmatched)))
        rows = rows[place_among_equals(matched_first, documents[rows]) < settings.negatives_per_doc]
    return np.sort(np.concatenate([np.flatnonzero(examples.labels == 1), rows]))


def matched_tokens(examples: Examples, sequences: Sequences) -> tuple[str, np.ndarray]:
    """Choose the token by which negatives are matched with positives: "labelled" or "read", and its ids [n].

    The labelled token, so that a probe cannot win by knowing which tokens the positives are made of. Where no negative can
    share it (the label says whether the token is the target), the token that is read.
    """
    labelled = sequences.input_ids[examples.sequence, examples.position]
    true = examples.labels == 1
    for name, tokens in (("labelled", labelled), ("read", examples.tokens)):
        if np.isin(tokens[~true], tokens[true]).any():
            return name, tokens
    raise UserError(
        "--token_matched_negatives: no negative of train has the labelled or the read token of a positive; leave it out"
    )


def place_among_equals(turn: np.ndarray, *keys: np.ndarray) -> np.ndarray:
    """Count the rows with the same keys that come before each, by turn: int64 [n].

    place_among_equals([.3, .1, .2], ["a", "a", "b"]) -> [1, 0, 0]
    """
    order = np.lexsort((turn, *keys))
    new = np.ones(len(order), dtype=bool)
    new[1:] = np.logical_or.reduce([np.diff(key[order]) != 0 for key in keys])
    starts = np.flatnonzero(new)
    result = np.empty(len(order), dtype=np.int64)
    result[order] = np.arange(len(order)) - np.repeat(starts, np.diff([*starts, len(order)]))
    return result


def balanced(labels: np.ndarray, settings: Sampling, seed: int) -> np.ndarray:
    """Draw the rows left by `class_balance`, in order."""
    random = np.random.default_rng(seed)
    positives, negatives = (np.flatnonzero(labels == label) for label in (1, 0))
    most = {1: len(positives), 0: len(negatives)}
    if settings.class_balance == "downsample":
        most = dict.fromkeys(most, min(most.values()))
    elif settings.class_balance == "weighted" and settings.pos_weight_cap is not None:
        most[0] = int(min(settings.pos_weight_cap * len(positives), len(negatives)))
    if len(negatives) > most[0]:
        negatives = random.choice(negatives, most[0], replace=False)
    if len(positives) > most[1]:
        positives = random.choice(positives, most[1], replace=False)
    return np.sort(np.concatenate([positives, negatives]))


def same_share(labels: np.ndarray, most: int | None, seed: int) -> np.ndarray:
    """Draw the rows of at most `most` examples, the same share of each class and at least one of each, at random."""
    if most is None or len(labels) <= most:
        return np.arange(len(labels))
    random = np.random.default_rng([seed, TOKENS])
    return np.sort(
        np.concatenate(
            [
                random.choice(rows, min(max(1, most * len(rows) // len(labels)), most - 1), replace=False)
                for rows in (np.flatnonzero(labels == label) for label in (1, 0))
            ]
        )
    )


def class_weights(in_sample: np.ndarray, labels: np.ndarray, class_balance: str, pos_weight_cap: float | None) -> np.ndarray:
    """Weigh each example in the loss, float32 [n, columns]; where "weighted", a positive weighs negatives / positives.

    in_sample: [n, columns], which examples a column trains on, all others weigh 0; labels: [n, columns] of 0 and 1.
    """
    weights = np.ones(labels.shape, dtype=np.float32)
    if class_balance == "weighted":
        true = labels == 1
        positives, negatives = ((in_sample * mask).sum(0) for mask in (true, ~true))
        ratio = np.minimum(negatives / np.maximum(positives, 1), np.inf if pos_weight_cap is None else pos_weight_cap)
        weights[:] = np.where(true, ratio, 1)
    return weights * np.asarray(in_sample, dtype=np.float32)
