"""Which weights the pass reads: all of the blocks, the embeddings and the last norm, and nothing that comes after."""

from collections.abc import Collection, Iterator
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

from utils.model.anatomy import TOKENS_READ, Anatomy, given
from utils.model.unchanged import unchanged


def named_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Every parameter and every buffer that a checkpoint holds, by all of its names."""
    found = {**dict(model.named_parameters(remove_duplicate=False)), **model.state_dict(keep_vars=True)}
    return {name: tensor for name, tensor in found.items() if isinstance(tensor, torch.Tensor)}


def weights_of_pass(body: nn.Module, anatomy: Anatomy, has_head: bool = False) -> set[int]:
    """The ids of the tensors that a pass through the body reads: all but those of poolers, towers for pictures and the like.

    A part beside the blocks is not read if none of its modules is called before the last state is there. has_head: what is
    called after it leads to a language-model head (OPT's projection), and so is read too.
    """
    parts = [part for part in parts_beside_blocks(body, anatomy) if named_weights(part)]
    unused = parts_not_called(body, anatomy, parts, has_head) if parts else []
    left_out = {id(tensor) for part in unused for tensor in named_weights(part).values()}
    kept = {id(tensor) for part in parts if part not in unused for tensor in named_weights(part).values()}
    return {id(tensor) for tensor in named_weights(body).values()} - (left_out - kept)


def parts_beside_blocks(body: nn.Module, anatomy: Anatomy) -> Iterator[nn.Module]:
    """Yield the largest parts of the body that hold no block, but for embeddings and the last norm, which are read."""
    blocks = set(anatomy.blocks)
    for part in body.children():
        if part in blocks or part is anatomy.final_norm or isinstance(part, nn.Embedding):
            continue
        if blocks.isdisjoint(part.modules()):
            yield part
        else:
            yield from parts_beside_blocks(part, anatomy)


@torch.inference_mode()
def parts_not_called(body: Any, anatomy: Anatomy, parts: Collection[nn.Module], has_head: bool) -> list[nn.Module]:
    """Run a few tokens. Return the parts of which nothing is called, or only after the last state is there.

    has_head: the head reads those that are called only then. A part of the trunk that is never called may still be read, by
    its weights alone: it counts as used.
    """
    inside = set(anatomy.trunk.modules())
    blocks_left, early, late = len(anatomy.blocks), set(), set()
    ended = False

    def before(module, _inputs):
        (late if ended else early).add(module)

    def after_block(_module, _inputs, _output):
        nonlocal blocks_left, ended
        blocks_left -= 1
        ended = ended or blocks_left <= 0 and anatomy.final_norm is None

    def after_norm(_module, _inputs, _output):
        nonlocal ended
        ended = ended or blocks_left <= 0

    ids = torch.arange(TOKENS_READ, device=next(body.parameters()).device)[None] + 11
    with unchanged(body), ExitStack() as hooks:
        for module in {module for part in parts for module in part.modules()}:
            hooks.callback(module.register_forward_pre_hook(before).remove)
        for block in dict.fromkeys(anatomy.blocks):
            hooks.callback(block.register_forward_hook(after_block).remove)
        if anatomy.final_norm is not None:
            hooks.callback(anatomy.final_norm.register_forward_hook(after_norm).remove)
        body(**given(ids, body.config.get_text_config().vocab_size, anatomy.takes_mask))

    def used(part):
        modules = set(part.modules())
        if modules.isdisjoint(early | late):
            return part in inside
        return has_head or not modules.isdisjoint(early)

    return [part for part in parts if not used(part)]
