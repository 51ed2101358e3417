"""Attention rows against transformers' own output_attentions, cut into segments by a plain other computation."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import tiny_models
from tiny_models import close, every_text_token, framed
from utils.base.errors import UserError
from utils.model.language_model import wrap
from utils.states import attention_rows
from utils.states.attention_rows import NEARLY_NONE, attention_features, by_segment, eager_attention, shares
from utils.states.forward_pass import Pass, read_batches
from utils.states.positions import ReadPlan
from utils.states.sites import ATTENTION
from utils.states.store import collect_in_memory, collect_on_disk, find_folder

SEGMENTS = 4
LENGTHS = (11, 17, 5, 14)
NAMES = [*tiny_models.ARCHITECTURES, "gemma3"]


def soft(name):
    """A model whose heads look at many tokens: with the weights of tiny_models, many see one only."""
    model = tiny_models.make(name)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter *= 0.5
    return wrap(model)


def read(language_model, sequences, plan, batch_size=8, layers=(0,), segments=SEGMENTS):
    found = {layer: [] for layer in (*layers, ATTENTION)}
    plan = replace(plan, layers=tuple(layers), segments=segments)
    for reading, _rows, values in read_batches(Pass(language_model, sequences, plan, batch_size)):
        found[reading].append(values)
    return {reading: torch.cat(values) for reading, values in found.items()}


def weights_of(language_model, ids) -> list[np.ndarray]:
    """[heads, tokens, tokens] of each layer, from output_attentions on one sequence."""
    with torch.no_grad(), eager_attention(language_model.body):
        found = language_model.body(torch.from_numpy(ids).long()[None], output_attentions=True).attentions
    return [weights[0].double().numpy() for weights in found]


def segments_by_repeating(weights, first, position):
    """[heads, SEGMENTS]: each token cut into SEGMENTS equal pieces, and the pieces dealt out in order. The text begins
    with the first token from `first` on that any head sees.
    """
    row = weights[:, position]
    first += int(np.argmax((row[:, first:] > 0).any(0)))
    text = row[:, first : position + 1] + NEARLY_NONE / (position + 1 - first)
    share = text / text.sum(-1, keepdims=True)
    return np.repeat(share, SEGMENTS, axis=1).reshape(len(row), SEGMENTS, -1).sum(-1)


def plain(language_model, sequences, plan, first):
    weights = [
        weights_of(language_model, ids[:length]) for ids, length in zip(sequences.input_ids, sequences.lengths, strict=True)
    ]
    return (
        torch.tensor(
            np.array(
                [
                    np.concatenate([segments_by_repeating(layer, first, position) for layer in weights[row]])
                    for row, position in zip(plan.sequence, plan.position, strict=True)
                ]
            )
        )
        .float()
        .flatten(1)
    )


@pytest.mark.parametrize("name", NAMES)
def test_features_are_those_of_output_attentions(name):
    language_model, sequences = soft(name), framed(LENGTHS)
    plan = every_text_token(sequences)
    ours = read(language_model, sequences, plan)[ATTENTION]
    theirs = plain(language_model, sequences, plan, sequences.text_start)
    assert ours.shape == (len(plan), attention_features(language_model, SEGMENTS)) == (len(plan), 4 * 4 * SEGMENTS)
    close(ours, theirs)
    torch.testing.assert_close(ours.view(-1, SEGMENTS).mean(-1), torch.ones(len(plan) * 16))
    assert not torch.allclose(ours, plain(language_model, sequences, plan, 0), atol=0.05), "special tokens must not count"
    assert ours[plan.position > 8].std() > 0.05


@pytest.mark.parametrize("name", ["llama", "gemma3_text", "bert"])
def test_neither_batches_nor_padding_change_a_row(name):
    language_model, sequences = soft(name), framed(LENGTHS)
    plan = every_text_token(sequences)
    whole = read(language_model, sequences, plan)[ATTENTION]
    for batch_size in (1, 3):
        close(read(language_model, sequences, plan, batch_size)[ATTENTION], whole)
    sequences.input_ids[np.arange(17) >= sequences.lengths[:, None]] = 77
    assert torch.equal(read(language_model, sequences, plan)[ATTENTION], whole)


def attend(row, segments, text_start=0, window=None):
    weights = torch.tensor(row)[None, None, None].expand(1, 1, len(row), -1)
    return by_segment(weights, torch.tensor([0]), torch.tensor([len(row) - 1]), text_start, window, segments)[0, 0]


def test_segments_by_hand():
    assert shares(torch.tensor([1]), torch.tensor([4]), 5, 2).tolist() == [[[0, 0], [1, 0], [0.5, 0.5], [0, 1], [0, 0]]]
    close(attend([0.75, 0.25], 4), torch.tensor([1.5, 1.5, 0.5, 0.5]))
    close(attend([0.1, 0.2, 0.7], 2), torch.tensor([0.4, 1.6]))  # the middle token lies half in either
    close(attend([0.9, 0.04, 0.06], 2, text_start=1), torch.tensor([0.8, 1.2]))
    close(attend([0.9, 0.0, 0.04, 0.06], 2, text_start=1, window=2), torch.tensor([0.8, 1.2]))


def test_even_attention_is_1_at_every_length_and_so_is_none_at_all():
    for length in (1, 2, 3, 5, 50, 333):
        close(attend([0.5] + [0.5 / length] * length, 3, text_start=1), torch.ones(3))
        close(attend([1.0] + [0.0] * length, 3, text_start=1), torch.ones(3))
    assert not torch.allclose(attend([0.5, 0.1, 0.1, 0.3], 3, text_start=1), torch.ones(3), atol=0.1)


def test_rows_in_pieces_are_the_same(monkeypatch):
    weights, where = torch.rand(3, 2, 9, 9), (torch.tensor([0, 0, 1, 2, 2]), torch.tensor([2, 8, 5, 4, 7]))
    whole = by_segment(weights, *where, 1, 4, 3)
    monkeypatch.setattr(attention_rows, "BYTES_AT_A_TIME", 4 * 9 * (2 + 9) * 2)  # two rows
    close(by_segment(weights, *where, 1, 4, 3), whole)


def test_the_model_is_as_before_and_without_the_reading_nothing_is_switched():
    language_model, sequences = wrap(tiny_models.make("gemma3")), framed(LENGTHS)
    plan, seen = every_text_token(sequences), []
    configs = [part.config for part in language_model.body.modules() if hasattr(part, "config")]
    before = [config._attn_implementation for config in configs]
    text = language_model.body.config.get_text_config()
    hook = language_model.body.register_forward_pre_hook(lambda *_: seen.append(text._attn_implementation))

    def states():
        run = Pass(language_model, sequences, replace(plan, layers=(0, 2)), 8)
        return torch.cat([values for _, _, values in read_batches(run)])

    first = states()
    assert "sdpa" in before and seen == ["sdpa"]
    both = read(language_model, sequences, plan, layers=(0, 2))
    assert seen[-1] == "eager" and [config._attn_implementation for config in configs] == before
    close(torch.cat([both[0], both[2]]), first)  # eager attention rounds otherwise
    assert torch.equal(states(), first) and seen[-1] == "sdpa"
    hook.remove()

    def fail(*_):
        raise KeyError("inside")

    hook = language_model.body.register_forward_pre_hook(fail)
    with pytest.raises(KeyError):
        read(language_model, sequences, plan)
    hook.remove()
    assert [config._attn_implementation for config in configs] == before
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in language_model.body.modules())


def test_a_model_without_attention_is_refused_by_name():
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model("mamba", vocab_size=97, hidden_size=32, num_hidden_layers=2, state_size=4)
    language_model = wrap(AutoModelForCausalLM.from_config(config), "some/mamba")
    with pytest.raises(UserError, match="some/mamba gives no attention weights"):
        read(language_model, framed(LENGTHS), ReadPlan(np.array([0]), np.array([5])))


def test_a_torn_cache_gives_what_memory_gives_and_is_no_cache_of_states_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.states.store.SHARD_BYTES", 4096)
    language_model, sequences = wrap(tiny_models.make("gemma3_text")), framed([9, 12, 7, 12, 12, 6, 9, 11, 12, 8])
    plan = every_text_token(sequences)

    def run(segments):
        return Pass(language_model, sequences, replace(plan, layers=(0, 2), segments=segments), 2)

    def on_disk(segments=SEGMENTS):
        return collect_on_disk(tmp_path, run(segments), lambda count: None)

    memory, disk = collect_in_memory(run(SEGMENTS), lambda count: None), on_disk()
    index = np.random.default_rng(0).permutation(len(plan))
    shards = sorted(find_folder(tmp_path, run(SEGMENTS))[0].glob("*.safetensors"))
    assert len(disk.parts) == len(shards) > 2
    shards[1].unlink()
    again = on_disk()
    for table in (disk, again, disk.in_memory()):
        assert torch.equal(table.attention_rows(index), memory.attention_rows(index))
        assert torch.equal(table.rows(index), memory.rows(index))
    assert torch.equal(memory.attention_rows(index), read(language_model, sequences, plan, 2)[ATTENTION][index])
    assert "attention" not in on_disk(0).parts[0]
    on_disk(2)
    assert len(list(tmp_path.iterdir())) == 3
