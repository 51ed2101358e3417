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

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from utils.base.errors import UserError
from utils.base.files import WriteTogether, read_checked_json, with_checksum
from utils.model.language_model import LanguageModel
from utils.model.unembedding import promoted_tokens
from utils.states.matrices import Matrices, chunks

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FORMAT, VERSION = "probe-directions", 1
ENTRY = {"target": str, "layer": (int, str), "lag": int, "kind": str, "seed": int}  # of which probe an entry is
DIGITS = 6  # significant ones, in the file


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


def read_directions(path: str | Path) -> dict:
    """Read an earlier file: {"format", "version", "owner", "entries", "cosines"}. Raise UserError for a damaged one."""
    remedy = "move it away, or delete the old results with --overwrite"
    try:
        value = read_checked_json(path)
        found = value.get("format"), value.get("version")
        if found == (FORMAT, VERSION) and (problem := directions_problem(value)):
            raise ValueError(problem)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}); {remedy}") from error
    if found != (FORMAT, VERSION):
        raise UserError(
            f"{path} has format {found[0]!r} version {found[1]!r}, this suite reads {FORMAT!r} version {VERSION}; {remedy}"
        )
    return value


def directions_problem(value: Mapping[str, Any]) -> str | None:
    """Say what a file of directions lacks or garbles, or None."""
    if set(value) != {"format", "version", "owner", "entries", "cosines"}:
        return f"its keys are {', '.join(value)}"
    owner, entries, table = value["owner"], value["entries"], value["cosines"]
    if not (isinstance(owner, dict) and isinstance(entries, list) and isinstance(table, dict)):
        return "its owner, entries or cosines are not what they should be"
    for entry in entries:
        if not (isinstance(entry, dict) and all(isinstance(entry.get(name), kind) for name, kind in ENTRY.items())):
            return f"an entry does not say of which probe it is: {str(entry)[:60]}"
    if len({entry_key(entry) for entry in entries}) < len(entries):
        return "two of its entries are of one probe"
    match table:
        case {"names": list(names), "matrix": list(rows)} if len(rows) == len(names):
            square = all(isinstance(row, list) and len(row) == len(names) for row in rows)
        case _:
            square = False
    return None if square else "its cosines are not of every direction with every other"


def entry_key(entry: Mapping[str, Any]) -> tuple:
    """Identify the probe whose direction it is."""
    return tuple(entry[name] for name in ENTRY)


def write_directions(
    files: WriteTogether, path: str | Path, owner: Mapping[str, Any], entries: Sequence[dict], cosines: dict
):
    """Write JSON: {"format", "version", "checksum", "owner", "entries", "cosines"}, an entry or a row of cosines a line.

    Numbers have 6 significant digits, cosines 3 digits after the point; what is undefined is null.
    """
    rows = [[None if math.isnan(one) else round(one, 3) for one in row] for row in cosines["matrix"]]
    entries = [rounded_numbers(entry) for entry in entries]
    table = {"names": list(cosines["names"]), "matrix": rows}
    whole = {"format": FORMAT, "version": VERSION, "owner": owner, "entries": entries, "cosines": table}
    lines = [
        f'{{"format": {json.dumps(FORMAT)}, "version": {VERSION}, "checksum": "{with_checksum(whole)["checksum"]}", '
        f'"owner": {json.dumps(owner)}, "entries": [',
        ",\n".join(map(json.dumps, entries)),
        f'], "cosines": {{"names": {json.dumps(cosines["names"])}, "matrix": [',
        ",\n".join(map(json.dumps, rows)),
        "]}}",
    ]
    with files.open(path) as file:
        file.write(("\n".join(lines) + "\n").encode("utf-8"))


def rounded_numbers(value: Any) -> Any:
    """Round every number of a value as it goes into the file."""
    if isinstance(value, dict):
        return {key: rounded_numbers(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded_numbers(part) for part in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value
