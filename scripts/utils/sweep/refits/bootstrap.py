"""Fit the probes of exact kinds again to resamples of the training groups: how much their test scores owe to the sample.

An interval over the scored groups is of this very probe. Another training sample would have given another probe; the
deviation of the refits' AUROCs says how far apart the two would score, and is added to the interval as an independent
source of variance. Each resample is a column of row weights, so that all of a layer's are solved together.
"""

import time
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.stats import t

from utils.probes.affine import linear_logits
from utils.probes.kinds import BY_NAME
from utils.scores.intervals import LEVEL
from utils.scores.ranking import auroc
from utils.scores.search.detectable import degrees_of_freedom
from utils.states.matrices import Matrices
from utils.states.positions import Examples
from utils.states.source import Source
from utils.sweep.fits import SOLVERS, Fitting, Task
from utils.sweep.outcome import Probe, Sweep
from utils.sweep.sampling import class_weights

COLUMN_CELLS = 2**25  # row weights of columns that are solved together
SIDES = np.array([-1, 1])
FEWEST_TRAINED = 3  # groups of train, without which nothing is known of other ones


def refit(sweep: Sweep, source: Source, fitting: Fitting, resamples: int) -> str:
    """Refit each chosen probe of an exact kind to resamples of its training groups; add what its scores gain in width.

    Return a line that says how many were fitted, and in what time.
    """
    start, probes = time.perf_counter(), [probe for probe in sweep.chosen if not BY_NAME[probe.kind].descends]
    splits = [name for name in sweep.task.examples if name != "train"]
    for probe in probes:
        seed, (matrices, *scored) = sweep.task.seeds.index(probe.seed), matrices_of(probe, source, ["train", *splits])
        aurocs = {name: [] for name in splits}
        for weight, bias in solutions(probe, matrices, sweep.task, seed, fitting, resamples):
            for name, states in zip(splits, scored, strict=True):
                labels = sweep.task.examples[name].labels
                aurocs[name] += [auroc(row, labels) for row in linear_logits(states, weight, bias)]
        groups = len(np.unique(sweep.task.examples["train"].groups[sweep.task.in_sample[:, seed]]))
        for name, found in aurocs.items():
            add_refits(probe.metrics[name], np.array(found), groups, sweep.task.examples[name])
    return f"refit bootstrap: {len(probes)} probes, {resamples} resamples each, {time.perf_counter() - start:.1f} s"


def matrices_of(probe: Probe, source: Source, splits: Sequence[str]) -> list[Matrices]:
    """Give what the probe reads of each split."""
    if BY_NAME[probe.kind].reads == "attention rows":
        return [source.attention(name) for name in splits]
    return [source.of_layer(name, probe.layer) for name in splits]


def solutions(
    probe: Probe, matrices: Matrices, task: Task, seed: int, fitting: Fitting, resamples: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Solve the resamples of one probe, as many at once as memory holds: (weight [columns, hidden_size], bias [columns])."""
    examples, sample = task.examples["train"], task.in_sample[:, seed]
    names, group = np.unique(examples.groups, return_inverse=True)
    there = np.unique(group[sample])
    size = max(1, COLUMN_CELLS // len(sample))
    for first in range(0, resamples, size):
        count = min(size, resamples - first)
        random = np.random.default_rng([task.seeds[seed], first])
        times = np.zeros((len(names), count), dtype=np.float32)
        times[there] = random.multinomial(len(there), np.full(len(there), 1 / len(there)), size=count).T
        in_resample = times[group] * sample[:, None]
        true = examples.labels[:, None] == 1
        both = ((in_resample * true).sum(0) > 0) & ((in_resample * ~true).sum(0) > 0)
        if not both.any():
            continue
        labels = np.repeat(true, both.sum(), axis=1).astype(np.float32)
        weights = class_weights(in_resample[:, both], labels, fitting.class_balance, fitting.pos_weight_cap)
        found = SOLVERS[probe.kind](matrices, labels, weights, [probe.l2])
        yield found.weight[:, 0], found.bias[:, 0]


def add_refits(scores: dict, aurocs: np.ndarray, groups: int, examples: Examples) -> None:
    """Add the deviation of the refits' AUROCs, and the interval that it widens; NaN with fewer than FEWEST_TRAINED groups.

    On the logit scale the two standard errors add as squares; beside an AUROC of 0 or 1, on its own scale.
    """
    known = groups >= FEWEST_TRAINED and len(aurocs) > 1
    deviation = float(aurocs.std(ddof=1) * np.sqrt(groups / (groups - 1))) if known else np.nan
    value, ends = scores["auc"], np.array([scores["auc_low"], scores["auc_high"]])
    far = deviation * t.isf((1 - LEVEL) / 2, degrees_of_freedom(examples.labels, examples.groups))
    if 0 < value < 1:
        logit = np.log(value / (1 - value))
        with np.errstate(divide="ignore"):
            steps = np.hypot(np.log(ends / (1 - ends)) - logit, far / (value * (1 - value)))
        low, high = 1 / (1 + np.exp(-logit - SIDES * steps))
    else:
        low, high = np.clip(value + SIDES * np.hypot(ends - value, far), 0, 1)
    scores |= {"auc_refit_deviation": deviation, "auc_refit_low": float(low), "auc_refit_high": float(high)}
