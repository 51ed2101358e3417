"""Guess the label of a whole text from its words or its characters."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from utils.base.files import fingerprint
from utils.data.sequences import Sequences
from utils.scores.baselines.lesson import Lesson, logistic_logits
from utils.states.positions import Examples

WORD_TERMS = {"token_pattern": r"\w+|[^\w\s]"}  # a word, however short, or a punctuation mark
CHARACTER_TERMS = {"analyzer": "char_wb", "ngram_range": (2, 4), "lowercase": False, "max_features": 2**18}


def tf_idf_logits(
    texts: Sequence[str],
    labels: np.ndarray,
    texts_by_split: Mapping[str, Sequence[str]],
    val_labels: np.ndarray,
    weights: np.ndarray | None = None,
    **options: Any,
) -> dict[str, np.ndarray]:
    """Fit a logistic regression on TF-IDF features; idf and terms come from the texts of train, [n], with labels [n].

    weights: [n], or None where all count alike; options: of scikit-learn's TfidfVectorizer.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True, **options).fit(texts)
    scored = {split: vectorizer.transform(those) for split, those in texts_by_split.items()}
    return logistic_logits(vectorizer.transform(texts), labels, weights, scored, val_labels)


def text_baselines(
    asked: Examples,
    examples_by_split: Mapping[str, Examples],
    sequences_by_split: Mapping[str, Sequences],
    texts_by_split: Mapping[str, Sequence[str]],
    remembered: dict[str, dict],
) -> dict[str, dict[str, np.ndarray]]:
    """Compute a bag of words and a bag of characters, for labels of whole sequences; see `all_token_baselines`.

    texts_by_split: {split: [text of each sequence]}; remembered: a dict in which the fitted bags are kept, so that they are
    fitted once for the same texts and labels at several lags.
    """
    lesson = Lesson.of(asked, sequences_by_split["train"])
    every = (asked, *examples_by_split.values())
    key = fingerprint(*(array for those in every for array in (those.sequence, those.labels)))
    if key not in remembered:
        taught = [str(texts_by_split["train"][index]) for index in lesson.examples.sequence]
        texts = {
            split: [str(texts_by_split[split][index]) for index in examples.sequence]
            for split, examples in examples_by_split.items()
        }
        remembered[key] = {
            name: tf_idf_logits(taught, lesson.labels, texts, examples_by_split["val"].labels, lesson.weights, **terms)
            for name, terms in (("tf-idf words", WORD_TERMS), ("tf-idf characters", CHARACTER_TERMS))
        }
    return remembered[key]
