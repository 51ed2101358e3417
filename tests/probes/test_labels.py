"""Label columns and row weights, and what positives count."""

import numpy as np
import pytest

from made_states import made, noisy
from utils.base.errors import UserError
from utils.probes.descent.linear import train
from utils.probes.descent.mlp import train_mlp
from utils.probes.descent.training import Settings
from utils.probes.labels import LabelledStates
from utils.probes.mass_mean import mass_mean
from utils.states.matrices import Matrices


def test_pos_weight_is_the_ratio_of_classes_and_capped():
    (states, labels), (held_out, truth) = noisy(0, n=400), noisy(1, n=100)
    few = np.flatnonzero(labels == 1)[:20]
    chosen = np.sort(np.concatenate([few, np.flatnonzero(labels == 0)[:60]]))
    for cap, expected in ((5.0, 3.0), (2.0, 2.0)):
        trained = train(
            LabelledStates(Matrices.of(states[:, chosen]), labels[chosen]),
            LabelledStates(Matrices.of(held_out), truth),
            Settings(epochs=1, pos_weight_cap=cap),
        )
        assert trained.pos_weight == [expected]


def test_without_balance_and_without_cap():
    states, labels = made(share=0.1)
    labelled = LabelledStates(Matrices.of(states[None].astype(np.float32)), labels)
    ratio = ((labels == 0).sum(0) / labels.sum(0)).tolist()
    for settings, expected in (
        (Settings(epochs=1), [5.0] * 3),
        (Settings(epochs=1, pos_weight_cap=None), ratio),
        (Settings(epochs=1, pos_weight_cap=np.inf), ratio),
        (Settings(epochs=1, balance=False), [1.0] * 3),
    ):
        assert train(labelled, labelled, settings).pos_weight == pytest.approx(expected)


@pytest.mark.parametrize(
    "run",
    [train, train_mlp, lambda train, val, settings: mass_mean(train.states, train.labels)],
    ids=["linear", "mlp", "mass-mean"],
)
def test_a_column_of_one_class_is_named(run):
    states, labels = made()
    matrices = Matrices.of(states[None].astype(np.float32))
    labels[:, 2] = 1
    with pytest.raises(UserError, match="label column 2 holds one class only in its 400 examples of train"):
        run(LabelledStates(matrices, labels), LabelledStates(matrices, labels), Settings(epochs=1))
