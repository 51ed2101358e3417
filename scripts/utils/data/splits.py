"""Which documents belong together, to which split each group goes, and a cap that takes evenly from all documents."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations, pairwise

import numpy as np

from utils.base.errors import UserError
from utils.data.readers.published import KEPT_FIRST

SHINGLE = 16  # tokens in a row: two texts share one by a proverb or a heading, editions of one book share most
SKETCH = 128  # hashes kept a document: its smallest, so that documents with the same text keep the same ones
SAME_WORK = 0.2  # documents that share this part of the smaller one's shingles are one group
BOILERPLATE = 8  # a shingle that more documents share may be a licence; copies share each one with their neighbour too


def shingle_hashes(tokens: np.ndarray, length: int = SHINGLE) -> np.ndarray:
    """Hash each run of `length` tokens: uint64 [len(tokens) - length + 1] (polynomial, then mixed)."""
    count = max(len(tokens) - length + 1, 0)
    values = tokens.astype(np.uint64) + np.uint64(1)
    hashes = np.zeros(count, dtype=np.uint64)
    for offset in range(length):
        hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + values[offset : offset + count]
    hashes = (hashes ^ (hashes >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
    return hashes ^ (hashes >> np.uint64(29))


def sketch(tokens: np.ndarray) -> np.ndarray:
    """Return the document's smallest shingle hashes, sorted (bottom-k sketch; Broder 1997)."""
    hashes = shingle_hashes(tokens)
    few = np.uint64(2**64 - 1) // np.uint64(max(1, len(hashes) // (4 * SKETCH)))  # about 4 * SKETCH lie below: quick to sort
    smallest = np.unique(hashes[hashes <= few])
    return (smallest if len(smallest) >= SKETCH else np.unique(hashes))[:SKETCH]


def group_near_duplicates(groups: Sequence[str], sketches: Sequence[np.ndarray]) -> list[str]:
    """Merge the groups whose documents share text. Returns each document's group, under the first one's name."""
    parent = {group: group for group in groups}

    def root(group: str) -> str:
        while parent[group] != group:
            parent[group] = parent[parent[group]]
            group = parent[group]
        return group

    for (first, second), shared in shared_shingles(sketches).items():
        if shared >= 2 and shared >= SAME_WORK * comparable(sketches[first], sketches[second]):
            one, other = root(groups[first]), root(groups[second])
            parent[other] = one
    return [root(group) for group in groups]


def shared_shingles(sketches: Sequence[np.ndarray]) -> Counter[tuple[int, int]]:
    """Count the hashes that sketches share: {(document, later document): n}. Of a hash that many share, neighbours only."""
    hashes = np.concatenate(sketches)
    holders = np.repeat(np.arange(len(sketches)), [len(values) for values in sketches])
    order = np.argsort(hashes, kind="stable")
    runs = np.split(holders[order], np.flatnonzero(np.diff(hashes[order])) + 1)
    return Counter(
        pair
        for run in (found.tolist() for found in runs if len(found) > 1)
        for pair in (combinations(run, 2) if len(run) <= BOILERPLATE else pairwise(run))
    )


def comparable(one: np.ndarray, other: np.ndarray) -> int:
    """Count the hashes of the sparser sketch that lie in the range that both sketches cover."""
    reach = min(values[-1] if len(values) == SKETCH else np.uint64(2**64 - 1) for values in (one, other))
    return min(int((values <= reach).sum()) for values in (one, other))


def assign_splits(groups: Sequence[str], train_ratio: float, random: np.random.Generator) -> dict[str, str]:
    """Deal out whole groups: `train_ratio` of them to train, the rest halved. Returns {group: "train" | "val" | "test"}."""
    names = sorted(set(groups))
    if len(names) < 3:
        raise UserError(
            f"{len(names)} independent text(s) hold enough of the target, at least 3 are needed (train, "
            "val, test); give more texts, a smaller --context_length or a larger --max_chunks_per_class"
        )
    held_out = min(max(2, len(names) - round(train_ratio * len(names))), len(names) - 1)
    shuffled = [names[index] for index in random.permutation(len(names))]
    splits = ["val"] * (held_out // 2) + ["test"] * (held_out - held_out // 2)
    return dict(zip(shuffled, splits + ["train"] * (len(names) - held_out), strict=True))


def published_splits_of_groups(
    groups: Sequence[str], published: Sequence[str | None], train_ratio: float, random: np.random.Generator
) -> dict[str, str] | None:
    """Return the split of each group where documents have published ones, else None.

    A group in several splits, for its texts are nearly the same, belongs to the one that is held out. Val or test that is
    lacking is taken from the groups of train, which is printed.
    """
    if not any(published):
        return None
    ranks: dict[str, int] = {}
    for group, split in zip(groups, published, strict=True):
        ranks[group] = min(ranks.get(group, len(KEPT_FIRST)), KEPT_FIRST.index(split))
    split_of = {group: str(KEPT_FIRST[rank]) for group, rank in ranks.items()}
    lacking = [name for name in ("val", "test") if name not in split_of.values()]
    of_train = sorted(group for group, split in split_of.items() if split == "train")
    if len(of_train) <= len(lacking):
        raise UserError(
            f"the texts of train are {len(of_train)} independent text(s), and train{', '.join(['', *lacking])} are needed; "
            "give more, or deal all out with --split_column none"
        )
    share = max(1, round(len(of_train) * (1 - train_ratio) / 2))
    share = min(share, (len(of_train) - 1) // max(1, len(lacking)))
    order = [of_train[index] for index in random.permutation(len(of_train))]
    for number, name in enumerate(lacking):
        split_of.update(dict.fromkeys(order[number * share : (number + 1) * share], name))
        print(f"the input has no {name}: {share:,} of the {len(of_train):,} groups of train are taken for it")
    return split_of


class EvenCap:
    """Keeps at most `most` items of a stream of documents, as evenly as their sizes allow, and forgets the others.

    Of each document the first `level` items are kept (they come in random order); the level sinks as documents come.
    What the level leaves over goes to documents drawn at random, one item each.

        cap = EvenCap(most=3); cap.add([1, 2, 3, 4]); cap.add([5]); cap.add([6, 7]); cap.kept() -> [[1], [5], [6]]
    """

    def __init__(self, most: int, seed: int = 0):
        self.most = most
        self._random = np.random.default_rng(seed)
        self._items: list[list] = []
        self._turns: list[float] = []
        self._level = most
        self._count = 0

    def add(self, items: Sequence) -> None:
        """Add the items of the next document, in random order."""
        self._items.append(list(items[: self._level]))
        self._turns.append(self._random.random())
        self._count += len(self._items[-1])
        if self._count > 2 * self.most:
            self._sink()

    def kept(self) -> list[list]:
        """Return the items of each document, in the order of adding; [] for one that got none."""
        if self._count > self.most:
            self._sink()
        return self._items

    def _sink(self):
        sizes = np.array([len(items) for items in self._items])
        level = bisect_right(range(sizes.max() + 1), self.most, key=lambda level: np.minimum(sizes, level).sum()) - 1
        spare = self.most - int(np.minimum(sizes, level).sum())
        with_more = np.flatnonzero(sizes > level)
        lucky = set(with_more[np.argsort(np.array(self._turns)[with_more])[:spare]].tolist())
        for document, items in enumerate(self._items):
            del items[level + (document in lucky) :]
        self._level, self._count = level + 1, self.most


def stratified_splits(
    groups: Sequence[Hashable], amounts: np.ndarray, shares: Mapping[str, float], random: np.random.Generator
) -> dict:
    """Deal out whole groups so that each split gets its share of every column of `amounts`.

    Returns {group: split}.

    groups: names or numbers, one for each of n documents; amounts: float [n, columns], what each document brings (its
    positives, its negatives, itself), all at least 0; shares: {split: its part of everything}. Greedy, the largest group
    first (by its largest part of any column): it goes where the sum over columns of (held - wanted)^2 / wanted grows least,
    as in iterative stratification (Sechidis et al. 2011) with amounts in place of labels. Once as few groups with something
    of a column are left as splits without any, they go to those. Depends on `random` and the names, not on their order.
    """
    names, group_of = np.unique(np.array(groups), return_inverse=True)
    if len(names) < len(shares):
        raise UserError(
            f"{len(names)} independent group(s) of texts, at least {len(shares)} are needed ({', '.join(shares)}); "
            "give more texts"
        )
    totals = np.zeros((len(names), amounts.shape[1]))
    np.add.at(totals, group_of, amounts)
    totals = totals[:, totals.any(0)]
    parts = totals / totals.sum(0)
    wanted = np.array(list(shares.values()))[:, None]
    shape = len(shares), parts.shape[1]
    held, empty, left = np.zeros(shape), np.ones(shape, dtype=bool), (parts > 0).sum(0)
    chosen = np.zeros(len(names), dtype=int)
    for group in np.lexsort((random.permutation(len(names)), -parts.max(1))):
        part = parts[group]
        has = part > 0
        urgent = has & (left <= empty.sum(0))
        growth = ((2 * (held - wanted) + part) * part / wanted).sum(1)
        chosen[group] = split = np.lexsort((growth, -(empty & urgent).sum(1)))[0]
        held[split] += part
        empty[split] &= ~has
        left -= has
    return {name: list(shares)[split] for name, split in zip(names.tolist(), chosen, strict=True)}
