"""Baselines learn what the question asks: how the probes' sample was drawn moves none of their logits."""

from types import SimpleNamespace

import numpy as np
import pytest

from utils.data.sequences import Sequences
from utils.scores.baselines.context import Surroundings
from utils.scores.baselines.lesson import Lesson
from utils.scores.baselines.tokens import length_logits
from utils.scores.ranking import auroc
from utils.sweep.judging import baseline_logits
from utils.sweep.questions import Asking
from utils.sweep.sampling import Sampling

SURROUNDINGS = Surroundings(np.arange(20) == 3, causal=True)
NOTHING_OWN = SimpleNamespace(tables={}, rows={})
WIDTH = 201


def texts(n, seed):
    """Short texts of 8 tokens, 3 of them positive; one in 11 has 200 tokens, 10 positive. The tokens tell nothing."""
    random = np.random.default_rng(seed)
    ids = random.integers(2, 20, size=(n, WIDTH)).astype(np.int32)
    ids[:, 0] = 1
    long = np.arange(n) % 11 == 0
    labels = np.full((n, WIDTH), -1, dtype=np.int8)
    for row, is_long in zip(labels, long, strict=True):
        row[1 : 201 if is_long else 9] = 0
        row[1 + random.choice(200 if is_long else 8, 10 if is_long else 3, replace=False)] = 1
    zeros, numbers = np.zeros(n, dtype=np.int32), 1000 * seed + np.arange(n, dtype=np.int32)
    metadata = {
        "task": "spans",
        "tokenizer": {"before": [1], "after": []},
        "default_lag": 0,
        "targets": [{"name": "span", "token": None}],
        "prevalence": 0.24,
    }
    lengths = np.where(long, WIDTH, 9).astype(np.int32)
    return Sequences(ids, lengths, labels, numbers, numbers, zeros, zeros.astype(np.int64), metadata)


@pytest.fixture(scope="module")
def splits():
    return {name: texts(n, seed) for seed, (name, n) in enumerate({"train": 264, "val": 66, "test": 66}.items())}


def asked(splits, sampling):
    """The question and its baselines under one way to draw train."""
    question = Asking((0,), (0,)).draw([splits], sampling)[0]
    return question, baseline_logits(question, NOTHING_OWN, SURROUNDINGS, None, {})


@pytest.mark.slow
@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(negatives_per_doc=4),
        Sampling("downsample"),
        Sampling(pos_weight_cap=1.0),
        Sampling(token_matched=True, negatives_per_doc=6),
        Sampling(max_tokens=300),
        Sampling(max_documents=40),
    ],
    ids=["negatives_per_doc", "downsample", "pos_weight_cap", "token_matched", "max_tokens", "max_documents"],
)
def test_no_way_to_draw_train_moves_a_baseline(splits, sampling):
    everything, expected = asked(splits, Sampling("none"))
    question, found = asked(splits, sampling)
    assert len(question.examples["train"]) < len(everything.examples["train"]) == len(question.asked)
    assert list(found) == ["majority", "read token", "neighbours", "context", "length", "own probability"]
    for name, logits in found.items():
        for split in ("val", "test") if logits else ():
            assert np.array_equal(logits[split], expected[name][split]), (name, split)
        assert logits is None or len(logits["train"]) == len(question.examples["train"])


def test_length_tells_what_it_tells_of_all_tokens_and_not_the_opposite(splits):
    question, found = asked(splits, Sampling(negatives_per_doc=4))
    truth = question.examples["test"].labels
    assert auroc(found["length"]["test"], truth) > 0.7
    of_sample = Lesson.of(question.examples["train"], splits["train"])
    learnt = length_logits(of_sample, question.examples, splits)["test"]
    assert auroc(learnt, truth) < 0.35, "the negative control: what the probes' sample teaches is the opposite"


def test_common_positions_are_those_of_all_lags(splits):
    question = Asking((0, 4), (0,), common_positions=True).draw([splits], Sampling("none"))[0]
    assert np.array_equal(question.asked.position, question.examples["train"].position)
    assert len(question.asked) < len(Asking((0,), (0,)).draw([splits], Sampling("none"))[0].asked)
