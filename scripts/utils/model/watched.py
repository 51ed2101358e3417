"""What the modules of a model took and gave while it read a few tokens: enough to see which reads what which wrote."""

import inspect
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import torch
from torch import nn

from utils.model.streams import Place, inputs_of, places_of

Marks = dict[Place, torch.Tensor]  # the mark of each possible state; afterwards an int


@dataclass(eq=False)
class Call:
    """One call of a module: the marks of the states that it took and gave, and their hidden sizes by place."""

    module: nn.Module
    began: int
    takes: dict[Place, Any]
    gives: dict[Place, Any] = field(default_factory=dict)
    sizes: dict[Place, int] = field(default_factory=dict)
    kind: type = type(None)


@dataclass
class Watched:
    """calls: in the order in which they ended; published: marks of each of transformers' own hidden_states, None where it
    returns none; last: marks of its last_hidden_state.
    """

    calls: list[Call]
    published: list[dict[Place, int]] | None
    last: dict[Place, int]


class Marker:
    """Gives equal states equal marks: a 64-bit hash of all their numbers, computed on the device, read at the end."""

    def __init__(self, device: torch.device) -> None:
        """Marks of one device can be compared."""
        self.device, self.factors, self.marks = device, {}, []

    def of(self, values: Any, batch: int, tokens: int) -> dict[Place, int]:
        """Number the mark of each possible state in what a module takes or gives."""
        found = {}
        for place, state in places_of(values, batch, tokens):
            bits = state.float().contiguous().view(torch.int32).long()
            factors = self.factors.get(bits.shape)
            if factors is None:
                drawn = torch.randint(2**62, bits.shape, generator=torch.Generator().manual_seed(bits.shape[-1]))
                factors = self.factors[bits.shape] = (2 * drawn + 1).to(self.device)
            self.marks.append((bits.to(self.device) * factors).sum())
            found[place] = len(self.marks) - 1
        return found

    def read(self, numbered: dict[Place, int], values: list[int]) -> dict[Place, int]:
        """Turn numbers into marks."""
        return {place: values[number] for place, number in numbered.items()}


def run_with_states(body: Any, given: dict[str, torch.Tensor]) -> Any:
    """Run the body, with output_hidden_states where it knows that, and without DPR's habit to give a tuple."""
    known = inspect.signature(body.forward).parameters
    named = {"return_dict": True} if "return_dict" in known else {}
    if "output_hidden_states" in known or any(one.kind is one.VAR_KEYWORD for one in known.values()):
        named["output_hidden_states"] = True
    return body(**given, **named)


@torch.inference_mode()
def watch(body: Any, given: dict[str, torch.Tensor]) -> Watched:
    """Run the body once, with output_hidden_states where it knows that, and note every call inside it.

    given: input_ids int64 [batch, tokens], and attention_mask where the body takes one.
    """
    batch, tokens = given["input_ids"].shape
    marker, begun, calls, number = Marker(given["input_ids"].device), [], [], count()

    def enter(module, inputs, keywords):
        begun.append(Call(module, next(number), marker.of(inputs_of(inputs, keywords), batch, tokens)))

    def leave(_module, _inputs, output):
        call = begun.pop()
        call.gives, call.kind = marker.of(output, batch, tokens), type(output)
        call.sizes = {place: state.shape[-1] for place, state in places_of(output, batch, tokens)}
        calls.append(call)

    with ExitStack() as stack:
        for module in body.modules():
            stack.callback(module.register_forward_pre_hook(enter, with_kwargs=True).remove)
            stack.callback(module.register_forward_hook(leave).remove)
        output = run_with_states(body, given)
    published = getattr(output, "hidden_states", None)
    theirs = None if published is None else [marker.of(state, batch, tokens) for state in published]
    last = marker.of(getattr(output, "last_hidden_state", None), batch, tokens)
    values = torch.stack(marker.marks).tolist() if marker.marks else []
    for call in calls:
        call.takes, call.gives = marker.read(call.takes, values), marker.read(call.gives, values)
    named = None if theirs is None else [marker.read(marks, values) for marks in theirs]
    return Watched(calls, named, marker.read(last, values))
