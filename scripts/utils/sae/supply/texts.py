"""Texts -> sequences to train on, and held-out ones of other groups, without labels."""

import glob
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from utils.base.errors import UserError
from utils.base.progress import Progress
from utils.data.preparation.dataset_files import about_tokenizer, fitting_length
from utils.data.preparation.settings import PlainTexts
from utils.data.preparation.token_task import tokenized
from utils.data.readers.plain import local_files
from utils.data.sequences import Sequences, unlabelled_sequences
from utils.data.splits import group_near_duplicates, sketch
from utils.data.tokenizer import PROVED_TEXTS, Frame, Tokenizer, load_tokenizer, require_own_ids, special_frame

HELD_OUT_TOKENS = 100_000  # so that a latent of density 1 in 10,000 fires there
MOST_HELD_OUT = 1 / 4  # of all tokens, where the texts are few
USUAL_CONTEXT = 255  # text tokens before a window's last one
FEWEST_TOKENS = 2  # of a window: a single one stands at position 0
DEALT_BY = 20_231_101  # seeds the choice of held-out groups, which is the same for every training


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
    def plain(self) -> dict[str, Any]:
        """Give it as plain values by the names of flags."""
        return {**asdict(self.texts), **{name: value for name, value in asdict(self).items() if name != "texts"}}


@dataclass
class TakenTexts:
    """What is kept of the documents that were read: the ids, name, group and sketch of each."""

    ids: list[np.ndarray]
    names: list[str]
    groups: list[str]
    sketches: list[np.ndarray]
    copies: int = 0

    def __len__(self):
        return len(self.ids)


def read_sequences(corpus: Corpus, model_name: str, trust_remote_code: bool) -> dict[str, Sequences]:
    """Read the texts and cut them into windows: {"train": Sequences, "held_out": Sequences, where some are held out}.

    A group, with the near copies of its texts, is in one of them. Print what was read. In memory: about 10 bytes a token.
    """
    tokenizer = load_tokenizer(model_name, corpus.texts.special_tokens, trust_remote_code)
    frame = special_frame(tokenizer)
    width = window_width(corpus.context_length, model_name, frame, trust_remote_code)
    found = take_texts(corpus, tokenizer, frame)
    joined = group_near_duplicates(found.groups, found.sketches)
    near = sum(a != b for a, b in zip(joined, found.groups, strict=True))
    sizes = np.array([len(ids) for ids in found.ids])
    held = held_out_groups(joined, sizes, corpus) if corpus.held_out else set()
    is_held = np.array([group in held for group in joined])
    numbers = {group: number for number, group in enumerate(dict.fromkeys(joined))}
    about = {
        "model_name": model_name,
        "tokenizer": {**about_tokenizer(tokenizer, frame), "special": sorted(set(tokenizer.all_special_ids))},
        "documents": found.names,
        "groups": list(numbers),
    }
    group_of = np.array([numbers[group] for group in joined], dtype=np.int32)
    splits = {}
    for split, wanted, most in (("train", ~is_held, corpus.num_tokens), ("held_out", is_held, None)):
        if split == "held_out" and not held:
            continue
        sequences = windows_of(found.ids, np.flatnonzero(wanted), width, most, frame)
        sequences.groups = group_of[sequences.documents]
        sequences.metadata = {**about, "split": split, "context_length": width - 1}
        splits[split] = sequences
    tell(splits, corpus, found.copies, near)
    return splits


def window_width(context_length: int | None, model_name: str, frame: Frame, trust_remote_code: bool) -> int:
    """Give the text tokens of a full window. Raise UserError for more than the model takes."""
    fitting = fitting_length(context_length, model_name, frame, trust_remote_code)
    return (fitting if context_length is not None else min(fitting, USUAL_CONTEXT)) + 1


def take_texts(corpus: Corpus, tokenizer: Tokenizer, frame: Frame) -> TakenTexts:
    """Read and tokenize texts until there are tokens enough, or no more texts. Exact copies are left out."""
    found, seen, wanted, total = TakenTexts([], [], [], []), set(), corpus.num_tokens + corpus.held_out_tokens, 0
    with Progress("read texts", "token") as progress:
        for document, ids in tokenized(corpus.texts, tokenizer):
            if len(found) < PROVED_TEXTS:
                require_own_ids(tokenizer, frame, [document.text])
            digest = hash(ids.tobytes())
            if digest in seen or len(ids) < FEWEST_TOKENS:
                found.copies += digest in seen
                continue
            seen.add(digest)
            ids = ids[: wanted - total]
            found.ids.append(ids)
            found.names.append(document.name)
            found.groups.append(document.group)
            found.sketches.append(sketch(ids))
            total += len(ids)
            progress.update(len(ids), f"{len(found):,} texts")
            if total >= wanted:
                break
    if not found.ids:
        raise UserError(f"--dataset {corpus.texts.dataset} holds no texts of {FEWEST_TOKENS} tokens; choose another")
    return found


def held_out_groups(groups: Sequence[str], sizes: np.ndarray, corpus: Corpus) -> set[str]:
    """Draw the groups that are held out, by a seed that is always the same. sizes: int [documents], tokens of each.

    Groups are taken in random order while they fit into the share; where this gives too little, so does the smallest rest.
    """
    totals: dict[str, int] = {}
    for group, size in zip(groups, sizes.tolist(), strict=True):
        totals[group] = totals.get(group, 0) + size
    if len(totals) < 2:
        raise UserError(
            f"--dataset {corpus.texts.dataset} holds 1 independent text, and at least 2 are needed, to train on and to hold "
            "out; give more texts"
        )
    total = sum(totals.values())
    wanted = corpus.held_out_tokens
    if total < corpus.num_tokens + wanted:
        wanted = max(corpus.held_out * total, min(wanted, MOST_HELD_OUT * total))
    held, count, names = set(), 0, sorted(totals)
    random = np.random.default_rng(DEALT_BY)
    for name in (names[index] for index in random.permutation(len(names))):
        if count < wanted and count + totals[name] <= 1.25 * wanted and len(held) < len(names) - 1:
            held.add(name)
            count += totals[name]
    rest = sorted((totals[name], name) for name in names if name not in held)
    if count < wanted and (not held or count + rest[0][0] <= total / 2) and len(rest) > 1:
        held.add(rest[0][1])
    return held


def windows_of(ids: Sequence[np.ndarray], documents: np.ndarray, width: int, most: int | None, frame: Frame) -> Sequences:
    """Tile these documents with windows of `width` tokens, until `most` tokens are reached; shorter rests are kept too."""
    windows, of_document, starts, count = [], [], [], 0
    for document in documents.tolist():
        for start in range(0, len(ids[document]) - FEWEST_TOKENS + 1, width):
            window = ids[document][start : start + width]
            if most is not None:
                window = window[: most - count]
            if len(window) < FEWEST_TOKENS:
                continue
            windows.append(window)
            of_document.append(document)
            starts.append(start)
            count += len(window)
    if not windows:
        raise UserError("there are too few tokens for a window; give more or longer texts, or a larger --num_tokens")
    return unlabelled_sequences(windows, frame, of_document, starts)


def tell(splits: dict[str, Sequences], corpus: Corpus, copies: int, near: int) -> None:
    """Print what was read, and say where it is less than was asked for."""
    counts = {name: text_tokens(sequences) for name, sequences in splits.items()}
    groups = {name: len(np.unique(sequences.groups)) for name, sequences in splits.items()}
    train, held = counts["train"], counts.get("held_out")
    told = f"texts: {train:,} tokens of {groups['train']:,} groups"
    if held is not None:
        told += f" to train on, {held:,} of {groups['held_out']:,} others held out"
    print(f"{told}; {copies:,} copies left out, {near:,} near copies grouped", flush=True)
    if train < corpus.num_tokens:
        print(f"note: the texts end before --num_tokens {corpus.num_tokens:,}", flush=True)
    if held is not None and held < HELD_OUT_TOKENS:
        print(
            f"note: fewer than {HELD_OUT_TOKENS:,} tokens are held out: shares of dead latents there are too high",
            flush=True,
        )


def text_tokens(sequences: Sequences) -> int:
    """Count the text tokens of sequences."""
    return int((sequences.text_ends - sequences.text_start).sum())


def digest_of_files(source: str) -> str | None:
    """Hash the local files that a --dataset names: their names and bytes. None where nothing is there, as for the Hub."""
    import xxhash

    path = Path(source).expanduser()
    if not path.exists() and not glob.has_magic(source):
        return None
    files = local_files(source) or (sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [])
    digest = xxhash.xxh3_64()
    for file in files:
        digest.update(file.name.encode())
        with open(file, "rb") as opened:
            while block := opened.read(2**20):
                digest.update(block)
    return digest.hexdigest() if files else None
