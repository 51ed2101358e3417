"""Which texts of an annotated file are used, to which split each goes, and which targets have both classes in every split.

None of it depends on the tokenizer, on the target that was chosen or on the rule of labels: the same file, seed and
--train_ratio give the same texts the same splits, so that what was trained on one dataset may be tested on another.
"""

import numpy as np

from utils.base.errors import UserError
from utils.data.preparation.annotated_windows import LabelledDocument
from utils.data.readers.annotated import ALL_TARGETS, Annotated, Collection, normalised
from utils.data.sequences import SPLITS
from utils.data.splits import stratified_splits


def draw(collection: Collection, most: int | None, seed: int) -> tuple[Collection, int]:
    """Draw at most `most` documents (None: all) by their texts, whatever their order. Returns how many were not drawn."""
    documents = collection.documents
    if most is None or most >= len(documents):
        return collection, 0
    by_text = sorted(range(len(documents)), key=lambda index: known_by(documents[index]))
    drawn = np.random.default_rng([seed, 1]).permutation(len(documents))[:most]
    kept = [documents[index] for index in sorted(by_text[place] for place in drawn)]
    return Collection(kept, collection.targets, collection.counts), len(documents) - most


def known_by(document: Annotated) -> str:
    """Return that by which a document is known whatever the tokenizer: its normalised text without a prompt."""
    return normalised(document.own_text)


def split_documents(collection: Collection, train_ratio: float, seed: int) -> list[str]:
    """Choose the split of each document: the file's own, else whole groups so that every target spreads evenly.

    Groups are told apart by their texts, not by their names, which may be numbers of lines: the order of rows in the file
    does not matter.
    """
    own = [document.split for document in collection.documents if document.split]
    if own:
        if lacking := [name for name in SPLITS if name not in own]:
            raise UserError(
                f"the texts are of the splits {', '.join(sorted(set(own)))}, none of {' or '.join(lacking)}; "
                "give texts of all three (a larger --max_texts?), or take the splits out of the file"
            )
        return own
    first_text: dict[str, str] = {}
    for document in collection.documents:
        text = known_by(document)
        first_text[document.group] = min(text, first_text.get(document.group, text))
    number_of = {group: number for number, group in enumerate(sorted(first_text, key=first_text.__getitem__))}
    groups = [number_of[document.group] for document in collection.documents]
    split_of = stratified_splits(groups, amounts(collection), train_ratio, np.random.default_rng([seed, 2]))
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
