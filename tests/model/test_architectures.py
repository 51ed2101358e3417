"""Architectures by the dozen in ordinary tests; every one that transformers can build where PROBE_SCAN is set."""

import os
import re

import pytest
import torch
import transformers

import architectures
from architectures import AS_THE_BATCH, NOT_BUILT, PAGE, REFUSED, RIGHT, TRACEBACK, WRONG, compared, outcome, scan
from small_architectures import SMALL, build

pytestmark = pytest.mark.slow

FEW = (
    "gemma2",
    "gpt_oss",
    "deepseek_v3",
    "mamba2",
    "jamba",
    "modernbert",
    "deberta-v2",
    "funnel",
    "t5gemma",
    "qwen2_5_vl_text",
)
READ = [name for name in FEW if name not in ("funnel", "t5gemma")]


@pytest.mark.parametrize("name", READ)
def test_an_architecture_is_read_right(name):
    assert outcome(name)[0] == RIGHT, outcome(name)


def test_the_page_names_what_was_scanned():
    """Written with the transformers that is pinned, and none was wrong."""
    text = PAGE.read_text(encoding="utf-8")
    assert "| wrong | 0 |" in text and "| traceback | 0 |" in text
    right = text.partition("## Read right")[2].partition("## Read, but not compared")[0]
    assert all(re.search(rf"\b{re.escape(name)}\b", right) for name in READ)


def test_a_model_whose_states_are_moved_by_one_layer_is_called_wrong(monkeypatch):
    """The negative control of the scan."""
    real = architectures.read_everything

    def moved(language_model, sequences):
        states = real(language_model, sequences)
        states[1] = states[0]
        return states

    monkeypatch.setattr(architectures, "read_everything", moved)
    assert outcome("gemma2")[0] == WRONG


def test_what_depends_on_the_batch_is_the_choice_among_equal_scores(monkeypatch):
    """With few heads that choose, many tokens score 0; with ties broken by place, a sequence alone gives the states of the
    padded batch, and with as many heads as large models have there are no ties.
    """
    few = {"index_n_heads": 4}
    assert outcome("deepseek_v32")[0] == RIGHT
    assert compared(build("deepseek_v32", **few))[0] == AS_THE_BATCH
    real = torch.Tensor.topk

    def broken(scores, count, *arguments, **keywords):
        if scores.shape[-1] > count == SMALL["index_topk"]:
            scores = scores - 1e-6 * torch.arange(scores.shape[-1])
        return real(scores, count, *arguments, **keywords)

    monkeypatch.setattr(torch.Tensor, "topk", broken)
    assert compared(build("deepseek_v32", **few))[0] == RIGHT


@pytest.mark.parametrize("name", ["albert", "dpr", "aimv2", "opt", "videoprism"])
def test_what_is_compared_in_a_way_of_its_own(name):
    """ALBERT's states come from inside its blocks, DPR gives tuples, the text is read by a part of AIMv2, and VideoPrism
    attends otherwise where it is given a mask.
    """
    assert outcome(name)[0] == RIGHT, outcome(name)


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("PROBE_SCAN"), reason="some 10 minutes: set PROBE_SCAN=1")
def test_every_architecture_is_read_right_or_refused_in_one_line():
    found = scan(architectures.model_types())
    assert not {name: how for name, how in found.items() if how[0] in (WRONG, TRACEBACK)}
    assert sum(how in (RIGHT, REFUSED) for how, _ in found.values()) >= 150
    assert sum(how == RIGHT for how, _ in found.values()) >= 150
    assert sum(how != NOT_BUILT for how, _ in found.values()) >= 400
    if f"transformers {transformers.__version__}," in PAGE.read_text(encoding="utf-8"):
        assert architectures.page(found) == PAGE.read_text(encoding="utf-8"), "run python tests/architectures.py"
