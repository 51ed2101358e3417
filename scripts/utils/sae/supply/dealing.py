"""Which texts are asked for, and which of their groups are held out, validate, or are trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from utils.base.errors import UserError
from utils.data.preparation.settings import PlainTexts

HELD_OUT_TOKENS = 100_000  # so that a latent of density 1 in 10,000 fires there
MOST_HELD_OUT = 1 / 4  # of all tokens, where the texts are few
MANY_GROUPS = 20  # of these, a figure hardly hangs on which they are
LARGEST_SHARE = 2 / 5  # of all, for a split
PARTS = 3, 4  # of fewer groups a split has a third where enough is left to train on, else a quarter
MOST_COMPARED = 200  # groups whose tokens are compared when they are dealt
TRIED_DEALS = 1000  # of which one is chosen
DEALT_BY = 20_231_101  # seeds the choice of groups, which is the same for every training


@dataclass(frozen=True)
class Corpus:
    """The texts that are asked for.

    texts           where they are read
    num_tokens      text tokens to train on, at most
    context_length  text tokens before a window's last one; None: what the model takes, at most USUAL_CONTEXT
    held_out        share of all tokens that is held out, and HELD_OUT_TOKENS at least where the texts allow; 0: none are
    """

    texts: PlainTexts
    num_tokens: int
    context_length: int | None
    held_out: float

    @property
    def held_out_tokens(self) -> int:
        """Count the tokens that are held out of texts enough."""
        if not self.held_out:
            return 0
        return max(HELD_OUT_TOKENS, round(self.held_out / (1 - self.held_out) * self.num_tokens))

    @property
    def tokens_read(self) -> int:
        """Count the tokens that are read of texts enough, those of validation among them."""
        return self.num_tokens + self.held_out_tokens + self.held_out_tokens // 2

    @property
    def plain(self) -> dict[str, Any]:
        """Give it as plain values by the names of flags."""
        return {**asdict(self.texts), **{name: value for name, value in asdict(self).items() if name != "texts"}}


def set_aside(corpus: Corpus, texts: int, total: int) -> float:
    """Bound how many tokens stand in texts that are not trained on: see `dealt_groups`."""
    if not corpus.held_out:
        return 0
    return min(total / 2, max(2 * MANY_GROUPS * total / texts, 1.5 * corpus.held_out_tokens))


def dealt_groups(groups: Sequence[str], ids: Sequence[np.ndarray], corpus: Corpus) -> tuple[dict[str, str], dict[str, int]]:
    """Choose the groups that are not trained on at all, always the same ones.

    Held-out groups tell how good an autoencoder is; those of validation choose the best checkpoint and set its thresholds.
    A figure of few groups is a figure of these groups, so each split has a third or a quarter of them, or many; and of
    TRIED_DEALS random deals that one is taken in which both splits are most like all texts (rerandomisation: Morgan and
    Rubin 2012, arXiv:1207.5625). The largest group is trained on. ids: the tokens of each document.

    Return {group: "held_out" or "validation"}, and how many tokens either shall have.
    """
    totals: dict[str, int] = {}
    for group, own in zip(groups, ids, strict=True):
        totals[group] = totals.get(group, 0) + len(own)
    if len(totals) < 3:
        raise UserError(
            f"--dataset {corpus.texts.dataset} holds {len(totals)} independent text(s), and at least 3 are needed: to train "
            "on, to set thresholds by, and to hold out; give more texts"
        )
    total, wanted = sum(totals.values()), corpus.held_out_tokens
    if total < corpus.tokens_read:
        wanted = round(max(corpus.held_out * total, min(wanted, MOST_HELD_OUT * total)))
    tokens = {"held_out": wanted, "validation": wanted // 2}
    names = sorted(totals, key=lambda name: (totals[name], name))[:-1]
    sizes = np.array([totals[name] for name in names])
    deals, part = some_deals(sizes, tokens, total - corpus.num_tokens)
    chosen = deals[0]
    if len(deals) > 1:
        given = np.minimum(sizes, part)
        products = token_products(token_shares(names, groups, ids), given)
        chosen = min(deals, key=lambda deal: unlikeness(deal, products, given))
    return {names[place]: split for split, places in chosen.items() for place in places}, tokens


def some_deals(sizes: np.ndarray, tokens: Mapping[str, int], spare: int) -> tuple[list[dict[str, list[int]]], int]:
    """Deal all groups but the largest at random, a few times where they are compared: (deals, most tokens of a group).

    A split has a third of the groups where they can be spared, else a quarter. spare: tokens that need not be trained on
    """
    tried = TRIED_DEALS if len(sizes) <= MOST_COMPARED else 1
    for share in PARTS:
        random, fewest = np.random.default_rng(DEALT_BY), max(1, min(MANY_GROUPS, (len(sizes) + 1) // share))
        part = -(-tokens["held_out"] // fewest)
        deals = [one_deal(random.permutation(len(sizes)), sizes, tokens, fewest) for _ in range(tried)]
        spared = [deal for deal in deals if sum(sizes[places].sum() for places in deal.values()) <= spare]
        if spared:
            return spared, part
    return deals, part


def one_deal(order: np.ndarray, sizes: np.ndarray, tokens: Mapping[str, int], fewest: int) -> dict[str, list[int]]:
    """Give each split groups from the end of an order until it has tokens enough, of `fewest` groups at least.

    No group gives more than such a part of them. No split has more than LARGEST_SHARE, whatever it lacks.
    """
    left, deal, most = order.tolist(), {}, max(fewest, int(LARGEST_SHARE * (len(order) + 1)))
    for split, wanted in tokens.items():
        taken, count, for_others = [], 0, int(split == "held_out")
        while len(left) > for_others and len(taken) < most and (len(taken) < fewest or count < wanted):
            taken.append(left.pop())
            count += min(int(sizes[taken[-1]]), -(-wanted // fewest))
        deal[split] = taken
    return deal


def unlikeness(deal: Mapping[str, Sequence[int]], products: np.ndarray, given: np.ndarray) -> float:
    """Measure how unlike the splits are in their tokens, to each other and to all texts: the sum of squared distances.

    products: as `token_products` gives them; given: the tokens that each group gives to a split
    """
    means = []
    for places in deal.values():
        means.append(np.zeros(len(given)))
        means[-1][places] = given[places] / given[places].sum()
    between = [means[0] - other for other in means[1:]]
    return float(sum(weights @ products @ weights for weights in (*means, *between)))


def token_shares(names: Sequence[str], groups: Sequence[str], ids: Sequence[np.ndarray]) -> np.ndarray:
    """Compute which share of each group's tokens each token is: [groups, tokens that occur]."""
    place = {name: number for number, name in enumerate(names)}
    there = np.unique(np.concatenate([np.unique(own) for own in ids]))
    counts = np.zeros((len(names), len(there)))
    for group, own in zip(groups, ids, strict=True):
        if group in place:
            counts[place[group]] += np.bincount(np.searchsorted(there, own), minlength=len(there))
    return counts / counts.sum(1, keepdims=True)


def token_products(shares: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Compute the inner products of groups about their mean, where distances are chi-square ones: [groups, groups].

    The difference of a token's shares is squared and divided by its mean share, as in a correspondence analysis. A mean with
    weights w on the groups lies at the squared distance w.T @ products @ w.
    """
    mean = given @ shares / given.sum()
    seen = mean > 0
    spread = (shares - mean)[:, seen] / np.sqrt(mean[seen])
    return spread @ spread.T
