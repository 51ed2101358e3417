"""Tensors and plain values in one file, written whole or not at all, and compared with a checksum when it is read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from utils.base.errors import UserError
from utils.base.files import atomic_write
from utils.base.tensor_files import CHECKSUM, checksum

VERSION = 1
RECORD_KEY = "record"  # the one key of the file's own metadata


@dataclass(frozen=True)
class Record:
    """What one file holds: tensors by name, and plain values."""

    tensors: dict[str, torch.Tensor]
    about: dict[str, Any]


def write_record(path: Path, kind: str, tensors: Mapping[str, torch.Tensor], about: Mapping[str, Any]) -> None:
    """Write a record of this kind, such as "sae-checkpoint"."""
    text = json.dumps(about)
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = {"format": kind, "version": VERSION, "about": text, CHECKSUM: checksum(whole, kind, text)}
    with atomic_write(path) as file:
        file.write(save(whole, {RECORD_KEY: json.dumps(header)}))  # of several keys, each write has another order


def open_record(path: Path, kind: str, remedy: str) -> Record:
    """Read a record of this kind. Raise UserError for any other file, and for a damaged one; remedy: what helps then."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(RECORD_KEY, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  a file is no dict
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} is damaged or no file of this suite ({error}); {remedy}") from error
    if (found := (header.get("format"), header.get("version"))) != (kind, VERSION):
        raise UserError(f"{path} has format {found[0]!r} version {found[1]}, not {kind!r} version {VERSION}; {remedy}")
    if header.get(CHECKSUM) != checksum(tensors, kind, header.get("about", "")):
        raise UserError(f"{path} is damaged: its checksum is of other content; {remedy}")
    return Record(tensors, json.loads(header["about"]))
