#!/usr/bin/env python3
"""Time of the refit bootstrap: logistic probes of many layers, each fitted again to resamples of the training groups."""

import argparse
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--probes", type=int, default=35, help="one a layer")
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--examples", type=int, default=5000, help="of train; validation and test have half as many")
    parser.add_argument("--hidden_size", type=int, default=640)
    arguments = parser.parse_args(argv)
    from utils.states.matrices import Matrices
    from utils.sweep.fits import Fitting, Task
    from utils.sweep.refits.bootstrap import REFIT_SCORES, refit

    examples = {name: make(n, seed) for seed, (name, n) in enumerate(sizes(arguments).items())}
    labels = {name: found.labels[None] for name, found in examples.items()}
    task = Task(examples, labels, np.ones((len(examples["train"]), 1), dtype=bool), (0,))
    fitting = Fitting(("logistic",), 1, 1e-3, 0, None, (1e-3,), "weighted", None, (0,), 0)
    scores = {f"{name}{end}": value for name in REFIT_SCORES for end, value in (("", 0.8), ("_low", 0.7), ("_high", 0.9))}
    probes = [
        SimpleNamespace(kind="logistic", l2=1e-3, seed=0, layer=layer, metrics={"val": dict(scores), "test": dict(scores)})
        for layer in range(arguments.probes)
    ]

    def of_layer(name, layer):
        generator = torch.Generator().manual_seed(layer)
        states = torch.randn(1, len(examples[name]), arguments.hidden_size, generator=generator)
        states[0, :, 0] += torch.from_numpy(examples[name].labels.astype(np.float32))
        return Matrices.of(states)

    sweep = SimpleNamespace(chosen=probes, task=task, target="made up", lag=0)
    print(refit(sweep, SimpleNamespace(of_layer=of_layer), fitting, arguments.resamples))
    return 0


def sizes(arguments):
    return {"train": arguments.examples, "val": arguments.examples // 2, "test": arguments.examples // 2}


def make(n, seed):
    from utils.states.positions import Examples

    random, nothing = np.random.default_rng(seed), np.zeros(n, dtype=np.int64)
    return Examples(nothing, nothing, nothing, random.integers(0, 2, n).astype(np.int8), np.arange(n) // 20, nothing)


if __name__ == "__main__":
    sys.exit(main())
