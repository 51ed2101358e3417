#!/usr/bin/env python3
"""Measure on a GPU how many tokens a second train sparse autoencoders of GPT-2's shape, and how many the pass reads.

    python bench/gpu.py                     # CUDA: under 5 minutes on an H100
    python bench/gpu.py --device cpu --small   # a test of this file, no measurement

It prints three tables:

- gradients of a stack on the device against those of the sparse steps in float64 on CPU, within stated tolerances;
- training: one layer, and all layers as one stack, hidden size 768, 24,576 latents, batches of 4,096 states, L0 about 64.
  A step is complete: gradients, clipping, projection, Adam, rows of unit norm, and how long each latent has been silent.
  Weights are float32; products of [batch, latents] are in the type that is named. A token of a text is a state of every
  layer in the stack. "compiled" lets torch.compile join the passes over memory. Plain autograd stands beside them;
- the pass: GPT-2's and gemma-3-270m's shape with random weights, all layers read at every position by `read_batches`,
  states in main memory afterwards, beside the model's bare forward.

Kernels have run three times before the clock starts; figures are medians.
"""

import argparse
import gc
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

GPT2 = {
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "vocab_size": 50257,
    "n_positions": 1024,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
SMALL_GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 500, "n_positions": 64}
# The largest difference of a gradient, as a share of its norm. States and weights are exact in every type here, and no
# pre-activation lies at a threshold or at an edge of the window, where rounding would decide.
TOLERANCES = {"float32": 1e-5, "tf32": 2e-3, "bfloat16": 2e-2}
MARGIN = 1e-5
SECONDS = 2.0  # of each variant, about


@dataclass(frozen=True)
class Sizes:
    hidden_size: int = 768
    layers: int = 12
    latents: int = 24_576
    batch: int = 4096
    target: float = 64.0
    context: int = 512
    sequences: int = 256
    at_once: int = 32


SMALL = Sizes(32, 2, 256, 64, 8.0, 32, 8, 4)


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, or cpu with --small (default: cuda)")
    parser.add_argument("--small", action="store_true", help="tiny sizes: a test of this file, no measurement")
    parser.add_argument("--no_compile", action="store_true", help="leave out what needs Triton and a C compiler")
    arguments = parser.parse_args(argv)
    import torch

    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("bench/gpu.py measures CUDA, which torch does not find here; try --device cpu --small", file=sys.stderr)
        return 2
    device, sizes = torch.device(arguments.device), SMALL if arguments.small else Sizes()
    card = torch.cuda.get_device_name() if device.type == "cuda" else "no GPU"
    print(f"{card}, torch {torch.__version__}, {sizes}\n", flush=True)
    started = time.perf_counter()
    failed = check_gradients(device)
    train(device, sizes, not arguments.no_compile)
    read(device, sizes, arguments.small)
    print(f"\n{time.perf_counter() - started:.0f} s in all" + (", no measurement" if arguments.small else ""))
    return int(failed)


# Gradients


def drawn(device, stack, latents, hidden_size, batch, target):
    """Draw (parameters, states, {kind: what is asked}): E||x||^2 = 1, L0 about `target`, a window of a quarter of it."""
    import torch

    from utils.sae.steps.parameters import BatchTopK, JumpReLU, Parameters

    torch.manual_seed(0)
    decoder = torch.randn(stack, latents, hidden_size, device=device)
    decoder /= decoder.norm(dim=-1, keepdim=True)
    states = torch.randn(stack, batch, hidden_size, device=device) / hidden_size**0.5
    few = (states[:, :64] @ decoder.mT).flatten(1).sort(dim=1, descending=True).values
    rank = round(target * min(64, batch))
    threshold, above, below = few[:, rank], few[:, round(0.875 * rank)], few[:, round(1.125 * rank)]
    each = torch.ones_like(threshold)
    zeros = torch.zeros(stack, latents, device=device), torch.zeros(stack, hidden_size, device=device)
    spread = threshold[:, None].expand(stack, latents).clone()
    parameters = Parameters(decoder.clone(), zeros[0], decoder, zeros[1], spread)
    kinds = {
        "JumpReLU": JumpReLU(above - below, 3 * each, 0.9 * target * each),
        "BatchTopK": BatchTopK(target * each, threshold, torch.zeros_like(threshold)[:, None]),
    }
    return parameters, states, kinds


def check_gradients(device) -> bool:
    """Print the table of differences; return whether any is beyond its tolerance."""
    from utils.sae.steps.sparse import SparseSteps

    parameters, states, kinds = drawn("cpu", 3, 2048, 256, 1024, 32.0)
    for tensor in (parameters.encoder, parameters.decoder, states):
        tensor.copy_(tensor.bfloat16())
    keep_apart(parameters, states, kinds["JumpReLU"])
    wrong = False
    print("gradients of a stack of 3: the largest |difference| / |gradient in float64 on CPU| of any parameter")
    for name, asked in kinds.items():
        exact = (as_type(parameters, "double"), states.double(), as_type(asked, "double"))
        truth = SparseSteps()(*exact)
        there = (as_type(parameters, device), states.to(device), as_type(asked, device))
        for products, limit in TOLERANCES.items() if device.type == "cuda" else [("float32", TOLERANCES["float32"])]:
            found = distance(steps_of(products)(*there), truth)
            wrong |= found > limit
            print(f"  {name:12}{products:12}{found:8.1e} (<= {limit:g})  {'FAIL' if found > limit else 'PASS'}", flush=True)
    return wrong


def as_type(stacked, to):
    return type(stacked)(*(tensor.double() if to == "double" else tensor.to(to) for tensor in stacked.tensors.values()))


def keep_apart(parameters, states, asked):
    """Raise thresholds until no pre-activation is within MARGIN of one, or of an edge of its window."""
    z = (states.double() @ parameters.encoder.double().mT).mT
    for _ in range(100):
        offset = (z - parameters.threshold.double()[..., None]).abs()
        edge = asked.width.double()[:, None, None] / 2
        near = ((offset < MARGIN) | ((offset - edge).abs() < MARGIN)).any(-1)
        parameters.threshold[near] += 3 * MARGIN


def distance(step, truth) -> float:
    found = [0.0]
    for ours, theirs in zip(step.gradients, truth.gradients, strict=True):
        for name, gradient in theirs.tensors.items():
            if gradient.any():
                found.append(float((ours.tensors[name].double().cpu() - gradient).norm() / gradient.norm()))
    return max(found)


def steps_of(products, compiled=False):
    """Make dense steps with products in float32, tf32 or bfloat16. tf32 is a switch of the whole process."""
    import torch

    from utils.sae.steps.dense import DenseSteps

    torch.set_float32_matmul_precision("high" if products == "tf32" else "highest")
    return DenseSteps(torch.bfloat16 if products == "bfloat16" else None, compiled)


# Training


def train(device, sizes, compiled):
    """Print tokens/s of each variant."""
    print(f"\ntraining{'':34}{'ms a step':>10}{'tokens/s':>12}{'states/s':>12}{'L0':>7}{'GB':>7}")
    for architecture in ("JumpReLU", "BatchTopK"):
        variants = [(1, "float32", "eager"), (1, "tf32", "autograd")]
        for stack in (1, sizes.layers):
            variants += [(stack, "tf32", "eager"), (stack, "bfloat16", "eager")]
            variants += [(stack, "bfloat16", "compiled")] * compiled
        for stack, products, way in variants:
            title = f"{architecture}, {stack} layer{'s' * (stack > 1)}, {products}, {way}"
            try:
                seconds, l0, gigabytes = time_variant(device, sizes, architecture, stack, products, way)
            except Exception as error:  # another variant may run where this one does not, as without Triton
                print(f"  {title}: failed, {type(error).__name__}: {str(error).splitlines()[:1]}", flush=True)
                seconds = None
            release(device)
            if seconds:
                rate = sizes.batch / seconds
                print(
                    f"  {title:40}{seconds * 1e3:>10.2f}{rate:>12,.0f}{rate * stack:>12,.0f}{l0:>7.1f}{gigabytes:>7.1f}",
                    flush=True,
                )


def time_variant(device, sizes, architecture, stack, products, way):
    """(median seconds of a step, L0 of the last one, GB at the peak) of training; the batch differs from step to step."""
    import torch

    from utils.sae.steps.optimiser import Optimiser

    parameters, states, kinds = drawn(device, stack, sizes.latents, sizes.hidden_size, sizes.batch, sizes.target)
    asked = kinds[architecture]
    steps = autograd_steps(products) if way == "autograd" else steps_of(products, way == "compiled")
    optimiser = Optimiser(parameters, [1e-6] * stack, [1e-8] * stack)
    silent = torch.zeros(stack, sizes.latents, device=device)

    def one(shift):
        given = states.roll(shift, dims=-1)
        start = time.perf_counter()
        step = steps(parameters, given, asked)
        optimiser.step(step.gradients)
        silent.add_(sizes.batch).masked_fill_(step.fired, 0)
        synchronize(device)
        return time.perf_counter() - start, step.l0

    first = [one(shift)[0] for shift in range(3)][-1]
    timed = [one(shift) for shift in range(int(min(20, max(5, SECONDS / first))))]
    peak = torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else 0.0
    return median(seconds for seconds, _ in timed), float(timed[-1][1].mean()), peak


def autograd_steps(products):
    """Plain dense autograd of one layer, as tests compare with."""
    from types import SimpleNamespace

    from plain_sae import plain_batchtopk, plain_jumprelu
    from utils.sae.steps.parameters import JumpReLU, Parameters

    steps_of(products)  # sets tf32

    def steps(parameters, states, asked):
        plain = plain_jumprelu if isinstance(asked, JumpReLU) else plain_batchtopk
        wanted = {name: value[0] for name, value in asked.tensors.items() if name != "guess"}
        gradients, _, latents, _ = plain(parameters.members[0], states[0], **wanted)
        active = latents != 0
        l0 = active.sum() / len(latents)
        return SimpleNamespace(gradients=[Parameters(**gradients)], l0=l0, fired=active.any(0)[None])

    return steps


# The pass


def read(device, sizes, small):
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    print(f"\nthe pass, {sizes.sequences} x {sizes.context} tokens{'':16}{'bare forward':>14}{'read_batches':>14}  tokens/s")

    def gpt2():
        torch.manual_seed(0)
        return GPT2LMHeadModel(GPT2Config(**(GPT2 | SMALL_GPT2 if small else GPT2)))

    def gemma():
        from extraction import make_model

        return make_model(small)

    torch.set_float32_matmul_precision("high")
    for title, make in (("GPT-2", gpt2), ("gemma-3-270m", gemma)):
        for dtype in (torch.float32, torch.bfloat16):
            name = f"{title}, {str(dtype).removeprefix('torch.')}"
            try:
                bare, ours = time_pass(make().to(device, dtype), sizes)
            except Exception as error:
                print(f"  {name}: failed, {type(error).__name__}: {str(error).splitlines()[:1]}", flush=True)
            else:
                print(f"  {name:40}{bare:>14,.0f}{ours:>14,.0f}  ({ours / bare:.0%})", flush=True)
            release(device)


def time_pass(model, sizes) -> tuple[float, float]:
    """tokens/s of the bare forward, and of the pass that reads all layers at all positions but the first."""
    import numpy as np
    import torch

    from utils.data.sequences import Sequences
    from utils.model.language_model import wrap
    from utils.states.forward_pass import Pass, read_batches
    from utils.states.positions import ReadPlan

    wrapped, count, length = wrap(model), sizes.sequences, sizes.context
    input_ids = np.random.default_rng(0).integers(3, model.config.vocab_size, (count, length), dtype=np.int32)
    nothing = np.zeros(count, dtype=np.int32)
    labels = np.full((count, length), -1, dtype=np.int8)
    metadata = {"tokenizer": {"before": [0], "after": []}}
    sequences = Sequences(input_ids, nothing + length, labels, nothing, nothing, nothing, nothing.astype(np.int64), metadata)
    layers = tuple(range(len(wrapped.anatomy.blocks)))
    plan = ReadPlan(np.repeat(np.arange(count), length - 1), np.tile(np.arange(1, length), count), layers)
    batches = torch.from_numpy(input_ids).long().split(sizes.at_once)

    def bare():
        with torch.inference_mode():
            for batch in batches:
                wrapped.body(input_ids=batch.to(wrapped.device), use_cache=False)

    def ours():
        return sum(len(values) for _, _, values in read_batches(Pass(wrapped, sequences, plan, sizes.at_once)))

    seconds = {bare: [], ours: []}
    for _ in range(4):
        for go, spent in seconds.items():
            start = time.perf_counter()
            go()
            synchronize(wrapped.device)
            spent.append(time.perf_counter() - start)
    assert ours() == len(plan) * len(layers)
    return tuple(count * length / median(spent[1:]) for spent in seconds.values())


def synchronize(device):
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize()


def release(device):
    import torch

    gc.collect()
    torch.compiler.reset()  # one shape a variant: none is compiled for several
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


if __name__ == "__main__":
    sys.exit(main())
