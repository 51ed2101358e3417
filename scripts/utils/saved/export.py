"""All probes of a sweep in one file that other tools read: `probes.safetensors`, plain tensors and a JSON header, no pickle.

tensors     {target}/{layer}/{lag}/{kind}/{seed}/{name}, such as "%20the/5/-1/linear/0/weight" [hidden_size] and
            ".../bias" []; target and kind percent-encoded as in a URL, layer "embed", a number or "final_norm", lag and
            seed whole numbers
header      one key, "probes": JSON {"format", "version", "checksum", "common": {what the metadata of all probes say alike},
            "probes": {"{target}/{layer}/{lag}/{kind}/{seed}": {"format", "version", "metadata": {what its own say
            beside that}}}}; an undefined score is null

from safetensors import safe_open                                   # without this suite
with safe_open("models/probes.safetensors", "pt") as file:
    weight, header = file.get_tensor("%20the/5/-1/linear/0/weight"), json.loads(file.metadata()["probes"])
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from utils.base.errors import UserError
from utils.base.files import WriteTogether, fingerprint
from utils.base.tensor_files import CHECKSUM, checksum
from utils.saved.columns import OWNERS
from utils.saved.owners import Owner, conflict
from utils.saved.probe_files import probe_problem
from utils.saved.seen_texts import Texts

FORMAT, VERSION = "probe-export", 1
FILE, HEADER = "probes.safetensors", "probes"
REMEDY = "make it again from the probe_*.pth files"


def probe_name(metadata: Mapping) -> str:
    """Name a probe by what it is of: '%20the/5/-1/linear/0': the first part of the names of a probe's tensors."""
    return "/".join(quote(str(metadata[name]), safe="") for name in ("target", "layer", "lag", "kind", "seed"))


def refuse_other_export(folder: Path | str, owner: Owner, overwrite: bool) -> None:
    """Raise UserError where the folder holds an export of another model or dataset, or a file that is none."""
    path = Path(folder) / FILE
    problem = conflict(path, lambda there: [read_header(there)["common"]] if there.exists() else [], owner)
    if problem and not overwrite:
        raise UserError(f"{path} {problem}: export to another folder, or replace it with --overwrite")


def export(files: WriteTogether, folder: Path | str, probes: Sequence[dict], overwrite: bool = False) -> Path:
    """Write the probes, each as `load_probe` gives it, to probes.safetensors in the folder.

    files: a WriteTogether. The same probes give the same bytes. An export of the same model and dataset is replaced;
    one of another, or a file that is no export, only with `overwrite`. Raises UserError otherwise, and for probes of
    several models or datasets or two of one name.
    """
    path = Path(folder) / FILE
    named = {probe_name(probe["metadata"]): probe for probe in probes}
    everything = [without_nan(probe["metadata"]) for probe in probes]
    if not named:
        raise UserError(f"no probes to export to {path}; train some with scripts/train_probe.py")
    if len(named) < len(probes):
        names = [probe_name(metadata) for metadata in everything]
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"two probes to export are both {twice} (target/layer/lag/kind/seed); leave one out")
    owner = Owner(**{name: everything[0].get(name) for name in OWNERS})
    for name, probe in named.items():
        if any(probe["metadata"].get(key) != getattr(owner, key) for key in OWNERS[1:]):
            raise UserError(
                f"the probes to export are of several models or datasets: {next(iter(named))} and {name}; "
                "export each on its own"
            )
    refuse_other_export(folder, owner, overwrite)
    tensors = {
        f"{name}/{key}": tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, probe in named.items()
        for key, tensor in probe["state_dict"].items()
    }
    common = {
        key: value
        for key, value in everything[0].items()
        if all(key in other and other[key] == value for other in everything)
    }
    own = {
        name: {
            "format": probe["format"],
            "version": probe["version"],
            "metadata": {key: value for key, value in metadata.items() if key not in common},
        }
        for (name, probe), metadata in zip(named.items(), everything, strict=True)
    }
    about = {"format": FORMAT, "version": VERSION, "common": common, "probes": own}
    about = {"format": FORMAT, "version": VERSION, CHECKSUM: checksum(tensors, fingerprint(about)), **about}
    header = json.dumps(about, ensure_ascii=False, allow_nan=False)
    with files.open(path) as file:
        file.write(save(tensors, {HEADER: header}))
    return path


def without_nan(value: Any) -> Any:
    """Copy the value with None for what is not finite, which JSON cannot say; the texts, which all share, stay one."""
    if isinstance(value, Texts):
        return value
    if isinstance(value, dict):
        return {key: without_nan(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def with_nan(value: dict) -> dict:
    """Copy an object of the header, with NaN for undefined scores where it is one of scores."""
    if "balanced_accuracy" not in value:
        return value
    return {key: math.nan if part is None else part for key, part in value.items()}


def read_header(path: Path | str) -> dict:
    """Read {"format", "version", "common", "probes"}, without reading a tensor."""
    return checked_header(path, open_export(path, tensors=False)[1])


def open_export(path: Path | str, tensors: bool = True) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Open an export: its tensors, or none, and what its header says, unchecked."""
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys() if tensors else ()
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; {REMEDY}") from error
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged or no export of probes; {REMEDY}") from error


def checked_header(path: Path | str, about: dict[str, str]) -> dict:
    """Read the header's JSON. Raise UserError for what is no header of probes."""
    try:
        header = json.loads(about[HEADER], object_hook=with_nan)
    except (KeyError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged or no export of probes; {REMEDY}") from error
    found = tuple(header.get(key) for key in ("format", "version")) if isinstance(header, dict) else (None, None)
    if found != (FORMAT, VERSION):
        raise UserError(
            f"{path} has format {found[0]!r} version {found[1]!r}, this suite reads {FORMAT!r} version {VERSION}; {REMEDY}"
        )
    common, probes = header.get("common"), header.get("probes")
    if set(header) - {CHECKSUM} != {"format", "version", "common", "probes"}:
        raise UserError(f"{path} is damaged: its header's keys are {', '.join(header)}; {REMEDY}")
    if not (isinstance(common, dict) and isinstance(probes, dict)) or not all(
        isinstance(own, dict) and set(own) == {"format", "version", "metadata"} and isinstance(own["metadata"], dict)
        for own in probes.values()
    ):
        raise UserError(f"{path} lacks what its probes say of themselves; {REMEDY}")
    return header


def read_export(path: Path | str) -> list[dict]:
    """Read the probes as `load_probe` gives them, {"format", "version", "state_dict", "metadata"} each, in order."""
    tensors, about = open_export(path)
    header = checked_header(path, about)
    as_written = json.loads(about[HEADER])
    if CHECKSUM in as_written and as_written.pop(CHECKSUM) != checksum(tensors, fingerprint(as_written)):
        raise UserError(f"{path} is damaged: its checksum is of other content; {REMEDY}")
    states = {name: {} for name in header["probes"]}
    for name, tensor in tensors.items():
        owner, _, key = name.rpartition("/")
        if owner not in states:
            raise UserError(f"{path} holds {name}, of which its header does not speak; {REMEDY}")
        states[owner][key] = tensor
    probes = []
    for name, own in header["probes"].items():
        probe = {**own, "state_dict": states[name], "metadata": {**header["common"], **own["metadata"]}}
        problem = probe_problem(probe)
        if problem is None and probe_name(probe["metadata"]) != name:
            problem = f"it says of itself that it is {probe_name(probe['metadata'])}"
        if problem:
            raise UserError(f"{path}: {name} is not a sound probe: {problem}; {REMEDY}")
        probes.append(probe)
    return probes
