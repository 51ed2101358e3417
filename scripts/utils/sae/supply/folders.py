"""The folders of trainings: what lies in them, whose it is, and who writes there."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from utils.base.errors import UserError
from utils.base.files import read_checked_json
from utils.base.processes.locks import locked
from utils.sae.goals import Goal, sae_name
from utils.states.sites import Layer

CHECKPOINT = "checkpoint.safetensors"
OWN_FILES = (  # all that a training leaves in its folder
    *(
        f"sae_{layer}_{end}"
        for layer in ("layer_[0-9]*", "embed", "final_norm")
        for end in ("best", "final", "history.json")
    ),
    "sae_evaluation.*",
    "sae_seeds.json",
    "run_record.json",
    CHECKPOINT,
)
ANEW = "--overwrite deletes it and begins anew, another --save_dir keeps it"
SOON = 10.0  # seconds that another run may still write there, before it is said


def history_path(folder: Path, layer: Layer) -> Path:
    """Name the file of a layer's history."""
    return folder / f"{sae_name(layer)}_history.json"


def read_history(path: Path) -> dict[str, Any]:
    """Read a history that `SaeRun` wrote. Raise UserError for a damaged one."""
    try:
        return read_checked_json(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); {ANEW}") from error


def is_finished(goals: Sequence[Goal], folder: Path, settings: Mapping[str, Any]) -> bool:
    """Say whether the training of these goals has ended in this folder, with the same settings but for the learning rate,
    which may have been lowered for others.
    """
    paths = [history_path(folder, goal.layer) for goal in goals]
    if (folder / CHECKPOINT).exists() or not all(path.exists() for path in paths):
        return False
    found = [read_history(path) for path in paths]
    return all(one.get("finished") and not other_settings(one, settings, but="learning_rate") for one in found)


def other_settings(history: Mapping[str, Any], settings: Mapping[str, Any], but: str = "") -> str | None:
    """Say in words where a history is of other settings, or None. but: a name that does not count."""
    theirs = history.get("settings")
    known = theirs if isinstance(theirs, dict) else {}
    return first_difference({**known, but: None}, {**settings, but: None})


def require_own_folder(folder: Path, goals: Sequence[Goal], owner: Mapping[str, Any], resume: bool) -> None:
    """Raise UserError where a folder holds autoencoders of another model, texts, architecture, target or seed, or, without
    `resume`, half a training.

    goals: what is asked for, one a layer; owner: the settings that all trainings in one folder share
    """
    asked = {name: value for name, value in asdict(goals[0]).items() if name != "layer"}
    for path in sorted(folder.glob("sae_*_history.json")):
        history = read_history(path)
        theirs = {**history.get("owner", {}), **{name: history.get(name) for name in asked}}
        if wrong := first_difference(theirs, {**owner, **asked}):
            raise UserError(f"{path} is of other sparse autoencoders: {wrong}; {ANEW}")
    if (folder / CHECKPOINT).exists() and not resume:
        raise UserError(f"{folder / CHECKPOINT} is of a training that has not ended: --resume goes on with it; {ANEW}")


@contextmanager
def claimed(
    folders: Sequence[Path], goals: Sequence[Sequence[Goal]], settings: Mapping[str, Any], how: str
) -> Iterator[None]:
    """Hold the folders while trainings run there. Raise UserError where another run does, or where one holds autoencoders of
    other settings, unless they are deleted. how: what is done with those: "--resume", "--overwrite" or "".
    """
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    with locked(*folders, longest_wait=SOON):
        for folder, of_run in zip(folders, goals, strict=True):
            if how == "--overwrite":
                clear_folder(folder)
            require_same_settings(folder, of_run, settings, "learning_rate" if how == "--resume" else "")
        yield


def require_same_settings(folder: Path, goals: Sequence[Goal], settings: Mapping[str, Any], but: str = "") -> None:
    """Raise UserError where a folder holds autoencoders that were trained otherwise. but: a setting that may differ.

    A checkpoint's settings are looked at when it is resumed.
    """
    if (folder / CHECKPOINT).exists():
        return
    for path in sorted(folder.glob("sae_*_history.json")):
        if wrong := other_settings(read_history(path), settings, but):
            raise UserError(f"{path} is of another training of {goals[0].run}: {wrong}; {ANEW}")


def clear_folder(folder: Path) -> None:
    """Delete the autoencoders in a folder, and all that belongs to them."""
    for path in (found for pattern in OWN_FILES for found in folder.glob(pattern)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def first_difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str | None:
    """Say in words where two settings differ, or None."""
    for name in {**theirs, **ours}:
        if theirs.get(name) != ours.get(name):
            return f"{name} was {theirs.get(name)} there and is {ours.get(name)} now"
    return None
