"""Compute what a probe's document scores must beat besides the token baselines: the documents' length and words."""

from collections.abc import Mapping

import numpy as np

from utils.scores.baselines import CHARACTER_TERMS, WORD_TERMS, logistic_logits, tf_idf_logits
from utils.scores.documents.layout import Documents

TOKEN_BASELINES = ("read token", "neighbours", "own probability")  # of scores.baselines; the others are no matter of tokens
DOCUMENT_BASELINES = ("length", "tf-idf words", "tf-idf characters")


def document_baselines(documents: Mapping[str, Documents]) -> dict[str, dict[str, np.ndarray] | None]:
    """Fit each baseline on "train", smoothed by validation: {baseline: {split: logits [d]}}, or None for one that cannot be.

    documents: {split: Documents}. None without train, with only one class in it, and for words without texts.
    """
    if "train" not in documents or len(set(documents["train"].labels.tolist())) < 2:
        return dict.fromkeys(DOCUMENT_BASELINES)
    labels = {split: those.labels for split, those in documents.items()}
    texts = {split: those.texts for split, those in documents.items()}
    known = all(texts.values())
    return {
        "length": length_logits_of(documents, labels),
        "tf-idf words": tf_idf_logits(texts, labels, **WORD_TERMS) if known else None,
        "tf-idf characters": tf_idf_logits(texts, labels, **CHARACTER_TERMS) if known else None,
    }


def length_logits_of(documents: Mapping[str, Documents], labels: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Fit a logistic regression on the number of text tokens in the document (C is 1)."""
    from sklearn.preprocessing import StandardScaler

    lengths = {split: those.lengths[:, None].astype(np.float64) for split, those in documents.items()}
    scaler = StandardScaler().fit(lengths["train"])
    return logistic_logits(
        {split: scaler.transform(values) for split, values in lengths.items()}, labels, inverse_penalties=(1.0,)
    )
