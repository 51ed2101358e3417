"""Latents that two runs share, on planted dictionaries and against the Hungarian method; spreads against NumPy."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch.nn.functional import normalize

from evaluated_autoencoders import COST, FOUND, evaluation
from utils.sae.autoencoder import SparseAutoencoder
from utils.sae.evaluation import seeds
from utils.sae.evaluation.results import Evaluation
from utils.sae.evaluation.seeds import random_like, seeds_compared, seeds_table, shared_latents

HIDDEN = 32


def drawn(rows, seed):
    return normalize(torch.randn(rows, HIDDEN, generator=torch.Generator().manual_seed(seed)), dim=1)


def planted(common, own, noise=0.05):
    """Two dictionaries in other orders, with `common` rows in both, up to noise and length, and others of their own."""
    rows = drawn(common, 0)
    order = torch.randperm(common + own, generator=torch.Generator().manual_seed(1))
    other = torch.cat([rows + noise * drawn(common, 2), drawn(own, 3)])[order]
    return torch.cat([rows, drawn(own, 4)]), 3 * other


@pytest.mark.parametrize("common, own", [(60, 0), (45, 15), (0, 60)])
def test_planted_latents_are_found_in_any_order(common, own):
    one, other = planted(common, own)
    assert shared_latents(one, other) == shared_latents(other, one) == common / (common + own)


def test_pairs_are_those_of_the_hungarian_method():
    one, other = planted(40, 20, noise=0.6)
    cosines = (normalize(one, dim=1) @ normalize(other, dim=1).mT).numpy()
    rows, columns = linear_sum_assignment(-cosines)
    expected = (cosines[rows, columns] > 0.7).mean()
    assert shared_latents(one, other) == pytest.approx(expected) and 0.3 < expected < 0.7


def test_a_latent_that_was_split_is_found_once():
    one = drawn(10, 0)
    split = torch.cat([one, one + 0.3 * drawn(10, 1)])
    assert shared_latents(one, split) == 2 * 10 / 30


def test_opposite_directions_are_not_the_same():
    assert shared_latents(drawn(20, 0), -drawn(20, 0)) == 0


def test_blocks_and_empty_decoders(monkeypatch):
    one, other = planted(30, 9)
    whole = shared_latents(one, other)
    monkeypatch.setattr(seeds, "BLOCK_BYTES", 4 * len(other) * 4)
    assert shared_latents(one, other) == whole == 30 / 39
    assert shared_latents(one[:0], other) == shared_latents(one, other[:0]) == 0


def test_a_random_dictionary_keeps_the_covariance_and_nothing_else():
    narrow = drawn(4000, 0) * torch.linspace(1, 0.01, HIDDEN)
    narrow = normalize(narrow, dim=1)
    like = random_like(narrow)
    moments = [rows.mT @ rows / len(rows) for rows in (narrow, like)]
    assert like.shape == narrow.shape and (moments[0] - moments[1]).abs().max() < 0.01
    assert shared_latents(narrow[:200], random_like(narrow[:200])) < 0.2


def run(seed, decoder, density=1.0, **changes):
    zeros, about = torch.zeros(len(decoder)), {**evaluation().autoencoder.about, "seed": seed}
    autoencoder = SparseAutoencoder(decoder, zeros, decoder, torch.zeros(HIDDEN), zeros, about)
    density = torch.as_tensor(density, dtype=torch.float64).expand(len(decoder))
    return Evaluation(autoencoder, replace(FOUND, density=density, **changes), COST)


def test_figures_over_seeds_are_means_and_deviations_and_pairs_are_averaged():
    one, other = planted(45, 15)
    runs = [run(0, one, fvu=0.2), run(1, other, fvu=0.26), run(2, one.flip(0), fvu=0.23)]
    (found,) = seeds_compared([*runs, evaluation(layer=3)])
    assert found.seeds == (0, 1, 2) and found.layer == 5
    assert found.figures["fvu"] == pytest.approx((0.23, np.std([0.2, 0.26, 0.23], ddof=1)))
    assert found.figures["recovered"] == pytest.approx((0.96, 0))
    assert found.shared == pytest.approx((0.75 + 1 + 0.75) / 3) and found.by_chance < 0.1
    assert json.loads(json.dumps(found.record()))["figures"]["fvu"]["mean"] == pytest.approx(0.23)
    row = seeds_table([found]).splitlines()[1]
    assert "0.230 ± 0.030" in row and "83.3%" in row and "0,1,2" in row


def test_dead_latents_are_not_shared_and_targets_are_not_mixed():
    """Latents that were never active keep their first weights, and those are chance."""
    one, other = planted(45, 15)
    alive = torch.tensor([1.0] * 45 + [0.0] * 15)
    (found,) = seeds_compared([run(0, one, alive), run(1, other)])
    assert found.shared == pytest.approx(2 * 45 / 105)
    assert seeds_compared([run(0, one), evaluation(target_l0=16, seed=1)]) == []


def test_figures_that_were_not_computed_are_left_out():
    runs = [replace_cost(run(0, drawn(9, 0))), run(1, drawn(9, 0))]
    (found,) = seeds_compared(runs)
    assert "recovered" not in found.figures and found.shared == 1
    assert seeds_table([found]).splitlines()[1].split()[-3:] == ["-", "100.0%", f"{found.by_chance:.1%}"]


def replace_cost(evaluated):
    return Evaluation(evaluated.autoencoder, evaluated.reconstruction, None, "it has no last norm")
