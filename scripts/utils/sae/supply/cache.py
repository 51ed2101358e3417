"""Which texts and states a folder holds, and whether they are those that are asked for.

Beside the shards of hidden states lies one record for each pass that ended: `sae_texts_KEY.safetensors`, with the sequences
themselves, so that training alone reads no text again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from utils.base.errors import UserError
from utils.base.files import fingerprint
from utils.data.sequences import Sequences
from utils.sae.supply.records import open_record, write_record
from utils.states.sites import Layer

KIND_OF_CACHE = "sae-states"
NEVER_STORED = ("labels", "tasks")  # there are none
READ_AGAIN = "delete it, and read the states again with --extract_only"


@dataclass(frozen=True)
class Cache:
    """One pass in a folder: {"train", "validation", "held_out": Sequences}, and what is said of it, plain values by name.

    about: model_name, model_fingerprint, tokenizer_fingerprint, layers, the flags of the texts, and more
    """

    splits: dict[str, Sequences]
    about: dict[str, Any]


def write_cache(folder: str | Path, cache: Cache) -> None:
    """Note what the folder holds, once all of it is there."""
    tensors = {
        f"{split}.{name}": torch.from_numpy(array)
        for split, sequences in cache.splits.items()
        for name, array in sequences.arrays().items()
        if name not in NEVER_STORED
    }
    metadata = {split: sequences.metadata for split, sequences in cache.splits.items()}
    key = fingerprint(dict(cache.about))
    write_record(
        Path(folder) / f"sae_texts_{key}.safetensors", KIND_OF_CACHE, tensors, {**cache.about, "metadata": metadata}
    )


def read_cache(path: Path) -> Cache:
    """Read what one record says."""
    record = open_record(path, KIND_OF_CACHE, READ_AGAIN)
    metadata, splits = record.about.pop("metadata"), {}
    for split, about in metadata.items():
        own = {
            name.partition(".")[2]: array.numpy() for name, array in record.tensors.items() if name.startswith(f"{split}.")
        }
        splits[split] = without_labels(own, about)
    return Cache(splits, record.about)


def without_labels(arrays: Mapping[str, Any], metadata: dict[str, Any]) -> Sequences:
    """Make sequences without labels of their arrays."""
    labels = np.full(arrays["input_ids"].shape, -1, dtype=np.int8)
    return Sequences(**arrays, labels=labels, tasks=np.zeros(len(labels), dtype=np.int32), metadata=metadata)


def find_cache(folder: str | Path, asked: Mapping[str, Any], layers: Sequence[Layer] | None = None) -> Cache:
    """Find the pass in a folder that is what is asked. Raise UserError where none is, and name both sides.

    asked: values by the names of `Cache.about`; what is not there may be anything. layers: which must be there.
    """
    caches = [read_cache(path) for path in sorted(Path(folder).glob("sae_texts_*.safetensors"))]
    if not caches:
        raise UserError(
            f"--train_only: {folder} holds no states of texts; read them with --extract_only, or name another --cache_dir"
        )
    problems = [other_than_asked(cache.about, asked, layers) for cache in caches]
    fitting = [cache for cache, problem in zip(caches, problems, strict=True) if not problem]
    if not fitting:
        raise UserError(
            f"--train_only: the states in {folder} are not those that are asked for: {min(problems, key=len)[0]}; read them "
            "with --extract_only, or name another --cache_dir"
        )
    if len({fingerprint({**cache.about, "layers": 0}) for cache in fitting}) > 1:
        names = ("model_name", "dataset", "dataset_config", "num_tokens", "context_length")
        several = next((name for name in names if len({str(cache.about[name]) for cache in fitting}) > 1), "model_dtype")
        values = ", ".join(sorted({str(cache.about[several]) for cache in fitting}))
        raise UserError(f"--train_only: {folder} holds {len(fitting)} passes; choose one with --{several} ({values})")
    return min(fitting, key=lambda cache: len(cache.about["layers"]))


def other_than_asked(about: Mapping[str, Any], asked: Mapping[str, Any], layers: Sequence[Layer] | None) -> list[str]:
    """List in words where a pass is another one than is asked for."""
    found = [
        f"their {name} is {about.get(name)} (model {about['model_name']}, texts {about['dataset']}), not {value}"
        for name, value in asked.items()
        if about.get(name) != value
    ]
    missing = [layer for layer in layers or () if layer not in about["layers"]]
    if missing:
        found.append(f"their layers are {', '.join(map(str, about['layers']))}, without {', '.join(map(str, missing))}")
    return found
