"""Where the residual stream lies in what a module takes and gives, whatever the order of its dimensions."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

Key = int | str | None  # of a tuple, of a dictionary or keyword, of a bare tensor


def batch_first(state: torch.Tensor, batch: int, tokens: int) -> torch.Tensor | None:
    """[batch, tokens, hidden_size]; Longformer pads the tokens to whole windows."""
    fits = state.ndim == 3 and state.shape[0] == batch and state.shape[1] >= tokens
    return state[:, :tokens] if fits else None


def tokens_first(state: torch.Tensor, batch: int, tokens: int) -> torch.Tensor | None:
    """[tokens, batch, hidden_size]: XLNet."""
    return batch_first(state.transpose(0, 1), batch, tokens) if state.ndim == 3 else None


def streams_first(state: torch.Tensor, batch: int, tokens: int) -> torch.Tensor | None:
    """[streams, batch, tokens, hidden_size], of which the first is read: Gemma 3n, whose blocks write to it."""
    return batch_first(state[0], batch, tokens) if state.ndim == 4 and state.shape[0] else None


def streams_last(state: torch.Tensor, batch: int, tokens: int) -> torch.Tensor | None:
    """[batch, tokens, streams, hidden_size], of which the first is read."""
    return batch_first(state[:, :, 0], batch, tokens) if state.ndim == 4 and state.shape[2] else None


def flat(state: torch.Tensor, batch: int, tokens: int) -> torch.Tensor | None:
    """[batch * tokens, hidden_size]."""
    fits = state.ndim == 2 and state.shape[0] == batch * tokens
    return state.reshape(batch, tokens, -1) if fits else None


def tokens_last(state: torch.Tensor, batch: int, tokens: int) -> torch.Tensor | None:
    """[batch, hidden_size, tokens]: SqueezeBERT."""
    fits = state.ndim == 3 and state.shape[0] == batch and state.shape[2] == tokens
    return state.transpose(1, 2) if fits else None


LAYOUTS = {layout.__name__: layout for layout in (batch_first, tokens_first, tokens_last, streams_first, streams_last, flat)}


@dataclass(frozen=True)
class Place:
    """key: which of the tensors that a module takes or gives; layout: the order of its dimensions, one of LAYOUTS."""

    key: Key
    layout: str

    def state(self, values: Any, batch: int, tokens: int) -> torch.Tensor | None:
        """Find [batch, tokens, hidden_size] in what a module takes or gives; None where it is not there."""
        state = dict(tensors_in(values)).get(self.key)
        return None if state is None else LAYOUTS[self.layout](state, batch, tokens)

    @property
    def of_several(self) -> bool:
        """Say whether the state is one of several streams, of which the others are not read."""
        return self.layout.startswith("streams")

    def put(self, values: Any, state: torch.Tensor) -> Any:
        """Copy what a module takes or gives, with the state [batch, tokens, hidden_size] where `state` finds it.

        Raise ValueError where there are several streams: the others would go on as they were.
        """
        if self.of_several:
            raise ValueError("one of several streams cannot be replaced alone")
        whole = dict(tensors_in(values))[self.key].clone()
        LAYOUTS[self.layout](whole, *state.shape[:2]).copy_(state)  # a view in every layout
        if self.key is None:
            return whole
        if isinstance(values, Mapping):
            copied = copy.copy(values)
            copied[self.key] = whole
            return copied
        parts = [*values]
        parts[self.key] = whole
        return type(values)(*parts) if hasattr(values, "_fields") else type(values)(parts)


def tensors_in(values: Any) -> Iterator[tuple[Key, torch.Tensor]]:
    """Yield (key, tensor) of each tensor in a tensor, a tuple, or a dictionary; of a module's inputs, (inputs, keywords)."""
    if isinstance(values, torch.Tensor):
        yield None, values
    elif isinstance(values, Mapping):
        yield from ((key, value) for key, value in values.items() if isinstance(value, torch.Tensor))
    elif isinstance(values, (tuple, list)):
        yield from ((key, value) for key, value in enumerate(values) if isinstance(value, torch.Tensor))


def places_of(values: Any, batch: int, tokens: int) -> Iterator[tuple[Place, torch.Tensor]]:
    """Yield (place, state [batch, tokens, hidden_size]) of everything that can be a state."""
    for key, tensor in tensors_in(values):
        for layout, arrange in LAYOUTS.items():
            state = arrange(tensor, batch, tokens) if tensor.is_floating_point() else None
            if state is not None:
                yield Place(key, layout), state


def inputs_of(inputs: tuple, keywords: Mapping[str, Any]) -> dict[Key, Any]:
    """Join what a module is given by position and by name."""
    return {**dict(enumerate(inputs)), **keywords}


def apart(joined: Mapping[Key, Any]) -> tuple[tuple, dict[str, Any]]:
    """Take apart again what `inputs_of` has joined."""
    return tuple(value for key, value in joined.items() if isinstance(key, int)), {
        key: value for key, value in joined.items() if isinstance(key, str)
    }
