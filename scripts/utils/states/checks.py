"""Compare the hidden states that our hooks read with those that transformers returns."""

from collections.abc import Sequence

import numpy as np
import torch

from utils.base.checks import Check
from utils.data.sequences import unlabelled_sequences
from utils.model.anatomy import STATE_TOLERANCE
from utils.model.language_model import LanguageModel
from utils.states.comparison import compare, worst
from utils.states.forward_pass import Pass, forward, read_batches
from utils.states.positions import ReadPlan
from utils.states.sites import Layer, every_layer

FLOAT16_MOST = 65504


LayerStates = dict[Layer, torch.Tensor]  # of one sequence: [tokens, hidden_size] by layer
TokenIds = Sequence[list[int]]  # of sequences, special tokens included


def check_states(language_model: LanguageModel, framed: TokenIds) -> list[Check]:
    """Run all of these checks on sequences of different lengths."""
    layers = every_layer(language_model.anatomy)
    single = [states_alone(language_model, ids, layers) for ids in framed]
    overflow = check_overflow(language_model, layers, single)
    if overflow.passed is False:
        return [
            overflow,
            *(
                Check(name, None, "not checked: states overflow")
                for name in ("hooks", "batches", "padding side", "later tokens")
            ),
        ]
    return [
        overflow,
        check_hooks(language_model, framed),
        check_batches(language_model, framed, single),
        check_padding_side(language_model, framed, layers),
        check_later_tokens(language_model, framed, layers),
    ]


def states_alone(language_model: LanguageModel, ids: list[int], layers: Sequence[Layer]) -> LayerStates:
    """Read one sequence by itself, by way of the pass."""
    found: LayerStates = {}
    input_ids = torch.tensor([list(ids)])
    forward(
        language_model,
        input_ids,
        torch.ones_like(input_ids),
        layers,
        lambda layer, state: found.__setitem__(layer, state[0].cpu()),
    )
    return found


def check_overflow(language_model: LanguageModel, layers: Sequence[Layer], single: Sequence[LayerStates]) -> Check:
    """Check that every state is finite, and say whether it would be in float16."""
    dtype = str(language_model.dtype).removeprefix("torch.")
    largest = {
        layer: max(float(states[layer].float().abs().nan_to_num(torch.inf).max()) for states in single) for layer in layers
    }
    layer = max(largest, key=lambda layer: largest[layer])
    detail = f"largest value of a state {largest[layer]:,.0f} (layer {layer}) in {dtype}"
    wrong = [str(layer) for layer in layers if largest[layer] == float("inf")]
    if wrong:
        return Check(
            "overflow",
            False,
            f"states of {len(wrong)} of {len(layers)} layers are not finite in {dtype}, the first at layer {wrong[0]}",
            language_model.against_overflow,
        )
    if largest[layer] > FLOAT16_MOST:
        return Check("overflow", None, f"{detail}: float16, which ends at {FLOAT16_MOST}, would overflow")
    return Check("overflow", True, f"{detail}; float16 ends at {FLOAT16_MOST}")


def check_hooks(language_model: LanguageModel, framed: TokenIds) -> Check:
    """Compare what the hooks read with transformers' output_hidden_states, layer by layer."""
    found = compare(language_model, framed)
    if isinstance(found, str):
        return Check("hooks", None, f"not compared: {found}")
    return Check("hooks", found.passed, str(found), "this architecture is read wrongly: choose another")


def check_batches(language_model: LanguageModel, framed: TokenIds, single: Sequence[LayerStates]) -> Check:
    """Check that a padded batch, read as train_probe reads it, gives the states of its sequences read one by one."""
    sequences = unlabelled_sequences(framed)
    sequence, position = np.nonzero(np.arange(sequences.input_ids.shape[1]) < sequences.lengths[:, None])
    layers = every_layer(language_model.anatomy)
    limit = STATE_TOLERANCE[language_model.dtype]
    error = dict.fromkeys(layers, 0.0)
    run = Pass(language_model, sequences, ReadPlan(sequence, position, tuple(layers)), len(framed))
    for layer, rows, values in read_batches(run):
        alone = torch.cat([states[layer] for states in single])[rows]
        error[layer] = max(error[layer], worst([(values, alone)]))
    layer = max(error, key=lambda layer: error[layer])
    return Check(
        "batches",
        error[layer] <= limit,
        f"{len(framed)} sequences of {sequences.lengths.min()} to {sequences.lengths.max()} tokens, padded and one "
        f"by one, differ by at most {error[layer]:.1e} of a state's norm (layer {layer}; allowed {limit:g})",
        "read with --batch_size 1, or choose another architecture",
    )


def check_padding_side(language_model: LanguageModel, framed: TokenIds, layers: Sequence[Layer]) -> Check:
    """Check that padding on the left and on the right gives the same states: the pass moves its rows to the left first,
    for a model that counts positions from column 0 would give others.
    """
    width, found = max(map(len, framed)), {}
    for side in ("left", "right"):
        input_ids = torch.zeros(len(framed), width, dtype=torch.long)
        mask = torch.zeros_like(input_ids)
        for row, ids in enumerate(framed):
            where = slice(width - len(ids), width) if side == "left" else slice(0, len(ids))
            input_ids[row, where], mask[row, where] = torch.tensor(ids), 1
        found[side] = {}
        forward(language_model, input_ids, mask, layers, lambda layer, state, to=found[side]: to.__setitem__(layer, state))
    limit = STATE_TOLERANCE[language_model.dtype]
    error = worst(
        (found["left"][layer][row, : len(ids)], found["right"][layer][row, : len(ids)])
        for layer in layers
        for row, ids in enumerate(framed)
    )
    return Check(
        "padding side",
        error <= limit,
        f"padded left and padded right, states differ by at most {error:.1e} of their norm (allowed {limit:g})",
        "use --batch_size 1",
    )


def check_later_tokens(language_model: LanguageModel, framed: TokenIds, layers: Sequence[Layer]) -> Check:
    """Check that a later token moves no earlier state; in a bidirectional model it does, and that is said."""
    ids = max(framed, key=len)
    half = len(ids) // 2
    other = [*ids[:half], *ids[half:][::-1]]
    states, changed = (states_alone(language_model, each, layers) for each in (ids, other))
    limit = STATE_TOLERANCE[language_model.dtype]
    moved = worst((changed[layer][:half], states[layer][:half]) for layer in layers)
    own = worst((changed[layer][half:], states[layer][half:]) for layer in layers)
    detail = (
        f"other tokens from place {half} on move the states before it by at most {moved:.1e} of their norm (allowed "
        f"{limit:g}), their own by up to {own:.1e}"
    )
    if language_model.anatomy.causal:
        return Check(
            "later tokens", moved <= limit < own, f"causal: {detail}", "the model is not causal on real text: choose another"
        )
    if moved <= limit:
        return Check("later tokens", None, f"the model is taken for bidirectional, but hardly is: {detail}")
    return Check("later tokens", True, f"the model is bidirectional: {detail}; a negative lag is no prediction")
