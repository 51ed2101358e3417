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
from utils.sae.supply.texts import digest_of_files
from utils.states.sites import Layer

KIND_OF_CACHE = "sae-states"
NEVER_STORED = ("labels", "tasks")  # there are none
READ_ELSEWHERE = "read them with --extract_only, or name another --cache_dir"
TOLD_APART_BY = (  # flags by which one of several passes is chosen
    "model_name",
    "dataset",
    "dataset_config",
    "language",
    "text_column",
    "special_tokens",
    "max_texts",
    "num_tokens",
    "context_length",
    "held_out",
    "model_dtype",
)
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
    fitting = fitting_caches(folder, asked, layers)
    if len({fingerprint({**cache.about, "layers": 0}) for cache in fitting}) > 1:
        several = next((name for name in TOLD_APART_BY if len({str(cache.about.get(name)) for cache in fitting}) > 1), None)
        if several is None:
            raise UserError(f"--train_only: {folder} holds {len(fitting)} passes over the same texts; {READ_ELSEWHERE}")
        values = ", ".join(sorted({str(cache.about.get(several)) for cache in fitting}))
        raise UserError(f"--train_only: {folder} holds {len(fitting)} passes; choose one with --{several} ({values})")
    return min(fitting, key=lambda cache: len(cache.about["layers"]))


def model_of_cache(folder: str | Path, asked: Mapping[str, Any]) -> str:
    """Name the model that the passes in a folder are of. Raise UserError where they are of several."""
    names = sorted({cache.about["model_name"] for cache in fitting_caches(folder, asked, None)})
    if len(names) > 1:
        raise UserError(
            f"--train_only: {folder} holds states of {len(names)} models; choose one with --model_name ({names})"
        )
    return names[0]


def fitting_caches(folder: str | Path, asked: Mapping[str, Any], layers: Sequence[Layer] | None) -> list[Cache]:
    """Find all passes in a folder that are what is asked, of texts that have not changed since; one at least."""
    caches = [read_cache(path) for path in sorted(Path(folder).glob("sae_texts_*.safetensors"))]
    if not caches:
        raise UserError(f"--train_only: {folder} holds no states of texts; {READ_ELSEWHERE}")
    problems = [other_than_asked(cache.about, asked, layers) for cache in caches]
    fitting = [cache for cache, problem in zip(caches, problems, strict=True) if not problem]
    if not fitting:
        raise UserError(
            f"--train_only: the states in {folder} are not those that are asked for: {min(problems, key=len)[0]}; "
            f"{READ_ELSEWHERE}"
        )
    digests = {dataset: digest_of_files(dataset) for dataset in {cache.about["dataset"] for cache in fitting}}
    found = [cache for cache in fitting if digests[cache.about["dataset"]] in (None, cache.about.get("files"))]
    if not found:
        changed = fitting[0].about["dataset"]
        raise UserError(
            f"--train_only: {changed} has changed since the states in {folder} were read; read them again with "
            "--extract_only"
        )
    return found


def other_than_asked(about: Mapping[str, Any], asked: Mapping[str, Any], layers: Sequence[Layer] | None) -> list[str]:
    """List in words where a pass is another one than is asked for."""
    found = [
        f"{name} was {about.get(name)} (model {about['model_name']}, texts {about['dataset']}) and is {value} now"
        for name, value in asked.items()
        if about.get(name) != value
    ]
    missing = [layer for layer in layers or () if layer not in about["layers"]]
    if missing:
        found.append(f"their layers are {', '.join(map(str, about['layers']))}, without {', '.join(map(str, missing))}")
    return found
