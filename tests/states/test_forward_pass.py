"""The pass against transformers' own output_hidden_states, over many architectures."""

from dataclasses import replace

import pytest
import torch

import tiny_models
from utils.model.language_model import wrap
from utils.states.forward_pass import Pass, forward, read_batches

NAMES = [*tiny_models.ARCHITECTURES, "gemma3"]
LENGTHS = (11, 17, 14)


@pytest.fixture(scope="module", params=NAMES)
def model(request):
    made = tiny_models.make(request.param)
    made.name = request.param
    return made


def every_layer(language_model):
    anatomy = language_model.anatomy
    return ["embed", *range(len(anatomy.blocks)), *(["final_norm"] if anatomy.final_norm else [])]


def read_all(language_model, sequences, layers, batch_size=8):
    """{layer: [tokens of all sequences, hidden_size]}"""
    found = {layer: [] for layer in layers}
    plan = replace(tiny_models.every_position(sequences), layers=tuple(layers))
    for reading, _rows, values in read_batches(Pass(language_model, sequences, plan, batch_size)):
        found[reading].append(values)
    return {layer: torch.cat(values) for layer, values in found.items()}


def reference(language_model, sequences):
    """transformers' hidden_states of each sequence by itself, nothing padded: a list of [tokens, hidden_size] a layer."""
    by_sequence = []
    with torch.no_grad():
        for ids, length in zip(sequences.input_ids, sequences.lengths, strict=True):
            ids = torch.from_numpy(ids[:length]).long()[None]
            by_sequence.append([state[0] for state in language_model.body(ids, output_hidden_states=True).hidden_states])
    return [torch.cat(states) for states in zip(*by_sequence, strict=True)]


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=2e-4, atol=2e-4 * float(theirs.abs().max()))


def test_states_of_padded_batches_equal_output_hidden_states_of_single_sequences(model):
    language_model = wrap(model)
    sequences = tiny_models.sequences_of(LENGTHS)
    ours, theirs = read_all(language_model, sequences, every_layer(language_model)), reference(language_model, sequences)
    count = len(language_model.anatomy.blocks)
    assert count == 4 and len(theirs) == count + 1
    close(ours["embed"], theirs[0])
    for layer in range(count - 1):
        close(ours[layer], theirs[layer + 1])
    norm = language_model.anatomy.final_norm
    if norm is None:
        close(ours[count - 1], theirs[-1])
    else:
        close(ours["final_norm"], theirs[-1])
        with torch.no_grad():  # the last layer is the state before the last norm, which theirs no longer show
            close(norm(ours[count - 1]), theirs[-1])
        assert not torch.allclose(ours[count - 1], theirs[-1], rtol=1e-2, atol=1e-2)
    assert not torch.allclose(ours[0], ours[1], rtol=1e-2, atol=1e-2), "a hook moved by one layer would pass"


def test_causality_is_seen(model):
    assert wrap(model).anatomy.causal == (model.name not in tiny_models.BIDIRECTIONAL)


def test_left_padding_gives_the_states_of_right_padding(model):
    language_model = wrap(model)
    sequences = tiny_models.sequences_of(LENGTHS)
    right = torch.from_numpy(sequences.input_ids).long()
    mask = torch.arange(right.shape[1]) < torch.from_numpy(sequences.lengths)[:, None]
    left, left_mask = torch.zeros_like(right), torch.zeros_like(mask)
    for row, length in enumerate(LENGTHS):
        left[row, -length:], left_mask[row, -length:] = right[row, :length], True
    layers, found = every_layer(language_model), {"left": {}, "right": {}}
    forward(language_model, left, left_mask.long(), layers, found["left"].__setitem__)
    forward(language_model, right, mask.long(), layers, found["right"].__setitem__)
    for layer in layers:
        for row, length in enumerate(LENGTHS):
            assert torch.equal(found["left"][layer][row, :length], found["right"][layer][row, :length])


def test_stopping_early_changes_nothing(model):
    language_model = wrap(model)
    sequences = tiny_models.sequences_of(LENGTHS)
    everything = read_all(language_model, sequences, every_layer(language_model))
    for layer in every_layer(language_model):
        alone = read_all(language_model, sequences, [layer])
        assert torch.equal(alone[layer], everything[layer])


def test_the_pass_stops_after_the_deepest_layer_and_takes_its_hooks_away():
    language_model = wrap(tiny_models.make("llama"))
    calls = []
    hooks = [
        block.register_forward_hook(lambda *_, index=index: calls.append(index))
        for index, block in enumerate(language_model.anatomy.blocks)
    ]
    read_all(language_model, tiny_models.sequences_of([9]), ["embed", 1])
    assert calls == [0, 1]
    for hook in hooks:
        hook.remove()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in language_model.model.modules())


def test_out_of_memory_halves_the_batch_and_loses_no_row(capsys):
    language_model = wrap(tiny_models.make("llama"))
    sequences = tiny_models.sequences_of([9] * 7)
    whole = read_all(language_model, sequences, [2])[2]

    def too_large(_module, _arguments, keywords):
        if len(keywords["input_ids"]) > 2:
            raise torch.OutOfMemoryError("out of memory")

    hook = language_model.body.register_forward_pre_hook(too_large, with_kwargs=True)
    halved = read_all(language_model, sequences, [2], batch_size=8)[2]
    hook.remove()
    close(halved, whole)
    assert "going on with 2" in capsys.readouterr().out
