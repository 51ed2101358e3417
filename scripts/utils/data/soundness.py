"""Do the arrays, texts and metadata of a file of sequences hold together, and are they what was written?

What they mean is checked in `checks`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from utils.base.files import fingerprint

Arrays = Mapping[str, np.ndarray]  # those of Sequences, by name

OF_ROWS = ("labels", "tasks", "windows")  # arrays with an item for each row of labels; the others have one for each sequence
OF_METADATA = {  # what the metadata say, where they do
    "model_name": str,
    "split": str,
    "dataset_fingerprint": str,
    "default_lag": int,
    "task": str,
    "label_rule": str,
    "positions": str,
    "context_length": int,
    "min_context": int,
    "source": dict,
    "splits": dict,
    "tokenizer": dict,
    "targets": list,
    "documents": list,
    "groups": list,
}
OF_TOKENIZER = {"fingerprint": str, "before": list, "after": list, "vocabulary": int}
OF_LISTS = {"targets": dict, "documents": str, "groups": str, "document_hashes": str}  # and what each of their items is


def what_is_unsound(arrays: Arrays, dtypes: Mapping[str, Any], metadata: dict[str, Any], texts: Sequence[str]) -> str | None:
    """Say what makes a file unusable, or None. dtypes: of each array."""
    n, width = arrays["input_ids"].shape
    rows = len(arrays.get("windows", arrays["input_ids"]))
    for name, array in arrays.items():
        length, dtype = rows if name in OF_ROWS else n, np.dtype(dtypes[name])
        shape = (length, width) if name in ("input_ids", "labels") else (length,)
        if array.dtype != dtype or array.shape != shape:
            return f"{name} is {array.dtype} {list(array.shape)}, not {dtype} {list(shape)}"
    if n == 0 or rows == 0:
        return "it holds no sequences" if n == 0 else "it holds no labels"
    lengths, labels, input_ids = (arrays[name] for name in ("lengths", "labels", "input_ids"))
    if lengths.min() < 1 or lengths.max() > width:
        return f"lengths run from {lengths.min()} to {lengths.max()}, with {width} columns"
    if labels.min() < -1 or labels.max() > 1:
        return f"labels run from {labels.min()} to {labels.max()}, not from -1 to 1"
    if problem := what_metadata_garble(metadata):
        return problem
    vocabulary = metadata["tokenizer"]["vocabulary"]
    lowest, highest = input_ids.min(), input_ids.max()
    if lowest < 0 or highest >= vocabulary:
        wrong = lowest if lowest < 0 else highest
        return f"token id {wrong} is out of range, its tokenizer has ids 0 to {vocabulary - 1}"
    for name in ("documents", "groups", "targets"):
        indices = arrays["tasks" if name == "targets" else name]
        if indices.min() < 0 or indices.max() >= len(metadata[name]):
            return f"{name} run from {indices.min()} to {indices.max()}, with {len(metadata[name])} names"
    if labels.max() < 0:
        return "no token in it has a label"
    documents = len(np.unique(arrays["documents"]))
    if texts and (len(texts) != documents or not all(isinstance(text, str) for text in texts)):
        return f"it holds {len(texts)} texts of {documents} documents"
    if "windows" in arrays:
        return what_rows_garble(arrays) if len(metadata["targets"]) > 1 else "it holds windows, and labels of one target"
    return None


def what_rows_garble(arrays: Arrays) -> str | None:
    """Say what is wrong with which sequence and target each row of labels is of, or None."""
    n, windows, tasks = len(arrays["lengths"]), arrays["windows"], arrays["tasks"]
    if windows.min() < 0 or windows.max() >= n:
        return f"windows run from {windows.min()} to {windows.max()}, with {n} sequences"
    wrong = np.flatnonzero(np.diff(tasks.astype(np.int64) * n + windows) <= 0)
    if len(wrong):
        row = wrong[0] + 1
        return f"row {row} of its labels, target {tasks[row]} in sequence {windows[row]}, is there twice or out of order"
    return None


def each_sequence_once(arrays: Arrays) -> dict[str, np.ndarray]:
    """Bring the arrays of version 1, where each row of labels has a sequence of its own, to the form of today.

    Raises ValueError where the rows of one sequence differ.
    """
    places = np.stack([arrays["documents"], arrays["starts"]])
    _, first, windows = np.unique(places, axis=1, return_index=True, return_inverse=True)
    windows = windows.reshape(-1).astype(np.int32)
    once = {name: array[first] for name, array in arrays.items() if name not in OF_ROWS}
    for name, array in once.items():
        if not np.array_equal(array[windows], arrays[name]):
            raise ValueError(f"{name}, which differ between the rows of one sequence")
    order = np.lexsort((windows, arrays["tasks"]))
    rows = {"labels": arrays["labels"], "tasks": arrays["tasks"], "windows": windows}
    return once | {name: array[order] for name, array in rows.items()}


def what_metadata_garble(metadata: dict[str, Any]) -> str | None:
    """Say what of the metadata is of another type than it should be, or None."""
    for part, types in ((metadata, OF_METADATA), (metadata["tokenizer"], OF_TOKENIZER)):
        for name, kind in types.items():
            if name in part and type(part[name]) is not kind:
                return f"its {name} is {str(part[name])[:40]!r}"
    for name, kind in OF_LISTS.items():
        wrong = [item for item in metadata.get(name) or () if not isinstance(item, kind)]
        if wrong:
            return f"its {name} hold {str(wrong[0])[:40]!r}"
    hashes = metadata.get("document_hashes")
    if hashes is not None and len(hashes) != len(metadata["documents"]):
        return f"it holds {len(hashes)} hashes of {len(metadata['documents'])} documents"
    return None


def what_was_changed(arrays: Arrays, metadata: dict[str, Any]) -> str | None:
    """Say where the arrays are not those that the metadata speak of, or None. Older files do not tell."""
    hashes = metadata.get("content_hashes")
    if hashes is None:
        return None
    if fingerprint(*hashes.values()) != metadata["dataset_fingerprint"]:
        return f"its dataset_fingerprint {metadata['dataset_fingerprint']} is not that of its content_hashes"
    found, written = fingerprint(*arrays.values()), hashes.get(metadata["split"])
    if found != written:
        return f"its arrays ({found}) are not those that dataset_fingerprint was made of ({written})"
    return None
