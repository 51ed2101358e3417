"""The population's average precision, by which bench/coverage.py measures the intervals, is that of one huge sample."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from utils.scores.average_precision import average_precisions


@pytest.fixture(scope="module")
def coverage():
    path = Path(__file__).resolve().parents[2] / "bench/coverage.py"
    spec = importlib.util.spec_from_file_location("coverage_bench", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.parametrize("name", ["equal sizes", "ties", "1 % positives", "AUROC .993"])
def test_the_population_is_that_of_many_groups(coverage, name):
    regime = coverage.REGIMES[name]
    truth, found = regime.average_precision(regime.distances[0]), []
    for seed in range(4):
        logits, labels, _ = coverage.draw(np.random.default_rng(seed), regime, 1, 4000, 0.5)
        found.append(average_precision_score(labels[0], logits[0][0]))
    assert np.mean(found) == pytest.approx(truth, abs=3e-3)
    assert abs(np.mean(found) - regime.average_precision(1.1 * regime.distances[0])) > abs(np.mean(found) - truth)


def test_intervals_cover_the_population_in_eight_groups(coverage):
    regime = coverage.REGIMES["equal sizes"]
    truth, covered = regime.average_precision(regime.distances[0]), []
    for seed in range(400):
        logits, labels, group = coverage.draw(np.random.default_rng(seed), regime, 1, 8, 0.5)
        _, low, high = average_precisions(logits[0], labels[0], group)[0, 0]
        covered.append(low <= truth <= high)
    assert 0.92 <= np.mean(covered) <= 0.98
