#!/usr/bin/env python3
"""Logistic probes for many labels, row samples and penalties at once, against scikit-learn's solvers one fit at a time.

7 label columns x 3 row samples x 8 penalties (1e-1 to 1e4 in units of the summed loss) on standardised states. For each
scikit-learn solver a path over the penalties, warm-started, of --paths of the 21 problems (its time is multiplied by 21 /
paths, and said so), at the loosest of its tolerances with which every fit's largest gradient / n is at most 1e-6 in float64;
as one process on all cores and as one process a core, the better of the two counts. liblinear is left out: it penalises the
bias, which is another problem. Ours: the whole call, set-up included; its gradients are checked here too, by other code.

--from_disk, in place of this: 35 probes at hidden size 4096 on 50,000 rows, 7 label columns on each of 5 matrices, which are
read from bfloat16 files in a temporary folder (2 GB) as the solver goes; its time, and the peak memory of the process.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

LIMIT = 1e-6  # largest gradient / n that counts as solved
LABELS, SAMPLES = 7, 3
PENALTIES = np.logspace(4, -1, 8)
TOLERANCES = {
    "lbfgs": [1e-3, 1e-4, 1e-5, 1e-6, 1e-7],
    "newton-cholesky": [1e-2, 1e-4, 1e-6],
    "newton-cg": [1e-2, 1e-4, 1e-6],
    "sag": [1e-3, 1e-5],
    "saga": [1e-3, 1e-5],
}
PATIENCE = 120  # seconds for one path: a solver that takes longer is not the fastest


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--hidden_size", type=int, default=640)
    parser.add_argument("--solvers", default="lbfgs,newton-cholesky", help="of scikit-learn: " + ", ".join(TOLERANCES))
    parser.add_argument("--paths", type=int, default=2, help="of the 21 problems that scikit-learn solves")
    parser.add_argument("--rounds", type=int, default=3, help="of ours, the median counts")
    parser.add_argument("--from_disk", action="store_true", help="35 probes on states that are read from files")
    arguments = parser.parse_args(argv)
    if arguments.from_disk:
        with tempfile.TemporaryDirectory() as folder:
            time_from_disk(Path(folder))
        return 0
    for spectrum in ("isotropic", "power law"):
        print(
            f"\n{spectrum}: states [{arguments.rows:,}, {arguments.hidden_size}], {LABELS * SAMPLES * len(PENALTIES)} fits",
            flush=True,
        )
        states, labels, weights = make(arguments.rows, arguments.hidden_size, spectrum)
        before = time_ours(states, labels, weights, arguments.rounds)
        single = time_one_fit(states, labels, weights)
        theirs = [time_solver(solver, states, labels, weights, arguments.paths) for solver in arguments.solvers.split(",")]
        after = time_ours(states, labels, weights, arguments.rounds)
        ours, theirs = np.mean([before, after], axis=0), np.min(theirs, axis=0)
        print(
            f"  ours {ours[0]:.2f} s, {ours[1]:.2f} s of processor time: {theirs[0] / ours[0]:.0f} times faster than the "
            f"fastest of them, with {theirs[1] / ours[1]:.0f} times less processor time than the thriftiest"
        )
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


def time_ours(states, labels, weights, rounds) -> tuple[float, float]:
    """Median seconds, and those of processor time."""
    from utils.probes.logistic.solver import solve

    seconds, worst = [], 0.0
    for _ in range(rounds):
        start, started = time.perf_counter(), time.process_time()
        found = solve(states, labels, weights, PENALTIES, summed=True)
        seconds.append((time.perf_counter() - start, time.process_time() - started))
    for column in range(LABELS * SAMPLES):
        for index, penalty in enumerate(PENALTIES):
            worst = max(
                worst,
                worst_gradient(
                    states,
                    labels[:, column],
                    weights[:, column],
                    found.weight[column, index],
                    found.bias[column, index],
                    penalty,
                ),
            )
    median = np.median(seconds, axis=0)
    print(
        f"  ours: {median[0]:.2f} s (of {', '.join(f'{one:.2f}' for one, _ in seconds)}; {median[1]:.2f} s of processor "
        f"time), largest gradient {worst:.1e}, converged {found.converged.all()}",
        flush=True,
    )
    return float(median[0]), float(median[1])


def path(solver, tolerance, threads, states, labels, weights):
    """One warm-started path: seconds, those of processor time, and the largest gradient of its fits."""
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
        start, started = time.perf_counter(), time.process_time()
        for penalty in PENALTIES:
            model.C = 1 / penalty
            model.fit(states, labels)
            fits.append((model.coef_[0].copy(), float(model.intercept_[0]), penalty))
            if time.perf_counter() - start > PATIENCE:
                return np.inf, np.inf, np.inf
        seconds, processor = time.perf_counter() - start, time.process_time() - started
    ones = np.ones(len(labels))
    return seconds, processor, max(worst_gradient(states, labels, ones, *fit) for fit in fits)


def time_solver(solver, states, labels, weights, paths) -> tuple[float, float]:
    """Seconds and processor time for all 21 paths, from `paths` of them."""
    cores, problems = os.cpu_count(), np.linspace(0, LABELS * SAMPLES - 1, paths).round().astype(int)
    for tolerance in TOLERANCES[solver]:
        seconds, _, worst = path(solver, tolerance, cores, states, labels[:, 0], weights[:, 0])
        if worst <= LIMIT:
            break
        print(f"    {solver}, tolerance {tolerance:g}: largest gradient {worst:.1e} after {seconds:.1f} s", flush=True)
    else:
        return np.inf, np.inf
    together = [path(solver, tolerance, cores, states, labels[:, one], weights[:, one]) for one in problems]
    with ProcessPoolExecutor(cores) as pool:
        waiting = [pool.submit(path, solver, tolerance, 1, states, labels[:, one], weights[:, one]) for one in problems]
        apart = [future.result() for future in waiting]
    ways = {
        f"1 process x {cores} threads": sum(seconds for seconds, *_ in together) / paths,
        f"{cores} processes x 1 thread": sum(seconds for seconds, *_ in apart) / paths / min(cores, paths),
    }
    name, each = min(ways.items(), key=lambda pair: pair[1])
    worst = max(gradient for *_, gradient in (*together, *apart))
    processor = min(sum(spent for _, spent, _ in way) for way in (together, apart)) / paths
    print(
        f"  {solver}, tolerance {tolerance:g}: {each * LABELS * SAMPLES:.1f} s for all ({each:.2f} s a path, {name}; "
        f"{processor:.2f} s of processor time; from {paths} paths), largest gradient {worst:.1e}"
        f"{'' if worst <= LIMIT else ' (too large)'}",
        flush=True,
    )
    return each * LABELS * SAMPLES, processor * LABELS * SAMPLES


def time_one_fit(states, labels, weights) -> tuple[float, float]:
    """Median seconds of 3 for one label at one penalty: ours, and the faster of scikit-learn's lbfgs and newton-cholesky."""
    from sklearn.linear_model import LogisticRegression

    from utils.probes.logistic.solver import solve

    penalty, column = PENALTIES[len(PENALTIES) // 2], labels[:, 0]
    calls = {"ours": lambda: solve(states, column, None, [penalty / len(column)])}
    for solver, tolerance in (("lbfgs", 1e-6), ("newton-cholesky", 1e-4)):
        calls[solver] = lambda solver=solver, tolerance=tolerance: LogisticRegression(
            solver=solver, tol=tolerance, C=1 / penalty, max_iter=2000
        ).fit(states.astype(np.float64), column)
    seconds = {name: [] for name in calls}
    for _ in range(3):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    return medians.pop("ours"), min(medians.values())


def time_from_disk(folder, matrices=5, rows=50_000, hidden_size=4096, l2=1e-3):
    import torch

    from utils.probes.logistic.solver import solve
    from utils.states.matrices import Matrices

    torch.manual_seed(0)
    files = [folder / f"states_{index}.bin" for index in range(matrices)]
    labels = [write_states(file, rows, hidden_size) for file in files]
    before, seconds, processor, found = peak_memory(), [], 0.0, []
    for file, columns in zip(files, labels, strict=True):
        states = torch.from_file(str(file), shared=True, size=rows * hidden_size, dtype=torch.bfloat16).view(1, rows, -1)
        start, started = time.perf_counter(), time.process_time()
        found.append(solve(Matrices.of(states), columns, None, [l2]))
        seconds.append(time.perf_counter() - start)
        processor += time.process_time() - started
        del states
    peak, worst = peak_memory(), 0.0
    for file, columns, each in zip(files, labels, found, strict=True):
        states = torch.from_file(str(file), shared=True, size=rows * hidden_size, dtype=torch.bfloat16).view(rows, -1)
        worst = max(worst, worst_gradient_in_blocks(states, columns, each, l2))
    print(
        f"{matrices * LABELS} probes at hidden size {hidden_size} on {rows:,} rows: {sum(seconds):.1f} s "
        f"({', '.join(f'{one:.1f}' for one in seconds)} s a matrix; {processor:.1f} s of processor time), "
        f"iterations {[int(each.iterations.max()) for each in found]}, largest gradient {worst:.1e}, converged "
        f"{all(each.converged.all() for each in found)}; peak memory {peak:.2f} GB, with the mapped pages of a file "
        f"({files[0].stat().st_size / 2**30:.2f} GB); {before:.2f} GB before"
    )


def peak_memory() -> float:
    """GB of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def write_states(file, rows, hidden_size, strong=64, at_once=2000):
    """bfloat16 states: `strong` directions, noise of 1, features with means of about 3. Returns labels [rows, 7]."""
    import torch

    directions = torch.randn(strong, hidden_size) / hidden_size**0.5 * torch.logspace(3.3, 1.5, strong)[:, None].sqrt() * 8
    mean, teacher = 3 * torch.randn(hidden_size), torch.randn(hidden_size, LABELS) / hidden_size**0.5
    labels = []
    with open(file, "wb") as out:
        for start in range(0, rows, at_once):
            count = min(at_once, rows - start)
            states = torch.randn(count, strong) @ directions + torch.randn(count, hidden_size)
            labels.append((torch.rand(count, LABELS) < torch.sigmoid(states @ teacher)).float())
            out.write((states + mean).bfloat16().view(torch.int16).numpy().tobytes())
    return torch.cat(labels).numpy()


def worst_gradient_in_blocks(states, labels, found, l2) -> float:
    """Of the mean loss on standardised states, in float64, 2,000 rows at a time."""
    blocks = [slice(start, start + 2000) for start in range(0, len(states), 2000)]
    mean = sum(states[rows].double().sum(0) for rows in blocks).numpy() / len(states)
    variance = sum(np.square(states[rows].double().numpy() - mean).sum(0) for rows in blocks) / len(states)
    product = 0.0
    for rows in blocks:
        block = states[rows].double().numpy()
        residual = 1 / (1 + np.exp(-(block @ found.weight[:, 0].T + found.bias[:, 0]))) - labels[rows]
        product = product + np.concatenate([((block - mean) / np.sqrt(variance)).T @ residual, residual.sum(0)[None]])
    product[:-1] = product[:-1] / len(states) + l2 * found.weight[:, 0].T * np.sqrt(variance)[:, None]
    product[-1] /= len(states)
    return float(np.abs(product).max())


if __name__ == "__main__":
    sys.exit(main())
