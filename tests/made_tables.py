"""Tables of a made-up sweep: 7 layers, 3 seeds and 2 kinds a target and lag, with baselines and a learning curve."""

import csv
import itertools
import json
import math
import random

ATTACK = "</script><img src=x onerror=alert(1)>"
LAYERS = ["embed", "0", "1", "2", "3", "final_norm", "attention"]
LAGS = [-8, -4, -2, -1, 0, 1, 2, 4, 8]
SEEDS = [0, 1, 2]
KINDS = ["linear", "mass_mean"]
UNUSED = ("pos_accuracy", "neg_accuracy", "precision", "recall", "brier", "ece", "tp", "fp", "tn", "fn", "control")
N = {"train": 4000, "val": 1000, "test": 1234}
BASELINES = ("majority", "read token", "own probability", "random weights")


def scores(draw, level):
    balanced, auc = (min(0.99, level + draw.gauss(0, 0.01)) for _ in range(2))
    return {
        "balanced_accuracy": balanced,
        "balanced_accuracy_low": balanced - 0.03,
        "balanced_accuracy_high": balanced + 0.02,
        "auc": auc,
        "auc_low": auc - 0.02,
        "auc_high": auc + 0.01,
        "acc": balanced - 0.005,
        "f1": balanced - 0.1,
        "auprc": auc - 0.2,
        "selectivity": balanced - 0.5,
        "best_baseline": "read token",
        "minus_baseline": auc - 0.75,
        "minus_baseline_low": auc - 0.8,
        "minus_baseline_high": auc - 0.7,
        **dict.fromkeys(UNUSED, ""),
    }


def level_of(kind, layer, lag, seed):
    away = abs(LAYERS.index(layer) - 4)
    return 0.92 - 0.035 * abs(lag + 1) ** 0.7 - 0.01 * away - 0.05 * (kind == "mass_mean") + 0.004 * seed


def make_results(folder, targets=(" the",), lags=(-1, 0)):
    """Tables of 7 layers x 3 seeds x 2 kinds a target and lag, with holes: one layer has no score at one lag."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(5)
    rows = [
        probe_row(draw, *key)
        for key in itertools.product(targets, KINDS, lags, SEEDS, reversed(LAYERS))
        if key[1] != "mass_mean" or key[4] != "attention"
    ]
    beside = [row for key in itertools.product(targets, lags, SEEDS, N) for row in baseline_rows(draw, *key)]
    curve = [
        {
            "target": target,
            "layer": "3",
            "lag": -1,
            "probe": kind,
            "seed": seed,
            "n_train": size,
            **{
                f"{split}_{name}": value
                for split in ("val", "test")
                for name, value in scores(draw, 0.6 + 0.03 * math.log2(size / 50)).items()
            },
        }
        for target, kind, seed, size in itertools.product(targets, KINDS, SEEDS, (100, 200, 400, 800))
    ]
    for name, table in (("probe_results", rows), ("baselines", beside), ("learning_curve", curve)):
        write_csv(folder / f"{name}.csv", table)
    record = {"model": f"a/{ATTACK}" if ATTACK in targets else "a/model", "arguments": {"train_data": "data/train.pth"}}
    (folder / "run_record.json").write_text(json.dumps(record), encoding="utf-8")
    return rows


def probe_row(draw, target, kind, lag, seed, layer):
    row = {"target": target, "layer": layer, "lag": lag, "probe": kind, "seed": seed, "l2": 0.001}
    for split in N:
        found = scores(draw, level_of(kind, layer, lag, seed) + 0.01 * (split == "train"))
        if (layer, lag) == ("2", -4):
            found = dict.fromkeys(found, "nan")
        row |= {f"{split}_{name}": value for name, value in found.items()}
        row |= {f"n_{split}": N[split] - abs(lag), f"pos_ratio_{split}": 0.25}
    return row


def baseline_rows(draw, target, lag, seed, split):
    for number, name in enumerate(BASELINES):
        of = [("0", "linear"), ("1", "linear"), ("1", "mass_mean")] if name == "random weights" else [("", "")]
        for layer, probe in of:
            yield {
                "target": target,
                "baseline": name,
                "lag": lag,
                "seed": seed,
                "split": split,
                "n": N[split],
                "groups": 31,
                "layer_idx": layer,
                "probe": probe,
                "model": "a/model",
                "model_fingerprint": "x",
                "dataset_fingerprint": "y",
                **scores(draw, 0.5 + 0.08 * number),
            }


def write_csv(path, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
