"""The loop that trains probes: the best epoch, and each probe as if alone."""

import numpy as np
import pytest
import torch

from made_states import made, noisy
from utils.probes.descent.linear import train
from utils.probes.descent.mlp import train_mlp
from utils.probes.descent.training import Settings
from utils.probes.labels import LabelledStates
from utils.scores.metrics import at_threshold
from utils.states.matrices import Matrices


@pytest.mark.parametrize("run", [train, train_mlp])
def test_a_column_and_layer_alone_and_in_company_give_the_same_probe(run):
    settings = Settings(epochs=3, learning_rate=3e-3, pos_weight_cap=None)
    both = [made(seed) for seed in range(2)], [made(seed) for seed in range(2, 4)]
    states, held_out = (np.stack([states for states, _ in each]).astype(np.float32) for each in both)
    labels, truth = (each[0][1] for each in both)
    weights = np.random.default_rng(5).random((400, 3)) + 0.1
    weights[:, 1] *= np.arange(400) % 3 > 0
    there = np.arange(400)[:, None] % [2, 1, 3] == 0
    train_on, validate_on = (
        LabelledStates(Matrices.of(states), labels, weights),
        LabelledStates(Matrices.of(held_out), truth, there),
    )
    together, again = run(train_on, validate_on, settings), run(train_on, validate_on, settings)
    logits = together.probes.logits(Matrices.of(held_out))
    assert logits.shape == (2, 3, 400) and np.array_equal(logits, again.probes.logits(Matrices.of(held_out)))
    for layer, column in np.ndindex(2, 3):
        here, validated = Matrices.of(states[layer : layer + 1]), Matrices.of(held_out[layer : layer + 1])
        alone = run(
            LabelledStates(here, labels[:, column], 7 * weights[:, column]),
            LabelledStates(validated, truth[:, column], there[:, column]),
            settings,
        )
        own = alone.probes.logits(validated)
        assert own.shape == (1, 1, 400)
        np.testing.assert_allclose(own[0, 0], logits[layer, column], atol=1e-3)
        assert alone.epoch[0][0] == together.epoch[layer][column]
        assert alone.threshold[0][0] == pytest.approx(together.threshold[layer][column], abs=1e-3)
        share = np.average(labels[:, column], weights=weights[:, column])
        assert together.pos_weight[column] == pytest.approx((1 - share) / share, rel=1e-5)
        for name, tensor in together.probes.tensors(layer, column).items():
            scale = float(tensor.abs().max())
            torch.testing.assert_close(alone.probes.tensors(0, 0)[name], tensor, rtol=1e-2, atol=1e-3 * scale)
    other = run(LabelledStates(Matrices.of(states), labels), LabelledStates(Matrices.of(held_out), truth), settings)
    assert np.abs(other.probes.logits(Matrices.of(held_out)) - logits).max() > 0.1  # weights do count


def test_the_saved_weights_are_those_of_the_best_epoch_and_not_of_the_last():
    (states, labels), (held_out, truth) = noisy(0, n=60), noisy(1)
    validated = LabelledStates(Matrices.of(held_out), truth)
    trained = train(LabelledStates(Matrices.of(states), labels), validated, Settings(epochs=30, learning_rate=0.3))
    logits = trained.probes.logits(Matrices.of(held_out))[:, 0]
    assert np.min(trained.epoch) < 30, "nothing to tell apart: every best epoch is the last"
    for layer, (epoch,) in enumerate(trained.epoch):
        history = [scores[layer][0]["val_balanced_accuracy"] for scores in trained.history]
        assert history[epoch - 1] == max(history)
        measured = at_threshold(logits[layer], truth, trained.threshold[layer][0])["balanced_accuracy"]
        assert measured == pytest.approx(max(history), abs=1e-12)
