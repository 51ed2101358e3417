"""A label that stands in one layer at one lag is found there and nowhere else."""

import numpy as np
import pytest
import torch

from utils.data.sequences import Sequences
from utils.probes.descent.linear import train
from utils.probes.descent.training import Settings
from utils.probes.labels import LabelledStates
from utils.scores.ranking import auroc
from utils.states.matrices import Matrices
from utils.states.positions import ReadPlan, examples_at
from utils.states.store import StateTable

LAYERS, LAGS, HIDDEN, WIDTH = ["embed", 0, 1, "final_norm"], (-3, -2, -1, 0, 1), 16, 30
PLANTED_LAYER, PLANTED_LAG = 1, -2


def planted(seed, number):
    """Make sequences with fair-coin labels, and random states that hold the label of the token two ahead in layer 1 only."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, size=(number, WIDTH)).astype(np.int8)
    labels[:, 0] = -1  # BOS
    zeros = np.zeros(number, dtype=np.int32)
    sequences = Sequences(
        random.integers(2, 90, size=(number, WIDTH)).astype(np.int32),
        zeros + WIDTH,
        labels,
        zeros,
        np.arange(number, dtype=np.int32),
        zeros,
        zeros.astype(np.int64),
        {"tokenizer": {"before": [1], "after": []}},
    )
    states = random.normal(size=(len(LAYERS), number, WIDTH, HIDDEN)).astype(np.float32)
    at = LAYERS.index(PLANTED_LAYER)
    for position in range(1, WIDTH):
        read = position + PLANTED_LAG
        if read >= 0:
            states[at, :, read, 3] += 6.0 * labels[:, position]
    return sequences, states


@pytest.mark.slow
def test_found_at_its_layer_and_lag_and_nowhere_else():
    splits = {name: planted(seed, number) for seed, (name, number) in enumerate({"train": 250, "val": 250}.items())}
    examples = {lag: {name: examples_at(sequences, lag) for name, (sequences, _) in splits.items()} for lag in LAGS}
    plans = {name: ReadPlan.union([found[name] for found in examples.values()]) for name in splits}
    tables = {
        name: StateTable(
            LAYERS,
            [
                {
                    "states": torch.from_numpy(states[:, plans[name].sequence, plans[name].position]),
                    "own": torch.zeros(len(plans[name])),
                }
            ],
        )
        for name, (_, states) in splits.items()
    }
    found = {}
    for lag in LAGS:
        matrices = {name: Matrices(tables[name], plans[name].rows(examples[lag][name])) for name in splits}
        labels = {name: examples[lag][name].labels for name in splits}
        labelled = {name: LabelledStates(matrices[name], labels[name]) for name in splits}
        trained = train(labelled["train"], labelled["val"], Settings(epochs=5))
        for layer, logits in zip(LAYERS, trained.probes.logits(matrices["val"])[:, 0], strict=True):
            found[layer, lag] = auroc(logits, labels["val"])
    assert found.pop((PLANTED_LAYER, PLANTED_LAG)) > 0.99
    assert len(found) == len(LAYERS) * len(LAGS) - 1
    assert all(abs(value - 0.5) < 0.05 for value in found.values()), found


def test_positions_that_a_lag_reads_are_text_of_the_same_sequence_and_counted():
    sequences, _ = planted(0, 3)
    sequences.metadata["tokenizer"]["after"] = [2]  # the last token is special now
    sequences.labels[:, -1] = -1
    for lag, count in ((-3, 25), (-1, 27), (0, 28), (4, 24)):
        examples = examples_at(sequences, lag)
        assert len(examples) == 3 * count
        assert np.array_equal(examples.read - examples.position, np.full(len(examples), lag))
        assert examples.read.min() >= 1 and examples.read.max() <= WIDTH - 2
    common = [examples_at(sequences, lag, all_lags=(-3, 4)) for lag in (-3, 4)]
    assert np.array_equal(common[0].position, common[1].position) and len(common[0]) == 3 * 21
