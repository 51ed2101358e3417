#!/usr/bin/env python3
"""Scores and intervals of a whole sweep: all probes at once, against a loop of one probe a call, and against scikit-learn.

Logits [--probes, --examples] in --groups groups. The loop of our own `scores` calls the same code row by row; the plain loop
is scikit-learn's metrics of each probe with a loop over --draws samples of groups for the two intervals, timed on --plain
probes; that all agree is checked. Then 10,000 groups of one example each.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--probes", type=int, default=500)
    parser.add_argument("--examples", type=int, default=5000)
    parser.add_argument("--groups", type=int, default=100)
    parser.add_argument("--draws", type=int, default=1000, help="of the plain loop")
    parser.add_argument("--plain", type=int, default=2, help="probes that the plain loop scores")
    parser.add_argument("--rounds", type=int, default=3, help="of the others, the median counts")
    arguments = parser.parse_args(argv)
    from utils.scores.metrics import all_scores, scores
    from utils.scores.thresholds import choose_thresholds

    logits, labels, groups = make(arguments.probes, arguments.examples, arguments.groups)
    seconds, thresholds = median_of(arguments.rounds, lambda: choose_thresholds(logits, labels))
    show("thresholds, all probes at once", arguments.probes, seconds)
    everything, together = median_of(arguments.rounds, lambda: all_scores(logits, labels, groups, thresholds, 0.03))
    show("scores and intervals, all probes at once", arguments.probes, everything)
    search, _ = median_of(arguments.rounds, lambda: search_of(logits, labels, groups, together))
    show("bands and permutation p-values, all probes at once", arguments.probes, search)
    print(f"with them the scores of a sweep take {(everything + search) / everything:.2f} times as long")
    kept, _ = median_of(arguments.rounds, lambda: by_group_of(logits, labels, groups, thresholds))
    show("how far each group moves both scores, all probes at once", arguments.probes, kept)
    without, _ = median_of(arguments.rounds, lambda: all_scores(logits, labels, groups, thresholds, 0.03, intervals=False))
    show("scores without intervals, all probes at once", arguments.probes, without)
    loop, alone = median_of(
        1, lambda: [scores(row, labels, groups, threshold, 0.03) for row, threshold in zip(logits, thresholds, strict=True)]
    )
    show("scores and intervals, our own one probe a call", arguments.probes, loop)
    np.testing.assert_allclose([list(row.values()) for row in alone], [list(row.values()) for row in together], rtol=1e-9)
    plain, found = median_of(
        1,
        lambda: [
            plain_scores(logits[row], labels, groups, thresholds[row], arguments.draws) for row in range(arguments.plain)
        ],
    )
    show(f"scikit-learn in a loop over probes and {arguments.draws} draws", arguments.plain, plain)
    for theirs, ours in zip(found, together, strict=False):
        for name, value in theirs.items():
            tolerance = 0.005 if name.endswith(("low", "high")) else 1e-9
            np.testing.assert_allclose(value, ours[name], atol=tolerance, err_msg=name)
    print(
        f"all at once is {plain / arguments.plain / (everything / arguments.probes):.0f} times as fast as scikit-learn in "
        f"a loop, {loop / everything:.1f} times as fast as one probe a call"
    )

    logits, labels, _ = make(20, 10_000, 1)
    seconds, _ = median_of(arguments.rounds, lambda: all_scores(logits, labels, np.arange(10_000), np.zeros(20), 0.03))
    show("scores and intervals of 10,000 groups of one example, all probes at once", 20, seconds)
    return 0


def by_group_of(logits, labels, groups, thresholds):
    """What a run keeps for paired differences from another run."""
    from utils.scores.differences import DIFFERENCES_OF, ByGroup

    return [ByGroup.of(metric, logits, labels, groups, thresholds) for metric in DIFFERENCES_OF]


def search_of(logits, labels, groups, scored):
    """The bands of both scores and the permutation p-values, from the intervals that are there."""
    from utils.scores.search.account import account
    from utils.scores.search.nulls import Exchange

    columns = {name: np.array([one[name] for one in scored]) for name in scored[0]}
    return account(logits, labels, groups, columns, Exchange.of(labels, groups))


def make(probes, examples, groups):
    """float32 logits [probes, examples] whose groups differ, labels and groups [examples]."""
    random = np.random.default_rng(0)
    labels, group = random.integers(0, 2, examples), random.integers(0, groups, examples)
    shifts = 0.3 * random.standard_normal((probes, groups), dtype=np.float32)
    return random.standard_normal((probes, examples), dtype=np.float32) + labels + shifts[:, group], labels, group


def plain_scores(logits, labels, groups, threshold, draws) -> dict[str, float]:
    """Of one probe; the intervals as utils.scores.intervals defines them, from samples drawn and scored one by one."""
    from scipy.stats import t
    from sklearn import metrics as sk

    said, (fpr, tpr, _) = logits > threshold, sk.roc_curve(labels, logits, drop_intermediate=False)
    found = {
        "balanced_accuracy": sk.balanced_accuracy_score(labels, said),
        "auc": sk.roc_auc_score(labels, logits),
        "acc": sk.accuracy_score(labels, said),
        "precision": sk.precision_score(labels, said),
        "recall": sk.recall_score(labels, said),
        "f1": sk.f1_score(labels, said),
        "auprc": sk.average_precision_score(labels, logits),
        "tpr_at_1_fpr": tpr[fpr <= 0.01].max(),
        "fpr_at_95_tpr": fpr[tpr >= 0.95].min(),
    }
    random, names = np.random.default_rng(1), np.unique(groups)
    rows = {name: np.flatnonzero(groups == name) for name in names}
    drawn = {"balanced_accuracy": [], "auc": []}
    for _ in range(draws):
        sample = np.concatenate([rows[name] for name in random.choice(names, len(names))])
        drawn["balanced_accuracy"].append(sk.balanced_accuracy_score(labels[sample], said[sample]))
        drawn["auc"].append(sk.roc_auc_score(labels[sample], logits[sample]))
    for name, values in drawn.items():
        error = np.std(values, ddof=1) * np.sqrt(len(names) / (len(names) - 1))
        logit = np.log(found[name] / (1 - found[name]))
        wide = t.ppf(0.975, len(names) - 1) * error / (found[name] * (1 - found[name]))
        found[f"{name}_low"], found[f"{name}_high"] = (1 / (1 + np.exp(-logit - side * wide)) for side in (-1, 1))
    return found


def median_of(rounds, call):
    """(median seconds, the last result)."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)), result


def show(what, probes, seconds):
    print(f"{what}: {probes / seconds:,.1f} probes/s ({probes} in {seconds:.2f} s)", flush=True)


if __name__ == "__main__":
    sys.exit(main())
