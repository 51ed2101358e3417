"""Fit logistic probes to the 1, 2, 4, ... features that tell the classes apart best; how many is chosen on validation.

Features are the latents of a sparse autoencoder, or as a control the dimensions of the same states. They are chosen on train
(`screening`), the penalty and the count by AUROC on validation. Test is read for the chosen count alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from utils.probes.affine import linear_logits
from utils.sae.encoded import Encoded
from utils.states.matrices import Matrices, chunks
from utils.states.positions import Question
from utils.states.sites import Layer
from utils.sweep.fits import Fits, Fitting, Solver, Task, fit_exactly, solve_logistic
from utils.sweep.judging import judge
from utils.sweep.outcome import Probe
from utils.sweep.refits.latents.sparse import solve_sparse

MOST_DENSE = 512  # features that are held as a dense matrix; more are read a block of rows at a time
LATENTS, DIMENSIONS = "latents", "dimensions"  # what probes read

FeatureColumns = Callable[[str, np.ndarray], Matrices]  # gives these features of the examples of a split, in this order


@dataclass(frozen=True)
class LayerProblem:
    """What all probes of one layer have in common. task: of one seed, whose examples of train are all in its sample."""

    fitting: Fitting
    task: Task
    question: Question
    layer: Layer

    def fit(self, states: Mapping[str, Matrices], solver: Solver | None = None) -> Fits:
        """Fit logistic probes at each penalty, and compute the logits of these splits."""
        return fit_exactly("logistic", self.fitting, self.task, {self.layer: states}, solver)

    def chosen(self, fits: Fits) -> Probe:
        """Score the fits, and give that whose penalty validation chose."""
        return next(probe for probe in judge(self.fitting, fits, self.task, self.question) if probe.chosen)


@dataclass(frozen=True)
class Features:
    """What the probes may read, the best first: name, of LATENTS and DIMENSIONS; order: int64 [features]."""

    name: str
    order: np.ndarray
    columns: FeatureColumns

    @property
    def counts(self) -> list[int]:
        """List how many of them probes read: 1, 2, 4, ... up to MOST_DENSE, and all latents.

        Of 100 latents: 1, 2, 4, 8, 16, 32, 64, 100. A probe on all dimensions is the dense probe, and not fitted again.
        """
        most = len(self.order)
        counts = [2**power for power in range(MOST_DENSE.bit_length()) if 2**power < most]
        return counts + ([most] if self.name == LATENTS else [])


@dataclass
class CountedProbe:
    """A probe on the best of some features.

    which: int64 [count], the features.
    chosen: validation chose this count among all of the same features; only then test is scored.
    """

    features: str
    which: np.ndarray
    probe: Probe
    fits: Fits
    chosen: bool = False

    @property
    def count(self) -> int:
        return len(self.which)

    @property
    def on_validation(self) -> float:
        """Give the AUROC by which counts are chosen; an undefined one comes last."""
        return float(np.nan_to_num(self.probe.metrics["val"]["auc"], nan=-1.0))


def of_latents(encoded: Mapping[str, Encoded]) -> FeatureColumns:
    """Give columns of latents. encoded: by split."""

    def columns(split: str, which: np.ndarray) -> Matrices:
        part = encoded[split].only(which)
        everywhere = np.arange(len(part))
        return Matrices(part, everywhere) if len(which) > MOST_DENSE else Matrices.of(part.rows(everywhere))

    return columns


def of_dimensions(states: Mapping[str, Matrices]) -> FeatureColumns:
    """Give columns of the states of one layer. states: by split."""

    def columns(split: str, which: np.ndarray) -> Matrices:
        parts = [states[split].rows(rows)[:, :, which] for rows in chunks(states[split], 1)]
        return Matrices.of(torch.cat(parts, dim=1))

    return columns


def fit_counts(features: Features, problem: LayerProblem) -> list[CountedProbe]:
    """Fit a probe to each count of the features, and choose the count on validation; of equally good ones the smallest."""
    found = []
    for count in features.counts:
        which = features.order[:count]
        states = {split: features.columns(split, which) for split in ("train", "val")}
        fits = problem.fit(states, solver_of(states["train"]))
        found.append(CountedProbe(features.name, which, problem.chosen(fits), fits))
    if found:
        max(found, key=lambda one: one.on_validation).chosen = True
    return found


def solver_of(states: Matrices) -> Solver:
    """Choose how to solve: what is dense is held already, and need not be read block by block."""
    if isinstance(states.table, Encoded):
        return partial(solve_sparse, states.table)
    held = states.rows(np.arange(len(states)))[0]
    return lambda _, *problem: solve_logistic(held, *problem)


def score_on_test(counted: CountedProbe, features: Features, problem: LayerProblem) -> None:
    """Score a probe on test too."""
    fits, states = counted.fits, features.columns("test", counted.which)
    tensors = [fits.tensors(0, 0, penalty) for penalty in range(len(fits.penalties))]
    weight, bias = (np.stack([found[name].numpy() for found in tensors]) for name in ("weight", "bias"))
    on_test = linear_logits(states, weight, bias)[None, None, None]
    counted.fits = replace(fits, logits={**fits.logits, "test": on_test})
    counted.probe = problem.chosen(counted.fits)
