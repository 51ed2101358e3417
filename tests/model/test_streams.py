"""A state is put back where it was read, whatever holds it and in whatever order its dimensions lie."""

from collections import namedtuple

import pytest
import torch
from transformers.modeling_outputs import BaseModelOutput

from utils.model.streams import LAYOUTS, Place, apart, inputs_of

BATCH, TOKENS, HIDDEN = 2, 3, 4
SHAPES = {
    "batch_first": (BATCH, TOKENS + 2, HIDDEN),  # padded, as Longformer does
    "tokens_first": (TOKENS, BATCH, HIDDEN),
    "tokens_last": (BATCH, HIDDEN, TOKENS),
    "flat": (BATCH * TOKENS, HIDDEN),
    "streams_first": (2, BATCH, TOKENS, HIDDEN),
    "streams_last": (BATCH, TOKENS, 2, HIDDEN),
}
Pair = namedtuple("Pair", "state other")


def test_every_layout_is_tried():
    assert set(SHAPES) == set(LAYOUTS)


@pytest.mark.parametrize("layout", [name for name in SHAPES if not name.startswith("streams")])
def test_what_is_put_is_what_is_found_and_nothing_else_moves(layout):
    whole = torch.randn(SHAPES[layout])
    place, before, state = Place(None, layout), whole.clone(), torch.randn(BATCH, TOKENS, HIDDEN)
    changed = place.put(whole, state)
    assert torch.equal(place.state(changed, BATCH, TOKENS), state) and changed.shape == whole.shape
    assert torch.equal(whole, before), "the model's own tensor is left alone: other modules may hold it"
    assert torch.equal(place.put(changed, place.state(whole, BATCH, TOKENS)), whole)


@pytest.mark.parametrize("layout", ["streams_first", "streams_last"])
def test_one_of_several_streams_is_not_replaced_alone(layout):
    with pytest.raises(ValueError, match="several streams"):
        Place(None, layout).put(torch.randn(SHAPES[layout]), torch.randn(BATCH, TOKENS, HIDDEN))


def tensors():
    return torch.randn(BATCH, TOKENS, HIDDEN), torch.randn(BATCH, TOKENS, HIDDEN)


HOLDERS = {
    "tuple": (lambda state, other: (other, state, None), 1),
    "list": (lambda state, other: [state, other], 0),
    "named tuple": (Pair, 0),
    "dictionary": (lambda state, other: {"other": other, "state": state}, "state"),
    "output": (lambda state, other: BaseModelOutput(last_hidden_state=state, hidden_states=(other,)), "last_hidden_state"),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_what_holds_the_state_stays_what_it_is(holder):
    make, key = HOLDERS[holder]
    state, other = tensors()
    values, place, new = make(state, other), Place(key, "batch_first"), torch.randn(BATCH, TOKENS, HIDDEN)
    changed = place.put(values, new)
    assert type(changed) is type(values) and len(changed) == len(values)
    assert torch.equal(place.state(changed, BATCH, TOKENS), new) and torch.equal(place.state(values, BATCH, TOKENS), state)
    if holder == "output":
        assert torch.equal(changed.last_hidden_state, new) and changed.hidden_states is values.hidden_states


def test_what_a_module_is_given_is_taken_apart_as_it_was():
    state, other = tensors()
    inputs, keywords = apart(inputs_of((state, None, other), {"mask": None, "width": 3}))
    assert inputs[0] is state and inputs[1] is None and inputs[2] is other and keywords == {"mask": None, "width": 3}
