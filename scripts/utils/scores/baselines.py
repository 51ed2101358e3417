"""Compute the baselines that a probe must beat.

They are the majority class, the token that is read, that token and those before it, length, words, and for a next-token task
the model's own probability. Each learns from train's labels only, and what is chosen is chosen on validation.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from utils.base.files import fingerprint
from utils.data.sequences import Sequences
from utils.scores.ranking import auroc
from utils.states.positions import Examples

SMOOTHING = 1.0  # examples of the average token that each token is thought to have had
INVERSE_PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)  # scikit-learn's C
ITERATIONS = 1000  # of L-BFGS, at most; it needs some hundred where the penalty is weak
TOKENS_SEEN = 4  # the token that is read and its predecessors, for `neighbours`
RARE = 2  # a run of tokens or characters that train has less often is left out: it would be learnt by heart
WORD_TERMS = {"token_pattern": r"\w+|[^\w\s]"}  # a word, however short, or a punctuation mark
CHARACTER_TERMS = {"analyzer": "char_wb", "ngram_range": (2, 4), "lowercase": False, "max_features": 2**18}
SUSPICIOUS = 0.4  # AUROC of a baseline; chance is 0.5


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


def logistic_logits(
    features: Mapping[str, Any], labels: Mapping[str, np.ndarray], inverse_penalties: Sequence[float] = INVERSE_PENALTIES
) -> dict[str, np.ndarray]:
    """Fit scikit-learn's logistic regression on train, and give its logits of every split: {split: [n]}.

    Its C (the smoothing) is the one with the best AUROC on validation; of equally good ones the smallest.

    features: {split: [n, features]}, sparse or not; labels: {split: [n]}.
    """
    from sklearn.linear_model import LogisticRegression

    best, found = -math.inf, {}
    model = LogisticRegression(max_iter=ITERATIONS, warm_start=True)
    for inverse_penalty in inverse_penalties:
        model.set_params(C=inverse_penalty).fit(features["train"], labels["train"])
        logits = {split: model.decision_function(those) for split, those in features.items()}
        score = np.nan_to_num(auroc(logits["val"], labels["val"]))
        if score > best:
            best, found = score, logits
    return found


def runs_read(examples_by_split: Mapping[str, Examples], sequences_by_split: Mapping[str, Sequences]) -> np.ndarray:
    """Number the runs of 1, 2, ... TOKENS_SEEN tokens that end at each read position: int64 [TOKENS_SEEN, n of all splits].

    Within a row, equal numbers mean equal runs. Special tokens before the text count as its beginning, whatever their ids.
    """
    codes = []
    for back in range(TOKENS_SEEN):
        tokens = []
        for split, examples in examples_by_split.items():
            sequences, position = sequences_by_split[split], examples.read - back
            inside = position >= sequences.text_start
            tokens.append(np.where(inside, sequences.input_ids[examples.sequence, np.maximum(position, 0)], -1))
        token = 1 + np.concatenate(tokens).astype(np.int64)
        shorter = codes[-1] if codes else np.zeros_like(token)
        codes.append(np.unique(shorter * (token.max() + 1) + token, return_inverse=True)[1])
    return np.stack(codes)


def neighbour_logits(
    examples_by_split: Mapping[str, Examples], sequences_by_split: Mapping[str, Sequences]
) -> dict[str, np.ndarray]:
    """Compute log-odds of the label from the token that is read and the three before it, and nothing else.

    This is logistic regression on which runs of one to four tokens end there (one-hot). Its penalty smooths: a rare run
    moves little and leaves the decision to the shorter ones. A run that train has at most once is left out.
    """
    from scipy.sparse import csr_array

    runs = runs_read(examples_by_split, sequences_by_split)
    sizes = np.cumsum([len(examples) for examples in examples_by_split.values()])
    parts = dict(zip(examples_by_split, np.split(runs, sizes[:-1], axis=1), strict=True))
    columns, count = np.full((TOKENS_SEEN, runs.max() + 1), -1), 0
    for column, codes in zip(columns, parts["train"], strict=True):
        known = np.flatnonzero(np.bincount(codes, minlength=len(column)) >= RARE)
        column[known] = count + np.arange(len(known))
        count += len(known)
    features = {}
    for split, codes in parts.items():
        found = columns[np.arange(TOKENS_SEEN)[:, None], codes].T  # [n, TOKENS_SEEN]
        there = found >= 0
        features[split] = csr_array(
            (np.ones(there.sum()), found[there], np.concatenate([[0], np.cumsum(there.sum(1))])),
            shape=(len(found), max(count, 1)),
        )
    return logistic_logits(features, labels_of(examples_by_split))


def length_logits(
    examples_by_split: Mapping[str, Examples], sequences_by_split: Mapping[str, Sequences]
) -> dict[str, np.ndarray]:
    """Fit a logistic regression on the sequence's length and the place that is read, both in text tokens (C is 1)."""
    from sklearn.preprocessing import StandardScaler

    counts = {}
    for split, examples in examples_by_split.items():
        sequences = sequences_by_split[split]
        ends = np.stack([sequences.text_ends[examples.sequence], examples.read], axis=1)
        counts[split] = (ends - sequences.text_start).astype(np.float64)
    scaler = StandardScaler().fit(counts["train"])
    return logistic_logits(
        {split: scaler.transform(values) for split, values in counts.items()},
        labels_of(examples_by_split),
        inverse_penalties=(1.0,),
    )


def tf_idf_logits(
    texts_by_split: Mapping[str, Sequence[str]], labels_by_split: Mapping[str, np.ndarray], **options: Any
) -> dict[str, np.ndarray]:
    """Fit a logistic regression on TF-IDF features; idf and terms come from train.

    options: of scikit-learn's TfidfVectorizer.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True, **options).fit(texts_by_split["train"])
    return logistic_logits({split: vectorizer.transform(texts) for split, texts in texts_by_split.items()}, labels_by_split)


def labels_of(examples_by_split: Mapping[str, Examples]) -> dict[str, np.ndarray]:
    return {split: examples.labels for split, examples in examples_by_split.items()}


def all_token_baselines(
    examples_by_split: Mapping[str, Examples],
    sequences_by_split: Mapping[str, Sequences],
    own_logits_by_split: Mapping[str, ArrayLike] | None = None,
) -> dict[str, dict[str, np.ndarray]]:
    """Compute all baselines of a token task, in the order of the tables: {baseline: {split: logits float64 [n]}}.

    "train" holds the examples to fit on.
    """
    train = examples_by_split["train"]
    found = {
        "majority": {split: majority_logits(train.labels, len(those)) for split, those in examples_by_split.items()},
        "read token": {
            split: read_token_logits(train.tokens, train.labels, those.tokens) for split, those in examples_by_split.items()
        },
        "neighbours": neighbour_logits(examples_by_split, sequences_by_split),
        "length": length_logits(examples_by_split, sequences_by_split),
    }
    if own_logits_by_split is not None:
        found["own probability"] = {
            split: np.asarray(logits, dtype=np.float64) for split, logits in own_logits_by_split.items()
        }
    return found


def all_sequence_baselines(
    examples_by_split: Mapping[str, Examples],
    sequences_by_split: Mapping[str, Sequences],
    texts_by_split: Mapping[str, Sequence[str]],
    remembered: dict[str, dict] | None = None,
) -> dict[str, dict[str, np.ndarray]]:
    """Compute the same for labels of whole sequences, with a bag of words and a bag of characters.

    texts_by_split: {split: [text of each sequence]}; remembered: a dict in which the fitted bags are kept, so that they are
    fitted once for the same texts and labels at several lags.
    """
    texts: dict[str, list[str]] = {
        split: [str(texts_by_split[split][index]) for index in examples.sequence]
        for split, examples in examples_by_split.items()
    }
    labels, remembered = labels_of(examples_by_split), {} if remembered is None else remembered
    asked = fingerprint(*(array for those in examples_by_split.values() for array in (those.sequence, those.labels)))
    if asked not in remembered:
        remembered[asked] = {
            "tf-idf words": tf_idf_logits(texts, labels, **WORD_TERMS),
            "tf-idf characters": tf_idf_logits(texts, labels, **CHARACTER_TERMS),
        }
    return {**all_token_baselines(examples_by_split, sequences_by_split), **remembered[asked]}


def best_baseline(val_scores: Mapping[str, float]) -> str:
    """Name the baseline with the greatest AUROC on validation.

    val_scores: {baseline: AUROC}. Of equal ones the first is taken; NaN is less than any number.
    """
    return max(val_scores, key=lambda name: -math.inf if math.isnan(val_scores[name]) else val_scores[name])


def suspicious(name: str, auc: float, high: float = math.nan) -> str | None:
    """Warn of a baseline that ranks the wrong way round on validation or test; None where it does not.

    high: the upper end of its interval. A town that stands in one true and one false sentence, one of them in train, teaches
    the words the opposite of the truth.
    """
    if not auc < SUSPICIOUS:
        return None
    found = f"the baseline {name!r} has AUROC {auc:.3f}, where chance is 0.5: what train taught it is turned round here"
    if high < 0.5:
        return (
            f"{found}, so the split is not independent (the same things stand on both sides with opposite labels); "
            "split by group"
        )
    why = "it has no interval" if math.isnan(high) else "its interval reaches 0.5"
    return f"{found}; by chance ({why}), or the split is not independent"
