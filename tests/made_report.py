"""Tables of a run that no check of the report speaks against, but for what a test changes."""

import json

from utils.base.files import csv_text
from utils.pages.charts.results import read_results

KEY = {"target": " the", "layer": "3", "lag": -1, "probe": "logistic", "seed": 0, "l2": 0.01, "n_test": 900}
CLEAN = {
    "val_auc": 0.9,
    "test_auc": 0.89,
    "test_auc_low": 0.86,
    "test_auc_high": 0.92,
    "test_balanced_accuracy": 0.82,
    "test_selectivity": 0.3,
    "test_best_baseline": "context",
    "test_minus_baseline": 0.14,
    "test_minus_baseline_low": 0.1,
    "test_minus_baseline_high": 0.18,
    "test_minus_random_weights": 0.2,
    "test_minus_random_weights_low": 0.15,
    "test_minus_random_weights_high": 0.25,
    "test_permutation_p": 0.001,
    "test_permutation_p_in_sweep": 0.002,
}
BESIDE = {"context": 0.75, "length": 0.52, "read token": 0.6, "majority": 0.5}


def made(folder, changes=None, beside=None, groups=40, seeds=(0, 1), converged=True, more=()):
    """Tables of a run with two seeds that no check speaks against, but for what is changed: of "all" seeds, or of one."""
    changes, beside = changes or {}, BESIDE | (beside or {})
    rows = [KEY | CLEAN | {"seed": seed} | changes.get("all", {}) | changes.get(seed, {}) for seed in seeds]
    rows += [KEY | row for row in more]
    names = list(dict.fromkeys(name for row in rows for name in row))
    (folder / "probe_results.csv").write_text(csv_text(names, [{name: row.get(name, "") for name in names} for row in rows]))
    baselines = [
        {"target": " the", "baseline": name, "lag": -1, "split": split, "auc": auc, "n": 900, "groups": groups}
        for name, auc in beside.items()
        for split in ("val", "test")
    ]
    (folder / "baselines.csv").write_text(csv_text(list(baselines[0]), baselines))
    if not converged:
        fit = {"target": " the", "layer_idx": "3", "lag": -1, "probe": "logistic", "split": "val", "converged": "False"}
        fits = [fit | {"seed": seed, "chosen": chosen} for seed in seeds for chosen in (0, 1)]
        (folder / "probe_metrics.csv").write_text(csv_text(list(fits[0]), fits))
    question = {"chosen_by": "auc"}
    record = {"model": "/home/somebody/secret/models/tiny", "arguments": {"train_data": "/home/somebody/data/train.pth"}}
    record["selected_on_validation"] = {" the": {"-1": question}}
    (folder / "run_record.json").write_text(json.dumps(record))
    return read_results(folder)
