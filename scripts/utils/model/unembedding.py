"""A direction read through the model's own head: the tokens that it promotes and suppresses."""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from utils.data.tokenizer import token_text
from utils.model.language_model import LOGIT_BYTES, LanguageModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@torch.inference_mode()
def promoted_tokens(
    language_model: LanguageModel,
    tokenizer: "PreTrainedTokenizerBase",
    directions: torch.Tensor,
    target_token: int | None,
    top: int = 10,
    layers: Sequence | None = None,
) -> list[dict] | None:
    """Of each direction, the tokens whose logits a step along it raises and lowers most; None for a model without a head,
    or with one that reads something else than the states (a projection between them).

    directions: [m, hidden_size] on raw states, of any length, for each is given the length sqrt(hidden_size) of a state
    whose entries have size 1; target_token: an id, or None; layers: of each direction, by which those on final_norm are
    known, which pass the head alone (default: all are before the last norm). Bias, soft-cap and logit scale of the head
    are left out: none of them changes the order, nor what the direction itself does.

    A dict a direction: promoted and suppressed: `top` of [token's text, logit], the furthest first; target_rank: 1 if no
    token is promoted more; target_score: its logit in standard deviations from the vocabulary's mean; vocabulary: how many
    tokens were ranked, those with a name in the tokenizer. A direction of length 0 promotes nothing: no tokens, no rank.
    """
    unembedding = language_model.model.get_output_embeddings().weight if language_model.has_head else None
    if unembedding is None or unembedding.shape[1] != directions.shape[1]:
        return None
    known = torch.tensor(sorted({token for token in tokenizer.get_vocab().values() if token < len(unembedding)}))
    states = before_head(language_model, directions, layers)
    result = []
    for part in states.split(max(1, LOGIT_BYTES // (4 * len(known)))):
        result += [told(tokenizer, row, known, target_token, top) for row in head_logits(unembedding, part, known)]
    return result


def before_head(language_model: LanguageModel, directions: torch.Tensor, layers: Sequence | None = None) -> torch.Tensor:
    """[m, hidden_size] float32: the directions at root mean square 1, those before the last norm as it passes them on."""
    norm = language_model.anatomy.final_norm
    states = torch.as_tensor(directions).to(language_model.device, torch.float32)
    states = states / states.square().mean(1, keepdim=True).sqrt().clamp(min=torch.finfo(torch.float32).tiny)
    if norm is None:
        return states
    norm = copy.deepcopy(norm).float()
    passed = (norm(states) - norm(-states)) / 2
    after = torch.tensor([layer == "final_norm" for layer in layers or [None] * len(states)], device=states.device)
    return torch.where(after[:, None], states, passed)


def head_logits(unembedding: torch.Tensor, states: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """states @ unembedding[tokens].T in float32, [m, tokens] in main memory; no second copy of a large head is made."""
    size = max(1, LOGIT_BYTES // (4 * unembedding.shape[1]))
    return torch.cat(
        [
            (states @ unembedding[part.to(unembedding.device)].to(states.device, torch.float32).mT).cpu()
            for part in tokens.split(size)
        ],
        dim=1,
    )


def told(
    tokenizer: "PreTrainedTokenizerBase", logits: torch.Tensor, tokens: torch.Tensor, target_token: int | None, top: int
) -> dict:
    """One direction's entry. logits: float32 [tokens], of the tokens of these ids."""
    result = {"promoted": [], "suppressed": [], "target_rank": None, "target_score": None, "vocabulary": len(tokens)}
    if not logits.any():
        return result
    for name, largest in (("promoted", True), ("suppressed", False)):
        values, index = logits.topk(min(top, len(logits)), largest=largest)
        result[name] = [
            [token_text(tokenizer, token), value]
            for token, value in zip(tokens[index].tolist(), values.tolist(), strict=True)
        ]
    there = torch.nonzero(tokens == target_token)[:, 0] if target_token is not None else ()
    if len(there):
        target = logits[there[0]]
        result["target_rank"] = 1 + int((logits > target).sum())
        result["target_score"] = float((target - logits.mean()) / logits.std(correction=0))
    return result
