"""Shards of hidden states on disk, and the index of a folder of them: written with checksums, compared when they are read.

What is damaged is computed again, and a line says so. Entries from before there were checksums are read without.
"""

from itertools import pairwise
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from utils.base.errors import UserError
from utils.base.files import atomic_write, read_checked_json, with_checksum, write_json
from utils.base.tensor_files import CHECKSUM, checksum
from utils.states.sites import ATTENTION, Layer, is_layer, layer_depth

FORMAT, VERSION = "probe-states", 1
INDEX = "index.json"
INDEX_KEYS = ("format", "version", "layers", "rows", "own", "shards")
DAMAGED = (SafetensorError, OSError)  # what the reading of a shard ends in that was cut or changed

Shapes = dict[str, tuple[tuple[int, ...], torch.dtype]]


def shard_path(folder: Path, first: int, last: int) -> Path:
    """Name a shard by its range of sequences."""
    return folder / f"states_{first:08d}_{last:08d}.safetensors"


def write_shard_index(folder: Path, layers: list[Layer], rows: int, own: str | None, shards: list[list[int]]) -> dict:
    """Write what the folder is going to hold, and return it. own: the hash of the targets; shards: [first, last) of each."""
    values = (FORMAT, VERSION, layers, rows, own, shards)
    index: dict = dict(zip(INDEX_KEYS, values, strict=True))
    write_json(folder / INDEX, with_checksum(index))
    return index


def read_shard_index(folder: Path, rows: int, sequences: int) -> dict | None:
    """Read what a folder holds of so many rows of so many sequences.

    None where there is no index, or a damaged one, which is said and made again. Raise UserError for another format.
    """
    path = folder / INDEX
    try:
        index = read_checked_json(path)
        if (found := (index.get("format"), index.get("version"))) != (FORMAT, VERSION):
            raise UserError(
                f"{folder} has format {found[0]!r} version {found[1]!r}, not {FORMAT!r} "
                f"version {VERSION}; delete the folder or give another --cache_dir"
            )
        if problem := index_problem(index, rows, sequences):
            raise ValueError(problem)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        print(f"{path} is damaged ({error}); its states are computed again", flush=True)
        return None
    return index


def index_problem(index: dict, rows: int, sequences: int) -> str | None:
    """Say why an index is not one of these rows, or None: what is in it, in which order, and whether that is all of them."""
    if set(index) != set(INDEX_KEYS):
        return f"its keys are {', '.join(index)}"
    layers, shards, own = index["layers"], index["shards"], index["own"]
    known = isinstance(layers, list) and all(is_layer(layer) and layer != ATTENTION for layer in layers)
    if not known or not layers or any(layer_depth(a) >= layer_depth(b) for a, b in pairwise(layers)):
        return f"its layers are {str(layers)[:60]}"
    if type(index["rows"]) is not int or index["rows"] != rows:
        return f"its rows are {str(index['rows'])[:20]}, not {rows}"
    if not isinstance(own, str | None):
        return "it does not say of which targets the model's own probability is"
    ends = [0]
    for shard in shards if isinstance(shards, list) else ():
        if not (isinstance(shard, list) and [type(end) for end in shard] == [int, int] and shard[0] == ends[-1] < shard[1]):
            return f"its shards are not in a row: {str(shard)[:40]}"
        ends.append(shard[1])
    return None if ends[-1] == sequences else f"its shards end at {ends[-1]} of {sequences} sequences"


def read_shard(path: Path, shapes: Shapes) -> dict[str, torch.Tensor] | None:
    """Map a shard into memory and compare it with its checksum; None where it is absent or damaged, so that it is made
    again. shapes: what must be in it.
    """
    if not path.exists():
        return None
    try:
        part, about = map_shard(path)
        found = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in part.items()}
        if found != shapes:
            raise ValueError("it holds other rows")
        if about and about != {CHECKSUM: checksum(part, *place_of(path))}:
            raise ValueError("its checksum is of other content")
    except (*DAMAGED, ValueError) as error:
        print(f"{path} is damaged ({error}); its states are computed again", flush=True)
        return None
    return part


def map_shard(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Map a shard into memory, unchecked: its tensors, and what it says of itself."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118  a file is no dict


def require_shard(path: Path) -> dict[str, torch.Tensor]:
    """Map a shard into memory that was written just now. Raise UserError where it has gone or is damaged."""
    try:
        return map_shard(path)[0]
    except DAMAGED as error:
        raise UserError(f"{path} was changed while it was in use; run the same command again") from error


def write_shard(path: Path, part: dict[str, torch.Tensor]) -> None:
    """Write a shard with its checksum, whole or not at all."""
    with atomic_write(path) as file:
        file.write(save(part, {CHECKSUM: checksum(part, *place_of(path))}))


def place_of(path: Path) -> tuple[str, str]:
    """Give what the names of a shard say of it, which its checksum covers: a shard that was moved is another's."""
    return path.parent.name, path.name
