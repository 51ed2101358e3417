"""The training of one architecture, target and seed, all layers together: its files, and its last good state.

While a training runs, its folder holds `checkpoint.safetensors`, written whole or not at all: everything that a resume
needs. At the end `sae_layer_{i}_best`, `sae_layer_{i}_final` and `sae_layer_{i}_history.json` are left.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch

from utils.base.errors import UserError
from utils.base.files import with_checksum, write_json
from utils.sae.autoencoder import SparseAutoencoder
from utils.sae.goals import Goal, Recipe, sae_name
from utils.sae.supply.folders import ANEW, CHECKPOINT, first_difference, history_path
from utils.sae.supply.history import CLOSE, NOTED, Glance, History, best_of, empty_history, is_close, note
from utils.sae.supply.records import open_record, write_record
from utils.sae.training.calibration import with_l0

KIND_OF_CHECKPOINT = "sae-checkpoint"
MOST_OF_THE_TIME = 1 / 20  # that goes into writing checkpoints

Save = Callable[[Path, SparseAutoencoder], None]  # writes an autoencoder as a folder


class Trainee(Protocol):
    """What is trained: several sparse autoencoders on the same tokens. See `utils.sae.training`."""

    def step(self, states: torch.Tensor) -> None:
        """Train on raw states [goals, batch, hidden_size]."""
        ...

    def progress(self) -> list[dict]:
        """Say of each goal loss, l0, fvu, dead and learning_rate of the latest steps."""
        ...

    def state(self) -> dict[str, Any]:
        """Give all that a resume needs: tensors and plain values."""
        ...

    def autoencoders(self) -> list[SparseAutoencoder]:
        """Give each on raw states."""
        ...


class Trains(Protocol):
    """The class of a Trainee."""

    def begin(self, goals: Sequence[Goal], sample: torch.Tensor, recipe: Recipe, device: torch.device) -> Trainee:
        """Begin from a sample of raw states [goals, n, hidden_size]."""
        ...

    def resumed(self, goals: Sequence[Goal], recipe: Recipe, state: dict[str, Any], device: torch.device) -> Trainee:
        """Go on from a state."""
        ...


@dataclass(frozen=True)
class Terms:
    """What the trainings of a run have in common.

    settings   all that moves a weight, as plain values: a checkpoint of others is refused
    owner      those of them that all trainings in one folder share
    described  what each autoencoder is to say of itself
    """

    recipe: Recipe
    device: torch.device
    settings: Mapping[str, Any]
    owner: Mapping[str, Any]
    described: Mapping[str, Any]
    save: Save


@dataclass
class SaeRun:
    """One training in its folder. goals: one a layer; step: how many steps are done; histories: of each layer."""

    goals: Sequence[Goal]
    folder: Path
    terms: Terms
    trainee: Trainee
    step: int
    histories: dict[str, History]
    _saved_at: float = field(default_factory=time.monotonic)
    _saving_took: float = 0.0
    _saved_step: int = 0

    def train(self, states: torch.Tensor) -> None:
        """Do one step on raw states [layers, batch, hidden_size]. Raise UserError where a loss is not finite."""
        try:
            self.trainee.step(states)
        except UserError as error:
            path = self.folder / CHECKPOINT
            last = f"{path} of step {self._saved_step:,} (--resume)" if path.exists() else "none was written yet"
            raise UserError(f"{error}; the last good checkpoint: {last}") from error
        self.step += 1

    def look(self, validation: torch.Tensor) -> None:
        """Note how well each layer does on states of validation [layers, n, hidden_size]; save those that are the best so
        far.
        """
        recipe = self.terms.recipe
        for goal, autoencoder, progress, states in zip(
            self.goals, self.autoencoders(validation), self.trainee.progress(), validation, strict=True
        ):
            history, tokens = self.histories[str(goal.layer)], self.step * recipe.batch_size
            seen = Glance.at(autoencoder.to(states.device), states)
            note(history, self.step, tokens, progress, seen, recipe.latents, goal.target_l0)
            if best_of(history, goal.target_l0) == len(history["step"]) - 1:
                self.terms.save(self.folder / f"{sae_name(goal.layer)}_best", autoencoder)
            self._write_history(goal, history, finished=False)

    def autoencoders(self, validation: torch.Tensor) -> list[SparseAutoencoder]:
        """Give the autoencoders as they are now, with all that they are to say of themselves.

        validation: raw states [layers, n, hidden_size], which set the thresholds.
        """
        tokens = {"tokens": self.step * self.terms.recipe.batch_size, "step": self.step}
        each = zip(self.goals, self.trainee.autoencoders(), validation, strict=True)
        found = [(goal, with_l0(one.to(states.device), states, goal.target_l0).to("cpu")) for goal, one, states in each]
        return [replace(one, about={**self.terms.described, **asdict(goal), **tokens, **one.about}) for goal, one in found]

    def save_state(self, at_least_every: float = 0.0) -> None:
        """Write a checkpoint, unless the last one is younger, in seconds, or writing takes too much of the time."""
        since = time.monotonic() - self._saved_at
        if since < max(at_least_every, self._saving_took / MOST_OF_THE_TIME):
            return
        began, state = time.monotonic(), self.trainee.state()
        tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
        about = {
            "settings": dict(self.terms.settings),
            "goals": [asdict(goal) for goal in self.goals],
            "step": self.step,
            "histories": self.histories,
            "state": {name: value for name, value in state.items() if name not in tensors},
        }
        write_record(self.folder / CHECKPOINT, KIND_OF_CHECKPOINT, tensors, about)
        self._saved_at = time.monotonic()
        self._saving_took, self._saved_step = self._saved_at - began, self.step

    def finish(self, validation: torch.Tensor) -> None:
        """Save the autoencoders as they are at the end; the checkpoint goes last."""
        for goal, autoencoder in zip(self.goals, self.autoencoders(validation), strict=True):
            self.terms.save(self.folder / f"{sae_name(goal.layer)}_final", autoencoder)
            self._write_history(goal, self.histories[str(goal.layer)], finished=True)
        (self.folder / CHECKPOINT).unlink(missing_ok=True)

    def misses(self) -> list[str]:
        """Say of which layers no checkpoint was close enough to the target, and which one is saved as the best."""
        bests = [(goal, self.best(goal)) for goal in self.goals]
        return [
            f"note: {goal.run}, layer {goal.layer}: no checkpoint had an L0 within {CLOSE:.0%} of {goal.target_l0:g}; the "
            f"best is the closest, {best['l0']:.2f} at step {best['step']:,}"
            for goal, best in bests
            if not is_close(best["l0"], goal.target_l0)
        ]

    def best(self, goal: Goal) -> dict[str, float]:
        """Give the best checkpoint of a layer, as its history has it."""
        history = self.histories[str(goal.layer)]
        return {name: values[best_of(history, goal.target_l0)] for name, values in history.items()}

    def _write_history(self, goal: Goal, history: History, finished: bool) -> None:
        best = best_of(history, goal.target_l0)
        about = {
            **asdict(goal),
            "best_step": history["step"][best],
            "finished": finished,
            "owner": dict(self.terms.owner),
            "settings": dict(self.terms.settings),
        }
        write_json(history_path(self.folder, goal.layer), with_checksum({**history, **about}))


def resumed_run(goals: Sequence[Goal], folder: Path, terms: Terms, trains: Trains) -> SaeRun | None:
    """Go on with the training in a folder; None where there is none. Raise UserError for one with other settings."""
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    record = open_record(path, KIND_OF_CHECKPOINT, ANEW)
    about = record.about
    theirs = {**about["settings"], "layers": [goal["layer"] for goal in about["goals"]]}
    ours = {**terms.settings, "layers": [goal.layer for goal in goals]}
    before, now = (settings.pop("learning_rate") for settings in (theirs, ours))  # lowered where the loss left all bounds
    if wrong := first_difference(theirs, ours):
        raise UserError(f"--resume: {path} is of another training: {wrong}; give the same flags; {ANEW}")
    if before != now:
        print(
            f"note: --learning_rate is {now or 'the usual one'} from step {about['step']:,} on; before: {before or 'usual'}"
        )
    trainee = trains.resumed(goals, terms.recipe, {**record.tensors, **about["state"]}, terms.device)
    histories = {layer: {name: list(history[name]) for name in NOTED} for layer, history in about["histories"].items()}
    return SaeRun(goals, folder, terms, trainee, about["step"], histories, _saved_step=about["step"])


def new_run(goals: Sequence[Goal], folder: Path, terms: Terms, trains: Trains, sample: torch.Tensor) -> SaeRun:
    """Begin a training. sample: raw states [layers, n, hidden_size]."""
    trainee = trains.begin(goals, sample, terms.recipe, terms.device)
    return SaeRun(goals, folder, terms, trainee, 0, {str(goal.layer): empty_history() for goal in goals})
