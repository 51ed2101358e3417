"""Before every pass one sequence is compared with what transformers itself returns, and a mismatch is refused."""

import json
import types
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
from utils.states.sites import every_layer

FAST = ("--device", "cpu", "--epochs", "1", "--no_wandb")


ALL = ("embed", 0, 1, 2, 3, "final_norm")  # of the tiny models


def framed(lengths):
    return [tiny_models.sequences_of(lengths)]


@pytest.mark.parametrize("name", ["llama", "gemma3_text", "bert", "gpt2"])
def test_what_is_read_rightly_passes_to_rounding(name):
    language_model = wrap(tiny_models.make(name))
    found = require_same_states(language_model, framed([9, 14, 11]), every_layer(language_model.anatomy))
    assert found["largest"] <= 1e-5 and found["allowed"] == 1e-4 and found["tokens"] == 14
    assert found["layers"] == 5 + (name != "bert")  # the last layer by its norm


def test_in_bfloat16_the_same_kernels_give_the_same_numbers():
    assert require_same_states(wrap(tiny_models.make("llama").bfloat16()), framed([9, 14]), ALL)["largest"] <= 1e-3


@pytest.mark.parametrize("way", ["one forward", "two forwards"])
def test_the_last_layer_is_compared_by_its_norm(way):
    language_model = wrap(tiny_models.make("llama"))
    name = "both_states" if way == "one forward" else "our_states"
    real = getattr(comparison, name)

    def spoiled(*arguments):
        states = real(*arguments)
        ours = states[0] if isinstance(states, tuple) else states
        ours[3] = ours[3] + torch.randn_like(ours[3]) * 0.1
        return states

    with mock.patch.object(comparison, name, spoiled):
        found = compare(language_model, [list(range(10, 24))], ALL if way == "one forward" else None)
    assert not found.passed and found.layer == 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_blocks_that_are_others_are_refused(dtype):
    """The attention modules in the place of the blocks, as a list of that length is easily taken for them."""
    language_model = wrap(tiny_models.make("llama").to(dtype))
    blocks = [block.mlp for block in language_model.anatomy.blocks]
    language_model.anatomy = replace(language_model.anatomy, blocks=blocks)
    with pytest.raises(UserError, match="are not those that transformers returns: they differ by"):
        require_same_states(language_model, framed([9, 14]), [1])
    assert not compare(language_model, [list(range(10, 24))]).passed


def test_the_longest_sequence_is_compared():
    sequences = [*framed([9, 14, 11]), *framed([5, 17])]
    assert longest(sequences) == sequences[1].input_ids[1, :17].tolist()


@pytest.fixture
def counted():
    """(a model, its four blocks, a list to which each call of one adds its number and the shape that it was given)."""
    language_model, calls = wrap(tiny_models.make("llama")), []
    for number, block in enumerate(language_model.anatomy.blocks):
        real = type(block).forward

        def forward(block, state, *inputs, number=number, real=real, **keywords):
            calls.append((number, tuple(state.shape[:2])))
            return real(block, state, *inputs, **keywords)

        block.forward = types.MethodType(forward, block)
    return language_model, calls


@pytest.mark.parametrize(("layers", "run"), [(["embed"], 1), ([0], 1), ([1], 2), ([2, "embed"], 3), ([3], 4), (ALL, 4)])
def test_the_longest_sequence_is_run_once_up_to_the_deepest_layer_and_the_model_left_as_it_was(counted, layers, run):
    language_model, calls = counted
    before = [block.forward for block in language_model.anatomy.blocks]
    found = require_same_states(language_model, framed([9, 14, 11]), layers)
    assert calls == [(number, (1, 14)) for number in range(run)]
    assert found["layers"] == (6 if run == 4 else run + 1) and found["tokens"] == 14
    assert [block.forward for block in language_model.anatomy.blocks] == before
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in language_model.body.modules())


def test_blocks_that_were_passed_by_run_again():
    language_model = wrap(tiny_models.make("llama"))
    require_same_states(language_model, framed([9, 14]), [0])
    assert not any("forward" in vars(block) for block in language_model.anatomy.blocks)
    assert compare(language_model, [list(range(10, 24))]).passed


def test_a_state_that_a_later_module_changes_in_place_is_found_out(counted):
    """What the pass reads at its hook is compared, not what the tensor holds at the end."""
    language_model, _ = counted
    spoiler = language_model.anatomy.blocks[2].register_forward_pre_hook(lambda _module, inputs: inputs[0].add_(1))
    found = compare(language_model, [list(range(10, 24))], [3])
    spoiler.remove()
    assert not found.passed and found.layer == 1


def test_what_does_not_fit_into_memory_is_compared_at_its_beginning(counted):
    """A way to read that keeps every layer at once may need more than the pass does."""
    language_model, calls = counted

    def too_large(_module, _inputs, keywords):
        if keywords["input_ids"].shape[1] > 5:
            raise torch.OutOfMemoryError("out of memory")

    language_model.body.register_forward_pre_hook(too_large, with_kwargs=True)
    assert require_same_states(language_model, framed([9, 14]), [0])["tokens"] == 3
    assert calls == [(0, (1, 3))]


def test_too_little_memory_for_one_sequence_is_said_in_one_line():
    language_model = wrap(tiny_models.make("llama"))

    def too_large(_module, _inputs):
        raise torch.OutOfMemoryError("out of memory")

    language_model.body.register_forward_pre_hook(too_large)
    with pytest.raises(UserError, match="one sequence does not fit into memory"):
        require_same_states(language_model, framed([9, 14]), [0])


def test_what_transformers_does_not_return_is_said(capsys):
    model = tiny_models.make("llama")
    model.model.register_forward_hook(lambda _module, _inputs, output: setattr(output, "hidden_states", None))
    language_model = wrap(model)
    found = require_same_states(language_model, framed([9, 14]), [0])
    assert list(found) == ["not compared"] and "returns no hidden_states" in found["not compared"]
    assert "states are not compared with those of transformers" in capsys.readouterr().out


def test_a_model_that_a_short_text_changes_is_compared_as_it_is():
    language_model = wrap(build("big_bird"))
    found = compare(language_model, [list(range(10, 18)), list(range(10, 50))])
    assert found.passed and found.largest < 1e-5
    assert compare(language_model, [list(range(10, 18)), list(range(10, 50))], [2]).passed


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
    assert found["largest"] <= 1e-5 and found["tokens"] > 30 and found["layers"] == 3 and "layer" in found
    with wrong_blocks():
        for name, flags in (("visualize_probe", show), ("evaluate_probe", (*score, "--device", "cpu"))):
            assert_one_line_error(call(name, *flags), "are not those that transformers returns")
