"""Read attention rows: where each head of every layer looks from a token, as features that do not carry the text's length.

Take the weights w of one query token and one head over the n text tokens that its layer sees: from the first text token, or
the first inside the layer's sliding window, up to and including the token itself. They are renormalised to sum to 1, so that
what goes to special tokens, and on a bidirectional model to later tokens, is left out. The text is cut into S equal segments
of its length. A feature is S times the weight inside its segment, where a token on a boundary counts for the part of it that
lies on either side.

So even attention is 1 in every segment whatever n is, also with fewer tokens than segments (n = 2, S = 4, weights .75 and
.25: 1.5, 1.5, .5, .5), and the mean over the segments is always 1. A plain mean over the tokens of a segment would be about
1/n whatever the head does.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from utils.base.errors import UserError
from utils.model.anatomy import TOKENS_READ
from utils.model.language_model import LanguageModel
from utils.model.unchanged import unchanged

if TYPE_CHECKING:
    from transformers import PretrainedConfig

ABOVE_ONE = 1.01  # rounding of weights that sum to 1; with attention sinks they sum to less
NEARLY_NONE = 1e-6  # spread evenly over the text and added: a head that looks only at special tokens reads as even
BYTES_AT_A_TIME = 2**26  # of float32 weights that are cut into segments together


@dataclass(frozen=True)
class AttentionLayer:
    """One attention layer.

    module: gives the weights [batch, heads, tokens, tokens]; window: how many tokens it sees, None: all.
    """

    module: nn.Module
    heads: int
    window: int | None


_known = WeakKeyDictionary()  # body -> its attention layers


def attention_layers(language_model: LanguageModel) -> list[AttentionLayer]:
    """List the modules of the model that give attention weights, in the order of their calls."""
    body = language_model.body
    if body not in _known:
        _known[body] = find_attention(language_model)
    return _known[body]


def attention_features(language_model: LanguageModel, segments: int) -> int:
    """Count the numbers of an attention row: heads of all layers x segments, in this order (0 for 0 segments)."""
    return segments * sum(layer.heads for layer in attention_layers(language_model)) if segments else 0


@contextmanager
def eager_attention(body: nn.Module) -> Iterator[None]:
    """Make the model compute attention weights within the block, which fused attention never forms.

    What the attention reads is changed in every configuration of the body, and given back afterwards:
    `set_attn_implementation` leaves out older architectures (Falcon) and knows no way back for mixed settings.
    """
    configs: list[Any] = list({id(part.config): part.config for part in body.modules() if hasattr(part, "config")}.values())
    before = [(config, config._attn_implementation) for config in configs if hasattr(config, "_attn_implementation")]
    try:
        for config, _ in before:
            config._attn_implementation_internal = "eager"  # by its setter, the parts of a configuration would follow
        yield
    finally:
        for config, implementation in before:
            config._attn_implementation_internal = implementation


@torch.inference_mode()
def find_attention(language_model: LanguageModel) -> list[AttentionLayer]:
    """Read a few tokens, and watch which modules give weights: the innermost ones, by no name."""
    body, device = language_model.body, language_model.device
    config = body.config.get_text_config()
    input_ids = (torch.arange(TOKENS_READ, device=device) + 11)[None] % config.vocab_size
    calls, block = [], 0  # the block that is running: so many have ended

    def end(_module, _inputs, _output):
        nonlocal block
        block += 1

    def note(module, _inputs, output):
        weights = weights_of(output)
        if weights is not None and weights.shape[-2:] == (TOKENS_READ, TOKENS_READ) and are_weights(weights.float()):
            calls.append((module, weights.shape[1], window_of(config, block)))

    with unchanged(body), eager_attention(body), ExitStack() as hooks:
        for module in body.modules():
            hooks.callback(module.register_forward_hook(note).remove)
        for module in dict.fromkeys(language_model.anatomy.blocks):
            hooks.callback(module.register_forward_hook(end).remove)
        body(input_ids=input_ids)
    outer = {module for module, *_ in calls for other, *_ in calls if other is not module and other in set(module.modules())}
    found = [AttentionLayer(*call) for call in calls if call[0] not in outer]
    if not found:
        raise UserError(
            f"{language_model.name} gives no attention weights, a {type(body).__name__} computes none; leave "
            "out the attention features, or choose a model with attention"
        )
    return found


def weights_of(output: object) -> torch.Tensor | None:
    """Take the last tensor [batch, heads, tokens, tokens] in what a module gives (before it, T5 has its position bias)."""
    parts = output if isinstance(output, (tuple, list)) else ()
    found = [part for part in parts if isinstance(part, torch.Tensor) and part.ndim == 4]
    return found[-1] if found else None


def are_weights(values: torch.Tensor) -> bool:
    """Say whether the numbers can be attention weights: not negative, and at most 1 in all for each query."""
    sums = values.sum(-1)
    return bool(values.isfinite().all() and values.min() >= 0 and sums.min() > 0 and sums.max() <= ABOVE_ONE)


def window_of(config: "PretrainedConfig", block: int) -> int | None:
    """Find how many tokens this block sees, by the configuration: all blocks slide (Mistral), or those so named (Gemma)."""
    types = getattr(config, "layer_types", None)
    slides = types is None or "sliding" in types[min(block, len(types) - 1)]
    return getattr(config, "sliding_window", None) if slides else None


@contextmanager
def watching_attention(
    language_model: LanguageModel, take: Callable[[AttentionLayer, torch.Tensor], None]
) -> Iterator[None]:
    """Hook the attention: within the block a forward calls take(layer, weights) for each attention layer, in order.

    weights: [batch, heads, tokens, tokens]. The model computes them in this block only.
    """
    layers, calls = attention_layers(language_model), 0

    def after(_module, _inputs, output):
        nonlocal calls
        weights = weights_of(output)
        if weights is None:
            raise UserError(
                f"{language_model.name} gives attention weights for short texts only; leave out the attention features, or "
                "choose another model"
            )
        take(layers[calls], weights)
        calls += 1

    with eager_attention(language_model.body), ExitStack() as hooks:
        for module in dict.fromkeys(layer.module for layer in layers):
            hooks.callback(module.register_forward_hook(after).remove)
        yield


def by_segment(
    weights: torch.Tensor,
    batch_row: torch.Tensor,
    position: torch.Tensor,
    text_start: int,
    window: int | None,
    segments: int,
) -> torch.Tensor:
    """Compute the features of the tokens at (batch_row, position), both int64 [rows]: float32 [rows, heads, segments].

    weights: [batch, heads, tokens, tokens], queries before keys; text_start: the first text token's position.
    """
    heads, tokens = weights.shape[1], weights.shape[3]
    rows = max(1, BYTES_AT_A_TIME // (4 * tokens * (heads + 3 * segments)))
    result = []
    for where, query in zip(batch_row.split(rows), position.split(rows), strict=True):
        start = torch.full_like(query, text_start) if window is None else (query + 1 - window).clamp(min=text_start)
        share = shares(start, query + 1, tokens, segments)
        inside = weights[where, :, query].float() @ share + NEARLY_NONE / segments
        result.append(segments * inside / inside.sum(-1, keepdim=True))
    return torch.cat(result)


def shares(start: torch.Tensor, end: torch.Tensor, tokens: int, segments: int) -> torch.Tensor:
    """Compute the part of each token that lies in each equal segment of start to end - 1: float32 [rows, tokens, segments].

    start 1, end 4, tokens 5, segments 2 -> (0, 0), (1, 0), (.5, .5), (0, 1), (0, 0)
    """
    place = (torch.arange(tokens, device=start.device) - start[:, None])[..., None]
    cuts = (torch.arange(segments + 1, device=start.device) * (end - start)[:, None] / segments)[:, None]
    overlap = cuts[..., 1:].minimum(place + 1) - cuts[..., :-1].maximum(place)
    return overlap.clamp(min=0)
