"""Which texts of an annotated file are used, to which split each goes, and which targets have both classes in every split.

None of it depends on the tokenizer, on the target that was chosen or on the rule of labels: the same file, seed and
--train_ratio give the same texts the same splits, so that what was trained on one dataset may be tested on another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from utils.base.errors import UserError
from utils.data.preparation.annotated_windows import LabelledDocument
from utils.data.readers.annotated import ALL_TARGETS, Annotated, Collection, normalised
from utils.data.sequences import SPLITS
from utils.data.splits import stratified_splits


def published_splits(collection: Collection) -> tuple[str, ...]:
    """Return the splits that the input publishes, of train, val and test; () where texts are dealt out."""
    own = {document.split for document in collection.documents}
    return tuple(name for name in SPLITS if name in own)


def draw(collection: Collection, most: int | None, seed: int) -> tuple[Collection, int]:
    """Draw at most `most` documents (None: all) by their texts, whatever their order. Returns how many were not drawn."""
    documents = collection.documents
    if most is None or most >= len(documents):
        return collection, 0
    by_text = sorted(range(len(documents)), key=lambda index: known_by(documents[index]))
    drawn = np.random.default_rng([seed, 1]).permutation(len(documents))[:most]
    kept = [documents[index] for index in sorted(by_text[place] for place in drawn)]
    return replace(collection, documents=kept), len(documents) - most


def known_by(document: Annotated) -> str:
    """Return that by which a document is known whatever the tokenizer: its normalised text without a prompt."""
    return normalised(document.own_text)


def split_documents(
    collection: Collection, published: Sequence[str], train_ratio: float, seed: int
) -> tuple[list[str], list[str]]:
    """Choose the split of each document: the published one, else whole groups so that every target spreads evenly.

    published: the splits that the input has; val or test that it lacks are taken from train, by group. Returns what is to
    be said of that too. Raises UserError where nothing is left to train on.
    """
    documents = collection.documents
    if not published:
        held_out = (1 - train_ratio) / 2
        return deal_out(collection, {"train": train_ratio, "val": held_out, "test": held_out}, seed), []
    split_of = [document.split or "train" for document in documents]
    if lost := [name for name in published if name not in split_of]:
        raise UserError(f"--max_texts leaves no text of {' nor '.join(lost)}, which the input has; give a larger one")
    if "train" not in published:
        first, *others = published
        remedy = f"say which are for training with --splits {','.join([f'{first}=train', *others])}, or " if others else ""
        raise UserError(
            f"the input has texts of {' and '.join(published)} and none of train; {remedy}deal all out with "
            "--split_column none"
        )
    lacking = [name for name in SPLITS if name not in published]
    if not lacking:
        return split_of, []
    of_train = [index for index, split in enumerate(split_of) if split == "train"]
    share = (1 - train_ratio) / 2
    shares = {"train": 1 - share * len(lacking), **dict.fromkeys(lacking, share)}
    dealt = deal_out(replace(collection, documents=[documents[index] for index in of_train]), shares, seed)
    for index, split in zip(of_train, dealt, strict=True):
        split_of[index] = split
    return split_of, [
        f"the input has no {name}: {dealt.count(name):,} of the {len(dealt):,} texts of train are taken for it, by group"
        for name in lacking
    ]


def deal_out(collection: Collection, shares: Mapping[str, float], seed: int) -> list[str]:
    """Deal out whole groups so that every target spreads evenly. Returns the split of each document.

    Groups are told apart by their texts, not by their names, which may be numbers of lines: the order of rows in the file
    does not matter.
    """
    first_text: dict[str, str] = {}
    for document in collection.documents:
        text = known_by(document)
        first_text[document.group] = min(text, first_text.get(document.group, text))
    number_of = {group: number for number, group in enumerate(sorted(first_text, key=first_text.__getitem__))}
    groups = [number_of[document.group] for document in collection.documents]
    split_of = stratified_splits(groups, amounts(collection), shares, np.random.default_rng([seed, 2]))
    return [split_of[group] for group in groups]


def amounts(collection: Collection) -> np.ndarray:
    """Measure what shall spread evenly over the splits: float [documents, columns].

    Columns: one for each document, its characters of known truth, and for each target the characters and the number of its
    spans, whether there is one, and whole texts of either class.
    """
    column_of = {target: 2 + 5 * number for number, target in enumerate(collection.targets)}
    result = np.zeros((len(collection.documents), 2 + 5 * len(column_of)))
    for row, document in zip(result, collection.documents, strict=True):
        row[0] = 1
        row[1] = len(document.text) - sum(end - start for start, end in document.unknown)
        for start, end, label in document.spans:
            column = column_of[label]
            row[column : column + 2] += end - start, 1
            row[column + 2] = 1
        for target, truth in document.labels.items():
            row[column_of[target] + 3 + truth] = 1
    return result


def targets_in_every_split(
    labelled: list[LabelledDocument], split_of: list[str], targets: list[str], wanted: str | list[str], onsets_only: bool
) -> tuple[list[str], list[str]]:
    """Return the targets that have both classes in every split, and what the others lack.

    Raises UserError where a target that was asked for by name lacks something. onsets_only: the beginnings of spans of
    other labels are the only negatives.
    """
    splits, good, problems = np.array(split_of), [], []
    positives, negatives = (np.array([getattr(item, name) for item in labelled]) for name in ("positives", "negatives"))
    for index, target in enumerate(targets):
        lacking = [
            f"no {kind} label in {split}"
            for split in SPLITS
            for kind, found in (("positive", positives), ("negative", negatives))
            if not found[splits == split, index].any()
        ]
        good += [] if lacking else [target]
        problems += [f"{target!r} has {' and '.join(lacking)}"] if lacking else []
    if problems and (wanted != ALL_TARGETS or not good):
        raise UserError(
            f"target {problems[0]}; every split needs both classes: "
            + (
                "add --onset_negatives all, or give texts with spans of other labels"
                if onsets_only and not negatives.any()
                else "give more texts, or choose another target, rule of labels, --train_ratio or --seed"
            )
        )
    return good, problems
