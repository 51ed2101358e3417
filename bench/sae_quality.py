#!/usr/bin/env python3
"""Print what the recipe of sparse autoencoders reaches on held-out states that are stored as .npy files [n, hidden_size]."""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from utils.sae.goals import ARCHITECTURES, USUAL_BATCH, USUAL_EPOCHS, Goal, Recipe, usual_latents  # noqa: E402
from utils.sae.training.training import Training  # noqa: E402


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train", type=Path, help="states to train on")
    parser.add_argument("held_out", type=Path, help="states of other documents, 100,000 or more")
    parser.add_argument("--target_l0", default="4,16", help="latents active at a state, by commas")
    parser.add_argument("--d_hidden", type=int, help="number of latents; default: 8 a dimension")
    parser.add_argument("--seeds", default="0,1", help="seeds of the first weights, by commas")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on all states")
    arguments = parser.parse_args(argv)
    states, held_out = (
        torch.from_numpy(np.load(path)).float() * arguments.scale for path in (arguments.train, arguments.held_out)
    )
    latents = arguments.d_hidden or usual_latents(states.shape[1])
    print("| target L0 | architecture | seed | L0 | FVU | of PCA's | dead |\n| --- | --- | --- | --- | --- | --- | --- |")
    for target in map(float, arguments.target_l0.split(",")):
        beside = unexplained_by_components(states, held_out, round(target))
        for seed in map(int, arguments.seeds.split(",")):
            goals = [Goal(architecture, target, seed, 0) for architecture in ARCHITECTURES]
            for goal, sae in zip(goals, trained(goals, states, latents), strict=True):
                l0, fvu, dead = measured(sae, held_out)
                of_components = f"{fvu / beside:.2f}" if beside else "-"
                print(
                    f"| {target:g} | {goal.architecture} | {seed} | {l0:.2f} | {fvu:.4f} | {of_components} | {dead:.1%} |",
                    flush=True,
                )
    return 0


def trained(goals, states, latents):
    """Train as train_sae.py does by default, all goals on the same states."""
    batches = len(states) // USUAL_BATCH
    generator = torch.Generator().manual_seed(0)
    sample = states[torch.randperm(len(states), generator=generator)[:16_384]]
    recipe = Recipe(latents, USUAL_EPOCHS * batches)
    training = Training.begin(goals, sample.expand(len(goals), -1, -1), recipe, "cpu")
    for _ in range(USUAL_EPOCHS):
        order = torch.randperm(len(states), generator=generator)[: batches * USUAL_BATCH]
        for rows in order.view(batches, USUAL_BATCH):
            training.step(states[rows].expand(len(goals), -1, -1))
    return training.autoencoders()


def measured(sae, states):
    """Give L0, the unexplained share of the variance, and the share of latents that never fire."""
    active, error, fired = 0, 0.0, torch.zeros(sae.latents, dtype=torch.bool)
    for chunk in states.split(8192):
        latents = sae.encode(chunk)
        active, fired = active + int((latents > 0).sum()), fired | (latents > 0).any(0)
        error += float((sae.decode(latents) - chunk).double().square().sum())
    variance = float((states.double() - states.double().mean(0)).square().sum())
    return active / len(states), error / variance, float((~fired).float().mean())


def unexplained_by_components(states, held_out, count):
    """Give the share of the variance that so many principal components of `states` leave; 0 where they are all."""
    if count >= states.shape[1]:
        return 0.0
    mean = states.double().mean(0)
    components = torch.linalg.eigh(torch.cov((states - mean.float()).mT))[1][:, -count:].double()
    centred = held_out.double() - mean
    rest = (centred - centred @ components @ components.mT).square().sum()
    return float(rest / (held_out.double() - held_out.double().mean(0)).square().sum())


if __name__ == "__main__":
    sys.exit(main())
