"""Read JSON and tensors that another tool, or a killed run, may have written: what is unsound is refused in one line."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from utils.base.errors import UserError
from utils.base.paths import require_path

SAE_REMEDY = "make it again with scripts/train_sae.py, or get it again from where it came"
FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
VALUE_SHOWN = 40  # characters of a value


def require_file(path: Path) -> None:
    """Raise UserError for what is no file."""
    require_path(path, "file", SAE_REMEDY)
    if not path.exists():
        raise UserError(f"{path} does not exist; {SAE_REMEDY}")


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    require_file(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is cut off, damaged or not JSON ({one_line(error)}); {SAE_REMEDY}") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} holds no JSON object; {SAE_REMEDY}")
    return value


def read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read a safetensors file: its tensors, and what its header says beside them."""
    require_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{path} is cut off, damaged or not a safetensors file ({one_line(error)}); {SAE_REMEDY}") from error


def sound_tensors(
    path: Path, tensors: Mapping[str, torch.Tensor], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, torch.Tensor]:
    """Give float32 copies of exactly these tensors. Raise UserError for one that is absent, unknown, of another shape or
    not finite.
    """
    if missing := [name for name in shapes if name not in tensors]:
        raise UserError(f"{path} lacks {', '.join(missing)}; {SAE_REMEDY}")
    if unknown := sorted(map(str, set(tensors) - set(shapes))):
        raise UserError(f"{path} holds {unknown[0]!r}, which this kind does not have; {SAE_REMEDY}")
    result = {}
    for name, shape in shapes.items():
        tensor = tensors[name]
        if not isinstance(tensor, torch.Tensor) or tensor.dtype not in FLOATS:
            raise UserError(f"{path}: its {name} is not a tensor of floating point numbers; {SAE_REMEDY}")
        if tuple(tensor.shape) != shape:
            raise UserError(f"{path}: its {name} has shape {list(tensor.shape)}, not {list(shape)}; {SAE_REMEDY}")
        result[name] = tensor.to(torch.float32, copy=True)
        if not result[name].isfinite().all():
            raise UserError(f"{path}: its {name} is not finite; {SAE_REMEDY}")
    return result


def require_size(path: Path, holder: Mapping[str, Any], name: str) -> int:
    """Read a number of latents or hidden dimensions."""
    value = holder.get(name)
    if type(value) is not int or value < 1:
        raise UserError(f"{path}: its {name} is {value_shown(value)}, not a whole number above 0; {SAE_REMEDY}")
    return value


def value_shown(value: object) -> str:
    """Show a value that a file holds in a message of one line."""
    text = repr(value)
    return text if len(text) <= VALUE_SHOWN else f"{text[:VALUE_SHOWN]}..."


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
