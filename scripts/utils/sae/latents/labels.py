"""Tell which tokens speak for each latent, and label latents: by these tokens, or in the user's own words."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.base.errors import UserError
from utils.sae.latents.token_counts import TokenCounts, ranks
from utils.states.sites import Layer, layer_of

IN_A_LABEL = 3  # tokens of an automatic label
SPEAKS = 0.1  # of the best token's score; a token with less is in no label


@dataclass(frozen=True)
class TokenLists:
    """A few tokens of each latent, the first ones first; -1 where there are no more.

    token, count  int64 [latents, most]
    lift          float64: the token's share of the latent's activations over its share of all tokens that are read
    score         float64: (its share) * log(lift), what the token adds to the divergence of both distributions, in nats
    """

    token: np.ndarray
    count: np.ndarray
    lift: np.ndarray
    score: np.ndarray


def token_lists(counts: TokenCounts, most: int) -> tuple[TokenLists, TokenLists]:
    """List of each latent the most common tokens, and those that speak most for it (by `score`)."""
    latent, token, count = counts.pairs()
    share = count / counts.active[latent]
    lift = share / (counts.base[token] / max(1, counts.base.sum()))
    score = share * np.log(lift)
    found = []
    for first in (-count, -score):
        order = np.lexsort((token, first, latent))
        place = ranks(latent[order])
        order, place = order[place < most], place[place < most]
        to = latent[order], place
        lists = []
        for values, empty in ((token, -1), (count, 0), (lift, 0.0), (score, 0.0)):
            listed = np.full((len(counts.missed), most), empty, dtype=values.dtype)
            listed[to] = values[order]
            lists.append(listed)
        found.append(TokenLists(*lists))
    return found[0], found[1]


def automatic_labels(read: TokenLists, following: TokenLists, names: Mapping[int, str]) -> list[str]:
    """Label each latent by the tokens that speak most for it: those that it reads, or those that follow where they say more.

    read, following: as `token_lists` lists them by score; names: of tokens. Silent latents have no label.
    """
    labels = []
    for latent in range(len(read.token)):
        best = read if read.score[latent, 0] >= following.score[latent, 0] else following
        enough = (best.token[latent] >= 0) & (best.score[latent] > SPEAKS * best.score[latent, 0])
        tokens = best.token[latent][enough][:IN_A_LABEL]
        words = " · ".join(names[int(token)].strip() or names[int(token)].replace(" ", "␣") for token in tokens)
        labels.append(f"before {words}" if words and best is following else words)
    return labels


def read_labels(path: str, latents: Mapping[Layer, int]) -> dict[Layer, dict[int, str]]:
    """Read the user's labels: {layer: {latent: words}}. latents: how many each layer has.

    The file is a JSON object of latent -> words (of several layers: layer -> such an object), or a .csv with the columns
    latent and label (of several layers: and layer).
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        rows = rows_of_csv(text) if path.lower().endswith(".csv") else rows_of_json(json.loads(text))
    except (OSError, UnicodeDecodeError, csv.Error, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"--labels {path} cannot be read: {reason}; give a JSON object of latent -> words, or a .csv with the columns "
            "latent and label"
        ) from error
    result: dict[Layer, dict[int, str]] = {layer: {} for layer in latents}
    for layer, latent, words in rows:
        if layer is None and len(latents) > 1:
            raise UserError(
                f"--labels {path} does not say of which layer latent {latent} is; there are {len(latents)} layers"
            )
        at = next(iter(latents)) if layer is None else layer_of(layer)
        if at not in latents:
            continue  # a file may speak of layers that are not looked at now
        if not (latent.isascii() and latent.isdigit() and int(latent) < latents[at]):
            raise UserError(f"--labels {path}: {latent!r} is no latent of layer {at}, which has 0 to {latents[at] - 1}")
        result[at][int(latent)] = words
    return result


def rows_of_json(value: object) -> list[tuple[str | None, str, str]]:
    """Give (layer or None, latent, words). Raise ValueError for another shape."""
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    nested = {key: inner if isinstance(inner, dict) else None for key, inner in value.items()}
    rows: list[tuple[str | None, str, str]] = [
        (None, latent, words) for latent, words in value.items() if nested[latent] is None
    ]
    rows += [(layer, latent, words) for layer, inner in nested.items() if inner for latent, words in inner.items()]
    for _, latent, words in rows:
        if not isinstance(words, str):
            raise ValueError(f"the label of {latent} is {type(words).__name__}, not words")
    return rows


def rows_of_csv(text: str) -> list[tuple[str | None, str, str]]:
    """Give (layer or None, latent, words). Raise ValueError where a column is missing."""
    reader = csv.DictReader(text.splitlines())
    if not {"latent", "label"} <= set(reader.fieldnames or ()):
        raise ValueError(f"its columns are {', '.join(reader.fieldnames or ()) or 'none'}")
    return [(row.get("layer") or None, (row["latent"] or "").strip(), row["label"] or "") for row in reader]
