#!/usr/bin/env python3
"""Logistic probes for many labels, row samples and penalties at once, against scikit-learn's solvers one fit at a time.

7 label columns x 3 row samples x 8 penalties (1e-1 to 1e4 in units of the summed loss) on standardised states. For each
scikit-learn solver a path over the penalties, warm-started, of --paths of the 21 problems (its time is multiplied by 21 /
paths, and said so), at the loosest of its tolerances with which every fit's largest gradient / n is at most 1e-6 in float64;
as one process on all cores and as one process a core, the better of the two counts. liblinear is left out: it penalises the
bias, which is another problem. Ours: the whole call, set-up included; its gradients are checked here too, by other code.
"""

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

LIMIT = 1e-6  # largest gradient / n that counts as solved
LABELS, SAMPLES = 7, 3
PENALTIES = np.logspace(4, -1, 8)
TOLERANCES = {"lbfgs": [1e-3, 1e-4, 1e-5, 1e-6, 1e-7], "newton-cholesky": [1e-2, 1e-4, 1e-6],
              "newton-cg": [1e-2, 1e-4, 1e-6], "sag": [1e-3, 1e-5], "saga": [1e-3, 1e-5]}
PATIENCE = 120  # seconds for one path: a solver that takes longer is not the fastest


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--hidden_size", type=int, default=640)
    parser.add_argument("--solvers", default="lbfgs,newton-cholesky", help="of scikit-learn: " + ", ".join(TOLERANCES))
    parser.add_argument("--paths", type=int, default=2, help="of the 21 problems that scikit-learn solves")
    parser.add_argument("--rounds", type=int, default=3, help="of ours, the median counts")
    arguments = parser.parse_args(argv)
    for spectrum in ("isotropic", "power law"):
        print(f"\n{spectrum}: states [{arguments.rows:,}, {arguments.hidden_size}], "
              f"{LABELS * SAMPLES * len(PENALTIES)} fits", flush=True)
        states, labels, weights = make(arguments.rows, arguments.hidden_size, spectrum)
        ours = time_ours(states, labels, weights, arguments.rounds)
        single = time_one_fit(states, labels, weights)
        best = min(time_solver(solver, states, labels, weights, arguments.paths) for solver in arguments.solvers.split(","))
        print(f"  ours {ours:.1f} s: {best / ours:.0f} times faster than the fastest of them")
        print(f"  one single fit (the middle penalty): ours {single[0]:.2f} s, the fastest of them {single[1]:.2f} s")
    return 0


def make(rows, hidden_size, spectrum):
    """float32 states, standardised; 0/1 labels and 0/1 row weights [rows, 21]."""
    random = np.random.default_rng(0)
    states = random.standard_normal((rows, hidden_size))
    if spectrum == "power law":
        turn, _ = np.linalg.qr(random.standard_normal((hidden_size, hidden_size)))
        states = states / np.sqrt(np.arange(1, hidden_size + 1)) @ turn.T
    states = (states - states.mean(0)) / states.std(0)
    directions = 2 * random.standard_normal((hidden_size, LABELS)) / np.sqrt(hidden_size)
    labels = (random.random((rows, LABELS)) < 1 / (1 + np.exp(1 - states @ directions))).astype(np.float32)
    samples = np.stack([np.ones(rows), *(random.random((SAMPLES - 1, rows)) < 0.8)]).astype(np.float32)
    return states.astype(np.float32), np.tile(labels, SAMPLES), np.repeat(samples.T, LABELS, axis=1)


def worst_gradient(states, labels, weights, coefficients, bias, penalty) -> float:
    """Of the summed loss, divided by the number of rows, in float64."""
    states = states.astype(np.float64)
    residual = weights * (1 / (1 + np.exp(-(states @ coefficients + bias))) - labels)
    return max(np.abs(states.T @ residual + penalty * coefficients).max(), abs(residual.sum())) / weights.sum()


def time_ours(states, labels, weights, rounds) -> float:
    """Median seconds."""
    from utils.probes.logistic import solve

    seconds, worst = [], 0.0
    for _ in range(rounds):
        start = time.perf_counter()
        found = solve(states, labels, weights, PENALTIES, summed=True)
        seconds.append(time.perf_counter() - start)
    for column in range(LABELS * SAMPLES):
        for index, penalty in enumerate(PENALTIES):
            worst = max(worst, worst_gradient(states, labels[:, column], weights[:, column], found.weight[column, index],
                                              found.bias[column, index], penalty))
    print(f"  ours: {np.median(seconds):.1f} s (of {', '.join(f'{one:.1f}' for one in seconds)}), largest gradient "
          f"{worst:.1e}, converged {found.converged.all()}", flush=True)
    return float(np.median(seconds))


def path(solver, tolerance, threads, states, labels, weights):
    """One warm-started path: seconds, and the largest gradient of its fits."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    rows = weights > 0
    states, labels = states[rows].astype(np.float64), labels[rows]
    model = LogisticRegression(solver=solver, tol=tolerance, max_iter=2000, warm_start=True, random_state=0)
    fits = []
    with threadpool_limits(threads), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        start = time.perf_counter()
        for penalty in PENALTIES:
            model.C = 1 / penalty
            model.fit(states, labels)
            fits.append((model.coef_[0].copy(), float(model.intercept_[0]), penalty))
            if time.perf_counter() - start > PATIENCE:
                return np.inf, np.inf
        seconds = time.perf_counter() - start
    ones = np.ones(len(labels))
    return seconds, max(worst_gradient(states, labels, ones, *fit) for fit in fits)


def time_solver(solver, states, labels, weights, paths) -> float:
    """Seconds for all 21 paths, from `paths` of them."""
    cores, problems = os.cpu_count(), np.linspace(0, LABELS * SAMPLES - 1, paths).round().astype(int)
    for tolerance in TOLERANCES[solver]:
        seconds, worst = path(solver, tolerance, cores, states, labels[:, 0], weights[:, 0])
        if worst <= LIMIT:
            break
        print(f"    {solver}, tolerance {tolerance:g}: largest gradient {worst:.1e} after {seconds:.1f} s", flush=True)
    else:
        return np.inf
    together = [path(solver, tolerance, cores, states, labels[:, one], weights[:, one]) for one in problems]
    with ProcessPoolExecutor(cores) as pool:
        waiting = [pool.submit(path, solver, tolerance, 1, states, labels[:, one], weights[:, one]) for one in problems]
        apart = [future.result() for future in waiting]
    ways = {f"1 process x {cores} threads": sum(seconds for seconds, _ in together) / paths,
            f"{cores} processes x 1 thread": sum(seconds for seconds, _ in apart) / paths / min(cores, paths)}
    name, each = min(ways.items(), key=lambda pair: pair[1])
    worst = max(gradient for _, gradient in (*together, *apart))
    print(f"  {solver}, tolerance {tolerance:g}: {each * LABELS * SAMPLES:.1f} s for all ({each:.2f} s a path, {name}, from "
          f"{paths} paths), largest gradient {worst:.1e}{'' if worst <= LIMIT else ' (too large)'}", flush=True)
    return each * LABELS * SAMPLES


def time_one_fit(states, labels, weights) -> tuple[float, float]:
    """Median seconds of 3 for one label at one penalty: ours, and the faster of scikit-learn's lbfgs and newton-cholesky."""
    from sklearn.linear_model import LogisticRegression

    from utils.probes.logistic import solve

    penalty, column = PENALTIES[len(PENALTIES) // 2], labels[:, 0]
    calls = {"ours": lambda: solve(states, column, None, [penalty / len(column)])}
    for solver, tolerance in (("lbfgs", 1e-6), ("newton-cholesky", 1e-4)):
        calls[solver] = lambda solver=solver, tolerance=tolerance: LogisticRegression(
            solver=solver, tol=tolerance, C=1 / penalty, max_iter=2000).fit(states.astype(np.float64), column)
    seconds = {name: [] for name in calls}
    for _ in range(3):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    return medians.pop("ours"), min(medians.values())


if __name__ == "__main__":
    sys.exit(main())
