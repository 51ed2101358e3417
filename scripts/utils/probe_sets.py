"""Which of the probes in a folder belong together: one model, target, lag and seed, a probe for each layer."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch

from utils.errors import UserError
from utils.readings import Layer, lag_name
from utils.results import load_probe

NEXT = -1  # the lag that is shown first where a folder has several


@dataclass(frozen=True)
class ProbeSet:
    """n probes on raw states, in the order of the layers.

    weight float32 [n, hidden_size], bias float32 [n]; metadata: what each file says of itself.
    """

    paths: list[Path]
    layers: list[Layer]
    weight: torch.Tensor
    bias: torch.Tensor
    metadata: list[dict]

    @property
    def common(self) -> dict:
        """What all of them share: target, token, lag, seed, model, fingerprints, ..."""
        return self.metadata[0]

    @property
    def thresholds(self) -> list[float]:
        """Of each probe, the logit above which it says "positive"."""
        return [metadata["threshold"] for metadata in self.metadata]


def load_folder(folder) -> dict[Path, dict]:
    """{path: probe} of every probe file in the folder, by name."""
    folder = Path(folder)
    if not folder.is_dir():
        problem = "is a file; give the folder of the probes" if folder.exists() else "does not exist"
        raise UserError(f"--probe_dir {folder} {problem}; train probes with scripts/train_probe.py --output_dir {folder}")
    paths = sorted(folder.glob("probe_*.pth"))
    if not paths:
        raise UserError(f"--probe_dir {folder} holds no probe_*.pth; train them with scripts/train_probe.py --output_dir "
                        f"{folder}")
    return {path: load_probe(path) for path in paths}


def most_common(probes, key) -> object:
    """The value that most probes have; of equally many the first by file name."""
    return Counter(probe["metadata"][key] for probe in probes.values()).most_common(1)[0][0]


def choose(probes, model_fingerprint, lag=None, target=None, seed=None) -> tuple[ProbeSet, dict[str, list[Path]]]:
    """The probes of this model, and of one target, lag and seed: those asked for, else the next token, else most files.

    Returns them and the others, {why they are left out: their paths}.
    """
    left_out: dict[str, list[Path]] = {}

    def keep(probes, key, wanted, why):
        for path, probe in probes.items():
            if probe["metadata"][key] != wanted:
                left_out.setdefault(why(probe["metadata"]), []).append(path)
        return {path: probe for path, probe in probes.items() if probe["metadata"][key] == wanted}

    kept = keep(probes, "model_fingerprint", model_fingerprint,
                lambda other: f"of another model, {other['model']} ({other['model_fingerprint']})")
    for key, wanted, preferred, flag in (("target", target, None, "target_token"), ("lag", lag, NEXT, "lag"),
                                         ("seed", seed, 0, "seed")):
        there = sorted({probe["metadata"][key] for probe in kept.values()})
        if not kept:
            break
        if wanted is not None and wanted not in there:
            raise UserError(f"--{flag} {wanted!r}: no probe in {next(iter(kept)).parent} is of it; they are of "
                            f"{', '.join(map(repr, there))}")
        if wanted is None:
            wanted = preferred if preferred in there else most_common(kept, key)
        kept = keep(kept, key, wanted, lambda other, key=key, flag=flag: (
            f"of {key} {other[key]!r}" + (f" ({lag_name(other[key])})" if key == "lag" else "")
            + f"; show them with --{flag} {other[key]!r}"))
    return assemble(kept) if kept else None, left_out


def assemble(probes) -> ProbeSet:
    def place(path):
        layer = probes[path]["metadata"]["layer"]
        return {"embed": -1, "final_norm": float("inf")}.get(layer, layer)

    paths = sorted(probes, key=place)
    states = [probes[path]["state_dict"] for path in paths]
    return ProbeSet(paths, [probes[path]["metadata"]["layer"] for path in paths],
                    torch.stack([state["weight"] for state in states]).float(),
                    torch.stack([state["bias"] for state in states]).float(), [probes[path]["metadata"] for path in paths])
