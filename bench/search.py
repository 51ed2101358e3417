#!/usr/bin/env python3
"""A sweep as a search: sweeps of noise, whose bands and p-values must hold, and weak signals, which must be found.

Noise: --sweeps sweeps of --probes probes on labels that were permuted by group, one class a group. Reading the same states,
probes are alike: all share a part of their logits, and neighbouring layers a larger one. Signal: the same, with one probe a
little better. A band finds it where it lies off chance, Bonferroni where the t interval of level .05 / probes does.

With --tokens, noise alone: documents of 20 to 80 tokens with labels in bursts of four, and logits that change slowly along
them and differ between documents. Labels are dealt by shifts within documents.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

LEVELS = 0.01, 0.05, 0.1, 0.5


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=400)
    parser.add_argument("--probes", type=int, default=200)
    parser.add_argument("--groups", type=int, default=60)
    parser.add_argument("--examples", type=int, default=10, help="a group, on average")
    parser.add_argument("--deals", type=int, default=999)
    parser.add_argument(
        "--signal", type=float, default=1.0, help="of the probe that knows something, in deviations of groups"
    )
    parser.add_argument("--tokens", action="store_true", help="labels of tokens, each group one document")
    arguments = parser.parse_args(argv)
    if arguments.tokens:
        report("noise along documents", [of_tokens(seed, arguments) for seed in range(arguments.sweeps)], arguments)
        return 0
    for alike in (0.0, 0.9):
        noise = [one_sweep(seed, arguments, alike, 0.0) for seed in range(arguments.sweeps)]
        report(f"noise, {alike:.0%} of the variance shared by neighbours", noise, arguments)
    for alike in (0.0, 0.9):
        found = [one_sweep(seed, arguments, alike, arguments.signal) for seed in range(arguments.sweeps)]
        print(
            f"signal, {alike:.0%} shared: found by "
            + ", ".join(
                f"{name} {np.mean([bool(one[name]) for one in found]):.3f}" for name in ("band", "permutation", "bonferroni")
            ),
            flush=True,
        )
    return 0


def one_sweep(seed, arguments, alike, signal) -> dict:
    from utils.scores.search.nulls import Exchange

    logits, labels, groups = make(seed, arguments, alike, signal)
    return judged(logits, labels, groups, Exchange.of(labels, groups), arguments.deals)


def of_tokens(seed, arguments) -> dict:
    from utils.scores.search.nulls import Shift

    logits, labels, groups, places = make_tokens(seed, arguments)
    return judged(logits, labels, groups, Shift.of(labels, groups, places), arguments.deals)


def judged(logits, labels, groups, null, deals) -> dict:
    """Score one sweep: what its band, p-values and Bonferroni's intervals say."""
    from utils.scores.metrics import all_scores
    from utils.scores.search.account import account
    from utils.scores.search.detectable import degrees_of_freedom
    from utils.scores.search.simultaneous import widened

    start = time.perf_counter()
    rows = all_scores(logits, labels, groups, np.zeros(len(logits)))
    scored, between = {name: np.array([row[name] for row in rows]) for name in rows[0]}, time.perf_counter()
    found = account(logits, labels, groups, scored, null, deals)
    seconds = between - start, time.perf_counter() - between
    interval = [scored[name] for name in ("auc", "auc_low", "auc_high")]
    bonferroni = widened(*interval, degrees_of_freedom(labels, groups), 0.05 / len(logits))
    best = found["permutation_p_in_sweep"].min()
    return {
        "single": excludes_chance(*interval[1:]),
        "band": excludes_chance(found["auc_band_low"], found["auc_band_high"]),
        "bonferroni": excludes_chance(*bonferroni),
        "p": found["permutation_p"][0],
        "p_of_best": best,
        "permutation": best <= 0.05,
        "seconds": seconds,
    }


def excludes_chance(low, high) -> bool:
    return bool(((low > 0.5) | (high < 0.5)).any())


def make(seed, arguments, alike, signal):
    """Logits [probes, n] of noise by group and by example; labels, one class a group; groups of uneven size."""
    random = np.random.default_rng(seed)
    sizes = 1 + random.poisson(arguments.examples - 1, arguments.groups)
    groups = np.repeat(np.arange(arguments.groups), sizes)
    labels = random.permutation(np.arange(arguments.groups) % 2)[groups]
    effects = drifting(random, arguments.probes, arguments.groups, alike)[:, groups]
    logits = effects + drifting(random, arguments.probes, len(groups), alike)
    logits[random.integers(arguments.probes)] += signal * labels
    return logits.astype(np.float32), labels, groups


def make_tokens(seed, arguments):
    """Logits [probes, n] of noise that changes slowly; labels in bursts; the document and the place of each token."""
    random = np.random.default_rng(seed)
    sizes = random.integers(20, 80, arguments.groups)
    groups, places = np.repeat(np.arange(arguments.groups), sizes), np.concatenate([np.arange(size) for size in sizes])
    logits = np.concatenate([drifting(random, size, arguments.probes, 0.64).T for size in sizes], axis=1)
    logits += 0.7 * random.normal(size=(arguments.probes, arguments.groups))[:, groups]
    begun = random.random(len(groups)) < 0.04
    labels = np.any([(places >= back) & np.roll(begun, back) for back in range(4)], axis=0)
    return logits.astype(np.float32), labels.astype(int), groups, places


def drifting(random, probes, columns, alike):
    """Noise whose rows resemble the row before, with this part of their variance: normal [probes, columns]."""
    noise = random.normal(size=(probes, columns))
    for row in range(1, probes):
        noise[row] = np.sqrt(alike) * noise[row - 1] + np.sqrt(1 - alike) * noise[row]
    return noise


def report(what, sweeps, arguments):
    seconds = np.mean([one["seconds"] for one in sweeps], axis=0)
    print(
        f"{what}, {len(sweeps)} sweeps of {arguments.probes} probes, {arguments.groups} groups\n"
        f"  some probe off chance: band {np.mean([one['band'] for one in sweeps]):.3f}, "
        f"single intervals {np.mean([one['single'] for one in sweeps]):.3f}"
    )
    for name, of in (("p", "one probe"), ("p_of_best", "the maximum")):
        p = np.array([one[name] for one in sweeps])
        shares = [
            f"P(p <= {level}) {np.mean(p <= level):.3f} (at most {level + 2.5 * np.sqrt(level * (1 - level) / len(p)):.3f})"
            for level in LEVELS
        ]
        print(f"  {of}: {', '.join(shares)}")
    print("  seconds a sweep: scores and intervals {:.2f}, bands and p-values {:.2f}".format(*seconds), flush=True)


if __name__ == "__main__":
    sys.exit(main())
