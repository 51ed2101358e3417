"""Checks that one file of a dataset holds what it claims. Each returns a Check; none changes anything."""

import numpy as np

from utils.base.checks import Check
from utils.data.sequences import Sequences, per_target
from utils.data.splits import shingle_hashes

LEAST_OVERLAP = 32  # tokens that one window ends with and another begins with
LEAST_DISTINCT = 8  # different tokens among them: fewer may be a row of dots
REPEATS = 0.001  # share of windows that may be so: songs have refrains, books quote the same hymn


def check_file(sequences: Sequences, tokenizer_fingerprint: str) -> list[Check]:
    """Run every check of one file by itself. tokenizer_fingerprint: of the tokenizer that the user means to use."""
    checks = [check_tokenizer_match(sequences, tokenizer_fingerprint), check_frame(sequences)]
    if sequences.annotated:
        return [*checks, check_annotated_labels(sequences), check_windows(sequences)]
    checks += [check_labels(sequences), check_no_overlap(sequences)]
    if sequences.metadata["positions"] == "sampled":
        checks.append(check_balance(sequences))
    return checks


def check_tokenizer_match(sequences: Sequences, tokenizer_fingerprint: str) -> Check:
    """Check that the data were made with this tokenizer."""
    made_with = sequences.tokenizer_fingerprint
    return Check(
        "tokenizer", made_with == tokenizer_fingerprint, f"made with {made_with}, the model's is {tokenizer_fingerprint}"
    )


def check_frame(sequences: Sequences) -> Check:
    """Check that what the tokenizer puts around a text stands there, and nowhere else: each exactly once.

    Where special tokens that texts spell out are encoded, they may stand in the text too.
    """
    before, after = (sequences.metadata["tokenizer"][side] for side in ("before", "after"))
    ends = sequences.text_ends
    column = np.arange(sequences.input_ids.shape[1])
    text = (column >= len(before)) & (column < ends[:, None])
    once = sequences.metadata.get("special_tokens", {}).get("read_as") != "encode"
    wrong = (text & np.isin(sequences.input_ids, [*before, *after] if once else [])).any(1)
    for offset, token in enumerate(before):
        wrong |= sequences.input_ids[:, offset] != token
    for offset, token in enumerate(after):
        wrong |= sequences.input_ids[np.arange(len(ends)), ends + offset] != token
    return Check(
        "special tokens",
        not wrong.any(),
        f"{int(wrong.sum())} of {len(wrong)} sequences do not hold {before} before and {after} after the text"
        + (", each once" if once else ""),
    )


def check_labels(sequences: Sequences) -> Check:
    """Check that labels say whether the token is the target, and stand on text, where the windows say that they stand."""
    metadata = sequences.metadata
    column = np.arange(sequences.input_ids.shape[1])
    first = sequences.text_start + metadata["min_context"]
    expected = (column >= first) & (column < sequences.text_ends[:, None])
    misplaced = ((sequences.labels >= 0) != expected).any(1)
    untrue = ((sequences.labels >= 0) & ((sequences.labels == 1) != (sequences.input_ids == sequences.target_token))).any(1)
    return Check(
        "labels",
        not (misplaced | untrue).any(),
        f"{int(misplaced.sum())} sequences with labels in the wrong place, {int(untrue.sum())} with a label that "
        "contradicts its token",
    )


def check_annotated_labels(sequences: Sequences) -> Check:
    """Check that labels stand on text tokens only, in every row, and once for each token of a document and target.

    Those of whole texts stand once for each document, on its last token.
    """
    whole = sequences.task == "documents"
    column, ends = np.arange(sequences.input_ids.shape[1]), sequences.text_ends[:, None]
    may = column == ends - 1 if whole else (column >= sequences.text_start) & (column < ends)
    misplaced, doubled, empty = 0, 0, int((sequences.labels.max(axis=1) < 0).sum())
    for target in per_target(sequences):
        misplaced += int(((target.labels >= 0) & ~may).any(1).sum())
        row, position, _ = target.labelled()
        place = np.zeros_like(row) if whole else target.starts[row] + position - target.text_start
        doubled += int(alike(target.documents[row], place)[1].sum())
    return Check(
        "labels",
        not (misplaced or empty or doubled),
        f"{misplaced} sequences with labels off the {'last text token' if whole else 'text'}, {empty} without a "
        f"label, {doubled} labels given twice",
    )


def alike(*keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort by these keys, the first counting most.

    Returns the order, and for each item in it but the first whether it has the same keys as the one before it.
    """
    order = np.lexsort(keys[::-1])
    return order, np.logical_and.reduce([key[order[1:]] == key[order[:-1]] for key in keys])


def check_windows(sequences: Sequences) -> Check:
    """Check the windows of annotated texts against each other.

    Windows that begin at one place are the same; windows that share a place hold the same token there; a document has one
    group; and no other window shows more on both sides of a labelled token than its own.
    """
    order, same = alike(sequences.documents, sequences.starts)
    one, other = order[1:], order[:-1]
    differ = (sequences.lengths[one] != sequences.lengths[other]) | (
        sequences.input_ids[one] != sequences.input_ids[other]
    ).any(1)
    regrouped = (sequences.documents[one] == sequences.documents[other]) & (sequences.groups[one] != sequences.groups[other])
    first = np.concatenate([[True], ~same])
    windows, window_of = order[first], np.empty_like(order)
    window_of[order] = np.cumsum(first) - 1
    unlike, torn = int((same & differ).sum()), contradicting_tokens(sequences, windows)
    farther = sum(nearer_the_edge(target, windows, window_of) for target in per_target(sequences))
    return Check(
        "windows",
        not (unlike or regrouped.any() or torn or farther),
        f"{unlike} windows unlike another of their place, {int(regrouped.sum())} in another group than their "
        f"document, {torn} tokens unlike the same place of another window, {farther} labels nearer the edge of "
        "their window than of another",
    )


def contradicting_tokens(sequences: Sequences, windows: np.ndarray) -> int:
    """Count the places of a document for which two of these windows (rows, one each) hold different tokens."""
    documents = sequences.documents[windows]
    windows = windows[np.bincount(documents)[documents] > 1]
    column = np.arange(sequences.input_ids.shape[1])
    text = (column >= sequences.text_start) & (column < sequences.text_ends[windows][:, None])
    row, position = np.nonzero(text)
    row = windows[row]
    order, same = alike(sequences.documents[row], sequences.starts[row] + position)
    token = sequences.input_ids[row, position][order]
    return int((same & (token[1:] != token[:-1])).sum())


def nearer_the_edge(sequences: Sequences, windows: np.ndarray, window_of: np.ndarray) -> int:
    """Count the one target's labels that lie nearer the edge of their window than of the one before or after it.

    windows: a row of each window, in the order of documents and starts; window_of [n]: the window of each row.
    """
    documents, starts = sequences.documents[windows], sequences.starts[windows]
    ends = starts + (sequences.text_ends - sequences.text_start)[windows]
    row, position, _ = sequences.labelled()
    own, place = window_of[row], sequences.starts[row] + position - sequences.text_start
    distance, farthest = np.minimum(place - starts[own], ends[own] - 1 - place), np.full(len(row), -1)
    for step in (-1, 1):
        beside = np.clip(own + step, 0, len(windows) - 1)
        there = np.minimum(place - starts[beside], ends[beside] - 1 - place)
        farthest = np.maximum(farthest, np.where(documents[beside] == documents[own], there, -1))
    return int((farthest > distance).sum())


def check_balance(sequences: Sequences) -> Check:
    """Check that each document has as many positives as negatives."""
    sequence, _, labels = sequences.labelled()
    size = len(sequences.document_names)
    positives, negatives = (np.bincount(sequences.documents[sequence[labels == label]], minlength=size) for label in (1, 0))
    uneven = int((positives != negatives).sum())
    return Check(
        "balance",
        uneven == 0,
        f"{positives.sum():,} positives, {negatives.sum():,} negatives; {uneven} documents with unequal numbers",
    )


def check_no_overlap(sequences: Sequences) -> Check:
    """Check that no two windows of a document share tokens, by their starts and by their text."""
    lengths = sequences.text_ends - sequences.text_start
    order = np.lexsort((sequences.starts, sequences.documents))
    documents, starts, sizes = sequences.documents[order], sequences.starts[order], lengths[order]
    by_start = int(((documents[1:] == documents[:-1]) & (starts[1:] < starts[:-1] + sizes[:-1])).sum())
    long = lengths >= LEAST_OVERLAP
    by_text = sum(
        overlaps_by_text(sequences, np.flatnonzero(long & (sequences.documents == document)))
        for document in np.unique(sequences.documents[long])
    )
    return Check(
        "overlap",
        by_start == 0 and by_text <= REPEATS * len(sequences),
        f"{by_start} pairs of windows overlap by their place (none may), {by_text} of {len(sequences):,} windows "
        f"by their text (at most {REPEATS:.1%} may, as refrains)",
    )


def overlaps_by_text(sequences: Sequences, chosen: np.ndarray) -> int:
    """Count those of the chosen windows that begin with what another of them ends with."""
    begins = sequences.text_start
    texts = [sequences.input_ids[row, begins:end] for row, end in zip(chosen, sequences.text_ends[chosen], strict=True)]
    hashes = [shingle_hashes(text) for text in texts]
    flat = np.concatenate(hashes)
    owner = np.repeat(np.arange(len(texts)), [len(values) for values in hashes])
    offset = np.concatenate([np.arange(len(values)) for values in hashes])
    order = np.argsort(flat, kind="stable")
    ordered = flat[order]
    heads = np.array([values[0] for values in hashes])
    low, high = np.searchsorted(ordered, heads, "left"), np.searchsorted(ordered, heads, "right")
    found = 0
    for row in np.flatnonzero(high - low > 1):  # each head finds itself
        for hit in order[low[row] : high[row]]:
            other, at = owner[hit], offset[hit]
            shared = texts[other][at:]
            same = len(shared) >= LEAST_OVERLAP and np.array_equal(shared, texts[row][: len(shared)])
            if other != row and same and len(np.unique(shared)) >= LEAST_DISTINCT:
                found += 1
                break
    return found
