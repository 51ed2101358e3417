"""Where a model's blocks and its last norm are, and whether it is causal: found by watching it read a few tokens."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from utils.base.errors import UserError

TOKENS_READ = 8
STILL = 1e-5  # a causal model's earlier states move less than this part of what the changed token's own state moves


@dataclass(frozen=True)
class Anatomy:
    """blocks: the modules that write the residual stream, in the order of their calls (a model that shares its weights
    calls one module many times); trunk: the module that owns them; final_norm: the module whose output is the state
    after the last norm, None where the model has none; causal: no token sees a later one.
    """

    blocks: list[nn.Module]
    trunk: nn.Module
    final_norm: nn.Module | None
    hidden_size: int
    causal: bool
    output_type: type


def state_of(value: Any) -> torch.Tensor | None:
    """The hidden states in what a module takes or gives: a tensor, or the first of a tuple."""
    if isinstance(value, (tuple, list)) and value:
        value = value[0]
    return value if isinstance(value, torch.Tensor) else None


def stream_before(inputs, keywords) -> torch.Tensor:
    """The residual stream that a block is given, by position or by name."""
    return state_of(inputs) if inputs else keywords["hidden_states"]


@torch.inference_mode()
def examine(body: Any) -> Anatomy:
    """Read two texts that differ in the last token only, and watch which modules are called, in which order.

    Independent of names: the blocks are the list of num_hidden_layers modules that are called in order and give
    [2, tokens, hidden_size]; the last norm is what gives that shape after them, inside the same module.
    """
    config = body.config.get_text_config()
    device = next(body.parameters()).device
    input_ids = (torch.arange(TOKENS_READ, device=device) + 11).repeat(2, 1) % config.vocab_size
    input_ids[1, -1] = (input_ids[1, -1] + 5) % config.vocab_size
    calls: list[tuple[nn.Module, torch.Tensor]] = []
    outputs: dict[nn.Module, object] = {}

    def note(module, _inputs, output):
        outputs[module] = output
        state = state_of(output) if not hasattr(output, "keys") else None
        if state is not None and state.ndim == 3 and state.shape[:2] == input_ids.shape:
            calls.append((module, state))

    with ExitStack() as stack:
        for module in body.modules():
            stack.callback(module.register_forward_hook(note).remove)
        body(input_ids=input_ids, attention_mask=torch.ones_like(input_ids))
    order = [module for module, _ in calls]
    owner, blocks = find_blocks(body, config.num_hidden_layers, order)
    trunk = body.get_submodule(owner)
    last_block = max(index for index, module in enumerate(order) if module is blocks[-1])
    last = calls[last_block][1]
    inside = set(trunk.modules()) - {trunk}
    after = [(module, state) for module, state in calls[last_block + 1 :] if module in inside and state.shape == last.shape]
    norms = [module for module, state in after if torch.equal(state, after[-1][1])]  # a dropout after it is no news
    moved = (last[0].float() - last[1].float()).nan_to_num(0.0, 0.0, 0.0).abs().amax(-1)  # what overflows tells nothing
    return Anatomy(
        blocks,
        trunk,
        norms[0] if norms else None,
        last.shape[-1],
        causal=bool(moved[:-1].max() <= STILL * moved[-1]),
        output_type=type(outputs[trunk]),
    )


def find_blocks(body: nn.Module, count: int, order: Sequence[nn.Module]) -> tuple[str, list[nn.Module]]:
    """The name of the module that owns the blocks, and the blocks in the order of their calls.

    First choice is a list of `count` modules that are each called once, in order; else (ALBERT shares its weights) a
    shorter one whose modules are called `count` times in all. The outermost list wins.
    """
    lists = [(name, module) for name, module in body.named_modules() if isinstance(module, nn.ModuleList)]
    called = [[module for module in order if any(module is block for block in blocks)] for _, blocks in lists]
    for shared in (False, True):
        for (name, blocks), calls in zip(lists, called, strict=True):
            if len(calls) == count and (shared or calls == list(blocks)):
                return name.rpartition(".")[0], calls
    raise UserError(
        f"cannot find the {count} blocks of a {type(body).__name__}: no list of modules is called {count} "
        "times with states of [batch, tokens, hidden_size]; choose another architecture"
    )
