"""Texts -> sequences to train on, and held-out ones of other groups, without labels."""

import glob
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.base.errors import UserError
from utils.base.progress import Progress
from utils.data.preparation.dataset_files import about_tokenizer
from utils.data.preparation.token_task import tokenized
from utils.data.readers.plain import local_files
from utils.data.sequences import Sequences
from utils.data.splits import group_near_duplicates, sketch
from utils.data.tokenizer import PROVED_TEXTS, Frame, Tokenizer, load_tokenizer, require_own_ids, special_frame
from utils.sae.supply.dealing import HELD_OUT_TOKENS, Corpus, dealt_groups, set_aside
from utils.sae.supply.windows import FEWEST_TOKENS, tiles_of, window_width, windows_of

SPLITS_OF_TEXTS = ("train", "validation", "held_out")
FEWEST_TEXTS = 20  # no text gives more than such a part of the tokens, while others follow


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
    """Read the texts and cut them into windows: Sequences "train", and "validation" and "held_out" where some are held out.

    A group, with the near copies of its texts, is in one of them. Print what was read. In memory: about 10 bytes a token.
    """
    tokenizer = load_tokenizer(model_name, corpus.texts.special_tokens, trust_remote_code)
    frame = special_frame(tokenizer)
    width = window_width(corpus.context_length, model_name, frame, trust_remote_code)
    found = take_texts(corpus, tokenizer, frame)
    joined = group_near_duplicates(found.groups, found.sketches)
    near = sum(a != b for a, b in zip(joined, found.groups, strict=True))
    split_of, tokens = dealt_groups(joined, found.ids, corpus) if corpus.held_out else ({}, {})
    of_document = np.array([split_of.get(group, "train") for group in joined])
    numbers = {group: number for number, group in enumerate(dict.fromkeys(joined))}
    about = {
        "model_name": model_name,
        "tokenizer": {**about_tokenizer(tokenizer, frame), "special": sorted(set(tokenizer.all_special_ids))},
        "documents": found.names,
        "groups": list(numbers),
    }
    group_of = np.array([numbers[group] for group in joined], dtype=np.int32)
    splits = {}
    for split, most in {"train": corpus.num_tokens, **tokens}.items():
        tiles = tiles_of(found.ids, np.flatnonzero(of_document == split), width)
        sequences = windows_of(found.ids, tiles, width, most, frame)
        sequences.groups = group_of[sequences.documents]
        sequences.metadata = {**about, "split": split, "context_length": width - 1}
        splits[split] = sequences
    tell(splits, corpus, found.copies, near)
    return splits


def take_texts(corpus: Corpus, tokenizer: Tokenizer, frame: Frame) -> TakenTexts:
    """Read and tokenize texts until there are tokens enough, or no more texts. Exact copies are left out.

    A text counts with a part of the tokens only, so that a few long ones do not stand for all.
    """
    found, seen, total = TakenTexts([], [], [], []), set(), 0
    wanted, part = corpus.tokens_read, -(-corpus.tokens_read // FEWEST_TEXTS)
    with Progress("read texts", "token") as progress:
        for document, ids in tokenized(corpus.texts, tokenizer):
            if len(found) < PROVED_TEXTS:
                require_own_ids(tokenizer, frame, [document.text])
            digest = hash(ids.tobytes())
            if digest in seen or len(ids) < FEWEST_TOKENS:
                found.copies += digest in seen
                continue
            seen.add(digest)
            found.ids.append(ids[:wanted].copy())
            found.names.append(document.name)
            found.groups.append(document.group)
            found.sketches.append(sketch(found.ids[-1]))
            total += min(len(ids), part)
            progress.update(len(ids), f"{len(found):,} texts")
            if len(found) >= FEWEST_TEXTS and total - set_aside(corpus, len(found), total) >= corpus.num_tokens:
                break
    if not found.ids:
        raise UserError(f"--dataset {corpus.texts.dataset} holds no texts of {FEWEST_TOKENS} tokens; choose another")
    return found


def tell(splits: dict[str, Sequences], corpus: Corpus, copies: int, near: int) -> None:
    """Print what was read, and say where it is less than was asked for."""
    counts = {name: text_tokens(sequences) for name, sequences in splits.items()}
    groups = {name: len(np.unique(sequences.groups)) for name, sequences in splits.items()}
    train, held = counts["train"], counts.get("held_out")
    told = f"texts: {train:,} tokens of {groups['train']:,} groups"
    if held is not None:
        told += f" to train on, {counts['validation']:,} of {groups['validation']:,} to set thresholds by, "
        told += f"{held:,} of {groups['held_out']:,} held out"
    print(f"{told}; {copies:,} copies left out, {near:,} near copies grouped", flush=True)
    if train < 0.99 * corpus.num_tokens:
        print(f"note: these are fewer tokens than --num_tokens {corpus.num_tokens:,}", flush=True)
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
