"""Every kind of probe at one lag: all layers, seeds, penalties and control labels from the same matrices, one interface."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from utils.probes.affine import linear_logits
from utils.probes.attention import Ragged, train_attention
from utils.probes.linear import Settings, train
from utils.probes.logistic.solver import solve
from utils.probes.mass_mean import mass_mean
from utils.probes.mlp import train_mlp
from utils.states.sites import ATTENTION
from utils.sweep.sampling import class_weights


@dataclass(frozen=True)
class Fitting:
    """How probes are fitted."""

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
    """What the probes of one lag learn. labels: {split: int8 [1 + draws, n]}, the truth and then control labels; in_sample:
    bool [n_train, seeds], which examples a seed trains on; examples: {split: Examples}.
    """

    examples: dict
    labels: dict
    in_sample: np.ndarray
    seeds: list[int]

    @property
    def columns(self) -> int:
        return len(self.labels["train"])

    @property
    def first_sample(self) -> dict:
        """The examples, of train those that the first seed trains on."""
        return self.examples | {"train": self.examples["train"][self.in_sample[:, 0]]}

    def truth_only(self) -> "Task":
        return replace(self, labels={name: labels[:1] for name, labels in self.labels.items()})

    def distinct_seeds(self) -> list[int]:
        """Indices of the seeds whose samples differ from those of all seeds before."""
        samples = [self.in_sample[:, index].tobytes() for index in range(len(self.seeds))]
        return [index for index, sample in enumerate(samples) if sample not in samples[:index]]


@dataclass(frozen=True)
class Fits:
    """All probes of one kind at one lag.

    seeds: indices into those of the task, without those that would change nothing; penalties: None where the kind has
    none; logits: {split: float32 [layers, seeds, 1 + draws, penalties, n]}; tensors(layer, seed, penalty): what is
    saved, by indices; notes(layer, seed, penalty): what else is known of the fit, such as its gradient.
    """

    kind: str
    layers: list
    seeds: list[int]
    penalties: list[float]
    logits: dict
    tensors: Callable[[int, int, int], dict]
    notes: Callable[[int, int, int], dict] = lambda layer, seed, penalty: {}


def fit(kind, fitting, task, source, on_epoch=None, device="cpu") -> Fits:
    """The probes of one kind; layers: those of the tables."""
    layers = source.layers
    if kind in ("linear", "mlp", "attention"):
        return fit_by_descent(kind, fitting, task, source, on_epoch, device)
    if kind == "attention_features":
        rows = {name: source.attention(name) for name in source.tables}
        return fit_exactly(kind, fitting, task, {ATTENTION: rows})
    return fit_exactly(
        kind, fitting, task, {layer: {name: source.of_layer(name, layer) for name in source.tables} for layer in layers}
    )


def fit_by_descent(kind, fitting, task, source, on_epoch, device) -> Fits:
    """By AdamW, one seed after the other, each on its own sample; the labels of all draws together."""
    trained = []
    for index, seed in enumerate(task.seeds):

        def tell(epoch, scores, seed=seed):
            on_epoch(seed, epoch, scores)

        kept = np.flatnonzero(task.in_sample[:, index])
        settings = settings_of(fitting, seed)
        labels, val_labels = task.labels["train"][:, kept].T, task.labels["val"].T
        if kind == "attention":
            ragged = {name: Ragged(table, *source.attended[name]) for name, table in source.tables.items()}
            found = train_attention(
                Ragged(ragged["train"].table, *(ends[kept] for ends in source.attended["train"])),
                labels,
                ragged["val"],
                val_labels,
                settings,
                on_epoch=tell,
                device=device,
            )
            data = ragged
        else:
            run = train if kind == "linear" else train_mlp
            found = run(
                source.matrices("train", kept),
                labels,
                source.matrices("val"),
                val_labels,
                settings,
                on_epoch=tell,
                device=device,
            )
            data = {name: source.matrices(name) for name in source.tables}
        trained.append((found, {name: found.probes.logits(matrices) for name, matrices in data.items()}))
    logits = {name: np.stack([by_split[name] for _, by_split in trained], axis=1)[:, :, :, None] for name in source.tables}
    return Fits(
        kind,
        source.layers,
        list(range(len(task.seeds))),
        [fitting.weight_decay],
        logits,
        lambda layer, seed, penalty: trained[seed][0].probes.tensors(layer, 0),
        lambda layer, seed, penalty: {
            "epoch": trained[seed][0].epoch[layer][0],
            "training": vars(settings_of(fitting, task.seeds[seed])),
        },
    )


def settings_of(fitting, seed) -> Settings:
    return Settings(
        fitting.epochs,
        fitting.learning_rate,
        fitting.weight_decay,
        fitting.probe_batch_size,
        fitting.pos_weight_cap,
        seed,
        balance=fitting.class_balance == "weighted",
    )


def fit_exactly(kind, fitting, task, matrices) -> Fits:
    """In closed form or to the exact minimum: every seed and draw is a column of labels and weights on one matrix a layer.

    matrices: {layer: {split: Matrices of that layer alone}}
    """
    seeds, columns = task.distinct_seeds(), task.columns
    labels = np.tile(task.labels["train"], (len(seeds), 1)).T.astype(np.float32)
    weights = class_weights(
        np.repeat(task.in_sample[:, seeds], columns, axis=1), labels, fitting.class_balance, fitting.pos_weight_cap
    )
    penalties = fitting.l2_grid if kind in ("logistic", "attention_features") else [None]
    weight, bias, notes = [], [], []
    for by_split in matrices.values():
        if kind.startswith("mass_mean"):
            found_weight, found_bias = mass_mean(by_split["train"], labels, weights, tilted=kind.endswith("tilted"))
            found_weight, found_bias, note = found_weight[:, None], found_bias[:, None], None
        else:
            note = solve(by_split["train"], labels, weights, penalties)
            found_weight, found_bias = note.weight, note.bias
        shape = len(seeds), columns, len(penalties)
        weight.append(found_weight.reshape(*shape, -1))
        bias.append(found_bias.reshape(shape))
        notes.append(note)
    weight, bias = np.stack(weight), np.stack(bias)
    splits = next(iter(matrices.values()))
    logits = {
        name: np.stack(
            [linear_logits(by_split[name], weight[index], bias[index]) for index, by_split in enumerate(matrices.values())]
        )
        for name in splits
    }

    def told(layer, seed, penalty):
        note = notes[layer]
        return (
            {}
            if note is None
            else {
                "gradient": float(note.gradient[seed * columns, penalty]),
                "converged": bool(note.converged[seed * columns, penalty]),
                "separable": bool(note.separable[seed * columns, penalty]),
            }
        )

    return Fits(
        kind,
        list(matrices),
        seeds,
        list(penalties),
        logits,
        lambda layer, seed, penalty: {
            "weight": torch.from_numpy(weight[layer, seed, 0, penalty]).float(),
            "bias": torch.tensor(bias[layer, seed, 0, penalty]).float(),
        },
        told,
    )
