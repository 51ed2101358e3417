"""TransformerLens' names of the places of a model, by which tools for sparse autoencoders tell what one reads."""

import re

from utils.base.errors import UserError
from utils.base.paths import in_quotes
from utils.states.sites import EMBED, FINAL_NORM, Layer

RESIDUAL = re.compile(r"blocks\.(\d{1,6})\.hook_resid_(pre|post)", re.ASCII)


def hook_of_layer(layer: Layer) -> str | None:
    """Name the hook that reads a layer: 6 -> 'blocks.6.hook_resid_post'; None for `final_norm`.

    TransformerLens' hook at the last norm gives the state before an RMSNorm's weight, and no other hook gives it after.
    """
    if layer == FINAL_NORM:
        return None
    return "blocks.0.hook_resid_pre" if layer == EMBED else f"blocks.{layer}.hook_resid_post"


def layer_of_hook(name: str) -> Layer:
    """Find the layer that a hook of the residual stream reads: the stream before block 3 is that after block 2.

    Raise UserError for any other hook: its states are not the stream's.
    """
    found = RESIDUAL.fullmatch(name)
    if not found:
        raise UserError(
            f"its hook is {in_quotes(name)}, whose states are not read here; give one of the residual stream, "
            "such as blocks.6.hook_resid_post"
        )
    after = int(found[1]) - (found[2] == "pre")
    return after if after >= 0 else EMBED
