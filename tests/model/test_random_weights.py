"""The same model with random weights: all that is random is drawn anew, all else is the same."""

import pytest
import torch

import tiny_models
from utils.model.language_model import wrap
from utils.model.random_weights import with_random_weights

NAMES = ["llama", "qwen3_moe", "gemma2", "falcon", "opt", "gpt2", "bloom", "mpt", "bert", "albert", "t5", "gemma3"]


def last_states(language_model):
    with torch.no_grad():
        return language_model.body(input_ids=torch.arange(5, 17)[None]).last_hidden_state.float()


def weights(language_model):
    return {name: parameter.detach().clone() for name, parameter in language_model.model.named_parameters()}


@pytest.mark.parametrize("name", NAMES)
def test_random_parameters_differ_and_all_else_is_the_same(name):
    trained = wrap(tiny_models.make(name), name)
    before, state = weights(trained), last_states(trained)
    one, other = (with_random_weights(trained, seed) for seed in (1, 2))
    first, second = weights(one), weights(other)
    assert before.keys() == first.keys()
    random = {key for key in first if not torch.equal(first[key], second[key])}
    assert {key for key in first if first[key].ndim > 1 and first[key].any()} <= random, "a matrix that no seed draws"
    assert not any(torch.equal(first[key], before[key]) for key in random)
    assert all(len(first[key].unique()) == 1 for key in first.keys() - random), "neither drawn nor a constant"
    buffers = dict(trained.model.named_buffers())
    assert all(torch.equal(buffer, buffers[key]) for key, buffer in one.model.named_buffers())
    assert one.model.config.to_dict() == trained.model.config.to_dict() and type(one.model) is type(trained.model)
    for value in ("hidden_size", "causal", "output_type"):
        assert getattr(one.anatomy, value) == getattr(trained.anatomy, value)
    assert len(one.anatomy.blocks) == len(trained.anatomy.blocks)
    assert (one.anatomy.final_norm is None) == (trained.anatomy.final_norm is None)
    assert one.name == f"{name} (random weights)" and len({trained.fingerprint, one.fingerprint, other.fingerprint}) == 3
    assert not torch.allclose(last_states(one), state, atol=0.1)
    assert not torch.allclose(last_states(one), last_states(other), atol=0.1)
    assert all(torch.equal(before[key], value) for key, value in weights(trained).items()), "the original was touched"
    assert torch.equal(last_states(trained), state)


def test_a_seed_gives_the_same_model_whatever_was_drawn_before_and_disturbs_no_other_draw():
    trained = wrap(tiny_models.make("llama"))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one = with_random_weights(trained, 1)
    assert torch.equal(torch.rand(3), expected)
    again = with_random_weights(trained, 1)
    assert one.fingerprint == again.fingerprint and torch.equal(last_states(one), last_states(again))


def test_the_weights_are_those_that_transformers_starts_from():
    from transformers import AutoModelForCausalLM

    trained = wrap(tiny_models.make("gpt2"))
    torch.manual_seed(3)
    reference = AutoModelForCausalLM.from_config(trained.model.config)
    ours = with_random_weights(trained, 3).model.state_dict()
    for name, value in reference.state_dict().items():
        assert torch.equal(ours[name], value), name


@pytest.mark.parametrize("name", ["llama", "gemma3_text", "t5"])
def test_in_low_precision_it_is_the_same_model_and_what_stays_in_float32_stays_there(name, tmp_path):
    model = tiny_models.make(name)
    model.save_pretrained(tmp_path)
    low = wrap(type(model).from_pretrained(tmp_path, dtype=torch.bfloat16))
    random = with_random_weights(low, 1)
    theirs = {**dict(low.model.named_parameters()), **dict(low.model.named_buffers())}
    for key, value in (*random.model.named_parameters(), *random.model.named_buffers()):
        assert value.dtype == theirs[key].dtype, key
    assert random.dtype == random.model.config.dtype == low.model.config.dtype == torch.bfloat16
    assert random.fingerprint == with_random_weights(wrap(model), 1).fingerprint
    assert last_states(random).isfinite().all()
