"""Probe files: what they are called, what they hold, and how they are written and read."""

import math
import re
from pathlib import Path
from types import NoneType
from urllib.parse import quote

import torch

from utils.base.errors import UserError
from utils.base.files import fingerprint, load_tensors, save_tensors
from utils.probes.kinds import KINDS
from utils.states.positions import lag_name
from utils.states.sites import layer_name

FORMAT, VERSION = "linear-probe", 1

LONGEST_NAME = 100  # characters of a target in a file name

OTHER_FORMATS = {
    "mlp": "mlp-probe",
    "attention": "attention-probe",  # by kind; all others are linear
    "attention_features": "attention-features-probe",
}

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


def probe_path(folder, layer, lag, seed, kind="linear", target=None) -> Path:
    """models/probe_layer5_next.pth; the kind is in the name where it is not linear, the seed where it is not 0, the target
    where it is given: probe_layer5_lag-4_backtracking.pth. Of the target all but letters, digits, - and _ is written =20.
    """
    name = f"probe_{layer_name(layer)}_{lag_name(lag)}"
    if target is not None:
        name += f"_{slug(target)}"
    name += f"_{kind}" if kind != "linear" else ""
    return Path(folder) / (name + (f"_seed{seed}" if seed else "") + ".pth")


def slug(target) -> str:
    """A target as part of a file name: short, and so that no two probes have one name, whatever the targets are called."""
    name = quote(target, safe="").replace(".", "%2E").replace("~", "%7E").replace("%", "=")
    if re.search(rf"(^|_)({'|'.join(KINDS)}|seed\d+)$", name):  # "x_mlp" is no probe of the kind mlp
        name = name.replace("_", "=5F") + "="
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 20]}={fingerprint(target)}"


def save_probe(files, path, state, metadata):
    """state: tensors by name; of a linear probe weight float32 [hidden_size] and bias [], both on raw hidden states."""
    state = {name: torch.as_tensor(value).detach().cpu().float().clone() for name, value in state.items()}
    with files.open(path) as file:
        save_tensors(file, OTHER_FORMATS.get(metadata["kind"], FORMAT), VERSION, {"state_dict": state, "metadata": metadata})


def load_probe(path) -> dict:
    """{"state_dict": {weight [hidden_size], bias []} or what its kind has, "metadata": ...}"""
    probe = load_tensors(path, (FORMAT, *OTHER_FORMATS.values()), VERSION, made_by="scripts/train_probe.py")
    problem = first_problem(probe)
    if problem:
        raise UserError(f"{path} is not a sound probe: {problem}; make it with scripts/train_probe.py, or move it away")
    return probe


def first_problem(probe) -> str | None:
    """What makes a probe file unusable, or None."""
    state, metadata = probe.get("state_dict"), probe.get("metadata")
    if not isinstance(state, dict) or not isinstance(metadata, dict):
        return "it lacks its state_dict or its metadata"
    for name, kind in METADATA.items():
        value = metadata.get(name)
        if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
            return f"its {name} is {value!r}"
    named = ("embed", "final_norm", "attention")
    if not (isinstance(metadata["layer"], int) and metadata["layer"] >= 0 or metadata["layer"] in named):
        return f"its layer is {metadata['layer']!r}"
    shapes = {"weight": (metadata["hidden_size"],), "bias": ()} if probe["format"] == FORMAT else dict.fromkeys(state)
    for name, shape in shapes.items():
        tensor = state.get(name)
        if not isinstance(tensor, torch.Tensor) or shape not in (None, tensor.shape):
            return f"its {name} is not a tensor" + (f" of shape {list(shape)}" if shape else "")
        if not tensor.isfinite().all():
            return f"its {name} is not finite"
    if not math.isfinite(metadata["threshold"]):
        return f"its threshold is {metadata['threshold']}"
    return None


def probe_metadata(path) -> list[dict]:
    return [load_probe(path)["metadata"]]
