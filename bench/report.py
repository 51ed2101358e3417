#!/usr/bin/env python3
"""Measure the report of a large sweep: seconds and peak memory of writing it, seconds until a page has opened in Chromium.

    python bench/report.py                # 595 probes for each of 42 questions, a million rows of probe_metrics.csv
    python bench/report.py --penalties 1 --layers 2

Scores are random. The tables are those of seven kinds of probes on 17 layers with five seeds, six targets at seven lags. A
page has opened when the browser shows it; a page of a chart when that is drawn too.
"""

import argparse
import csv
import itertools
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts")]

TARGETS = ("backtracking", "uncertainty-estimation", "initializing", "example-testing", "adding-knowledge", "deduction")
LAGS = (-16, -12, -8, -4, 0, 4, 8)
KINDS = ("linear", "logistic", "mass_mean", "mass_mean_tilted", "mlp", "attention", "attention_features")
LAYERS = ("embed", *map(str, range(15)), "final_norm")
SEEDS = range(5)
PAGES = ("index", "heatmap_accuracy", "comparison_metrics", "lineplot_f1")
DRAWN = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def scores_of(draw: random.Random, level: float, chosen: bool) -> dict:
    """Make the scores of one row; only what is chosen has intervals and comparisons."""
    auc, balanced = (level + draw.uniform(-0.02, 0.02) for _ in range(2))
    found = {"auc": auc, "balanced_accuracy": balanced, "acc": balanced, "f1": 0.5, "auprc": 0.4, "brier": 0.1, "ece": 0.02}
    found |= {
        "precision": 0.5,
        "pos_accuracy": balanced,
        "neg_accuracy": balanced,
        "tpr_at_1_fpr": 0.3,
        "fpr_at_95_tpr": 0.4,
    }
    found |= {"n": 52_030, "pos_ratio": 0.1, "groups": 66, "threshold": 0.1}
    if not chosen:
        return found
    found |= {"minus_baseline": auc - 0.8, "best_baseline": "context", "selectivity": 0.2, "minus_random_weights": 0.1}
    for name in ("auc", "balanced_accuracy", "minus_baseline", "minus_random_weights"):
        found |= {f"{name}_low": found[name] - 0.03, f"{name}_high": found[name] + 0.03}
    return found | {
        "permutation_p": 0.001,
        "permutation_p_in_sweep": 0.01,
        "auc_band_low": auc - 0.05,
        "auc_band_high": auc + 0.05,
    }


def make_tables(folder: Path, penalties: int, layers: int) -> int:
    """Write the tables. Return the number of rows of probe_metrics.csv."""
    from utils.saved.columns import BASELINES, COLUMNS, METRICS, SUMMARY
    from utils.saved.tables import summary

    draw, rows = random.Random(0), 0
    with open(folder / METRICS, "w", newline="") as metrics, open(folder / SUMMARY, "w", newline="") as chosen:
        of_metrics = csv.DictWriter(metrics, COLUMNS[METRICS], restval="")
        of_chosen = csv.DictWriter(chosen, summary([])[0], restval="")
        of_metrics.writeheader()
        of_chosen.writeheader()
        for target, lag, kind, layer, seed in itertools.product(TARGETS, LAGS, KINDS, LAYERS[:layers], SEEDS):
            level = draw.uniform(0.55, 0.9)
            probe = {"target": target, "layer_idx": layer, "lag": lag, "probe": kind, "seed": seed}
            found = []
            for penalty, split in itertools.product(range(penalties), ("train", "val", "test")):
                row = {**probe, "l2": 10.0**-penalty, "split": split, "chosen": int(penalty == 0)}
                found.append(row | scores_of(draw, level, penalty == 0) | {"model": "a/model"})
            of_metrics.writerows(found)
            filled = [dict.fromkeys(COLUMNS[METRICS], "") | row for row in found[:3]]
            of_chosen.writerows(summary(filled)[1])
            rows += len(found)
    with open(folder / BASELINES, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS[BASELINES], restval="")
        writer.writeheader()
        for target, lag, name, split in itertools.product(
            TARGETS, LAGS, ("read token", "context"), ("train", "val", "test")
        ):
            key = {"target": target, "baseline": name, "lag": lag, "seed": 0, "split": split}
            writer.writerow(key | {"auc": 0.8, "balanced_accuracy": 0.7, "n": 52_030, "groups": 66, "model": "a/model"})
    return rows


def opened(browser, path: Path) -> tuple[float, float]:
    """Open a page. Return the seconds until its text is there, and until its charts in sight are drawn."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    began = perf_counter()
    page.goto(path.as_uri(), wait_until="domcontentloaded")
    page.evaluate(DRAWN)
    text = perf_counter() - began
    if page.locator("#chart").count():
        page.wait_for_selector(".main-svg")
    page.evaluate(DRAWN)
    seconds = perf_counter() - began
    page.close()
    return text, seconds


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--penalties", type=int, default=13, help="rows of probe_metrics.csv for each probe and split")
    parser.add_argument("--layers", type=int, default=len(LAYERS))
    parser.add_argument("--chromium", default=os.environ.get("PROBE_CHROMIUM") or shutil.which("chromium"))
    arguments = parser.parse_args(argv)
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        rows = make_tables(folder, arguments.penalties, arguments.layers)
        command = [sys.executable, ROOT / "bench" / "used.py", ROOT / "scripts" / "visualize_results.py"]
        command += ["--results_dir", folder, "--output_dir", folder]
        result = subprocess.run(command, text=True, capture_output=True, check=True)
        seconds, peak = map(float, result.stdout.rsplit("used ", 1)[1].split())
        print(f"{rows:,} rows of probe_metrics.csv: written in {seconds:.1f} s of the processor, peak {peak:.0f} MB")
        if arguments.chromium is None:
            print("no Chromium: no page was opened")
            return 0
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=arguments.chromium, args=["--no-sandbox", "--disable-gpu"])
            for name in PAGES:
                path = folder / f"{name}.html"
                text, whole = (sorted(found)[1] for found in zip(*(opened(browser, path) for _ in range(3)), strict=True))
                size = path.stat().st_size / 1e6
                print(f"{name}: {size:.1f} MB, text after {text:.2f} s, its chart after {whole:.2f} s")
            browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
