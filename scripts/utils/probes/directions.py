"""What a linear probe's direction says: the tokens that it promotes through the model's own head, and how it lies to others.

Through the head: a step v of the state before the last norm N(h) = gain * centred(h) / size(h) + shift moves the logits,
while the size stays as it is, by W_U (gain * centred(v)) / size: the logit lens (nostalgebraist 2020) on a direction, the
direct logit attribution of Elhage et al. (2021). Centred takes the mean away in a LayerNorm and nothing in an RMSNorm.
What the norm does is read from the norm itself, as its odd part: (N(v) - N(-v)) / 2 = gain * centred(v) / size(v).

Filter and pattern: a probe's weight w is a filter. It says how to read the label off a state and may lean on features
that only cancel noise, so that its entries (and W_U w) need not say what the label looks like. Its pattern does: the
covariance of the states times w, how the state moves as the probe's logit does (Haufe et al. 2014, equation 6). Through
the head, W_U (gain * pattern) is the covariance of each token's logit with the probe's logit, the size of the states held.
But the logits of frequent tokens vary most, so they lead the lists of many a pattern, at either end: probes of shuffled
labels had " the" among a pattern's first 1 % of tokens in 21 of 160 cases, among a filter's in 1 (two small models, their
four last layers). A high rank says more of a filter; of a pattern, hold it against one of shuffled labels.

    promoted_tokens(language_model, tokenizer, weight, token, layers=[3, 4, "final_norm"])
    promoted_tokens(language_model, tokenizer, pattern(matrices, weight), token, layers=[3, 4, "final_norm"])
"""

import json
import math
from pathlib import Path

import numpy as np
import torch

from utils.model.unembedding import promoted_tokens
from utils.states.matrices import chunks

FORMAT, VERSION = "probe-directions", 1
DIGITS = 6  # significant ones, in the file


@torch.inference_mode()
def pattern(matrices, weight) -> torch.Tensor:
    """float32 [layers, hidden_size]: covariance @ weight / (weight @ covariance @ weight), the covariance that of each
    layer's examples. It is how far the state moves, on average, when the probe's logit rises by 1 (Haufe et al. 2014).

    matrices: a Matrices of n examples in these layers, Matrices.of(states) for plain states [layers, n, hidden_size];
    weight: [layers, hidden_size] on raw states. No covariance matrix is made. 0 where the logit does not vary.
    """
    weight = torch.as_tensor(weight).cpu().double()
    parts = list(chunks(matrices, len(weight)))
    logits = torch.cat([torch.bmm(matrices.rows(which).double(), weight[:, :, None])[:, :, 0] for which in parts], dim=1)
    logits -= logits.mean(1, keepdim=True)
    moved = sum(torch.bmm(logits[:, None, which], matrices.rows(which).double())[:, 0] for which in parts)
    variance = logits.square().sum(1, keepdim=True)
    return torch.where(variance > 0, moved / variance, 0.0).float()


def direction_entries(language_model, tokenizer, metadata, weight, patterns, top=10) -> list[dict]:
    """One dict a probe: which it is, and its `filter` and `pattern` as `promoted_tokens` tells them.

    metadata: of each probe, as saved with it, all of one target; weight, patterns: [probes, hidden_size].
    """
    layers = [one["layer"] for one in metadata]
    told_of = {
        name: promoted_tokens(language_model, tokenizer, directions, metadata[0]["token"], top, layers)
        or [None] * len(layers)
        for name, directions in (("filter", weight), ("pattern", patterns))
    }
    return [
        {
            **{name: one[name] for name in ("target", "layer", "lag", "kind", "seed")},
            **{name: found[index] for name, found in told_of.items()},
        }
        for index, one in enumerate(metadata)
    ]


def cosines(names, directions, covariance=None) -> dict:
    """{"names", "matrix": [[cosine]]} between directions [m, hidden_size], of whatever layers, lags, seeds and kinds; NaN
    beside a direction of length 0.

    covariance: [hidden_size, hidden_size] of the states of one layer, for weights of probes on it. Their cosine is then
    that in the whitened space, w @ covariance @ v / (|.| |.|): the correlation of the two probes' logits on those states.
    In raw space two probes that say the same may be at right angles: a weight is free where the states do not vary.
    """
    rows = np.asarray(directions, dtype=np.float64)
    inner = rows @ (rows.T if covariance is None else np.asarray(covariance, dtype=np.float64) @ rows.T)
    lengths = np.sqrt(np.diag(inner).clip(min=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return {"names": list(names), "matrix": (inner / np.outer(lengths, lengths)).clip(-1, 1).tolist()}


def read_entries(path, owner) -> list[dict]:
    """The entries of an earlier file of the same owner; [] where there is none."""
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return []
    ours = isinstance(value, dict) and value.get("format") == FORMAT and value.get("owner") == owner
    return value["entries"] if ours else []


def write_directions(files, path, owner, entries, cosines):
    """JSON: {"format", "version", "owner", "entries", "cosines"}, an entry or a row of cosines a line; numbers of 6
    significant digits, cosines of 3 digits after the point, null for what is undefined.
    """
    rows = [[None if math.isnan(one) else round(one, 3) for one in row] for row in cosines["matrix"]]
    lines = [
        f'{{"format": {json.dumps(FORMAT)}, "version": {VERSION}, "owner": {json.dumps(owner)}, "entries": [',
        ",\n".join(json.dumps(plain(entry)) for entry in entries),
        f'], "cosines": {{"names": {json.dumps(cosines["names"])}, "matrix": [',
        ",\n".join(map(json.dumps, rows)),
        "]}}",
    ]
    with files.open(path) as file:
        file.write(("\n".join(lines) + "\n").encode("utf-8"))


def plain(value):
    """The same value with every number rounded as it goes into the file."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value
