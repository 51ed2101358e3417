"""Files of tensors: zips that torch.save writes and torch.load reads, read here so that no damage and no trick gets in.

torch.load(weights_only=True) runs no code, but it checks no sum, reads past the end of a member that a storage claims to be
longer than it is, and allocates whatever a sparse or quantised tensor asks for. So the zip and its pickle are parsed here:
plain values, and tensors that lie row by row, matrices also column by column, in the bytes of a member of their own. Nothing
is called or looked up by name, and no tensor is larger than the bytes that the file has for it.

    save_tensors(file, "linear-probe", 1, {"state_dict": {"weight": ...}})
    load_tensors(path, "linear-probe", 1, made_by="scripts/train_probe.py")["state_dict"]["weight"]
"""

import os
import pickletools
import struct
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from utils.base.errors import UserError

if TYPE_CHECKING:
    import torch

CHECKSUM = "checksum"  # under this key the header of a safetensors file has it
READ_BYTES = 2**20  # bytes read at a time
REBUILD = "torch._utils _rebuild_tensor_v2"
ORDERED = "collections OrderedDict"
STORAGES = {  # as a pickle names them: the dtype of what they hold
    "torch FloatStorage": "float32",
    "torch DoubleStorage": "float64",
    "torch HalfStorage": "float16",
    "torch BFloat16Storage": "bfloat16",
    "torch LongStorage": "int64",
    "torch IntStorage": "int32",
    "torch ShortStorage": "int16",
    "torch CharStorage": "int8",
    "torch ByteStorage": "uint8",
    "torch BoolStorage": "bool",
}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
WITH_VALUE = {"BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
LARGEST = 2**63  # of whole numbers
DAMAGE = (  # what a zip or a pickle that was changed can end in
    zipfile.BadZipFile,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    EOFError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
    struct.error,
)


class Forbidden(Exception):
    """The pickle names something that is no plain tensor."""


class Name(str):
    """What a pickle would look up: "module name". It is only compared."""


class Storage(tuple):
    """The bytes that a tensor lies in: (name of the type, key of the member, elements)."""


def checksum(tensors: Mapping[str, "torch.Tensor"], *about: str) -> str:
    """Compute a 16-digit hexadecimal sum of tensors, their names and shapes, and texts that belong to them.

    XXH3 runs at 9 GB/s on a core, where crc32 and SHA-256 run at less than 1: shards of hidden states are large.
    """
    import torch
    import xxhash

    digest = xxhash.xxh3_64("\0".join(about).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\0{name} {tensor.dtype} {list(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_tensors(file: IO[bytes], format_name: str, version: int, payload: Mapping[str, Any]) -> None:
    """Write `payload` (tensors and JSON-like values) so that torch.load(..., weights_only=True) reads it too.

    `file` is an open binary file: torch then gives the same bytes for the same payload, whatever the path.
    """
    import torch

    torch.save({"format": format_name, "version": version, **payload}, file)


def load_tensors(path: str | Path, format_name: str | Sequence[str], version: int | Sequence[int], made_by: str) -> dict:
    """Read what `save_tensors` wrote, of this format and version or one of several. `made_by` names the command that makes
    such a file, for the error's remedy.
    """
    path, remedy = Path(path), f"make it with {made_by}"
    payload = read_plain(path, remedy)
    found = payload.get("format") if isinstance(payload, dict) else None
    wanted = (format_name,) if isinstance(format_name, str) else format_name
    if found not in wanted:
        raise UserError(f"{path} has format {found!r}, not {' or '.join(map(repr, wanted))}; {remedy}")
    versions = (version,) if isinstance(version, int) else version
    if payload.get("version") not in versions:
        raise UserError(
            f"{path} has version {payload.get('version')!r} of format {found!r}, this suite reads "
            f"version {' or '.join(map(str, versions))}; {remedy}"
        )
    return payload


def read_plain(path: Path, remedy: str) -> Any:
    """Read what torch.save wrote, of whatever format, from a file of plain values and tensors."""
    if not path.exists():
        raise UserError(f"{path} does not exist; {remedy}")
    if not path.is_file():
        raise UserError(f"{path} is a folder, not a file; {remedy}")
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                raise UserError(f"{path} is empty; {remedy}")
            return read_archive(file, size)
    except Forbidden as error:
        raise UserError(
            f"{path} is not a plain file of tensors (it is damaged, or would run code when loaded: {error}) and "
            f"was not opened; {remedy}"
        ) from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; {remedy}") from error
    except DAMAGE as error:
        raise UserError(f"{path} is damaged or not a file of torch.save ({error}); {remedy}") from error


def read_archive(file: IO[bytes], size: int) -> Any:
    """Read the value that a zip of torch.save holds. size: bytes of the file."""
    if file.read(2) != b"PK":
        raise Forbidden("it is no zip")
    with zipfile.ZipFile(file) as archive:
        members = plain_members(archive, size)
        storages = {name.removeprefix("data/"): member for name, member in members.items() if name.startswith("data/")}
        rest = {name: archive.read(member) for name, member in members.items() if not name.startswith("data/")}
        if rest.get("byteorder", sys.byteorder.encode()) != sys.byteorder.encode():
            raise ValueError("it was written on a machine of another byte order")
        value = plain_value(rest["data.pkl"], lambda given: read_tensor(archive, storages, *given))
    if storages:
        raise ValueError(f"no tensor names its member data/{next(iter(storages))}")
    return value


def plain_members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """List the members by their names inside the one folder that they lie in, none compressed, none twice."""
    members: dict[str, zipfile.ZipInfo] = {}
    folder = archive.infolist()[0].filename.partition("/")[0]
    for member in archive.infolist():
        above, _, name = member.filename.partition("/")
        if above != folder or not name or name in members:
            raise ValueError(f"its member {member.filename!r} is misplaced or there twice")
        if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
            raise ValueError(f"its member {member.filename!r} is compressed")
        members[name] = member
    if sum(member.file_size for member in members.values()) > size:
        raise ValueError("its members claim more bytes than it has")
    return members


def plain_value(pickled: bytes, tensor: Callable[[tuple], "torch.Tensor"]) -> Any:
    """Evaluate a pickle of plain values and tensors, in the few operations that it takes to write them.

    tensor: makes a tensor of the arguments of torch._utils._rebuild_tensor_v2, its storage a Storage.
    """
    stack: list[Any] = []
    marks, memo, end = [], {}, 0
    argument: Any
    for operation, argument, end in pickletools.genops(pickled):  # noqa: B007  the last one's place is used
        name = operation.name
        if name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in WITH_VALUE:
            if name == "LONG1" and not -LARGEST <= argument < LARGEST:
                raise ValueError("it holds a whole number of more than 64 bits")
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name == "MARK":
            marks.append(len(stack))
        elif name == "GLOBAL":
            stack.append(known_name(argument))
        elif name == "BINPERSID":
            stack[-1] = storage_of(stack[-1])
        elif name == "REDUCE":
            given = stack.pop()
            stack[-1] = rebuilt(stack[-1], given, tensor)
        elif name not in ("PROTO", "STOP"):
            put_together(name, stack, marks)
    if end != len(pickled) - 1 or len(stack) != 1 or marks:
        raise ValueError("its pickle does not end where it should")
    return stack[0]


def put_together(name: str, stack: list, marks: list[int]) -> None:
    """Do the operations that make containers and fill them."""
    if name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"):
        stack.append({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}[name]())
        return
    counts = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "APPEND": 1, "SETITEM": 2}
    if name not in (*counts, "TUPLE", "APPENDS", "SETITEMS"):
        raise Forbidden(f"the operation {name}")
    start = len(stack) - counts[name] if name in counts else marks.pop()
    items = stack[start:]
    if start < 0 or len(items) != counts.get(name, len(items)):
        raise ValueError("its pickle takes what is not there")
    del stack[start:]
    if name.startswith("TUPLE"):
        stack.append(tuple(items))
    elif name.startswith("APPEND"):
        if type(stack[-1]) is not list:
            raise ValueError("its pickle appends to what is no list")
        stack[-1].extend(items)
    else:
        if type(stack[-1]) is not dict:
            raise ValueError("its pickle sets items of what is no dict")
        stack[-1].update(zip(items[::2], items[1::2], strict=True))


def known_name(found: str) -> Name:
    """Give a name that a pickle of plain tensors needs."""
    if found not in (REBUILD, ORDERED, *STORAGES):
        raise Forbidden(found)
    return Name(found)


def storage_of(value: tuple) -> Storage:
    """Read ("storage", type, key, device, elements)."""
    what, kind, key, _, elements = value
    if what != "storage" or kind not in STORAGES or not isinstance(kind, Name):
        raise ValueError("its pickle names a storage of no known kind")
    return Storage((kind, key, elements))


def rebuilt(function: Any, given: Any, tensor: Callable[[tuple], "torch.Tensor"]) -> Any:
    """Do what the two functions do that a pickle of plain tensors names."""
    if not isinstance(function, Name) or not isinstance(given, tuple):
        raise Forbidden("a call of what is no function")
    if function == ORDERED and not given:
        return {}
    if function != REBUILD:
        raise Forbidden(f"a call of {function}")
    return tensor(given)


def read_tensor(
    archive: zipfile.ZipFile, storages: dict[str, zipfile.ZipInfo], storage: Storage, offset: int, shape: tuple, *rest: Any
) -> "torch.Tensor":
    """Read a tensor from the member of its storage, which no other tensor shares.

    rest: its strides, whether it wants a gradient, its hooks, and perhaps more that makes it another kind of tensor.
    """
    import torch

    kind, key, elements = storage
    strides, *special = rest
    if len(shape) == 2 and tuple(strides) == (1, shape[0]) != contiguous(shape, strides):  # transposed before it was saved
        return read_tensor(archive, storages, storage, offset, shape[::-1], strides[::-1], *special).mT.contiguous()
    dtype = getattr(torch, STORAGES[kind])
    member = storages.pop(key, None)
    if member is None or elements * dtype.itemsize != member.file_size:
        raise ValueError(f"the storage {key!r} of a tensor is not there, is another tensor's, or has another size")
    if any(special) or len(special) < 2:
        raise ValueError("a tensor in it wants a gradient, has hooks, or is conjugated or negated")
    whole = all(type(number) is int and number >= 0 for number in (offset, elements, *shape))
    if not whole or tuple(strides) != contiguous(shape, strides) or offset + prod(shape) > elements:
        raise ValueError(
            f"a tensor of shape {list(shape)} and strides {list(strides)} does not lie in its storage row by row"
        )
    everything = torch.empty(elements, dtype=dtype)
    view = everything.view(torch.uint8).numpy().data
    with archive.open(member) as file:
        for start in range(0, len(view), READ_BYTES):
            part = file.read(READ_BYTES)  # the last one is compared with the sum of all
            view[start : start + len(part)] = part
    return everything[offset : offset + prod(shape)].reshape(shape)


def contiguous(shape: tuple, strides: tuple) -> tuple:
    """Compute the strides of a tensor that lies row by row; where a stride does not matter, the one that it has."""
    if len(strides) != len(shape):
        raise ValueError("a tensor in it has more or fewer strides than dimensions")
    result, step = [], 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        result.append(stride if size == 1 or prod(shape) == 0 else step)
        step *= size
    return tuple(reversed(result))
