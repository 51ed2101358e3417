"""Which texts are asked for, and which of their groups are held out, validate, or are trained on."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from utils.base.errors import UserError
from utils.data.preparation.settings import PlainTexts

HELD_OUT_TOKENS = 100_000  # so that a latent of density 1 in 10,000 fires there
MOST_HELD_OUT = 1 / 4  # of all tokens, where the texts are few
MANY_GROUPS = 20  # of these, a figure hardly hangs on which they are
MOST_ORDERED = 200  # groups whose tokens are compared before they are dealt
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
    """Draw the groups that are not trained on at all, by a seed that is always the same.

    Held-out groups tell how good an autoencoder is; those of validation choose the best checkpoint and set its thresholds.
    A figure of few groups is a figure of these groups, so each split has a quarter of them, or many, from all over what the
    texts are like (`drawing_order`). The largest group is trained on. ids: the tokens of each document.

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
    tokens, fewest = {"held_out": wanted, "validation": wanted // 2}, max(1, min(MANY_GROUPS, len(totals) // 4))
    names = sorted(totals, key=lambda name: (totals[name], name))[:-1]
    drawn = drawing_order(names, fewest, token_shares(names, groups, ids) if len(names) <= MOST_ORDERED else None)
    split_of: dict[str, str] = {}
    for split, of_split in tokens.items():
        count = taken = 0
        while len(drawn) > (split == "held_out") and (count < of_split or taken < fewest):
            name = drawn.pop()
            split_of[name], taken = split, taken + 1
            count += min(totals[name], -(-of_split // fewest))
    return split_of, tokens


def drawing_order(names: Sequence[str], parts: int, shares: np.ndarray | None) -> list[str]:
    """Order groups so that as many as `parts`, taken from the end, are of every sort, and so are the next ones.

    They are sorted along the axis on which their tokens differ most, cut into `parts` parts, and drawn from each in turn.
    shares: as `token_shares` gives them; None: groups are drawn at random.
    """
    random = np.random.default_rng(DEALT_BY)
    order: list[int]
    if shares is None or len(names) < 2 * parts:
        order = random.permutation(len(names)).tolist()
    else:
        along = np.argsort(main_axis(shares), kind="stable")
        strata = [random.permutation(part).tolist() for part in np.array_split(along, parts)]
        turns = [random.permutation(parts).tolist() for _ in range(max(map(len, strata)))]
        order = [strata[part].pop() for turn in turns for part in turn if strata[part]]
        order.reverse()
    return [names[index] for index in order]


def token_shares(names: Sequence[str], groups: Sequence[str], ids: Sequence[np.ndarray]) -> np.ndarray:
    """Compute which share of each group's tokens each token is: [groups, tokens that occur]."""
    place = {name: number for number, name in enumerate(names)}
    there = np.unique(np.concatenate([np.unique(own) for own in ids]))
    counts = np.zeros((len(names), len(there)))
    for group, own in zip(groups, ids, strict=True):
        if group in place:
            counts[place[group]] += np.bincount(np.searchsorted(there, own), minlength=len(there))
    return counts / counts.sum(1, keepdims=True)


def main_axis(shares: np.ndarray) -> np.ndarray:
    """Place groups on the first axis of a correspondence analysis of their tokens, each with the same weight: [groups].

    The group that lies farthest out is above 0.
    """
    mean = shares.mean(0)
    spread = (shares - mean)[:, mean > 0] / np.sqrt(mean[mean > 0])
    axis = np.linalg.eigh(spread @ spread.T)[1][:, -1]
    return axis * np.sign(axis[np.abs(axis).argmax()])
