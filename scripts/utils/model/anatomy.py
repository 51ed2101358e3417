"""Where a model's blocks and its last norm are, and whether it is causal: found by watching it read a few tokens."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from utils.base.errors import UserError
from utils.model.streams import Place
from utils.model.unchanged import unchanged
from utils.model.watched import Call, Watched, watch

TOKENS_READ = 8
PADDED = 4  # places after the text
# How far two ways to the same state may lie apart, as a part of its norm, at the worst token: rounding, no more.
STATE_TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.03, torch.bfloat16: 0.2}
STILL = 1e-5  # a causal model's earlier states move less than this part of what the changed token's own state moves


@dataclass(frozen=True)
class Anatomy:
    """blocks: of each layer the module that writes its state, in the order of their calls (a model that shares its weights
    calls one module many times); entry: the module that is given the stream before block 0; trunk: the innermost module
    that gives the state after the last norm, with everything before it inside; final_norm: the first module after the
    last block that gives that state, None where the blocks do.

    enters, leaves, normed: where the states lie in what entry takes, blocks give, final_norm gives
    closing: modules that make the state at the end of what the last block gives and of nothing else, one after the other:
        the last norm, and OPT's projection; none where that is not so
    output_type: what trunk gives, with a last_hidden_state; None where it gives something else
    causal: no token sees a later one; padding_moves: what stands in the padding moves the states of the text, or may do so
    published: what each of transformers' own hidden_states is: -1 the stream before block 0, k the state after block k,
        len(blocks) the state at the end, None what is not read; None in all where the model returns none
    restless: a forward changes the model, so that it must be put back after each; takes_mask: it takes an attention_mask
    """

    blocks: list[nn.Module]
    entry: nn.Module
    trunk: nn.Module
    final_norm: nn.Module | None
    enters: Place
    leaves: Place
    normed: Place | None
    closing: list[nn.Module]
    hidden_size: int
    output_type: type | None
    published: list[int | None] | None
    causal: bool
    padding_moves: bool
    restless: bool
    takes_mask: bool


@dataclass(frozen=True)
class Stack:
    """Calls that write the residual stream one after the other, where in what they give it lies, and `published`."""

    calls: Sequence[Call]
    leaves: Place
    published: list[int] | None

    @property
    def marks(self) -> list[int]:
        return [call.gives[self.leaves] for call in self.calls]


def examine(body: Any) -> Anatomy:
    """Watch the model read a few tokens. Independent of names, and the model is the same afterwards.

    Raise UserError where the model does not run on token ids alone, or no modules are found that write its states.
    """
    config, name = getattr(body, "config", None), type(body).__name__
    vocabulary = config and getattr(config.get_text_config(), "vocab_size", None)
    if not isinstance(vocabulary, int):
        raise UserError(
            f"a {name} names no vocabulary (vocab_size), so it reads no token ids; choose a model that reads tokens"
        )
    parameters = inspect.signature(body.forward).parameters
    takes_mask = "attention_mask" in parameters or any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    with unchanged(body) as changed:
        device = next(body.parameters()).device
        try:
            seen = watch(body, given(torch.arange(TOKENS_READ, device=device).repeat(2, 1) + 11, vocabulary, takes_mask))
        except (UserError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # of whatever kind: it is the model's own code that raises it
            raise UserError(
                f"a {name} does not run on token ids alone ({type(error).__name__}: {' '.join(str(error).split())[:150]}); "
                "choose a model that reads text"
            ) from error
        stack = find_stack(body, seen)
        found = parts(stack, seen)
        causal, padding_moves = what_moves(body, found, vocabulary, takes_mask)
    restless = bool(changed)
    return Anatomy(**found, causal=causal, padding_moves=padding_moves or restless, restless=restless, takes_mask=takes_mask)


def given(input_ids: torch.Tensor, vocabulary: int, takes_mask: bool) -> dict[str, torch.Tensor]:
    """What a forward takes: ids of this vocabulary; a mask of which only the first TOKENS_READ columns are text."""
    text = torch.arange(input_ids.shape[1], device=input_ids.device) < TOKENS_READ
    mask = text.long().expand(input_ids.shape).contiguous()
    return {"input_ids": input_ids % vocabulary, **({"attention_mask": mask} if takes_mask else {})}


def find_stack(body: nn.Module, seen: Watched) -> Stack:
    """Find the blocks: the outermost list of modules whose calls give transformers' own hidden states; where the model
    returns none, the outermost one whose calls form a chain, each of which takes what the one before it gave.
    """
    tried = 0
    for stack in stacks_of(body, seen):
        tried += 1
        if seen.published is None and chained(stack):
            return stack
        published = align(seen, stack)
        if published is not None:
            return replace(stack, published=published)
    why = f"none of its lists of modules gives the {len(seen.published or ())} hidden_states that transformers returns"
    if seen.published is None:
        why = "in none of its lists of modules does each take what the one before it gave"
    raise UserError(
        f"cannot find the blocks of a {type(body).__name__}: "
        f"{why if tried else 'no list of modules gives states of every token'}; choose another architecture"
    )


def stacks_of(body: nn.Module, seen: Watched) -> Iterator[Stack]:
    """Yield the calls of the modules of each list that give states of one size at one place, the outermost list first."""
    for members in body.modules():
        if isinstance(members, (nn.ModuleList, nn.Sequential)):
            own = set(members)
            calls = [call for call in seen.calls if call.module in own]
            for place, size in calls[0].sizes.items() if calls else ():
                if all(call.sizes.get(place) == size for call in calls):
                    yield Stack(calls, place, None)


def chained(stack: Stack) -> bool:
    """Say whether each call takes what the one before it gave."""
    return all(mark in call.takes.values() for mark, call in zip(stack.marks, stack.calls[1:], strict=False))


def align(seen: Watched, stack: Stack) -> list[int] | None:
    """Say what each of transformers' hidden_states is, as Anatomy.published does; None where they are not these states.

    Each state must be among them, in order. The embeddings may stand before them. The last may be missing, where the state
    at the end stands in its place and the last block takes what the one before it gave; or the state at the end follows it.
    """
    theirs, marks = [set(entry.values()) for entry in seen.published or ()], stack.marks
    count = len(marks)
    for embeddings in (1, 0):
        rest = theirs[embeddings:]
        if len(rest) not in (count, count + 1) or any(mark not in one for mark, one in zip(marks[:-1], rest, strict=False)):
            continue
        at_the_end = not seen.last or bool(rest[-1] & set(seen.last.values()))
        whole = marks[-1] in rest[count - 1]
        if whole and (len(rest) == count or at_the_end):
            return [*range(-embeddings, len(rest))]
        if not whole and at_the_end and len(rest) == count and chained(replace(stack, calls=stack.calls[-2:])):
            return [*range(-embeddings, count - 1), count]
    return None


def parts(stack: Stack, seen: Watched) -> dict[str, Any]:
    """Find what belongs to the blocks: where the stream enters them, the last norm, and the module around them all."""
    first, last = stack.calls[0], stack.calls[-1]
    entry, enters = find_entry(stack, seen)
    target = set(seen.last.values()) or (set(seen.published[-1].values()) if seen.published else set())
    hidden_size = last.sizes[stack.leaves]
    later = seen.calls[seen.calls.index(last) + 1 :]
    norm, normed = find_norm(stack, later, target)
    published = stack.published
    closing = find_closing(stack, later, target)
    if published and norm is None and not closing:
        published = [None if depth == len(stack.calls) else depth for depth in published]
    around = [call for call in later if call.began < first.began]
    whole = [
        call
        for call in around
        if any(place.key == "last_hidden_state" and call.gives[place] in target for place in call.gives)
    ]
    trunk = (whole or around)[0]
    return {
        "blocks": [call.module for call in stack.calls],
        "entry": entry,
        "trunk": trunk.module,
        "final_norm": norm and norm.module,
        "enters": enters,
        "leaves": stack.leaves,
        "normed": normed,
        "closing": closing,
        "hidden_size": hidden_size,
        "output_type": trunk.kind if whole else None,
        "published": published,
    }


def find_norm(stack: Stack, later: Sequence[Call], target: set[int]) -> tuple[Call, Place] | tuple[None, None]:
    """Find the first call after the last block that gives the state at the end, and where in what it gives that lies.

    Where the last block gives that state already, only a module with weights counts: a norm that happens to change nothing
    here, unlike a dropout. later: the calls that ended after the last block; target: marks of the state at the end.
    """
    last = stack.calls[-1]
    size = last.sizes[stack.leaves]
    changing = stack.marks[-1] not in target
    for call in later:
        if not changing and next(call.module.parameters(), None) is None:
            continue
        places = [place for place, mark in call.gives.items() if mark in target and call.sizes[place] == size]
        if call.began > last.began and places:
            return call, places[0]
    return None, None


def find_closing(stack: Stack, later: Sequence[Call], target: set[int]) -> list[nn.Module]:
    """Find calls that lead from what the last block gives to the state at the end, each of which takes one state only; of
    several streams one is read, so there are none then.
    """
    if stack.leaves.of_several:
        return []
    ways: dict[int, list[nn.Module]] = {stack.marks[-1]: []}
    for call in later:
        taken = set(call.takes.values())
        way = ways.get(next(iter(taken), 0)) if len(taken) == 1 else None
        if way is not None and call.began > stack.calls[-1].began:
            given = (mark for place, mark in call.gives.items() if place.key is None)
            ways |= {mark: [*way, call.module] for mark in given if mark not in ways}
    return next((ways[mark] for mark in target if mark in ways), [])


def find_entry(stack: Stack, seen: Watched) -> tuple[nn.Module, Place]:
    """Find the module that is given the stream before block 0, and where in what it is given the stream lies."""
    first = stack.calls[0]
    if stack.published and stack.published[0] == -1 and seen.published:
        embeddings = set(seen.published[0].values())
        for call in [first, *sorted(seen.calls, key=lambda call: call.began)]:
            for place, mark in call.takes.items():
                if mark in embeddings:
                    return call.module, place
    return first.module, next(place for place in first.takes if place.layout == stack.leaves.layout)


def what_moves(body: Any, found: dict[str, Any], vocabulary: int, takes_mask: bool) -> tuple[bool, bool]:
    """Say whether the model is causal, and whether padding moves the text: three padded rows, of which the second differs in
    the last token of the text and the third in what stands in the padding, and the first two without padding or mask, for
    that is how whole batches are read (VideoPrism is causal under a mask only).
    """
    ids = torch.arange(TOKENS_READ + PADDED, device=next(body.parameters()).device).repeat(3, 1) + 11
    ids[1, TOKENS_READ - 1] += 5
    ids[2, TOKENS_READ:] += 5
    text = last_states(body, found, given(ids, vocabulary, takes_mask))
    alone = last_states(body, found, given(ids[:2, :TOKENS_READ], vocabulary, takes_mask=False))
    moved, padded, moved_alone = (
        (one - other).abs().amax(-1) for one, other in ((text[0], text[1]), (text[0], text[2]), (alone[0], alone[1]))
    )
    limit = STILL * moved[-1]
    unlike = (text[0] - alone[0]).norm(dim=-1) / alone[0].norm(dim=-1).clamp(min=1e-30)
    leaks = padded.max() > limit or unlike.max() > STATE_TOLERANCE[next(body.parameters()).dtype]
    causal = moved[:-1].max() <= limit and moved_alone[:-1].max() <= STILL * moved_alone[-1]
    return bool(causal), bool(leaks)


@torch.inference_mode()
def last_states(body: Any, found: dict[str, Any], inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Read the text's states after the last block: float32 [batch, TOKENS_READ, hidden_size]; what overflows is 0."""
    states: list[torch.Tensor] = []
    shape = inputs["input_ids"].shape
    hook = found["blocks"][-1].register_forward_hook(
        lambda _module, _inputs, output: states.append(found["leaves"].state(output, *shape).clone())
    )
    try:
        body(**inputs)
    finally:
        hook.remove()
    return states[-1][:, :TOKENS_READ].float().nan_to_num(0.0, 0.0, 0.0)  # what overflows tells nothing
