"""Which texts of an annotated file are used, which split each is of, and which targets can be asked in all of them.

None of it depends on the tokenizer, on the target that was chosen or on the rule of labels: the same file, seed and
--train_ratio give the same texts the same splits, so that what was trained on one dataset may be tested on another.
"""

import numpy as np

from utils.base.errors import UserError
from utils.data.readers.annotated import ALL, Collection, normalised
from utils.data.sequences import SPLITS
from utils.data.splits import stratified_splits


def draw(collection, most, seed) -> tuple[Collection, int]:
    """At most `most` of the documents (None: all), drawn by their texts whatever their order; and how many were not."""
    documents = collection.documents
    if most is None or most >= len(documents):
        return collection, 0
    by_text = sorted(range(len(documents)), key=lambda index: own_text(documents[index]))
    drawn = np.random.default_rng([seed, 1]).permutation(len(documents))[:most]
    kept = [documents[index] for index in sorted(by_text[place] for place in drawn)]
    return Collection(kept, collection.targets, collection.counts), len(documents) - most


def own_text(document) -> str:
    """By which a text is known: without a prompt before it, which is the tokenizer's."""
    return normalised(document.text[document.meta.get("chain_start", 0) :])


def make_splits(collection, train_ratio, seed) -> list[str]:
    """The split of each document: the file's own, else whole groups so that every target spreads evenly.

    Groups are told apart by their texts, not by their names, which may be numbers of lines: the order of rows in the file
    does not matter.
    """
    own = [document.split for document in collection.documents]
    if any(own):
        if lacking := [name for name in SPLITS if name not in own]:
            raise UserError(
                f"the texts are of the splits {', '.join(sorted(set(own)))}, none of {' or '.join(lacking)}; "
                "give texts of all three (a larger --max_texts?), or take the splits out of the file"
            )
        return own
    first_text = {}
    for document in collection.documents:
        text = own_text(document)
        first_text[document.group] = min(text, first_text.get(document.group, text))
    number_of = {group: number for number, group in enumerate(sorted(first_text, key=first_text.get))}
    groups = [number_of[document.group] for document in collection.documents]
    split_of = stratified_splits(groups, amounts(collection), train_ratio, np.random.default_rng([seed, 2]))
    return [split_of[group] for group in groups]


def amounts(collection) -> np.ndarray:
    """float [documents, columns]: what shall spread over the splits. One of each document, its characters of known truth,
    and for each target: characters and number of its spans, whether there is one, and whole texts of either class.
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


def targets_in_every_split(labelled, split_of, targets, wanted, alone) -> tuple[list[str], list[str]]:
    """The targets that have both classes in every split, and what the others lack: an error for one asked for by name.

    alone: are the onsets of other labels the only negatives?
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
    if problems and (wanted != ALL or not good):
        raise UserError(
            f"target {problems[0]}; every split needs both classes: "
            + (
                "add --onset_negatives all, or give texts with spans of other labels"
                if alone and not negatives.any()
                else "give more texts, or choose another target, rule of labels, --train_ratio or --seed"
            )
        )
    return good, problems
