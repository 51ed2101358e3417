"""Are the states that our hooks read those that transformers itself returns? One sequence tells, before every pass."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from itertools import count
from typing import Any

import torch

from utils.base.errors import UserError, is_out_of_memory
from utils.data.sequences import Sequences
from utils.model.anatomy import Anatomy
from utils.model.language_model import LanguageModel
from utils.model.streams import LAYOUTS, tensors_in
from utils.model.unchanged import unchanged
from utils.model.watched import run_with_states
from utils.states.forward_pass import forward, halve, inputs_to, watching
from utils.states.sites import EMBED, FINAL_NORM, Layer, deepest_block, every_layer

# How far two ways to the same state may lie apart where shapes and kernels are the same, as a part of its norm, at the
# worst token: rounding, no more.
SAME_KERNELS = {torch.float32: 1e-4, torch.float16: 0.01, torch.bfloat16: 0.05}

BatchStates = dict[Layer, torch.Tensor]  # [batch, tokens, hidden_size] by layer


@dataclass(frozen=True)
class Comparison:
    """How far our states lie from those of transformers, as a part of a state's norm, at the worst token.

    largest: of all layers; layer: where; allowed: what rounding explains; tokens: how many were compared in each layer;
    layers: how many; apart: how far neighbouring layers of transformers lie apart at least, in the median; infinite before a
    pass, which does not ask
    """

    largest: float
    layer: Layer
    allowed: float
    apart: float
    tokens: int
    layers: int

    @property
    def passed(self) -> bool:
        """Say whether rounding explains the difference."""
        return self.largest <= self.allowed

    def __str__(self):
        return (
            f"layers and output_hidden_states differ by at most {self.largest:.1e} of a state's norm (layer {self.layer}; "
            f"allowed {self.allowed:g}); neighbouring layers are at least {self.apart:.1e} apart"
        )


def require_same_states(
    language_model: LanguageModel, sequences: Iterable[Sequences], layers: Iterable[Layer]
) -> dict[str, Any]:
    """Compare the longest sequence of all, before a pass that reads these layers: one forward of it, up to the deepest.

    Where its states of every layer do not fit into memory together, a beginning of it is compared. Return what is to be
    recorded: the fields of a Comparison, or {"not compared": why}. Raise UserError where the states are not those of
    transformers.
    """
    ids, layers = longest(sequences), list(layers)
    while True:
        try:
            found = compare(language_model, [ids], layers)
            break
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if len(ids) == 1:
                halve(1, error)  # one sequence does not fit: it says so
            ids = ids[: len(ids) // 2]
    if isinstance(found, str):
        print(f"states are not compared with those of transformers: {found}", flush=True)
        return {"not compared": found}
    if not found.passed:
        raise UserError(
            f"the states that are read of {language_model.name} (a {type(language_model.body).__name__}) are not those that "
            f"transformers returns: they differ by {found.largest:.1e} of a state's norm in layer {found.layer}, where "
            f"{found.allowed:g} is allowed; choose another model"
        )
    return {name: getattr(found, name) for name in ("largest", "layer", "allowed", "tokens", "layers")}


def longest(sequences: Iterable[Sequences]) -> list[int]:
    """Take the longest sequence of all."""
    each = max(sequences, key=lambda each: each.lengths.max())
    row = int(each.lengths.argmax())
    return each.input_ids[row, : int(each.lengths[row])].tolist()


def compare(
    language_model: LanguageModel, framed: Sequence[list[int]], layers: Iterable[Layer] | None = None
) -> Comparison | str:
    """Compare the layers of these sequences, one by one, with transformers' output_hidden_states.

    framed: token ids, special tokens included. layers: those that a pass reads; then one forward, up to the deepest of them,
    gives both. None: all, ours read just as a pass does, theirs in a forward of their own without any hook of ours. Return
    why there is nothing to compare with, where that is so.
    """
    anatomy = language_model.anatomy
    if anatomy.published is None:
        return f"a {type(language_model.body).__name__} returns no hidden_states"
    errors: dict[Layer, float] = {}
    apart = float("inf")
    for ids in framed:
        input_ids = torch.tensor([list(ids)])
        mask = torch.ones_like(input_ids)
        if layers is None:
            ours, theirs = our_states(language_model, input_ids, mask), their_states(language_model, input_ids, mask)
            states = [state[0] for layer, state in theirs.items() if layer in ours]
            apart = min([apart, *(float(distance(*pair).median()) for pair in zip(states, states[1:], strict=False))])
        else:
            ours, theirs = both_states(language_model, input_ids, mask, up_to(layers, anatomy))
        for layer, error in differences(language_model, ours, theirs).items():
            errors[layer] = max(error, errors.get(layer, 0.0))
    if not errors:
        return "none of the states is finite"
    layer = max(errors, key=lambda layer: errors[layer])
    tokens = sum(map(len, framed))
    return Comparison(errors[layer], layer, SAME_KERNELS[language_model.dtype], apart, tokens, len(errors))


def up_to(layers: Iterable[Layer], anatomy: Anatomy) -> list[Layer]:
    """List the layers that a forward has run when it has run the deepest of these: block 0 at least; with the last, all."""
    deepest = max(0, deepest_block(layers, anatomy))
    every = every_layer(anatomy)
    return every if deepest == len(anatomy.blocks) - 1 else every[: every.index(deepest) + 1]


def our_states(language_model: LanguageModel, input_ids: torch.Tensor, mask: torch.Tensor) -> BatchStates:
    """Read every layer as the pass does."""
    found: BatchStates = {}
    layers = every_layer(language_model.anatomy)
    forward(language_model, input_ids, mask, layers, lambda layer, state: found.__setitem__(layer, state.cpu()))
    return found


@torch.inference_mode()
def their_states(language_model: LanguageModel, input_ids: torch.Tensor, mask: torch.Tensor) -> BatchStates:
    """Ask transformers for the same, of a model without any hook of ours; layers that it leaves out are not there."""
    with unchanged(language_model.body):
        output = run_with_states(language_model.body, inputs_to(language_model, input_ids, mask))
    return published_states(language_model.anatomy, output.hidden_states, (len(input_ids), input_ids.shape[1]))


@torch.inference_mode()
def both_states(
    language_model: LanguageModel, input_ids: torch.Tensor, mask: torch.Tensor, layers: Sequence[Layer]
) -> tuple[BatchStates, BatchStates]:
    """Read these layers by the hooks of the pass, in the forward whose states transformers returns: (ours, theirs).

    Ours are copied when they are read, so that what a later module does to a tensor in place shows.
    """
    anatomy, body, shape = language_model.anatomy, language_model.body, (len(input_ids), input_ids.shape[1])
    ours: BatchStates = {}

    def take(layer, state):
        ours.setdefault(layer, state.clone().cpu())  # the first of its kind: there the pass ends

    with unchanged(body), passed_by(anatomy, layers), watching(anatomy, layers, take, shape, ends=False):
        published = run_with_states(body, inputs_to(language_model, input_ids, mask)).hidden_states
    if len(published) < len(anatomy.published or ()):  # ALBERT's come from inside the blocks, where nothing was run
        return both_states(language_model, input_ids, mask, every_layer(anatomy))
    theirs = published_states(anatomy, published, shape)
    whole = deepest_block(layers, anatomy) == len(anatomy.blocks) - 1
    return ours, theirs if whole else {layer: state for layer, state in theirs.items() if layer in layers}


@contextmanager
def passed_by(anatomy: Anatomy, layers: Iterable[Layer]) -> Iterator[None]:
    """Let each block after the deepest of these layers give what the deepest gave: up to there a forward costs something."""
    deepest, blocks = deepest_block(layers, anatomy), list(dict.fromkeys(anatomy.blocks))
    before = [vars(block).get("forward") for block in blocks]
    calls, given = count(), None

    def shortened(real):
        @wraps(real)
        def shortened_forward(*inputs, **keywords):
            nonlocal given
            if next(calls) <= deepest:
                given = real(*inputs, **keywords)
            return given

        return shortened_forward

    try:
        for block in blocks:
            block.forward = shortened(block.forward)
        yield
    finally:
        for block, own in zip(blocks, before, strict=True):
            if own is None:
                vars(block).pop("forward", None)
            else:
                block.forward = own


def published_states(anatomy: Anatomy, published: Sequence[Any], shape: tuple[int, int]) -> BatchStates:
    """Sort what transformers returned of a batch of this shape by layer."""
    names = {-1: EMBED, len(anatomy.blocks): FINAL_NORM}
    found: BatchStates = {}
    for depth, entry in zip(anatomy.published or (), published, strict=True):
        _, state = next(tensors_in(entry))  # PEGASUS-X gives pairs
        for layout in ("batch_first", anatomy.leaves.layout):  # Gemma 3n gives its streams
            arranged = LAYOUTS[layout](state, *shape)
            if depth is not None and arranged is not None:
                found[names.get(depth, depth)] = arranged.cpu()
                break
    return found


def differences(language_model: LanguageModel, ours: BatchStates, theirs: BatchStates) -> dict[Layer, float]:
    """Find the largest distance of each layer that both have.

    Where transformers gives the last layer only as what the modules after it make of it, ours is given to them too.
    """
    anatomy = language_model.anatomy
    errors: dict[Layer, float] = {}
    finite = {layer: state.isfinite().all(-1) for layer, state in theirs.items()}  # overflow is counted after the pass
    for layer, state in theirs.items():
        if layer == FINAL_NORM and anatomy.final_norm is None:
            continue
        if layer not in ours:
            errors[layer] = float("inf")
        elif finite[layer].any():
            errors[layer] = worst([(ours[layer][finite[layer]], state[finite[layer]])])
    last, those = len(anatomy.blocks) - 1, finite.get(FINAL_NORM)
    if last in ours and last not in theirs and anatomy.closing and those is not None and those.any():
        errors[last] = worst([(after_closing(language_model, ours[last][those]), theirs[FINAL_NORM][those])])
    return errors


@torch.inference_mode()
def after_closing(language_model: LanguageModel, states: torch.Tensor) -> torch.Tensor:
    """Let the modules after the last block make of its states [tokens, hidden_size] what they make of them."""
    states = states.to(language_model.device)
    for module in language_model.anatomy.closing:
        states = module(states)
    return states.cpu()


def distance(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Divide the norm of the difference by the norm of `theirs`: [tokens], of states [tokens, hidden_size]."""
    if torch.equal(ours, theirs):
        return torch.zeros(len(ours))
    ours, theirs = ours.double().cpu(), theirs.double().cpu()
    return (ours - theirs).norm(dim=-1) / theirs.norm(dim=-1).clamp(min=1e-30)


def worst(pairs: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """Find the largest distance among pairs of states [tokens, hidden_size]; infinite where one is not a number."""
    return max(float(distance(*pair).nan_to_num(torch.inf).max()) for pair in pairs)
