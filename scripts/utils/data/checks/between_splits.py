"""Checks that two splits of a dataset share no group and no text. Each returns Checks; none changes anything."""

import numpy as np

from utils.base.checks import Check
from utils.data.checks.one_file import LEAST_DISTINCT, REPEATS
from utils.data.readers.annotated import normalised
from utils.data.sequences import Sequences
from utils.data.splits import SHINGLE, shingle_hashes

SAME_TEXT = 0.5  # share of a window's shingles found in another split from which on it is the same text
AS_PUBLISHED = "they were kept as published"
LEAST_COMPARED = 64  # tokens: annotated texts that are shorter share half of their runs by a turn of phrase


def check_siblings(name: str, sequences: Sequences, other_name: str, other: Sequences) -> list[Check]:
    """Check that two splits are of one dataset, and that no group and no text stands on both sides."""
    ours, theirs = (side.dataset_fingerprint for side in (sequences, other))
    checks = [Check(f"one preparation: {name}, {other_name}", ours == theirs, f"dataset {ours} and {theirs}")]
    if ours != theirs:
        return checks
    shared = {kind: len(np.intersect1d(getattr(sequences, kind), getattr(other, kind))) for kind in ("documents", "groups")}
    checks.append(
        Check(
            f"groups apart: {name}, {other_name}",
            not any(shared.values()),
            f"{shared['documents']} documents and {shared['groups']} groups on both sides",
        )
    )
    if sequences.annotated:
        return checks + check_annotated_texts(name, sequences, other_name, other)
    share = shared_text(sequences, other)
    same = int((share >= SAME_TEXT).sum())
    checks.append(
        Check(
            f"texts apart: {name}, {other_name}",
            same <= REPEATS * len(share),
            f"{same} of {len(share):,} windows of {name} share half or more of their {SHINGLE}-token runs with "
            f"{other_name} (at most {REPEATS:.1%} may, as quotations and rows of signs)",
        )
    )
    return checks


def check_annotated_texts(name: str, sequences: Sequences, other_name: str, other: Sequences) -> list[Check]:
    """Compare whole texts, and the runs of tokens of long windows, each window once.

    Two findings are only noted (passed is None): shared runs of documents and conversations, since texts of one kind are
    alike and many conversations begin with one system prompt, and copies in a dataset that keeps them to show what leakage
    buys.
    """
    return [check_whole_texts(name, sequences, other_name, other), check_runs(name, sequences, other_name, other)]


def check_whole_texts(name: str, sequences: Sequences, other_name: str, other: Sequences) -> Check:
    """Check that no text stands on both sides, letter for letter or but for letter case and spaces."""
    ours, theirs = (
        {side.metadata["document_hashes"][document] for document in np.unique(side.documents)} for side in (sequences, other)
    )
    there = {normalised(text) for text in other.texts}
    same, shared = sum(normalised(text) in there for text in sequences.texts), len(ours & theirs)
    apart, kept = not (same or shared), sequences.metadata["as_published"]
    detail = f"{shared} texts on both sides letter for letter"
    if sequences.texts:
        detail += f", {same} of {len(sequences.texts):,} of {name} but for letter case and spaces, as far as they are run"
    return Check(
        f"whole texts apart: {name}, {other_name}",
        None if kept and not apart else apart,
        detail,
        AS_PUBLISHED
        if kept
        else "texts that differ only where they are cut off are one (--context_length, --truncation_side)",
    )


def check_runs(name: str, sequences: Sequences, other_name: str, other: Sequences) -> Check:
    """Check that hardly any long window shares half or more of its runs of tokens with the other side."""
    sizes = sequences.text_ends - sequences.text_start
    least = min(LEAST_COMPARED, int(sizes.max()))  # every full window, where all are short
    compared = int((sizes >= least).sum())
    close = int((shared_text(sequences, other)[sizes >= least] >= SAME_TEXT).sum())
    title = f"texts apart: {name}, {other_name}"
    detail = (
        f"{close} of {compared:,} windows of {name} with {least} tokens or more share half or more of their "
        f"{SHINGLE}-token runs with {other_name}"
    )
    chats = "conversations" in sequences.metadata["read"]
    if sequences.task != "documents" and not chats:
        return Check(title, close <= REPEATS * compared, f"{detail} (at most {REPEATS:.1%} may)")
    flag = "--group_column" if sequences.task == "documents" else "--group_by"
    alike = "do they share more than a system prompt?" if chats else "are they of one origin?"
    remedy = AS_PUBLISHED if sequences.metadata["as_published"] else f"{alike} then group them ({flag})"
    return Check(title, None if close else True, detail, remedy)


def shared_text(sequences: Sequences, other: Sequences) -> np.ndarray:
    """Return the share of each sequence's shingles that the other file holds: float [n]; 0 for a text too short for one."""
    table, _ = all_shingles(other)
    known = np.unique(table)
    hashes, owner = all_shingles(sequences)
    place = np.searchsorted(known, hashes).clip(max=max(len(known) - 1, 0))
    hit = known[place] == hashes if len(known) else np.zeros(len(hashes), dtype=bool)
    total = np.bincount(owner, minlength=len(sequences))
    return np.bincount(owner, hit, minlength=len(sequences)) / np.maximum(total, 1)


def all_shingles(sequences: Sequences) -> tuple[np.ndarray, np.ndarray]:
    """Hash every shingle of every text but rows of repeated signs. Returns the hashes, and the sequence of each."""
    hashes, owners = [], []
    for row, end in enumerate(sequences.text_ends):
        text = sequences.input_ids[row, sequences.text_start : end]
        if len(np.unique(text)) >= LEAST_DISTINCT:
            hashes.append(shingle_hashes(text))
            owners.append(np.full(len(hashes[-1]), row))
    empty = np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
    return (np.concatenate(hashes), np.concatenate(owners)) if hashes else empty
