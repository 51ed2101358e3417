"""Tell which tokens speak for each latent, and label latents by them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from utils.sae.latents.token_counts import TokenCounts, ranks

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
    """List of each latent the most common tokens, and those that speak most for it (by `score`): all with a lift above 1."""
    latent, token, count = counts.pairs()
    share = count / counts.active[latent]
    lift = share / (counts.base[token] / max(1, counts.base.sum()))
    score = share * np.log(lift)
    found = []
    for first, listed in ((-count, np.arange(len(count))), (-score, np.flatnonzero(score > 0))):
        order = listed[np.lexsort((token[listed], first[listed], latent[listed]))]
        place = ranks(latent[order])
        order, place = order[place < most], place[place < most]
        to = latent[order], place
        lists = []
        for values, empty in ((token, -1), (count, 0), (lift, 0.0), (score, 0.0)):
            few = np.full((len(counts.missed), most), empty, dtype=values.dtype)
            few[to] = values[order]
            lists.append(few)
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
