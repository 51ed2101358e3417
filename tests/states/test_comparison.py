"""Before every pass one short batch is compared with what transformers itself returns, and a mismatch is refused."""

import json
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import pytest
import torch

import tiny_models
from helpers import assert_one_line_error, assert_success, call
from small_architectures import build
from utils.base.errors import UserError
from utils.model import language_model as loading
from utils.model.language_model import wrap
from utils.states import comparison
from utils.states.comparison import compare, longest, require_same_states

FAST = ("--device", "cpu", "--epochs", "1", "--no_wandb")


def framed(lengths):
    return [tiny_models.sequences_of(lengths)]


@pytest.mark.parametrize("name", ["llama", "gemma3_text", "bert", "gpt2"])
def test_what_is_read_rightly_passes_to_rounding(name):
    found = require_same_states(wrap(tiny_models.make(name)), framed([9, 14, 11]), 8)
    assert found["largest"] <= 1e-5 and found["allowed"] == 1e-4 and found["tokens"] == 14
    assert found["layers"] == 5 + (name != "bert")  # the last layer by its norm


def test_in_bfloat16_the_same_kernels_give_the_same_numbers():
    assert require_same_states(wrap(tiny_models.make("llama").bfloat16()), framed([9, 14]), 8)["largest"] <= 1e-3


def test_the_last_layer_is_compared_by_its_norm():
    language_model = wrap(tiny_models.make("llama"))
    real = comparison.our_states

    def spoiled(*arguments):
        states = real(*arguments)
        states[3] = states[3] + torch.randn_like(states[3]) * 0.1
        return states

    with mock.patch.object(comparison, "our_states", spoiled), pytest.raises(UserError, match="in layer 3"):
        require_same_states(language_model, framed([9, 14]), 8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_blocks_that_are_others_are_refused(dtype):
    """The attention modules in the place of the blocks, as a list of that length is easily taken for them."""
    language_model = wrap(tiny_models.make("llama").to(dtype))
    blocks = [block.mlp for block in language_model.anatomy.blocks]
    language_model.anatomy = replace(language_model.anatomy, blocks=blocks)
    with pytest.raises(UserError, match="are not those that transformers returns: they differ by"):
        require_same_states(language_model, framed([9, 14]), 8)


def test_the_longest_sequence_is_compared_and_costs_at_most_one_batch():
    sequences = [*framed([9, 14, 11]), *framed([5, 17])]
    for batch_size, length in ((48, 17), (2, 17), (1, 9)):
        chosen = longest(sequences, batch_size)
        assert chosen == sequences[1].input_ids[1, :length].tolist()
        assert 2 * len(chosen) <= batch_size * 17 + 1, "transformers' way and ours"


def test_the_model_is_run_twice_and_left_as_it_was():
    language_model = wrap(tiny_models.make("llama"))
    shapes = []
    hook = language_model.body.register_forward_pre_hook(
        lambda _module, _inputs, keywords: shapes.append(tuple(keywords["input_ids"].shape)), with_kwargs=True
    )
    require_same_states(language_model, framed([9, 14, 11]), 8)
    hook.remove()
    assert shapes == [(1, 14), (1, 14)]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in language_model.body.modules())


def test_too_little_memory_for_one_sequence_is_said_in_one_line():
    language_model = wrap(tiny_models.make("llama"))

    def too_large(_module, _inputs):
        raise torch.OutOfMemoryError("out of memory")

    language_model.body.register_forward_pre_hook(too_large)
    with pytest.raises(UserError, match="one sequence does not fit into memory"):
        require_same_states(language_model, framed([9, 14]), 8)


def test_what_transformers_does_not_return_is_said(capsys):
    language_model = wrap(build("dpr"))
    found = require_same_states(language_model, framed([9, 14]), 8)
    assert list(found) == ["not compared"] and "returns no hidden_states" in found["not compared"]
    assert "states are not compared with those of transformers" in capsys.readouterr().out


def test_a_model_that_a_short_text_changes_is_compared_as_it_is():
    language_model = wrap(build("big_bird"))
    found = compare(language_model, [list(range(10, 18)), list(range(10, 50))])
    assert found.passed and found.largest < 1e-5


@contextmanager
def wrong_blocks():
    """Every model that is loaded has its MLPs taken for its blocks."""
    real = loading.wrap

    def wrapped(*arguments):
        found = real(*arguments)
        found.anatomy = replace(found.anatomy, blocks=[block.mlp for block in found.anatomy.blocks])
        return found

    with mock.patch.object(loading, "wrap", wrapped):
        yield


def test_the_scripts_record_the_comparison_and_refuse_a_mismatch(prepared, tiny_model, tmp_path):
    train = ("--train_data", prepared / "train.pth", "--layer_sweep", "1", *FAST)
    where = ("--output_dir", tmp_path / "models", "--results_dir", tmp_path / "results")
    show = ("--probe_dir", tmp_path / "models", "--output", tmp_path / "page.html", "--device", "cpu")
    score = ("--probe_dir", tmp_path / "models", "--data", prepared / "test.pth", "--results_dir", tmp_path / "scores")
    with wrong_blocks():
        result = call("train_probe", *train, *where)
    assert_one_line_error(result, "are not those that transformers returns", "a LlamaModel")
    assert not (tmp_path / "models").exists() or not list((tmp_path / "models").glob("*"))
    assert_success(call("train_probe", *train, *where))
    record = json.loads((tmp_path / "results" / "run_record.json").read_text(encoding="utf-8"))
    found = record["states_beside_transformers"]
    assert found["largest"] <= 1e-5 and found["tokens"] > 30 and found["layers"] == 5 and "layer" in found
    with wrong_blocks():
        for name, flags in (("visualize_probe", show), ("evaluate_probe", (*score, "--device", "cpu"))):
            assert_one_line_error(call(name, *flags), "are not those that transformers returns")
