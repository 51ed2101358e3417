#!/usr/bin/env python3
"""Coverage of the 95 % intervals: how often they hold the population's value, in regimes that are hard for intervals.

Each regime is simulated with 4 to 301 groups. A logit is normal around shift + (distance + slope) x (label - 1/2), where
shift and slope are normal over groups with the standard deviation `spread`; --shared of every variance is common to the two
probes that are paired. Over groups a logit is normal again, which gives the population's values. Sizes of groups are drawn
anew for every --batch samples. The intervals are the suite's own; of each cell are printed

    cover   how many of the intervals given hold the truth, in brackets those that lie above it and below it
    bound   the samples whose score (or one of both, or one of the rates) is 0 or 1
    none    the samples without an interval, and the reasons
    width   the median width of an interval, in brackets of those at a bound

Exits with 1 where a cell breaks the rule: coverage from .92 to .98, or more where over a tenth of the samples lie at a
bound; at most .3 of the samples without an interval where 8 groups hold each class. --average_precision prints that score
too, outside the rule.
"""

import argparse
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy.stats import norm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from utils.scores.average_precision import average_precisions  # noqa: E402
from utils.scores.differences import difference_bounds, statistic  # noqa: E402
from utils.scores.intervals import Groups, interval, reasons  # noqa: E402

AVERAGE_PRECISION = "average precision"
GROUPS = (4, 8, 15, 30, 31, 300, 301)
AT_MOST = 4  # times as many samples as asked for, where not all have an interval


@dataclass(frozen=True)
class Regime:
    """sizes: (random, groups) to the sizes of the groups; aurocs: of the two probes; share: of positives, or by group."""

    sizes: object
    aurocs: tuple[float, float] = (0.79, 0.75)
    spread: float = 0.5
    share: float | None = None
    rounded: bool = False

    @property
    def variance(self) -> float:
        return 1 + 1.25 * self.spread**2

    @property
    def distances(self) -> list[float]:
        return [norm.ppf(auroc) * np.sqrt(2 * self.variance) for auroc in self.aurocs]

    def truth(self, distance: float) -> tuple[float, float]:
        """(balanced accuracy at 0, AUROC) of the population."""
        spread = np.sqrt(self.variance)
        if not self.rounded:
            return norm.cdf(distance / 2 / spread), norm.cdf(distance / spread / np.sqrt(2))
        values = np.arange(-20, 21)
        positive, negative = (
            np.diff(norm.cdf(np.append(values - 0.5, 20.5), mean, spread)) for mean in (distance / 2, -distance / 2)
        )
        right = (positive[values > 0].sum() + negative[values <= 0].sum()) / 2
        return right, (positive * (np.cumsum(negative) - negative / 2)).sum()

    def average_precision(self, distance: float) -> float:
        """Of the population, a positive's precision among all that score at least as high."""
        spread, share = np.sqrt(self.variance), 0.5 if self.share is None else self.share
        values = np.linspace(-12, 12, 20001) * spread
        values = np.arange(-40, 41) - 0.5 if self.rounded else values
        positive, negative = (norm.sf(values, mean, spread) for mean in (distance / 2, -distance / 2))
        precision = share * positive / (share * positive + (1 - share) * negative)
        return (precision[:-1] * -np.diff(positive)).sum() if self.rounded else np.trapezoid(precision, 1 - positive)


def of_size(size):
    return lambda random, count: np.full(count, size)


def pareto(random, count):
    return np.ceil(5 * np.minimum(1 + random.pareto(1.2, count), 600)).astype(int)


def log_normal(random, count):
    return np.ceil(6 * np.exp(1.5 * random.normal(size=count))).astype(int)


def half_in_one(random, count):
    return np.array([12 * (count - 1)] + [12] * (count - 1))


REGIMES = {
    "equal sizes": Regime(of_size(20)),
    "Pareto 1.2": Regime(pareto),
    "log-normal 1.5": Regime(log_normal),
    "half in one group": Regime(half_in_one),
    "strong effects": Regime(of_size(20), spread=1.5),
    "1 % positives": Regime(of_size(100), share=0.01),
    "ties": Regime(of_size(20), rounded=True),
    "AUROC .5": Regime(of_size(20), (0.5, 0.5)),
    "AUROC .993": Regime(of_size(20), (0.993, 0.98)),
    "AUROC .998": Regime(of_size(20), (0.998, 0.993)),
    ".998 single": Regime(of_size(1), (0.998, 0.993), spread=0.0),
}


def draw(random, regime, samples, count, shared):
    """Logits of both probes and labels, [samples, n], and the group of each of the n."""
    group = np.repeat(np.arange(count), regime.sizes(random, count))
    shares = random.beta(6, 6, (samples, count)) if regime.share is None else np.full((samples, count), regime.share)
    labels = random.random((samples, len(group))) < shares[:, group]
    side = labels - 0.5

    def part(share):
        shift, slope = regime.spread * random.standard_normal((2, samples, count))
        return np.sqrt(share) * (random.standard_normal(labels.shape) + shift[:, group] + slope[:, group] * side)

    common = part(shared)
    logits = [distance * side + common + part(1 - shared) for distance in regime.distances]
    return [np.round(values) if regime.rounded else values for values in logits], labels, group


def at_bound(one):
    return np.any([np.isin(part.value, (0, 1)) for part in getattr(one, "rates", (one,))], axis=0)


def simulate(cell, arguments):
    """{score: [none, above, below, at a bound, width] by sample}, and how often which reason was given.

    cell: a regime's name and a number of groups.
    """
    regime, count = REGIMES[cell[0]], cell[1]
    random, found, why = np.random.default_rng([arguments.seed, count]), {}, Counter()
    distances = regime.distances
    truths = [regime.truth(distance) for distance in distances]
    batch, having = arguments.batch, 0
    for drawn in range(0, AT_MOST * arguments.samples, batch):
        if drawn >= arguments.samples and having >= arguments.samples:
            break
        logits, labels, group = draw(random, regime, batch, count, arguments.shared)
        for place, metric in enumerate(("balanced_accuracy", "auc")):
            one, other = (statistic(metric, values, labels, Groups(group), np.zeros(batch)) for values in logits)
            difference, bound = truths[0][place] - truths[1][place], at_bound(one)
            both = bound | at_bound(other)
            for name, ends, truth, where in (
                (metric, interval(one), truths[0][place], bound),
                (f"{metric} difference", difference_bounds(one, other), difference, both),
            ):
                none = np.isnan(ends[0])
                having += (~none).sum() if name == "auc" else 0
                rows = (none, ends[0] > truth, ends[1] < truth, where, ends[1] - ends[0], one.holders)
                found.setdefault(name, []).append(np.stack(rows))
                given = reasons(one.classes) if none.any() else [""] * batch
                why.update((name, given[sample] or "both score alike, or no spread") for sample in np.flatnonzero(none))
        if arguments.average_precision:
            pairs = zip(logits[0], labels, strict=True)
            scores = np.concatenate([average_precisions(row[None], true, group)[0] for row, true in pairs])
            value, low, high = np.where(labels.any(1)[:, None] & ~labels.all(1)[:, None], scores, np.nan).T
            truth = regime.average_precision(distances[0])
            rows = (np.isnan(low), low > truth, high < truth, np.isin(value, (0, 1)), high - low, one.holders)
            found.setdefault(AVERAGE_PRECISION, []).append(np.stack(rows))
    return {name: np.concatenate(parts, axis=1) for name, parts in found.items()}, why


def judge(values):
    """(what is printed of a cell, whether it holds)."""
    given = values[0] == 0
    none = 1 - given.mean()
    often = (values[5] >= 8).any() and (values[0][values[5] >= 8]).mean() > 0.3
    if not given.any():
        return f"{'no interval':<22}  -     1.00  -", not often
    above, below = values[1:3][:, given].mean(1)
    cover, bound, widths = 1 - above - below, values[3].mean(), values[4]
    beside = values[3][given] == 1
    width = f"{np.median(widths[given]):.4f}" + (f" ({np.median(widths[given][beside]):.4f})" if beside.any() else "")
    holds = 0.92 <= round(cover, 3) <= (1 if bound > 0.1 else 0.98) and not often
    return f"{cover:.3f} ({above:.3f}, {below:.3f})    {bound:.2f}  {none:.2f}  {width}", holds


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=4000, help="with an interval, of a cell")
    parser.add_argument("--batch", type=int, default=10, help="samples with the same sizes of groups")
    parser.add_argument("--groups", default=",".join(map(str, GROUPS)))
    parser.add_argument("--regimes", default=",".join(REGIMES), help="by name")
    parser.add_argument("--shared", type=float, default=0.5, help="part of every variance that both probes have in common")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--average_precision", action="store_true", help="of the first probe too; slow with many groups")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args(argv)
    broken, begun = 0, time.perf_counter()
    print(f"{'regime':<18}{'groups':<8}{'score':<30}cover (above, below)    bound none  width (at a bound)")
    cells = [(regime, count) for regime in arguments.regimes.split(",") for count in map(int, arguments.groups.split(","))]
    with ProcessPoolExecutor(arguments.processes) as pool:
        for (regime, count), (found, why) in zip(
            cells, pool.map(partial(simulate, arguments=arguments), cells), strict=True
        ):
            for name, values in found.items():
                words, holds = judge(values)
                holds |= name == AVERAGE_PRECISION
                broken += not holds
                print(f"{regime:<18}{count:<8}{name:<30}{words}{'' if holds else '   <-'}", flush=True)
            for (name, reason), number in Counter({key: n for key, n in why.items() if key[0] == "auc"}).most_common(2):
                print(f"{'':<26}{name} without an interval, {number} samples: {reason}")
    print(f"{broken} cells break the rule; {time.perf_counter() - begun:.0f} s")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
