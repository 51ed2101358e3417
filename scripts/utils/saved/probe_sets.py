"""Choose the probes of a folder that belong together: of one model and dataset, a set a target, lag, kind and seed."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, nan
from pathlib import Path
from typing import Any

import torch

from utils.base.errors import UserError
from utils.data.label_rule import LabelRule
from utils.probes.kinds import PAGE_KINDS
from utils.saved.probe_files import load_probe
from utils.saved.seen_texts import give_texts
from utils.scores.search.choice import score_to_choose_by
from utils.states.sites import Layer, layer_depth, layer_name

ANNOTATED_TASKS = ("spans", "chains", "documents")  # tasks whose labels come from an annotated file
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
        """Say whether a text's truth is known from its annotations only."""
        return task_of(self.common) in ANNOTATED_TASKS

    @property
    def whole(self) -> bool:
        """Say whether they judge whole texts."""
        return rule_of(self.common) == "whole"

    @property
    def pool(self) -> str:
        """Say what of a text they read: "last", "mean" or "max", as in ReadPlan."""
        return pool_of(self.common)

    @property
    def chosen(self) -> int:
        """Give the place of the layer that validation chose; the last one where no scores are known."""
        found = [score_on_validation(metadata) for metadata in self.metadata]
        return found.index(max(found)) if max(found) > -inf else len(found) - 1

    @property
    def was_chosen(self) -> bool:
        """Say whether that layer was chosen: whether any score on validation is known."""
        return max(map(score_on_validation, self.metadata)) > -inf

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


def pool_of(metadata: Mapping) -> str:
    """Give what of a text it reads."""
    return metadata.get("pool") or "last"


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


def sets_to_show(
    probes: Mapping[Path, dict], model_fingerprint: str, asked: Mapping[str, Any]
) -> tuple[list[ProbeSet], dict[str, list[Path]]]:
    """Choose the probes that are shown together: of this model, of one dataset, one kind of labels and one pooling.

    asked: the "target", "lag", "kind" and "seed" that alone are shown; None: all of them. Return a set for each target, lag,
    kind and seed, the one that did best on validation first; and the others, {why they are left out: their paths}.
    """
    left_out: dict[str, list[Path]] = {}
    kept = dict(probes)

    def leave(path: Path, why: str) -> None:
        left_out.setdefault(why, []).append(path)
        del kept[path]

    for path, probe in probes.items():
        if why := without_page(probe["metadata"]):
            leave(path, f"{why}, which has no page yet")
        elif probe["metadata"]["model_fingerprint"] != model_fingerprint:
            leave(path, "of another model, {model} ({model_fingerprint})".format(**probe["metadata"]))
    for key, wanted in asked.items():
        if wanted is None or not kept:
            continue
        require_value(kept, key, wanted, FLAGS[key])
        for path in [path for path, probe in kept.items() if probe["metadata"][key] != wanted]:
            leave(path, f"of another {key} than was asked for")
    if kept:
        first = max(kept.values(), key=lambda probe: score_on_validation(probe["metadata"]))["metadata"]
        for path, probe in list(kept.items()):
            theirs = probe["metadata"]
            if theirs["dataset_fingerprint"] != first["dataset_fingerprint"]:
                leave(path, f"of another dataset ({theirs['dataset_fingerprint']})")
            elif (task_of(theirs), rule_of(theirs)) != (task_of(first), rule_of(first)):
                leave(path, f"of other labels ({task_of(theirs)}, {rule_of(theirs)})")
            elif pool_of(theirs) != pool_of(first):
                leave(path, f"of --pool {pool_of(theirs)}")
    parts: dict[tuple, dict[Path, dict]] = {}
    for path, probe in kept.items():
        parts.setdefault(tuple(probe["metadata"][key] for key in FLAGS), {})[path] = probe
    sets = [as_set(part) for part in parts.values()]
    sets.sort(key=lambda one: (-score_on_validation(one.metadata[one.chosen]), one.common["lag"] != preferred_lag(kept)))
    return sets, left_out


def score_on_validation(metadata: Mapping) -> float:
    """Give the score by which a sweep chooses its probe; -inf where the file has none, or it is not a number."""
    score = ((metadata.get("metrics") or {}).get("val") or {}).get(score_chosen_by(metadata), nan)
    return -inf if score != score else score


def score_chosen_by(metadata: Mapping) -> str:
    """Name the score on validation by which a sweep chooses its probe: that of its run, in older files that of its task."""
    return metadata.get("chosen_by") or score_to_choose_by(task_of(metadata))


def without_page(metadata: Mapping) -> str | None:
    """Say why a probe cannot be shown on a text, or None."""
    if metadata["kind"] not in PAGE_KINDS:
        return f"of kind {metadata['kind']!r}"
    if pool_of(metadata) not in ("last", "mean", "max"):
        return f"of --pool {pool_of(metadata)}"
    if task_of(metadata) not in ANNOTATED_TASKS and metadata["token"] is None:
        return f"of the task {task_of(metadata)!r}"
    try:
        LabelRule.parse(str(rule_of(metadata)))
    except ValueError:
        return f"of labels by the rule {rule_of(metadata)!r}"
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
