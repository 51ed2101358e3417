#!/usr/bin/env python3
"""Time the way from texts to trained sparse autoencoders of every layer: one shared pass, against one pass a layer.

The model has GPT-2's shape and random weights; the texts are random tokens in windows of --context_length. Both ways read
the same states by the same code and train the same autoencoders for one epoch. A pass for one layer stops at that layer, as
ours do. CPU seconds (all threads), the medians of interleaved rounds. With --layers_timed fewer layers are trained alone,
spread evenly over the depth, and all of them are estimated from these; the rest is measured.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value, what in (
        ("tokens", 200_000, "text tokens"),
        ("layers", 12, "blocks of the model"),
        ("hidden_size", 768, "of the model"),
        ("latents", 1024, "of each autoencoder"),
        ("batch_size", 1024, "states a step"),
        ("context_length", 256, "tokens a window"),
        ("layers_timed", 12, "layers that are trained alone"),
        ("rounds", 3, "interleaved; the medians count"),
    ):
        parser.add_argument(f"--{name}", type=int, default=value, help=what)
    parser.add_argument("--target_l0", type=float, default=32, help="active latents at a token")
    parser.add_argument("--buffer_gb", type=float, default=16, help="of states in memory")
    arguments = parser.parse_args(argv)
    language_model, splits = make_model(arguments), make_texts(arguments)
    every = tuple(range(arguments.layers))
    alone = [every[index] for index in np.linspace(0, len(every) - 1, arguments.layers_timed).round().astype(int)]
    together, apart = [], []
    for _ in range(arguments.rounds):
        together.append(seconds_of(arguments, language_model, splits, every))
        apart.append([seconds_of(arguments, language_model, splits, (layer,)) for layer in alone])
    shared = [statistics.median(part) for part in zip(*together, strict=True)]
    each = [[statistics.median(part) for part in zip(*of_layer, strict=True)] for of_layer in zip(*apart, strict=True)]
    scale = len(every) / len(alone)
    single = [scale * sum(part) for part in zip(*each, strict=True)]
    for name, (read, train) in (("one shared pass", shared), ("one pass a layer", single)):
        print(f"{name}: {read + train:,.0f} s of CPU ({read:,.0f} to read states, {train:,.0f} to train)")
    print(f"{sum(single) / sum(shared):.2f} times as long; reading alone {single[0] / shared[0]:.2f} times")
    return 0


def make_model(arguments):
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from utils.model.language_model import wrap

    torch.manual_seed(0)
    shape = {"n_layer": arguments.layers, "n_embd": arguments.hidden_size, "n_head": max(1, arguments.hidden_size // 64)}
    return wrap(GPT2LMHeadModel(GPT2Config(**shape)), "a random GPT-2")


def make_texts(arguments):
    from utils.data.sequences import unlabelled_sequences

    random = np.random.default_rng(0)
    splits = {}
    for split, tokens in (
        ("train", arguments.tokens),
        ("validation", 2 * arguments.context_length),
        ("held_out", max(2 * arguments.context_length, arguments.tokens // 50)),
    ):
        ids = random.integers(1000, 50_000, (tokens // arguments.context_length, arguments.context_length))
        splits[split] = unlabelled_sequences(list(ids), documents=np.arange(len(ids)))
        splits[split].metadata = {"tokenizer": {"before": [], "after": [], "special": [50256]}}
    return splits


def seconds_of(arguments, language_model, splits, layers) -> tuple[float, float]:
    """CPU seconds that reading the states of these layers takes, and one epoch of training on them."""
    import contextlib
    import io

    from utils.sae.goals import Goal, Recipe
    from utils.sae.supply.gathered import Gathering, batches_of, gather
    from utils.sae.supply.left_out import Excluding
    from utils.sae.training.training import Training

    began = time.process_time()
    how = Gathering(layers, 8, None, arguments.buffer_gb, Excluding())
    with contextlib.redirect_stdout(io.StringIO()):
        supply = gather(how, language_model, splits)
    read = time.process_time()
    batches = batches_of(supply, how, arguments.hidden_size, arguments.batch_size, 1)
    goals = [Goal("jumprelu", arguments.target_l0, 0, layer) for layer in layers]
    recipe = Recipe(arguments.latents, batches.steps, arguments.batch_size)
    training = Training.begin(goals, supply.train.sample(4096), recipe, "cpu")
    for step in range(batches.steps):
        training.step(batches.batch(step, 0))
    return read - began, time.process_time() - read


if __name__ == "__main__":
    sys.exit(main())
