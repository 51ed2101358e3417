"""Fit every kind of probe to one question: all layers, seeds, penalties and control labels from the same matrices."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from utils.probes.affine import linear_logits
from utils.probes.descent.attention import train_attention
from utils.probes.descent.linear import train
from utils.probes.descent.mlp import train_mlp
from utils.probes.descent.ranges import Ranges, whole_texts
from utils.probes.descent.training import Scores, Settings
from utils.probes.kinds import BY_NAME
from utils.probes.labels import LabelledStates
from utils.probes.logistic.solver import Solutions, solve
from utils.probes.mass_mean import mass_mean
from utils.states.matrices import Matrices
from utils.states.positions import Examples
from utils.states.sites import ATTENTION, Layer
from utils.states.source import Source
from utils.sweep.sampling import class_weights

OnSeedsEpoch = Callable[[int, int, Scores], Any]


@dataclass(frozen=True)
class Fitting:
    """The settings by which probes are fitted; the fields are flags of train_probe.

    kinds: of probe, by name.
    epochs, learning_rate, weight_decay, probe_batch_size: of the kinds that descend, see `training.Settings`.
    l2_grid: penalties of the kinds that have one.
    class_balance, pos_weight_cap: "weighted" where a positive weighs more, and at most how much more (None: no cap).
    seeds: of samples and first weights.
    control: draws of control labels.
    """

    kinds: tuple[str, ...]
    epochs: int
    learning_rate: float
    weight_decay: float
    probe_batch_size: int | None
    l2_grid: tuple[float, ...]
    class_balance: str
    pos_weight_cap: float | None
    seeds: tuple[int, ...]
    control: int


@dataclass(frozen=True)
class Task:
    """The labels and samples that the probes of one question learn from.

    labels: {split: int8 [1 + draws, n]}, the truth and then control labels.
    in_sample: bool [n_train, seeds], which examples a seed trains on.
    """

    examples: Mapping[str, Examples]
    labels: Mapping[str, np.ndarray]
    in_sample: np.ndarray
    seeds: Sequence[int]

    @property
    def columns(self) -> int:
        return len(self.labels["train"])

    @property
    def first_sample(self) -> dict[str, Examples]:
        """Give the examples, of train those that the first seed trains on."""
        return {**self.examples, "train": self.examples["train"][self.in_sample[:, 0]]}

    def truth_only(self) -> "Task":
        """Leave the control labels out."""
        return replace(self, labels={name: labels[:1] for name, labels in self.labels.items()})

    def distinct_seeds(self) -> list[int]:
        """List the indices of the seeds whose samples differ from those of all seeds before."""
        samples = [self.in_sample[:, index].tobytes() for index in range(len(self.seeds))]
        return [index for index, sample in enumerate(samples) if sample not in samples[:index]]


@dataclass(frozen=True)
class Fits:
    """All probes of one kind for one question.

    seeds: indices into those of the task, without those that would change nothing.
    penalties: None where the kind has none.
    logits: {split: float32 [layers, seeds, 1 + draws, penalties, n]}.
    tensors: (layer, seed, penalty), by indices, to what is saved.
    notes: likewise, to what else is known of the fit, such as its gradient.
    """

    kind: str
    layers: list[Layer]
    seeds: list[int]
    penalties: list
    logits: Mapping[str, np.ndarray]
    tensors: Callable[[int, int, int], dict]
    notes: Callable[[int, int, int], dict] = lambda layer, seed, penalty: {}


def fit(
    kind: str, fitting: Fitting, task: Task, source: Source, on_epoch: OnSeedsEpoch | None = None, device: str = "cpu"
) -> Fits:
    """Fit the probes of one kind to all layers of the tables. on_epoch(seed, epoch, scores[layer][column])."""
    if BY_NAME[kind].descends:
        return fit_by_descent(kind, fitting, task, source, on_epoch, device)
    if BY_NAME[kind].reads == "attention rows":
        return fit_exactly(kind, fitting, task, {ATTENTION: {name: source.attention(name) for name in source.tables}})
    by_layer = {layer: {name: source.of_layer(name, layer) for name in source.tables} for layer in source.layers}
    return fit_exactly(kind, fitting, task, by_layer)


def fit_by_descent(
    kind: str, fitting: Fitting, task: Task, source: Source, on_epoch: OnSeedsEpoch | None, device: str
) -> Fits:
    """Train by AdamW, one seed after the other, each on its own sample; the labels of all draws together."""
    states = {name: read_by(kind, source, name) for name in source.tables}
    trained, logits = [], []
    for index, seed in enumerate(task.seeds):
        kept = np.flatnonzero(task.in_sample[:, index])
        found = TRAINERS[kind](
            LabelledStates(read_by(kind, source, "train", kept), task.labels["train"][:, kept].T),
            LabelledStates(states["val"], task.labels["val"].T),
            settings_of(fitting, seed),
            on_epoch=on_epoch and partial(on_epoch, seed),
            device=device,
        )
        trained.append(found)
        logits.append({name: found.probes.logits(of_split) for name, of_split in states.items()})
    return Fits(
        kind,
        source.layers,
        list(range(len(task.seeds))),
        [fitting.weight_decay],
        {name: np.stack([by_split[name] for by_split in logits], axis=1)[:, :, :, None] for name in states},
        lambda layer, seed, penalty: trained[seed].probes.tensors(layer, 0),
        lambda layer, seed, penalty: {
            "epoch": trained[seed].epoch[layer][0],
            "training": vars(settings_of(fitting, task.seeds[seed])),
        },
    )


def read_by(kind: str, source: Source, split: str, keep: Any = slice(None)) -> Matrices | Ranges:
    """Give what a kind of probe reads of a split, in all layers; of some examples, where only these are kept."""
    if BY_NAME[kind].reads != "sequences":
        return source.matrices(split, keep)
    return whole_texts(source, split, source.tables[split])[keep]


def settings_of(fitting: Fitting, seed: int) -> Settings:
    """Choose the settings of one seed's training."""
    return Settings(
        fitting.epochs,
        fitting.learning_rate,
        fitting.weight_decay,
        fitting.probe_batch_size,
        fitting.pos_weight_cap,
        seed,
        balance=fitting.class_balance == "weighted",
    )


def fit_exactly(
    kind: str,
    fitting: Fitting,
    task: Task,
    by_layer: Mapping[Layer, Mapping[str, Matrices]],
    solver: "Solver | None" = None,
) -> Fits:
    """Fit in closed form or to the exact minimum: every seed and draw is a column of labels and weights, on each layer.

    by_layer: {layer: {split: Matrices of that layer alone}}; solver: None for that of the kind.
    """
    seeds, columns = task.distinct_seeds(), task.columns
    labels = np.tile(task.labels["train"], (len(seeds), 1)).T.astype(np.float32)
    in_sample = np.repeat(task.in_sample[:, seeds], columns, axis=1)
    weights = class_weights(in_sample, labels, fitting.class_balance, fitting.pos_weight_cap)
    penalties = list(fitting.l2_grid) if BY_NAME[kind].penalised else [None]
    solved = [(solver or SOLVERS[kind])(splits["train"], labels, weights, penalties) for splits in by_layer.values()]
    grid = len(seeds), columns, len(penalties)
    weight = np.stack([found.weight.reshape(*grid, -1) for found in solved])
    bias = np.stack([found.bias.reshape(grid) for found in solved])
    logits = {
        name: np.stack(
            [linear_logits(splits[name], *each) for *each, splits in zip(weight, bias, by_layer.values(), strict=True)]
        )
        for name in next(iter(by_layer.values()))
    }
    return Fits(
        kind,
        list(by_layer),
        seeds,
        penalties,
        logits,
        lambda layer, seed, penalty: {
            "weight": torch.from_numpy(weight[layer, seed, 0, penalty]).float(),
            "bias": torch.tensor(bias[layer, seed, 0, penalty]).float(),
        },
        lambda layer, seed, penalty: solved[layer].notes(seed * columns, penalty),
    )


@dataclass(frozen=True)
class SolvedLayer:
    """The probes of one layer that are solved, not trained.

    weight: [columns, penalties, hidden_size]; bias: [columns, penalties]; solutions: None where it is in closed form.
    """

    weight: np.ndarray
    bias: np.ndarray
    solutions: Solutions | None = None

    def notes(self, column: int, penalty: int) -> dict:
        """Say how exact one fit is."""
        if self.solutions is None:
            return {}
        found = self.solutions
        return {
            "gradient": float(found.gradient[column, penalty]),
            "converged": bool(found.converged[column, penalty]),
            "separable": bool(found.separable[column, penalty]),
        }


Solver = Callable[[Matrices, np.ndarray, np.ndarray, Sequence], SolvedLayer]


def solve_logistic(
    matrices: Matrices | torch.Tensor, labels: np.ndarray, weights: np.ndarray, penalties: Sequence
) -> SolvedLayer:
    """Solve logistic regression on one layer for each penalty. labels, weights: [n, columns]."""
    found = solve(matrices, labels, weights, penalties)
    return SolvedLayer(found.weight, found.bias, found)


def solve_mass_mean(
    matrices: Matrices, labels: np.ndarray, weights: np.ndarray, _penalties: Sequence, tilted: bool = False
) -> SolvedLayer:
    """Take the difference of the class means on one layer; it has no penalty. labels, weights: [n, columns]."""
    means = mass_mean(matrices, labels, weights, tilted)
    return SolvedLayer(means.weight[:, None], means.bias[:, None])


TRAINERS = {"linear": train, "mlp": train_mlp, "attention": train_attention}  # of every kind that descends

SOLVERS = {  # of every other kind
    "logistic": solve_logistic,
    "mass_mean": solve_mass_mean,
    "mass_mean_tilted": partial(solve_mass_mean, tilted=True),
    "attention_features": solve_logistic,
}
