"""A model is the same after it was watched as before: what a forward changes in its modules is put back.

BigBird, for one, replaces its attention modules for good when it is given a short text.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

SMALL_BUFFER = 2**20  # numbers; larger ones are weights of a quantised model, which no forward writes to
CONTAINERS = (dict, list, set)


@contextmanager
def unchanged(model: nn.Module) -> Iterator[list[str]]:
    """Put everything back at the end of the block that a forward can change: modules, buffers, configurations.

    Parameters are kept by reference, so no second copy of the weights is made. A model that writes to its weights, as RWKV
    does when it first reads, is left as it then is: its attributes belong to its weights. The list that is yielded is filled
    at the end with the names of the attributes that were put back, those of hooks apart.
    """
    changed: list[str] = []
    before = [(thing, copied(vars(thing))) for thing in parts_of(model)]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers() if buffer.numel() <= SMALL_BUFFER]
    weights = [(parameter, parameter._version) for parameter in model.parameters() if not parameter.is_inference()]
    try:
        yield changed
    finally:
        written = any(parameter._version != version for parameter, version in weights)
        for thing, attributes in before if not written else ():
            changed += put_back(thing, attributes)
        with torch.inference_mode():
            for buffer, value in buffers if not written else ():
                if not (buffer.is_meta or torch.equal(buffer, value)):
                    buffer.copy_(value)
                    changed.append("buffer")


def parts_of(model: nn.Module) -> list[Any]:
    """List the modules of a model, and their configurations with the parts of those, each once."""
    found: dict[int, Any] = {}
    waiting = [thing for module in model.modules() for thing in (module, getattr(module, "config", None))]
    while waiting:
        thing = waiting.pop()
        if hasattr(thing, "__dict__") and id(thing) not in found:
            found[id(thing)] = thing
            if not isinstance(thing, nn.Module):
                waiting += [value for value in vars(thing).values() if hasattr(value, "to_diff_dict")]
    return list(found.values())


def copied(attributes: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Keep each value, and of a container what it holds."""
    return {name: (value, value.copy() if isinstance(value, CONTAINERS) else None) for name, value in attributes.items()}


def put_back(thing: Any, before: dict[str, tuple[Any, Any]]) -> list[str]:
    """Give a module or a configuration the attributes that it had. Return the names of those that were others."""
    now, changed = vars(thing), []
    for name in [name for name in now if name not in before]:
        changed.append(name)
        del now[name]
    for name, (value, held) in before.items():
        if name not in now or now[name] is not value:
            changed.append(name)
            now[name] = value
        if held is not None and not same(value, held):
            changed.append(name)
            value.clear()
            value.extend(held) if isinstance(value, list) else value.update(held)
    return [name for name in changed if "hook" not in name]


def same(one: Any, other: Any) -> bool:
    """Say whether two containers hold the same objects, in the same order where they have one: a copied set has its own."""
    if isinstance(one, set):
        return one == other
    if isinstance(one, dict):
        return list(one) == list(other) and all(one[key] is other[key] for key in one)
    return len(one) == len(other) and all(left is right for left, right in zip(one, other, strict=True))
