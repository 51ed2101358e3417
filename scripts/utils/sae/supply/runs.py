"""All trainings side by side on the same batches, from where each of them stands."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from utils.base.progress import Progress
from utils.base.tracking import NoTracking, Wandb
from utils.sae.goals import sae_name
from utils.sae.supply.checkpoints import SaeRun
from utils.sae.supply.states import SeededBatches

CHECKPOINTS = 10  # of a training, at which states of validation are looked at
SAVED_EVERY = 600.0  # seconds, between two of them
SECONDS_A_NOTE = 1.0


def train_all(runs: Sequence[SaeRun], batches: SeededBatches, validation: torch.Tensor, logs: "Logs") -> None:
    """Train every run to the end of the batches. validation: raw states [layers, n, hidden_size], looked at on the way.

    Runs with one seed share each batch.
    """
    first, looks, noted = min(run.step for run in runs), steps_of_looks(batches.steps), 0.0
    size = batches.order.batch_size
    with Progress("train", "token", (batches.steps - first) * size) as progress:
        for step in range(first, batches.steps):
            of_seed: dict[int, torch.Tensor] = {}
            for run in (run for run in runs if run.step == step):
                seed = run.goals[0].seed
                if seed not in of_seed:
                    of_seed[seed] = batches.batch(step, seed).to(run.terms.device)
                run.train(of_seed[seed])
                if run.step in looks:
                    run.look(validation)
                    logs.log(run)
                run.save_state(0.0 if run.step in looks else SAVED_EVERY)
            now = time.monotonic()
            due = now - noted > SECONDS_A_NOTE
            progress.update(size, in_short(runs) if due else "")
            noted = now if due else noted
    for run in runs:
        run.finish(validation)
        print("".join(f"{line}\n" for line in run.misses()), end="", flush=True)
    logs.finish(runs)


def steps_of_looks(steps: int) -> set[int]:
    """Spread the checkpoints evenly; the last one is at the end. 100 steps -> 10, 20, ... 100."""
    return {max(1, round(steps * (number + 1) / CHECKPOINTS)) for number in range(CHECKPOINTS)}


def in_short(runs: Sequence[SaeRun]) -> str:
    """Say how the runs are doing, the mean over layers: 'L0 16.2 of 16, 12 % unexplained, 0.1 % dead'."""
    said = []
    for run in runs:
        found = run.trainee.progress()
        l0, fvu, dead = (sum(each[name] for each in found) / len(found) for name in ("l0", "fvu", "dead"))
        target = run.goals[0].target_l0
        name = f"{run.goals[0].architecture} " if len({each.goals[0].architecture for each in runs}) > 1 else ""
        said.append(f"{name}L0 {l0:.1f} of {target:g}, {fvu:.0%} unexplained, {dead:.1%} dead")
    return "; ".join(said)


class Logs:
    """Give what each look of a run has found to Weights & Biases, a run there for each run here."""

    def __init__(self, tracking: NoTracking | Wandb, group: str, config: Mapping[str, Any]) -> None:
        self._tracking, self._group, self._config = tracking, group, config
        self._started: dict[str, Any] = {}

    def log(self, run: SaeRun) -> None:
        """Log the last entry of each layer's history."""
        name, values = run.goals[0].run, {}
        if name not in self._started:
            self._started[name] = self._tracking.start(name, self._group, {**self._config, "run": name})
        for goal in run.goals:
            history = run.histories[str(goal.layer)]
            values |= {f"{sae_name(goal.layer)}/{key}": entries[-1] for key, entries in history.items()}
        self._started[name].log(values)

    def finish(self, runs: Sequence[SaeRun]) -> None:
        """End the runs with the best of each layer."""
        for run in runs:
            best = {f"best/{sae_name(goal.layer)}": run.best(goal) for goal in run.goals}
            if run.goals[0].run in self._started:
                self._started[run.goals[0].run].finish(best)
