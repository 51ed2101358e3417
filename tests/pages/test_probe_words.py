"""The words on the page of probes: the question by rule and lag, what is positive, and what is no prediction."""

import numpy as np
import pytest

from shown_page import probe_set
from utils.pages.probe_words import class_words, counts_line, notes, question

ASKED = [  # rule, lag, question
    ("tokens", 0, "Is this token inside “x y”?"),
    ("tokens", -1, "Will the next token be inside “x y”?"),
    ("tokens", -8, "Will the token 8 tokens on be inside “x y”?"),
    ("tokens", 1, "Was the token 1 token back inside “x y”?"),
    ("onsets", 0, "Does “x y” begin at this token?"),
    ("onsets_all", -1, "Will “x y” begin at the next token?"),
    ("onsets", -4, "Will “x y” begin 4 tokens on?"),
    ("onsets", 4, "Did “x y” begin 4 tokens back?"),
    ("within 8", 0, "Will “x y” begin within the next 8 tokens?"),
    ("within 8", -4, "Will “x y” begin 5 to 12 tokens on?"),
    ("within 1", 0, "Will “x y” begin at the next token?"),
    ("within 1", -1, "Will “x y” begin 2 tokens on?"),
    ("within 8", 2, "Does “x y” begin within the 8 tokens after the one 2 back?"),
    ("target", 0, "Is this token “x␣y”?"),
    ("target", -4, "Will the token 4 tokens on be “x␣y”?"),
]


@pytest.mark.parametrize("rule, lag, asked", ASKED)
def test_the_question_is_that_of_the_rule_and_the_lag(rule, lag, asked):
    assert question({"target": "x y", "lag": lag, "label_rule": rule}) == asked


@pytest.mark.parametrize(
    "rule, lag, warned",
    [("tokens", 0, False), ("tokens", -1, True), ("onsets", 0, False), ("within 8", 0, True), ("within 8", 8, False)],
)
def test_a_bidirectional_model_that_has_seen_what_is_asked_for_is_named(rule, lag, warned):
    metadata = {"target": "x", "lag": lag, "label_rule": rule, "prevalence": 0.1, "causal": False}
    assert any("bidirectional" in note for note in notes(metadata, 100, True)) == warned
    assert not any("bidirectional" in note for note in notes({**metadata, "causal": True}, 100, True))


@pytest.mark.parametrize(
    "rule, said",
    [
        ("tokens", "Every token that shares a character with a part marked “x” is positive."),
        ("onsets", "that of each part marked otherwise is negative"),
        ("onsets_all", "The first token of each part marked “x” is positive."),
        ("within 8", "Every token shortly before the first one of a part marked “x” is positive."),
    ],
)
def test_what_is_positive_is_said_where_the_truth_is_known(rule, said):
    metadata = {"target": "x", "lag": 0, "label_rule": rule, "prevalence": 0.1, "causal": True}
    assert said in " ".join(notes(metadata, 100, True)) and "10.00% are positive." in notes(metadata, 100, True)[-1]
    assert said not in " ".join(notes(metadata, 100, False))


@pytest.mark.parametrize("rule, positives", [("target", "3 of them the target"), ("tokens", "3 of them positive")])
def test_the_line_of_counts_speaks_of_the_known_truth(rule, positives):
    probes = probe_set([0], label_rule=rule)
    truth = np.repeat([1, 0], [3, 7])
    assert counts_line([probes], 10, truth).endswith(f"10 tokens, {positives}")
    truth[4:] = -1
    assert counts_line([probes], 10, truth).endswith(f"10 tokens, 4 of known truth, {positives}")
    assert counts_line([probes], 10, np.full(10, -1)).endswith("10 tokens, their truth unknown")
    other = probe_set([0], label_rule=rule, target="another")
    assert counts_line([probes, other], 10, truth).endswith("10 tokens"), "each target has counts of its own"
    assert class_words({"label_rule": rule})["card"]["1"] == {"target": "the target", "tokens": "positive"}[rule]


def test_whole_texts_are_counted_and_asked_about_as_texts():
    probes = probe_set([0, 1], label_rule="whole", token=None, lag=0, pool="mean")
    assert counts_line([probes], 95, np.array([1, 0, 0])).endswith("; 3 texts with 95 tokens, 1 of them positive")
    metadata = {"target": "x", "lag": 0, "label_rule": "whole", "prevalence": 0.1, "causal": True}
    assert question(metadata) == "Is this text positive for “x”?"
    assert question({**metadata, "lag": -2}) == "Is this text positive for “x”? (read 2 tokens before its end)"
    said = {pool: " ".join(notes({**metadata, "pool": pool}, 100, True)) for pool in ("last", "mean", "max")}
    assert "of a text's last token" in said["last"] and "if it ended there" in said["last"]
    assert "is the mean of its tokens' logits" in said["mean"] and "if it ended there" not in said["mean"]
    seen = notes({**metadata, "pool": "last", "causal": False}, 100, True)
    assert "if it were read there" in " ".join(seen), "a bidirectional model has seen what stands after it"
    assert "the largest value among" in said["max"] and all("of the texts 10.00% are" in one for one in said.values())
