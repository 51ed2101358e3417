"""Linear probes beside scikit-learn and the exact minimum."""

import numpy as np
import torch

from made_states import noisy
from utils.probes.descent.linear import train
from utils.probes.descent.training import Settings
from utils.probes.estimators import Logistic
from utils.probes.labels import LabelledStates
from utils.scores.ranking import auroc
from utils.states.matrices import Matrices


def test_probes_rank_as_logistic_regression_does():
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    (states, labels), (held_out, truth) = noisy(0), noisy(1)
    trained = train(LabelledStates(Matrices.of(states), labels), LabelledStates(Matrices.of(held_out), truth), Settings())
    logits = trained.probes.logits(Matrices.of(held_out))[:, 0]
    for layer in range(3):
        reference = make_pipeline(StandardScaler(), LogisticRegression()).fit(states[layer], labels)
        assert abs(auroc(logits[layer], truth) - auroc(reference.decision_function(held_out[layer]), truth)) < 0.01
    assert auroc(logits[0], truth) < 0.56 < 0.8 < auroc(logits[2], truth)


def test_a_layer_alone_and_in_company_gives_the_same_probe():
    (states, labels), (held_out, truth) = noisy(0), noisy(1)
    together, alone = (
        train(
            LabelledStates(Matrices.of(states[some]), labels),
            LabelledStates(Matrices.of(held_out[some]), truth),
            Settings(epochs=3),
        )
        for some in (slice(None), slice(1, 2))
    )
    torch.testing.assert_close(alone.probes.weight[0], together.probes.weight[1], rtol=1e-3, atol=1e-6)
    assert alone.epoch[0] == together.epoch[1]


def test_row_weights_of_a_linear_probe_act_as_those_of_the_exact_minimum():
    """Half of the rows follow one feature, half another; each column counts one half ten times."""
    random = np.random.default_rng(0)
    states, half = random.normal(size=(2000, 6)).astype(np.float32), np.arange(2000) % 2
    labels = (np.where(half, states[:, 0], states[:, 1]) + random.normal(size=2000) > 0).astype(int)
    weights = np.stack([1 + 9 * half, 10 - 9 * half], axis=1)
    matrices, both = Matrices.of(states[None]), np.stack([labels] * 2, axis=1)
    settings = Settings(epochs=30, balance=False)
    found = train(LabelledStates(matrices, both, weights), LabelledStates(matrices, both), settings).probes.weight[0]
    for column in range(2):
        exact, other = (Logistic().fit(states, labels, weights[:, which]).weight for which in (column, 1 - column))
        cosine, cosine_of_other = (np.corrcoef(found[column], each)[0, 1] for each in (exact, other))
        assert cosine > 0.99 and cosine_of_other < 0.5
