"""Windows -> the files of a dataset: padded sequences, what is counted of them, and everything written together."""

from importlib.metadata import version
from pathlib import Path

import numpy as np

from utils.base.errors import UserError
from utils.base.files import WriteTogether, fingerprint, json_text
from utils.data.sequences import Sequences, save_sequences
from utils.data.tokenizer import position_limit, tokenizer_fingerprint

LIBRARIES = ("transformers", "tokenizers", "datasets", "numpy", "torch")
MOST_POSITIONS = 2048  # of a sequence, where nobody says how long it shall be: attention grows with the square


def check_length(arguments, tokenizer, frame):
    """Set --context_length where it was not given; refuse one that the model has no positions for."""
    limit = position_limit(arguments.model_name, tokenizer)
    around = len(frame[0]) + len(frame[1])
    if arguments.context_length is None:
        arguments.context_length = min(limit or MOST_POSITIONS, MOST_POSITIONS) - max(around, 1) - 1
    needed = around + arguments.context_length + 1
    if limit and max(needed, arguments.context_length + 2) > limit:
        raise UserError(
            f"--context_length {arguments.context_length} makes sequences of {needed} tokens, "
            f"{arguments.model_name} has {limit} positions; use at most {limit - max(around, 1) - 1}"
        )


def assemble(rows, frame) -> Sequences:
    """Rows (window, document, group, task) -> Sequences: each window inside its special tokens, padded on the right."""
    before, after = (np.array(ids, dtype=np.int32) for ids in frame)
    lengths = np.array([len(before) + len(row[0].ids) + len(after) for row in rows], dtype=np.int32)
    shape = (len(rows), lengths.max())
    input_ids, labels = np.zeros(shape, dtype=np.int32), np.full(shape, -1, dtype=np.int8)
    for row, (window, *_) in enumerate(rows):
        input_ids[row, : lengths[row]] = np.concatenate([before, window.ids, after])
        labels[row, len(before) : len(before) + len(window.labels)] = window.labels
    documents, groups, tasks = (np.array([row[column] for row in rows], dtype=np.int32) for column in (1, 2, 3))
    return Sequences(
        input_ids,
        lengths,
        labels,
        documents,
        groups,
        tasks,
        starts=np.array([window.start for window, *_ in rows], dtype=np.int64),
    )


def count(sequences) -> dict[str, int]:
    return {
        "sequences": len(sequences),
        "positives": int((sequences.labels == 1).sum()),
        "negatives": int((sequences.labels == 0).sum()),
        "documents": len(set(sequences.documents.tolist())),
        "groups": len(set(sequences.groups.tolist())),
    }


def about_tokenizer(tokenizer, frame) -> dict:
    return {
        "fingerprint": tokenizer_fingerprint(tokenizer),
        "before": frame[0],
        "after": frame[1],
        "vocabulary": len(tokenizer),
    }


def versions() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES}


def dataset_fingerprint(splits) -> str:
    return fingerprint(*(sequences.content_hash() for sequences in splits.values()))


def write_dataset(folder, splits, metadata, more=None):
    """{split: Sequences} and metadata.json into `folder`, with `more` {path below it: text}: all of them or none."""
    folder = Path(folder)
    with WriteTogether() as files:
        for name, sequences in splits.items():
            sequences.metadata = {**metadata, "split": name}
            with files.open(folder / f"{name}.pth") as file:
                save_sequences(file, sequences)
        for path, text in {"metadata.json": json_text(metadata), **(more or {})}.items():
            with files.open(folder / path) as file:
                file.write(text.encode("utf-8"))


def report_files(folder, counts, more=()):
    folder = Path(folder)
    for name, numbers in counts.items():
        print(
            f"wrote {folder / name}.pth: "
            + ", ".join(f"{value:,} {key}" for key, value in numbers.items() if isinstance(value, int))
        )
    for path in ("metadata.json", *more):
        print(f"wrote {folder / path}")
    print(f"next: python scripts/inspect_data.py --data_path {folder / 'train.pth'}")
