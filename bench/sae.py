#!/usr/bin/env python3
"""Time one training step of a sparse autoencoder beside SAELens' own and plain dense autograd, on CPU in float32.

    python3 -m venv .bench/sae-lens     # requirements-bench.txt says how to fill it
    python bench/sae.py --sae_lens_python .bench/sae-lens/bin/python

All start from the same weights and see the same batches of 1,024 states of 768 dimensions. L0 is about 64, and the window
holds at least a tenth as many latents. Our steps and those of autograd (tests/plain_sae.py) do all that training needs:
project the decoder's gradient, clip, Adam (fused), normalise rows, count how long each latent is silent. SAELens' is its
trainer's step, which neither projects nor normalises. Contestants take turns. A turn is five steps, of which all but the
first count: in training a step follows its own and finds its caches warm. Figures are medians over all steps that count, on
one thread of the processor's time, which other processes change little, on two threads of the wall's.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

from worker import Worker

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

HIDDEN_SIZE, BATCH, TARGET, BATCHES, LEARNING_RATE, PULL = 768, 1024, 64.0, 4, 1e-6, 10.0
WINDOW = 0.13  # latents in the window, as a share of the active ones
STEPS = 5  # of a turn
GOALS = {  # least ratio of a contestant's time to our way's, on one thread, by number of latents
    ("jumprelu", "sparse"): {"SAELens": {4096: 4.0, 16384: 4.5}, "autograd": {4096: 3.5, 16384: 4.0}},
    ("batchtopk", "sparse"): {"SAELens": {4096: 4.5, 16384: 5.5}, "autograd": {4096: 3.5, 16384: 4.0}},
    ("jumprelu", "screened"): {"SAELens": {4096: 5.5, 16384: 7.0}},
}
ARCHITECTURES = ("jumprelu", "batchtopk")


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latents", default="4096,16384", help="of the autoencoders (default: 4096,16384)")
    parser.add_argument("--rounds", type=int, default=7, help="how often each contestant has its turn (default: 7)")
    parser.add_argument("--threads", default="1,2", help="of each contestant (default: 1,2)")
    parser.add_argument("--sae_lens_python", help="Python of an environment with SAELens (default: none)")
    arguments = parser.parse_args(argv)
    missed = 0
    for latents in map(int, arguments.latents.split(",")):
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            missed += compare(latents, arguments, Path(folder), stack)
    return int(missed > 0)


def compare(latents, arguments, folder, stack) -> int:
    """Print the table of one number of latents; return how many goals were missed."""
    parameters, batches, width, cut = drawn(latents)
    contestants = {}
    for architecture in ARCHITECTURES:
        for way in ("sparse", "screened", "dense", "autograd"):
            contestants[architecture, way] = Ours(architecture, way, parameters, batches, width, cut)
    if arguments.sae_lens_python:
        try:
            library = SaeLens(arguments.sae_lens_python, folder, parameters, batches, width, stack)
        except (OSError, RuntimeError) as error:
            print(f"SAELens: skipped, {error}")
        else:
            print(f"SAELens {library.version}")
            for architecture in ARCHITECTURES:
                contestants[architecture, "SAELens"] = library.of(architecture)
    missed = 0
    for threads in map(int, arguments.threads.split(",")):
        found = {key: [] for key in contestants}
        for number in range(-1, arguments.rounds):  # one round before they count
            for key, contestant in contestants.items():
                _, *steps = (contestant(step % BATCHES, threads) for step in range(STEPS))
                if number >= 0:
                    found[key] += steps
        missed += report(latents, threads, arguments.rounds, found)
    return missed


def drawn(latents):
    """Draw (parameters, batches, width of the window, the cut): states are mixtures of a few of the decoder's rows."""
    import torch

    from utils.sae.steps.parameters import Parameters

    torch.manual_seed(0)
    decoder = torch.nn.functional.normalize(torch.randn(latents, HIDDEN_SIZE))
    used = latents // 4
    chance = torch.arange(1, used + 1) ** -0.7
    chance *= 24 / chance.sum()
    magnitudes = (torch.rand(BATCHES, BATCH, used) < chance) * torch.rand(BATCHES, BATCH, used) * 2
    batches = magnitudes @ decoder[:used] + 0.02 * torch.randn(BATCHES, BATCH, HIDDEN_SIZE)
    batches /= batches.square().sum(-1).mean().sqrt()
    z = (batches[0] @ decoder.T).flatten()
    most = round(BATCH * TARGET)
    cut = float(z.topk(most).values[-1])
    width = 2 * float((z - cut).abs().kthvalue(round(WINDOW * most)).values)
    biases = torch.zeros(1, latents), torch.zeros(1, HIDDEN_SIZE)
    threshold = torch.full((1, latents), cut)
    return Parameters(decoder[None].clone(), biases[0], decoder[None], biases[1], threshold), batches, width, cut


class Ours:
    """Train with one way of computing a step; called with the number of a batch, it gives what a step took and found."""

    def __init__(self, architecture, way, parameters, batches, width, cut):
        import torch

        from utils.sae.steps.dense import DenseSteps
        from utils.sae.steps.optimiser import Optimiser
        from utils.sae.steps.parameters import BatchTopK, JumpReLU, Parameters
        from utils.sae.steps.sparse import SparseSteps

        self.parameters, self.batches = Parameters.stacked(parameters.members), batches
        each = torch.ones(1)
        jump = JumpReLU(width * each, PULL * each, TARGET * each)
        self.asked = jump if architecture == "jumprelu" else BatchTopK(TARGET * each, cut * each, 0 * each[:, None])
        make = {"sparse": SparseSteps, "screened": partial(SparseSteps, screened=True), "dense": DenseSteps}.get(way)
        self.step = make() if make else self.plain
        self.optimiser = Optimiser(self.parameters, [LEARNING_RATE], [LEARNING_RATE])
        self.silent = torch.zeros_like(self.parameters.threshold)

    def __call__(self, batch, threads) -> dict:
        import torch

        from utils.sae.steps.parameters import BatchTopK

        torch.set_num_threads(threads)
        states = self.batches[batch : batch + 1]
        start, started = time.perf_counter(), time.process_time()
        step = self.step(self.parameters, states, self.asked)
        self.optimiser.step(step.gradients)
        self.silent.add_(BATCH).masked_fill_(step.fired, 0)
        if isinstance(self.asked, BatchTopK):
            self.asked = replace(self.asked, guess=step.cut)
        spent = {"wall": time.perf_counter() - start, "processor": time.process_time() - started}
        return spent | {"l0": float(step.l0), "loss": float(step.loss), "window": float(step.in_window) / BATCH}

    def plain(self, parameters, states, asked):
        """Take the step by plain dense autograd."""
        import torch

        from plain_sae import plain_batchtopk, plain_jumprelu
        from utils.sae.steps.parameters import BatchTopK, Parameters, TrainingStep

        one, wanted = parameters.members[0], asked.members[0]
        if isinstance(asked, BatchTopK):
            gradients, loss, latents, residual = plain_batchtopk(one, states[0], wanted.k, wanted.lift)
        else:
            gradients, loss, latents, residual = plain_jumprelu(one, states[0], *wanted.tensors.values())
        active = latents != 0
        l0, none = active.sum()[None] / BATCH, torch.zeros(1)
        cut = asked.guess if isinstance(asked, BatchTopK) else none
        return TrainingStep([Parameters(**gradients)], loss[None], l0, active.any(0)[None], none, cut, residual[None])


class SaeLens(Worker):
    """Start SAELens in its environment, and ask it. Closing `stack` ends it."""

    def __init__(self, python, folder, parameters, batches, width, stack):
        import torch

        given = {name: tensor[0] for name, tensor in parameters.tensors.items()}
        given |= {"batches": batches, "width": width, "pull": PULL, "target": TARGET, "learning_rate": LEARNING_RATE}
        torch.save(given, folder / "given.pth")
        super().__init__([python, ROOT / "bench" / "other_sae.py", folder / "given.pth"], folder / "sae-lens.log", stack)
        self.version = f"{self.greeting['version']}, torch {self.greeting['torch']} (ours {torch.__version__})"

    def of(self, architecture):
        return lambda batch, threads: self.ask(architecture=architecture, batch=batch, threads=threads)


def report(latents, threads, rounds, found) -> int:
    """Print what each took, and how much longer than our sparse step. Return how many goals were missed."""
    missed, clock = 0, "processor" if threads == 1 else "wall"
    threaded = f"{threads} thread{'s' * (threads > 1)}"
    print(f"\n{latents:,} latents, {threaded}, ms of the {clock}'s clock, medians of {rounds} rounds")
    print(f"{'':22}{'ms':>9}{'of sparse':>11}{'of screened':>13}{'L0':>8}{'window':>8}{'loss':>10}")
    took = {key: median(step[clock] for step in steps) for key, steps in found.items()}
    for (architecture, way), steps in found.items():
        ratios, verdicts = [], ""
        for ours in ("sparse", "screened"):
            ratio = took[architecture, way] / took[architecture, ours]
            ratios.append(ratio)
            goal = GOALS.get((architecture, ours), {}).get(way, {}).get(latents) if threads == 1 else None
            if goal:
                verdicts += f"  {'PASS' if ratio >= goal else 'FAIL'} (of {ours} >= {goal})"
                missed += ratio < goal
        last = steps[-1]
        print(
            f"{architecture + ', ' + way:22}{took[architecture, way] * 1e3:>9.1f}{ratios[0]:>11.2f}{ratios[1]:>13.2f}"
            f"{last['l0']:>8.2f}{last.get('window', 0):>8.2f}{last['loss']:>10.6f}{verdicts}"
        )
    sys.stdout.flush()
    return missed


if __name__ == "__main__":
    sys.exit(main())
