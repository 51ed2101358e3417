"""Fit the probes of exact kinds again to resamples of the training groups: how much their test scores owe to the sample.

An interval over the scored groups is of this very probe. Another training sample would have given another probe; the
deviation of the refits' scores says how far apart the two would score, and is added to the interval as an independent
source of variance. A refit has its own threshold from validation. The interval of the difference to the best baseline is
widened too, with the baseline as it is: it says what another sample would change of the probe alone. Each resample is a
column of row weights, so that all of a layer's are solved together.
"""

import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t

from utils.probes.affine import linear_logits
from utils.probes.kinds import BY_NAME
from utils.scores.intervals import LEVEL
from utils.scores.ranking import auroc
from utils.scores.search.detectable import degrees_of_freedom
from utils.scores.thresholds import choose_thresholds
from utils.states.matrices import Matrices
from utils.states.positions import Examples
from utils.states.source import Source
from utils.sweep.fits import SOLVERS, Fitting, Task
from utils.sweep.outcome import Probe, Sweep
from utils.sweep.sampling import class_weights

COLUMN_CELLS = 2**25  # row weights of columns that are solved together
REFIT_SCORES = ("auc", "balanced_accuracy")
SIDES = np.array([-1, 1])
FEWEST_TRAINED = 3  # groups of train, without which nothing is known of other ones


def refit(sweep: Sweep, source: Source, fitting: Fitting, resamples: int) -> str:
    """Refit each chosen probe of an exact kind to resamples of its training groups; add what its scores gain in width.

    Return a line that says how many were fitted, to which question, and in what time.
    """
    start, probes = time.perf_counter(), [probe for probe in sweep.chosen if not BY_NAME[probe.kind].descends]
    splits = [name for name in sweep.task.examples if name != "train"]
    truth = {name: sweep.task.examples[name].labels for name in splits}
    for probe in probes:
        seed, (matrices, *scored) = sweep.task.seeds.index(probe.seed), matrices_of(probe, source, ["train", *splits])
        found = {name: {score: [] for score in REFIT_SCORES} for name in splits}
        for weight, bias in solutions(probe, matrices, sweep.task, seed, fitting, resamples):
            logits = {name: linear_logits(each, weight, bias) for name, each in zip(splits, scored, strict=True)}
            thresholds = choose_thresholds(logits["val"], truth["val"])
            for name, values in logits.items():
                found[name]["auc"] += [auroc(row, truth[name]) for row in values]
                found[name]["balanced_accuracy"] += balanced_accuracies(values, truth[name], thresholds).tolist()
        groups = len(np.unique(sweep.task.examples["train"].groups[sweep.task.in_sample[:, seed]]))
        for name, by_score in found.items():
            add_refits(probe.metrics[name], by_score, groups, sweep.task.examples[name])
    what, seconds = f"{sweep.target!r} at lag {sweep.lag}", time.perf_counter() - start
    others = sorted({probe.kind for probe in sweep.chosen} - {probe.kind for probe in probes})
    without = f"; none of {', '.join(others)}, which epochs train" if others else ""
    return f"refit bootstrap of {what}: {len(probes)} probes, {resamples} resamples each, {seconds:.1f} s{without}"


def balanced_accuracies(logits: np.ndarray, labels: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Compute the balanced accuracy of each row of logits [rows, n] at its threshold [rows]."""
    positive, true = logits > thresholds[:, None], labels == 1
    return (positive[:, true].mean(1) + (~positive[:, ~true]).mean(1)) / 2


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


def add_refits(scores: dict, refitted: Mapping[str, ArrayLike], groups: int, examples: Examples) -> None:
    """Add the deviation of the refits' scores, and the intervals that it widens; NaN with fewer than FEWEST_TRAINED groups.

    refitted: the scores of each refit, by name; groups: of train; examples: those that were scored.
    """
    degrees = degrees_of_freedom(examples.labels, examples.groups)
    for name, values in refitted.items():
        known = groups >= FEWEST_TRAINED and len(values) > 1
        deviation = float(np.std(values, ddof=1) * np.sqrt(groups / (groups - 1))) if known else np.nan
        far = deviation * t.isf((1 - LEVEL) / 2, degrees)
        low, high = widened_share(scores[name], np.array([scores[f"{name}_low"], scores[f"{name}_high"]]), far)
        scores |= {f"{name}_refit_deviation": deviation, f"{name}_refit_low": low, f"{name}_refit_high": high}
        if name == "auc" and "minus_baseline" in scores:
            value, ends = scores["minus_baseline"], (scores["minus_baseline_low"], scores["minus_baseline_high"])
            low, high = np.clip(value + SIDES * np.hypot(np.subtract(ends, value), far), -1, 1)
            scores |= {"minus_baseline_refit_low": float(low), "minus_baseline_refit_high": float(high)}


def widened_share(value: float, ends: np.ndarray, far: float) -> tuple[float, float]:
    """Widen the interval of a score within [0, 1] by an independent half width.

    On the logit scale the two add as squares; beside a score of 0 or 1, on its own scale.
    """
    if 0 < value < 1:
        logit = np.log(value / (1 - value))
        with np.errstate(divide="ignore"):
            steps = np.hypot(np.log(ends / (1 - ends)) - logit, far / (value * (1 - value)))
        low, high = 1 / (1 + np.exp(-logit - SIDES * steps))
    else:
        low, high = np.clip(value + SIDES * np.hypot(ends - value, far), 0, 1)
    return float(low), float(high)
