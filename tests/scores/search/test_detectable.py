"""The smallest difference that data could have shown is shown by four samples of five."""

import numpy as np
import pytest
from scipy.stats import t

from utils.scores.search.detectable import degrees_of_freedom, smallest_shown


def test_four_of_five_samples_show_a_difference_of_that_size_and_few_show_half_of_it():
    random, count = np.random.default_rng(0), 25
    errors = random.normal(0, 0.3, (4000, count))
    half = t.ppf(0.975, count - 1) * errors.std(1, ddof=1) / np.sqrt(count)
    typical = float(np.mean(half))
    found = float(smallest_shown(-typical, typical, count - 1))
    for true, low, high in ((found, 0.77, 0.83), (found / 2, 0.2, 0.35)):
        shown = (true + errors.mean(1) - half) > 0
        assert low <= shown.mean() <= high


def test_differences_that_were_found_or_have_no_interval_have_none():
    assert np.isnan(smallest_shown(np.array([0.1, -0.3, np.nan]), np.array([0.3, -0.1, np.nan]), 9)).all()
    assert smallest_shown(-0.1, 0.3, 9) == pytest.approx(0.2 * (1 + t.ppf(0.8, 9) / t.ppf(0.975, 9)))


def test_degrees_of_freedom_are_those_of_the_intervals():
    labels = np.tile([0, 1], 40)
    assert degrees_of_freedom(labels, np.arange(80) // 8) == pytest.approx(9)
    uneven = np.repeat([0, 1, 2], [40, 20, 20])  # shares of 1/2, 1/4 and 1/4 count as 1 / (1/4 + 1/16 + 1/16) groups
    assert degrees_of_freedom(labels, uneven) == pytest.approx(8 / 3 - 1)
    assert np.isnan(degrees_of_freedom(labels, np.arange(80) // 40)), "two groups have no interval"
    assert np.isnan(degrees_of_freedom(np.ones(80), np.arange(80) // 8)), "nor has one class"
    assert np.isnan(smallest_shown(-0.1, 0.3, np.nan))
