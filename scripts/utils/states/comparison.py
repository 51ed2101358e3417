"""Are the states that our hooks read those that transformers itself returns? One sequence tells, before every pass."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from utils.base.errors import UserError, is_out_of_memory
from utils.data.sequences import Sequences
from utils.model.language_model import LanguageModel
from utils.model.streams import LAYOUTS, tensors_in
from utils.model.unchanged import unchanged
from utils.model.watched import run_with_states
from utils.states.forward_pass import forward, halve, inputs_to
from utils.states.sites import EMBED, FINAL_NORM, Layer, every_layer

# How far two ways to the same state may lie apart where shapes and kernels are the same, as a part of its norm, at the
# worst token: rounding, no more.
SAME_KERNELS = {torch.float32: 1e-4, torch.float16: 0.01, torch.bfloat16: 0.05}

BatchStates = dict[Layer, torch.Tensor]  # [batch, tokens, hidden_size] by layer


@dataclass(frozen=True)
class Comparison:
    """How far our states lie from those of transformers, as a part of a state's norm, at the worst token.

    largest: of all layers; layer: where; allowed: what rounding explains; apart: how far neighbouring layers of
    transformers lie apart at least, in the median; tokens: how many were compared in each layer; layers: how many
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


def require_same_states(language_model: LanguageModel, sequences: Iterable[Sequences], batch_size: int) -> dict:
    """Compare the longest sequence of all; both ways together cost at most one batch of the pass.

    Return what is to be recorded: the fields of a Comparison, or {"not compared": why}. Raise UserError where the states
    are not those of transformers.
    """
    try:
        found = compare(language_model, [longest(sequences, batch_size)])
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        halve(1, error)  # one sequence does not fit: it says so
        raise
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


def longest(sequences: Iterable[Sequences], batch_size: int) -> list[int]:
    """Take the longest sequence of all; half of it where a batch holds one, for it is read in two ways."""
    each = max(sequences, key=lambda each: each.lengths.max())
    row = int(each.lengths.argmax())
    length = int(each.lengths[row])
    return each.input_ids[row, : length if batch_size > 1 else (length + 1) // 2].tolist()


def compare(language_model: LanguageModel, framed: Sequence[list[int]]) -> Comparison | str:
    """Compare every layer of these sequences, one by one, with transformers' output_hidden_states.

    framed: token ids, special tokens included. Return why there is nothing to compare with, where that is so.
    """
    if language_model.anatomy.published is None:
        return f"a {type(language_model.body).__name__} returns no hidden_states"
    errors: dict[Layer, float] = {}
    apart = float("inf")
    for ids in framed:
        input_ids = torch.tensor([list(ids)])
        mask = torch.ones_like(input_ids)
        ours, theirs = our_states(language_model, input_ids, mask), their_states(language_model, input_ids, mask)
        for layer, error in differences(language_model, ours, theirs).items():
            errors[layer] = max(error, errors.get(layer, 0.0))
        states = [state[0] for state in theirs.values()]
        apart = min([apart, *(float(distance(*pair).median()) for pair in zip(states, states[1:], strict=False))])
    if not errors:
        return "none of the states is finite"
    layer = max(errors, key=lambda layer: errors[layer])
    tokens = sum(map(len, framed))
    return Comparison(errors[layer], layer, SAME_KERNELS[language_model.dtype], apart, tokens, len(errors))


def our_states(language_model: LanguageModel, input_ids: torch.Tensor, mask: torch.Tensor) -> BatchStates:
    """Read every layer as the pass does."""
    found: BatchStates = {}
    layers = every_layer(language_model.anatomy)
    forward(language_model, input_ids, mask, layers, lambda layer, state: found.__setitem__(layer, state.cpu()))
    return found


@torch.inference_mode()
def their_states(language_model: LanguageModel, input_ids: torch.Tensor, mask: torch.Tensor) -> BatchStates:
    """Ask transformers for the same, of a model without any hook of ours; layers that it leaves out are not there."""
    anatomy, given = language_model.anatomy, inputs_to(language_model, input_ids, mask)
    with unchanged(language_model.body):
        published = run_with_states(language_model.body, given).hidden_states
    names = {-1: EMBED, len(anatomy.blocks): FINAL_NORM}
    found: BatchStates = {}
    for depth, entry in zip(anatomy.published or (), published, strict=True):
        _, state = next(tensors_in(entry))  # PEGASUS-X gives pairs
        for layout in ("batch_first", anatomy.leaves.layout):  # Gemma 3n gives its streams
            arranged = LAYOUTS[layout](state, *input_ids.shape)
            if depth is not None and arranged is not None:
                found[names.get(depth, depth)] = arranged.cpu()
                break
    return found


def differences(language_model: LanguageModel, ours: BatchStates, theirs: BatchStates) -> dict[Layer, float]:
    """Find the largest distance of each layer that both have.

    Where transformers gives the last layer after the last norm only, the norm of ours is compared.
    """
    anatomy = language_model.anatomy
    errors: dict[Layer, float] = {}
    finite = {layer: state.isfinite().all(-1) for layer, state in theirs.items()}  # overflow is counted after the pass
    for layer, state in theirs.items():
        if layer not in ours:
            errors[layer] = float("inf")
        elif finite[layer].any():
            errors[layer] = worst([(ours[layer][finite[layer]], state[finite[layer]])])
    last = len(anatomy.blocks) - 1
    if last not in theirs and FINAL_NORM in errors and anatomy.final_norm is not None and anatomy.norm_follows:
        those = finite[FINAL_NORM]
        with torch.inference_mode():
            normed = anatomy.final_norm(ours[last][those].to(language_model.device))
        errors[last] = worst([(normed, theirs[FINAL_NORM][those])])
    return errors


def distance(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Divide the norm of the difference by the norm of `theirs`: [tokens], of states [tokens, hidden_size]."""
    ours, theirs = ours.double().cpu(), theirs.double().cpu()
    return (ours - theirs).norm(dim=-1) / theirs.norm(dim=-1).clamp(min=1e-30)


def worst(pairs: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """Find the largest distance among pairs of states [tokens, hidden_size]; infinite where one is not a number."""
    return max(float(distance(*pair).nan_to_num(torch.inf).max()) for pair in pairs)
