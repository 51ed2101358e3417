"""Windows -> the files of a dataset: padded sequences, what is counted of them, and everything written together."""

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from utils.base.errors import UserError
from utils.base.files import WriteTogether, fingerprint, json_text
from utils.base.processes.locks import locked
from utils.data.position_limit import position_limit
from utils.data.sequences import Sequences, save_sequences, unlabelled_sequences
from utils.data.tokenizer import Frame, Tokenizer, tokenizer_fingerprint
from utils.data.windows import Window

LIBRARIES = ("transformers", "tokenizers", "datasets", "numpy", "torch")
MOST_POSITIONS = 2048  # of a sequence, where nobody says how long it shall be: attention grows with the square


def fitting_length(context_length: int | None, model_name: str, frame: Frame, trust_remote_code: bool) -> int:
    """Return the context length: the one given, else as long as the model takes, at most MOST_POSITIONS in all.

    Raises UserError for one that the model has no positions for.
    """
    limit = position_limit(model_name, trust_remote_code)
    around = len(frame[0]) + len(frame[1])
    if context_length is None:
        context_length = min(limit or MOST_POSITIONS, MOST_POSITIONS) - max(around, 1) - 1
    needed = around + context_length + 1
    if limit and max(needed, context_length + 2) > limit:
        raise UserError(
            f"--context_length {context_length} makes sequences of {needed} tokens, "
            f"{model_name} has {limit} positions; use at most {limit - max(around, 1) - 1}"
        )
    return context_length


def sequences_of_windows(rows: Sequence[tuple[Window, int, int]], frame: Frame) -> Sequences:
    """Put each window of the rows (window, document, group) inside its special tokens, padded on the right."""
    documents, groups = (np.array([row[column] for row in rows], dtype=np.int32) for column in (1, 2))
    sequences = unlabelled_sequences(
        [window.ids for window, *_ in rows],
        frame,
        documents,
        np.array([window.start for window, *_ in rows], dtype=np.int64),
    )
    before = len(frame[0])
    for labels, (window, *_) in zip(sequences.labels, rows, strict=True):
        labels[before : before + len(window.labels)] = window.labels
    sequences.groups = groups
    return sequences


def count(sequences: Sequences) -> dict[str, int]:
    """Count what one split holds."""
    return {
        "sequences": len(sequences),
        "positives": int((sequences.labels == 1).sum()),
        "negatives": int((sequences.labels == 0).sum()),
        "documents": len(set(sequences.documents.tolist())),
        "groups": len(set(sequences.groups.tolist())),
    }


def about_tokenizer(tokenizer: Tokenizer, frame: Frame) -> dict:
    """What the metadata say of the tokenizer."""
    return {
        "fingerprint": tokenizer_fingerprint(tokenizer),
        "before": frame[0],
        "after": frame[1],
        "vocabulary": len(tokenizer),
    }


def versions() -> dict[str, str]:
    """Return the versions of the libraries that a dataset depends on."""
    return {name: version(name) for name in LIBRARIES}


def about_content(splits: Mapping[str, Sequences]) -> dict:
    """What the metadata say of the arrays: the hash of each split's, by which each file is checked, and of them all."""
    hashes = {name: sequences.content_hash() for name, sequences in splits.items()}
    return {"content_hashes": hashes, "dataset_fingerprint": fingerprint(*hashes.values())}


def in_words(dropped: Mapping[str, int]) -> str:
    """{"texts_too_short": 3, "duplicate_texts": 0} -> "3 texts too short"; "nothing" where all are 0."""
    return ", ".join(f"{number:,} {what.replace('_', ' ')}" for what, number in dropped.items() if number) or "nothing"


def write_dataset(
    folder: str | Path, splits: Mapping[str, Sequences], metadata: dict, more: Mapping[str, str] | None = None
) -> None:
    """Write {split: Sequences} and metadata.json into `folder`, with `more` {path below it: text}: all of them or none."""
    folder = Path(folder)
    with locked(folder), WriteTogether() as files:
        for name, sequences in splits.items():
            sequences.metadata = {**metadata, "split": name}
            with files.open(folder / f"{name}.pth") as file:
                save_sequences(file, sequences)
        for path, text in {"metadata.json": json_text(metadata), **(more or {})}.items():
            with files.open(folder / path) as file:
                file.write(text.encode("utf-8"))


def report_files(folder: str | Path, counts: Mapping[str, Mapping], more: Iterable[str] = ()) -> None:
    """Print which files were written and what comes next. counts: as `count` returns for each split."""
    folder = Path(folder)
    for name, numbers in counts.items():
        print(
            f"wrote {folder / name}.pth: "
            + ", ".join(f"{value:,} {key}" for key, value in numbers.items() if isinstance(value, int))
        )
    for path in ("metadata.json", *more):
        print(f"wrote {folder / path}")
    print(f"next: python scripts/inspect_data.py --data_path {folder / 'train.pth'}")
