"""Name the latents that a probe reads: how the classes differ in each, and the tokens that it reads and promotes."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.sparse import csc_array

from utils.data.tokenizer import token_text
from utils.model.language_model import LanguageModel
from utils.model.unembedding import promoted_tokens
from utils.saved.columns import SAE_PROBES_COLUMNS, SOLVED
from utils.sweep.outcome import Sweep
from utils.sweep.refits.latents.compared import LayerOfLatents

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOST_LATENTS = 512  # of the latents of one probe, the best first
TOP_EXAMPLES = 20  # the largest activations, whose tokens are counted
TOP_TOKENS = 5


def name_latents(
    layer: LayerOfLatents, sweep: Sweep, language_model: LanguageModel, tokenizer: "PreTrainedTokenizerBase"
) -> list[dict]:
    """Describe the latents that the chosen probe of a layer reads, the best first; a dict each, as in the table.

    reads: the tokens at its TOP_EXAMPLES largest activations on train, [text, how many of these], the most frequent first.
    promotes, suppresses: as `promoted_tokens` gives them for its row of the decoder; None without a head.
    """
    best, screened = layer.best, layer.screened
    which = best.which[:MOST_LATENTS]
    weight = best.probe.tensors["weight"].numpy()
    tokens, active = sweep.task.first_sample["train"].tokens, csc_array(layer.encoded.only(which).matrix)
    directions = layer.sae.autoencoder.decoder[torch.from_numpy(which)]
    layers = [layer.sae.layer] * len(which)
    token = sweep.question.data.target_token
    promoted = promoted_tokens(language_model, tokenizer, directions, token, TOP_TOKENS, layers)
    return [
        {
            "rank": rank + 1,
            "latent": int(latent),
            "mean_difference": float(screened.difference[latent]),
            **{f"density_{name}": float(shares[latent]) for name, shares in screened.density.items()},
            "weight": float(weight[rank]),
            "reads": read_tokens(active[:, [rank]], tokens, tokenizer),
            "promotes": promoted[rank]["promoted"] if promoted else None,
            "suppresses": promoted[rank]["suppressed"] if promoted else None,
        }
        for rank, latent in enumerate(which)
    ]


def read_tokens(activations: csc_array, tokens: np.ndarray, tokenizer: "PreTrainedTokenizerBase") -> list[list]:
    """Count the tokens at the largest activations [n, 1] of one latent. tokens: ids, [n]."""
    largest = activations.indices[np.argsort(-activations.data, kind="stable")[:TOP_EXAMPLES]]
    counts = Counter(tokens[largest].tolist())
    return [[token_text(tokenizer, token), count] for token, count in counts.most_common(TOP_TOKENS)]


def rows_of_counts(sweep: Sweep, layers: Sequence[LayerOfLatents], owner: Mapping[str, str]) -> list[dict]:
    """Make the rows of sae_probes.csv: one for each split of each count, and of the dense probe of each layer."""
    return [
        {
            "target": sweep.target,
            "layer_idx": layer.sae.layer,
            "lag": sweep.lag,
            "features": features,
            "count": count,
            "seed": probe.seed,
            "l2": probe.l2,
            "split": split,
            "chosen": int(chosen),
            **{name: value for name, value in scores.items() if name in SAE_PROBES_COLUMNS},
            "bias": float(probe.tensors["bias"]),
            **{name: value for name, value in probe.notes.items() if name in SOLVED},
            **layer.sae.columns,
            **owner,
        }
        for layer in layers
        for features, count, chosen, probe in (
            *((one.features, one.count, one.chosen, one.probe) for one in (*layer.latents, *layer.dimensions)),
            ("states", layer.sae.autoencoder.hidden_size, True, layer.dense),
        )
        for split, scores in probe.metrics.items()
    ]


def rows_of_latents(sweep: Sweep, layer: LayerOfLatents, named: Sequence[dict], owner: Mapping[str, str]) -> list[dict]:
    """Make the rows of sae_latents.csv of one layer. named: its latents as `name_latents` gives them; lists become JSON."""
    place = {"target": sweep.target, "layer_idx": layer.sae.layer, "lag": sweep.lag}
    return [
        {
            **place,
            **{
                name: json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value
                for name, value in latent.items()
            },
            **layer.sae.columns,
            **owner,
        }
        for latent in named
    ]
