"""Compute what a probe's document scores must beat besides the token baselines: the documents' length and words."""

from collections.abc import Mapping

import numpy as np

from utils.scores.baselines.lesson import logistic_logits
from utils.scores.baselines.texts import CHARACTER_TERMS, WORD_TERMS, tf_idf_logits
from utils.scores.documents.layout import Documents

TOKEN_BASELINES = ("read token", "neighbours", "context", "own probability")  # the others are no matter of tokens
DOCUMENT_BASELINES = ("length", "tf-idf words", "tf-idf characters")


def document_baselines(documents: Mapping[str, Documents]) -> dict[str, dict[str, np.ndarray] | None]:
    """Fit each baseline on "train", smoothed by validation: {baseline: {split: logits [d]}}, or None for one that cannot be.

    documents: {split: Documents}. None without train, with only one class in it, and for words without texts.
    """
    if "train" not in documents or len(set(documents["train"].labels.tolist())) < 2:
        return dict.fromkeys(DOCUMENT_BASELINES)
    train, scored = documents["train"], {split: those for split, those in documents.items() if split != "train"}
    texts, labels = {split: those.texts for split, those in scored.items()}, (train.labels, scored["val"].labels)
    known = bool(train.texts) and all(texts.values())
    return {
        "length": length_logits_of(train, scored),
        "tf-idf words": tf_idf_logits(train.texts, labels[0], texts, labels[1], None, **WORD_TERMS) if known else None,
        "tf-idf characters": tf_idf_logits(train.texts, labels[0], texts, labels[1], None, **CHARACTER_TERMS)
        if known
        else None,
    }


def length_logits_of(train: Documents, scored: Mapping[str, Documents]) -> dict[str, np.ndarray]:
    """Fit a logistic regression on the number of text tokens in the document (C is 1)."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train.lengths[:, None])
    lengths = {split: scaler.transform(those.lengths[:, None]) for split, those in scored.items()}
    taught = scaler.transform(train.lengths[:, None])
    return logistic_logits(taught, train.labels, None, lengths, scored["val"].labels, (1.0,))
