"""Name, write and read probe files."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any
from urllib.parse import quote

import torch

from utils.base.errors import UserError
from utils.base.files import WriteTogether, fingerprint
from utils.base.tensor_files import load_tensors, save_tensors
from utils.probes.kinds import BY_NAME, FORMATS, KINDS
from utils.states.positions import lag_name
from utils.states.sites import Layer, is_layer, layer_name

VERSION = 1

LONGEST_NAME = 100  # characters of a target in a file name


METADATA = {
    "model": str,
    "model_fingerprint": str,
    "dataset_fingerprint": str,
    "tokenizer_fingerprint": str,
    "target": str,
    "token": (int, NoneType),
    "lag": int,
    "seed": int,
    "kind": str,
    "layer": (int, str),
    "hidden_size": int,
    "threshold": (int, float),
    "prevalence": (int, float),
    "causal": bool,
}

PERHAPS = {  # what may be absent or None
    "metrics": dict,
    "baselines": dict,
    "sampling": dict,
    "texts": dict,
    "document_score": dict,
    "pool": str,
    "attention_segments": int,
    "task": str,
    "label_rule": str,
    "model_dtype": str,
    "chosen_by": str,
    "truncation_side": str,
    "context_length": int,
}
SHAPES = {  # of the tensors of each format; a size that several share has a name
    "linear-probe": {"weight": ("hidden_size",), "bias": ()},
    "mlp-probe": {
        "hidden.weight": ("width", "hidden_size"),
        "hidden.bias": ("width",),
        "out.weight": ("width",),
        "out.bias": (),
    },
    "attention-probe": {"query": ("queries", "hidden_size"), "value": ("queries", "hidden_size"), "bias": ()},
    "attention-features-probe": {"weight": ("features",), "bias": ()},
}


def probe_path(
    folder: Path | str,
    layer: Layer,
    lag: int,
    seed: int,
    kind: str = "linear",
    target: str | None = None,
    alike: bool = False,
) -> Path:
    """Name a probe's file: models/probe_layer5_next.pth.

    The kind is in the name where it is not linear, the seed where it is not 0, the target where it is given:
    probe_layer5_lag-4_backtracking.pth. Of the target all but letters, digits, - and _ is written =20. alike: as in `slug`.
    """
    name = f"probe_{layer_name(layer)}_{lag_name(lag)}"
    if target is not None:
        name += f"_{slug(target, alike)}"
    name += f"_{kind}" if kind != "linear" else ""
    return Path(folder) / (name + (f"_seed{seed}" if seed else "") + ".pth")


def slug(target: str, alike: bool = False) -> str:
    """Write a target as part of a file name: short, and different for different targets, whatever they are called.

    alike: another target has the same name but for its case, which not every file system tells apart: Python=5ad1c2.
    """
    name = quote(target, safe="").replace(".", "%2E").replace("~", "%7E").replace("%", "=")
    if re.search(rf"(^|_)({'|'.join(KINDS)}|seed\d+)$", name, re.IGNORECASE):  # "x_mlp" is no probe of the kind mlp
        name = name.replace("_", "=5F") + "="
    if len(name) > LONGEST_NAME:
        return f"{name[: LONGEST_NAME - 20]}={fingerprint(target)}"
    return f"{name}={fingerprint(target)[:6]}" if alike else name


def save_probe(files: WriteTogether, path: Path, state: Mapping[str, Any], metadata: dict) -> None:
    """Write a probe file.

    state: tensors by name; of a linear probe weight float32 [hidden_size] and bias [], both on raw hidden states.
    """
    state = {name: torch.as_tensor(value).detach().cpu().float().clone() for name, value in state.items()}
    with files.open(path) as file:
        save_tensors(file, BY_NAME[metadata["kind"]].format, VERSION, {"state_dict": state, "metadata": metadata})


def load_probe(path: Path | str) -> dict:
    """Read a probe file: {"state_dict": {weight [hidden_size], bias []} or what its kind has, "metadata": ...}"""
    probe = load_tensors(path, FORMATS, VERSION, made_by="scripts/train_probe.py")
    problem = probe_problem(probe)
    if problem:
        raise UserError(f"{path} is not a sound probe: {problem}; make it with scripts/train_probe.py, or move it away")
    return probe


def probe_problem(probe: dict) -> str | None:
    """Say what makes a probe file unusable, or None."""
    state, metadata = probe.get("state_dict"), probe.get("metadata")
    if not isinstance(state, dict) or not isinstance(metadata, dict):
        return "it lacks its state_dict or its metadata"
    for name, kind in METADATA.items():
        value = metadata.get(name)
        if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
            return f"its {name} is {value!r}"
    for name, kind in PERHAPS.items():
        if not isinstance(metadata.get(name), (kind, NoneType)):
            return f"its {name} is {str(metadata[name])[:40]!r}"
    if not is_layer(metadata["layer"]):
        return f"its layer is {metadata['layer']!r}"
    if (probe.get("format"), probe.get("version")) not in {(name, VERSION) for name in FORMATS}:
        return f"its format is {probe.get('format')!r} {probe.get('version')!r}"
    kind = BY_NAME.get(metadata["kind"])
    if kind and kind.format != probe["format"]:
        return f"it is of kind {kind.name!r} in a file of format {probe['format']!r}"
    if problem := tensor_problem(state, SHAPES.get(probe["format"]), metadata["hidden_size"]):
        return problem
    if not math.isfinite(metadata["threshold"]):
        return f"its threshold is {metadata['threshold']}"
    return None


def tensor_problem(state: Mapping[str, Any], shapes: Mapping[str, Sequence] | None, hidden_size: int) -> str | None:
    """Say which tensor is not what it should be, or None. shapes: as in SHAPES; None where they are not known."""
    sizes = {"hidden_size": hidden_size}
    for name in shapes or state:
        tensor = state.get(name)
        if not isinstance(tensor, torch.Tensor) or tensor.dtype != torch.float32:
            return f"its {name} is not a tensor of float32"
        if shapes:
            found = tuple(tensor.shape)
            wanted = tuple(
                sizes.setdefault(size, found[axis] if axis < len(found) else 0) for axis, size in enumerate(shapes[name])
            )
            if found != wanted:
                return f"its {name} is not a tensor of shape {list(wanted)}"
        if not tensor.isfinite().all():
            return f"its {name} is not finite"
    return f"it holds {', '.join(map(str, state))}" if shapes and set(state) != set(shapes) else None


def probe_metadata(path: Path) -> list[dict]:
    """Read what a probe file says of its probe, as the rows of a table are read."""
    return [load_probe(path)["metadata"]]
