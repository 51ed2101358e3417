"""Choose the probes of a folder that belong together: one model, target, kind, lag and seed, a probe for each layer."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from utils.base.errors import UserError
from utils.data.label_rule import LabelRule
from utils.probes.kinds import PAGE_KINDS
from utils.saved.probe_files import load_probe
from utils.saved.seen_texts import give_texts
from utils.states.sites import Layer, layer_depth, layer_name

ANNOTATED_TASKS = ("spans", "chains")  # tasks whose tokens are labelled by the characters that they cover
PREFERRED = {"kind": "linear", "seed": 0}  # what is shown first where a folder has several; see preferred_lag

FLAGS = {"target": "target_token", "lag": "lag", "seed": "seed", "kind": "probe"}


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
        """Give what all of them share: target, token, lag, seed, model, fingerprints, ..."""
        return self.metadata[0]

    @property
    def annotated(self) -> bool:
        """Say whether they are of spans or chains, so that a text's truth is known from its annotations only?"""
        return task_of(self.common) in ANNOTATED_TASKS

    @property
    def thresholds(self) -> list[float]:
        """Give for each probe the logit above which it says "positive"."""
        return [metadata["threshold"] for metadata in self.metadata]


def task_of(metadata: Mapping) -> str:
    """Give the task that a probe was trained for."""
    return metadata.get("task", "token")


def rule_of(metadata: Mapping) -> str:
    """Give the rule by which its tokens were labelled."""
    return metadata.get("label_rule", "target")


def load_folder(place: Path | str) -> dict[Path, dict]:
    """Load every probe file in the folder, by name: {path: probe}."""
    folder = Path(place)
    if not folder.is_dir():
        problem = "is a file; give the folder of the probes" if folder.exists() else "does not exist"
        raise UserError(f"--probe_dir {folder} {problem}; train probes with scripts/train_probe.py --output_dir {folder}")
    paths = sorted(folder.glob("probe_*.pth"))
    if not paths:
        raise UserError(
            f"--probe_dir {folder} holds no probe_*.pth; train them with scripts/train_probe.py --output_dir {folder}"
        )
    probes = {path: load_probe(path) for path in paths}
    give_texts(folder, (probe["metadata"] for probe in probes.values()))
    return probes


def most_common(probes: Mapping[Path, dict], key: str) -> Any:
    """Find the value that most probes have; of equally many the first by file name."""
    return Counter(probe["metadata"][key] for probe in probes.values()).most_common(1)[0][0]


def require_value(probes: Mapping[Path, dict], key: str, wanted: Any, flag: str) -> None:
    """Raise UserError where no probe has the value that was asked for."""
    there = sorted({probe["metadata"][key] for probe in probes.values()})
    if wanted is not None and wanted not in there:
        raise UserError(
            f"--{flag} {wanted!r}: no probe in {next(iter(probes)).parent} is of it; they are of "
            f"{', '.join(map(repr, there))}"
        )


def choose_set(
    probes: Mapping[Path, dict],
    model_fingerprint: str,
    lag: int | None = None,
    target: str | None = None,
    seed: int | None = None,
    kind: str | None = None,
) -> tuple[ProbeSet | None, dict[str, list[Path]]]:
    """Choose the probes of this model, and of one target, kind, lag, seed and dataset.

    They are those asked for, else linear ones, of the next token (of spans and chains: the token itself), seed 0 and else
    what most files are of. Return them and the others, {why they are left out: their paths}.
    """
    left_out: dict[str, list[Path]] = {}
    kept = dict(probes)
    for path, probe in probes.items():
        if why := without_page(probe["metadata"]):
            left_out.setdefault(f"{why}, which has no page yet", []).append(path)
            del kept[path]
    for key, wanted, why in (
        ("model_fingerprint", model_fingerprint, "of another model, {model} ({model_fingerprint})"),
        ("kind", kind, "of kind {kind}; show them with --probe {kind}"),
        ("target", target, "of target {target!r}; show them with --target_token {target!r}"),
        ("lag", lag, "of lag {lag}; show them with --lag {lag}"),
        ("seed", seed, "of seed {seed}; show them with --seed {seed}"),
        ("dataset_fingerprint", None, "of another dataset ({dataset_fingerprint})"),
    ):
        if kept and wanted is None:
            first = preferred_lag(kept) if key == "lag" else PREFERRED.get(key)
            there = {probe["metadata"][key] for probe in kept.values()}
            wanted = first if first in there else most_common(kept, key)
        elif kept and key in FLAGS:
            require_value(kept, key, wanted, FLAGS[key])
        for path, probe in list(kept.items()):
            if probe["metadata"][key] != wanted:
                left_out.setdefault(why.format(**probe["metadata"]), []).append(path)
                del kept[path]
    return as_set(kept) if kept else None, left_out


def without_page(metadata: Mapping) -> str | None:
    """Say why a probe cannot be shown token by token, or None."""
    task, rule = task_of(metadata), rule_of(metadata)
    if metadata["kind"] not in PAGE_KINDS:
        return f"of kind {metadata['kind']!r}"
    if metadata.get("pool", "last") != "last":
        return f"of --pool {metadata['pool']}"
    if task not in ANNOTATED_TASKS and metadata["token"] is None or rule == "whole":
        return "of whole sequences"
    try:
        LabelRule.parse(str(rule))
    except ValueError:
        return f"of labels by the rule {rule!r}"
    return None


def preferred_lag(probes: Mapping[Path, dict]) -> int:
    """Prefer the lag of the data: the next token's, in spans and chains the token's own."""
    return 0 if all(task_of(probe["metadata"]) in ANNOTATED_TASKS for probe in probes.values()) else -1


def as_set(probes: Mapping[Path, dict]) -> ProbeSet:
    """Put the probes together in the order of their layers. Raise UserError where two files hold one layer's probe."""

    def place(path):
        return layer_depth(probes[path]["metadata"]["layer"])

    paths = sorted(probes, key=place)
    for one, other in zip(paths, paths[1:], strict=False):
        if place(one) == place(other):
            raise UserError(f"{one} and {other} are both of {layer_name(probes[one]['metadata']['layer'])}; move one away")
    states = [probes[path]["state_dict"] for path in paths]
    return ProbeSet(
        paths,
        [probes[path]["metadata"]["layer"] for path in paths],
        torch.stack([state["weight"] for state in states]).float(),
        torch.stack([state["bias"] for state in states]).float(),
        [probes[path]["metadata"] for path in paths],
    )
