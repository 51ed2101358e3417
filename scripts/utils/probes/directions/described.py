"""Interpret the direction of a linear probe: the tokens it promotes, its pattern, its cosines with other directions.

Through the head: moving the state before the last norm N(h) = gain * centred(h) / size(h) + shift by a step v, while its
size stays as it is, moves the logits by W_U (gain * centred(v)) / size. This is the logit lens (nostalgebraist 2020) on a
direction, or the direct logit attribution of Elhage et al. (2021). Centring subtracts the mean in a LayerNorm and nothing in
an RMSNorm. What the norm does is read from the norm itself, as its odd part: (N(v) - N(-v)) / 2 = gain * centred(v) /
size(v).

Filter and pattern: a probe's weight w is a filter. It says how to read the label off a state, and may lean on features that
only cancel noise, so its entries (and W_U w) need not show what the label looks like. Its pattern does: the covariance of
the states times w, which is how the state moves as the probe's logit does (Haufe et al. 2014, equation 6). Through the head,
W_U (gain * pattern) is the covariance of each token's logit with the probe's logit, at a fixed size of the states. But the
logits of frequent tokens vary most, so they lead the lists of many patterns, at either end: probes of shuffled labels had "
the" among a pattern's first 1 % of tokens in 21 of 160 cases, and among a filter's in 1 (two small models, their four last
layers). A high rank says more about a filter; compare a pattern's with that of shuffled labels.

    promoted_tokens(language_model, tokenizer, weight, token, layers=[3, 4, "final_norm"])
    promoted_tokens(language_model, tokenizer, pattern(matrices, weight), token, layers=[3, 4, "final_norm"])
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from utils.model.language_model import LanguageModel
from utils.model.unembedding import promoted_tokens
from utils.probes.directions.files import ENTRY
from utils.states.matrices import Matrices, chunks

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@torch.inference_mode()
def pattern(matrices: Matrices, weight: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Compute how far the state moves, on average, when the probe's logit rises by 1 (Haufe et al. 2014).

    It is covariance @ weight / (weight @ covariance @ weight), float32 [layers, hidden_size], with the covariance of each
    layer's examples.

    matrices: a Matrices of n examples in these layers, Matrices.of(states) for plain states [layers, n, hidden_size];
    weight: [layers, hidden_size] on raw states. No covariance matrix is made. 0 where the logit does not vary.
    """
    filters = torch.as_tensor(weight).cpu().double()
    parts = list(chunks(matrices, len(filters)))
    logits = torch.cat([torch.bmm(matrices.rows(which).double(), filters[:, :, None])[:, :, 0] for which in parts], dim=1)
    logits -= logits.mean(1, keepdim=True)
    moved = torch.zeros_like(filters)
    for which in parts:
        moved += torch.bmm(logits[:, None, which], matrices.rows(which).double())[:, 0]
    variance = logits.square().sum(1, keepdim=True)
    return torch.where(variance > 0, moved / variance, 0.0).float()


def direction_entries(
    language_model: LanguageModel,
    tokenizer: "PreTrainedTokenizerBase",
    metadata: Sequence[Mapping[str, Any]],
    weight: np.ndarray | torch.Tensor,
    patterns: np.ndarray | torch.Tensor,
    top: int = 10,
) -> list[dict]:
    """Describe each probe by a dict: which it is, and its `filter` and `pattern` as `promoted_tokens` describes them.

    metadata: of each probe, as saved with it, all of one target; weight, patterns: [probes, hidden_size].
    """
    layers = [one["layer"] for one in metadata]
    promoted = {
        name: promoted_tokens(language_model, tokenizer, torch.as_tensor(directions), metadata[0]["token"], top, layers)
        or [None] * len(layers)
        for name, directions in (("filter", weight), ("pattern", patterns))
    }
    return [
        {
            **{name: one[name] for name in ENTRY},
            **{name: found[index] for name, found in promoted.items()},
        }
        for index, one in enumerate(metadata)
    ]


def cosines(
    names: Sequence[str],
    directions: Sequence[np.ndarray] | np.ndarray | torch.Tensor,
    covariance: np.ndarray | torch.Tensor | None = None,
) -> dict:
    """Compute the cosines between directions [m, hidden_size], whatever their layers, lags, seeds and kinds.

    Returns {"names", "matrix": [[cosine]]}; NaN where a direction has length 0.

    covariance: [hidden_size, hidden_size] of the states of one layer, for weights of probes on it. Their cosine is then that
    in the whitened space, w @ covariance @ v / (|.| |.|): the correlation of the two probes' logits on those states. In raw
    space two probes that say the same may be at right angles, since a weight is free where the states do not vary.
    """
    rows = np.asarray(directions, dtype=np.float64)
    inner = rows @ (rows.T if covariance is None else np.asarray(covariance, dtype=np.float64) @ rows.T)
    lengths = np.sqrt(np.diag(inner).clip(min=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return {"names": list(names), "matrix": (inner / np.outer(lengths, lengths)).clip(-1, 1).tolist()}
