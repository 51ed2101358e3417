"""Do the arrays, texts and metadata of a file of sequences hold together, and are they what was written?

What they mean is checked in `checks`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from utils.base.files import fingerprint

Arrays = Mapping[str, np.ndarray]  # those of Sequences, by name

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
    for name, dtype in dtypes.items():
        array = arrays[name]
        shape = (n, width) if name in ("input_ids", "labels") else (n,)
        if array.dtype != dtype or array.shape != shape:
            return f"{name} is {array.dtype} {list(array.shape)}, not {np.dtype(dtype)} {list(shape)}"
    if n == 0:
        return "it holds no sequences"
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
    if not (labels >= 0).any():
        return "no token in it has a label"
    documents = len(np.unique(arrays["documents"]))
    if texts and (len(texts) != documents or not all(isinstance(text, str) for text in texts)):
        return f"it holds {len(texts)} texts of {documents} documents"
    return None


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
