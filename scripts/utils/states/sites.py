"""Where a state is read: the layers of a model by name, and what has no layer."""

from utils.base.errors import UsageError, UserError

ATTENTION_LAYER = "attention"  # in tables, where a probe reads attention rows of all layers

Layer = int | str  # a block's number, "embed" or "final_norm"


def parse_layers(text, count, has_final_norm) -> list[Layer]:
    """'auto' -> first, quarters and last; 'all' -> embed, every layer, final_norm; '0,5,embed' -> those."""
    every = ["embed", *range(count), *(["final_norm"] if has_final_norm else [])]
    if text == "auto":
        return list(dict.fromkeys(i * (count - 1) // 4 for i in range(5)))
    if text == "all":
        return every
    layers = []
    for part in text.split(","):
        layer = int(part) if part.isascii() and part.isdigit() else part
        if layer not in every:
            raise UserError(
                f"layer {part}: this model has layers 0 to {count - 1}, embed"
                + (" and final_norm" if has_final_norm else "; it has no final_norm")
            )
        layers.append(layer)
    return sorted(set(layers), key=every.index)


def check_layer_text(text, flag="--layer_sweep"):
    """Refuse what can be no list of layers, before a model is loaded."""
    parts = text.split(",")
    wrong = [part for part in parts if not (part.isascii() and part.isdigit()) and part not in ("embed", "final_norm")]
    if wrong and text not in ("auto", "all"):
        raise UsageError(
            f"{flag} {text}: {wrong[0]!r} is no layer; give auto, all, or a list such as "
            "0,5,11 with embed and final_norm by name"
        )


def layer_name(layer) -> str:
    """5 -> 'layer5', as in file names; 'embed' and 'final_norm' stay."""
    return f"layer{layer}" if isinstance(layer, int) else layer
