"""Name and order the layers of a model, where states are read; attention rows belong to no layer.

A name stands for one place of the model. A place in every block, such as the output of its MLP, is not read yet.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from utils.base.errors import UsageError, UserError

if TYPE_CHECKING:  # flags are checked before torch is imported
    from utils.model.anatomy import Anatomy

Layer = int | str  # a block's number, "embed", "final_norm", or ATTENTION
EMBED, FINAL_NORM = "embed", "final_norm"  # the stream before block 0; the state after the last norm
ATTENTION = "attention"  # no layer: the attention rows of all layers together
NAMED = (EMBED, FINAL_NORM)


def every_layer(anatomy: Anatomy) -> list[Layer]:
    """List every layer of a model, the shallowest first: embed, the blocks, and final_norm where there is a last norm."""
    last_norm = [FINAL_NORM] if anatomy.final_norm is not None else []
    return [EMBED, *range(len(anatomy.blocks)), *last_norm]


def parse_layers(text: str, anatomy: Anatomy) -> list[Layer]:
    """Turn the words of a flag into layers of this model, the shallowest first. Raise UserError for one it lacks.

    "auto" -> first, quarters and last block; "all" -> every layer; "5,0,embed" -> ["embed", 0, 5].
    """
    every, count = every_layer(anatomy), len(anatomy.blocks)
    if text == "auto":
        return list(dict.fromkeys(i * (count - 1) // 4 for i in range(5)))
    if text == "all":
        return every
    layers = []
    for part in text.split(","):
        layer = layer_of(part)
        if layer not in every:
            rest = " and final_norm" if FINAL_NORM in every else "; it has no final_norm"
            raise UserError(f"layer {part}: this model has layers 0 to {count - 1}, embed" + rest)
        layers.append(layer)
    return sorted(set(layers), key=every.index)


def sort_layers(layers: Iterable[Layer], anatomy: Anatomy) -> list[Layer]:
    """Sort layers that are known by number and name, the shallowest first. Raise UserError for one the model lacks."""
    return parse_layers(",".join(map(str, layers)), anatomy)


def check_layer_text(text: str, flag: str = "--layer_sweep") -> None:
    """Refuse what can be no list of layers, before a model is loaded."""
    wrong = [part for part in text.split(",") if not (is_number(part) or part in NAMED)]
    if wrong and text not in ("auto", "all"):
        raise UsageError(
            f"{flag} {text}: {wrong[0]!r} is no layer; give auto, all, or a list such as "
            "0,5,11 with embed and final_norm by name"
        )


def read_layers(text: str) -> list[Layer]:
    """Read a list of layers, as a flag gives it: '0,embed' -> [0, "embed"]. Raise UsageError for what can be no layer."""
    parts = text.split(",")
    for part in parts:
        if not is_layer(layer_of(part)):
            raise UsageError(
                f"--layers {text}: {part!r} is no layer; give a list such as 0,5,11 with embed, final_norm and attention "
                "by name"
            )
    return [layer_of(part) for part in parts]


def is_layer(layer: object) -> bool:
    """Say whether this can be what a probe reads: a block's number, one of the names, or attention rows."""
    return layer in (*NAMED, ATTENTION) if isinstance(layer, str) else type(layer) is int and layer >= 0


def layer_of(text: str) -> Layer:
    """Read a layer as flags and tables write it: '5' -> 5; names stay, also those that are no layer's."""
    return int(text) if is_number(text) else text


def is_number(text: str) -> bool:
    """Say whether the text is the number of a block."""
    return text.isascii() and text.isdigit() and len(text) <= 6  # a million blocks


def layer_name(layer: Layer) -> str:
    """Name a layer as file names and tables do: 5 -> 'layer5'; named ones stay as they are."""
    return f"layer{layer}" if isinstance(layer, int) else layer


def layer_depth(layer: Layer) -> float:
    """Give a sort key that puts embed first and final_norm after every block."""
    if isinstance(layer, int):
        return layer
    return -1 if layer == EMBED else float("inf")


def deepest_block(layers: Iterable[Layer], anatomy: Anatomy) -> int:
    """Find the last block that must be run to read these layers; -1 where the embeddings suffice."""
    return int(min(max(map(layer_depth, layers)), len(anatomy.blocks) - 1))
