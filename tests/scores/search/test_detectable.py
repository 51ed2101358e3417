"""The smallest difference that data could have shown is shown by four samples of five, and none beyond what is left."""

import numpy as np
import pytest
from scipy.stats import norm, t

from utils.scores.differences import paired_difference
from utils.scores.intervals import AUROC, Groups, standard_error
from utils.scores.ranking import Ranked
from utils.scores.search.detectable import degrees_of_freedom, differences_and_shown

SAMPLES = 600


def drawn(seed, groups, size, baseline, gain, shared=0.5):
    """Draw samples of a probe and a baseline with these AUROCs: normal logits, partly in common, groups easy or hard."""
    random = np.random.default_rng(seed)
    labels, group = np.tile([0, 1], groups * size // 2), np.repeat(np.arange(groups), size)
    common = random.normal(size=(SAMPLES, len(labels)))
    found = []
    for auroc in (baseline + gain, baseline):
        noise = np.sqrt(shared) * common + np.sqrt(1 - shared) * random.normal(size=common.shape)
        easy = 0.3 * random.normal(size=(SAMPLES, groups))[:, group]
        found.append((norm.ppf(auroc) * np.sqrt(2 + 0.3**2) + easy) * labels + noise)  # P(positive above negative)
    return *found, labels, group


def typical(*regime):
    """Give what samples without a difference call the smallest that would show, where their interval holds 0."""
    shown = differences_and_shown(*drawn(0, *regime, 0.0))[3]
    assert np.isnan(shown).mean() < 0.15
    return float(np.nanmedian(shown))


@pytest.mark.parametrize(
    ("groups", "size", "baseline", "least", "most"),
    [(25, 20, 0.75, 0.75, 0.86), (12, 20, 0.75, 0.75, 0.86), (40, 10, 0.9, 0.75, 0.88), (30, 10, 0.95, 0.75, 0.95)],
)
def test_four_of_five_samples_show_a_difference_of_that_size_and_few_show_half_of_it(groups, size, baseline, least, most):
    found = typical(groups, size, baseline)
    for gain, low, high in ((found, least, most), (found / 2, 0.15, 0.35)):
        difference, bottom, *_ = differences_and_shown(*drawn(1, groups, size, baseline, gain))
        assert difference.mean() == pytest.approx(gain, abs=0.003), "the population is as it is said to be"
        assert low <= np.mean(bottom > 0) <= high


def test_where_no_gain_would_show_none_is_named_and_none_does_show():
    """31 documents of two tokens, baseline .95: as many as four of five samples show none of what is left."""
    assert typical(31, 2, 0.95) == np.inf
    for gain in (0.02, 0.035, 0.045, 0.049):
        assert np.mean(differences_and_shown(*drawn(2, 31, 2, 0.95, gain))[1] > 0) < 0.5
    assert typical(300, 2, 0.95) < 0.05, "with more documents some does"


def test_no_difference_is_named_that_the_baseline_leaves_no_room_for():
    labels, groups = np.tile([0, 1], 66), np.repeat(np.arange(33), 4)
    perfect = np.where(labels, 1.0, -1.0)
    logits = np.stack([perfect, np.random.default_rng(0).normal(size=132) + 2 * labels])
    difference, low, high, shown = differences_and_shown(logits, np.stack([perfect, perfect]), labels, groups)
    assert difference[0] == 0 and (low < 0).all() and (high > 0).all() and (shown == np.inf).all(), "nothing is left above 1"
    for baseline in (0.6, 0.8, 0.9, 0.97):
        found = differences_and_shown(*drawn(3, 8, 20, baseline, 0.0))
        room = 1 - baseline_aurocs(3, 8, 20, baseline)
        finite = np.isfinite(found[3])
        assert (found[3][finite] <= room[finite] + 1e-9).all() and finite.any()


def baseline_aurocs(*regime):
    _, baseline, labels, groups = drawn(*regime, 0.0)
    return AUROC(Ranked.of(baseline, np.broadcast_to(labels == 1, baseline.shape)), Groups(groups)).value


def test_far_from_a_bound_it_is_blooms_multiple_of_the_standard_error():
    random = np.random.default_rng(4)
    labels, groups = np.tile([0, 1], 1500), np.repeat(np.arange(150), 20)
    logits = random.normal(size=(1, 3000)) + 0.02 * labels
    found = differences_and_shown(logits, np.zeros((1, 3000)), labels, groups)
    error = standard_error(AUROC(Ranked.of(logits, labels[None] == 1), Groups(groups)))[0]
    assert found[3][0] == pytest.approx((t.ppf(0.975, 149) + t.ppf(0.8, 149)) * error, rel=0.03)
    assert tuple(np.ravel(found[:3])) == paired_difference(logits[0], np.zeros(3000), labels, groups, 0, 0, "auc")


def test_differences_that_were_found_or_have_no_interval_have_none():
    labels = np.tile([0, 1], 60)
    logits = np.random.default_rng(5).normal(size=(1, 120))
    for signal, groups in ((3, np.arange(120) // 4), (0, np.arange(120) // 60)):
        found = differences_and_shown(logits + signal * labels, np.zeros((1, 120)), labels, groups)
        assert np.isnan(found[3][0])
        assert (found[1][0] > 0) == (signal == 3)


def test_degrees_of_freedom_are_those_of_the_intervals():
    labels = np.tile([0, 1], 40)
    assert degrees_of_freedom(labels, np.arange(80) // 8) == pytest.approx(9)
    uneven = np.repeat([0, 1, 2], [40, 20, 20])  # shares of 1/2, 1/4 and 1/4 count as 1 / (1/4 + 1/16 + 1/16) groups
    assert degrees_of_freedom(labels, uneven) == pytest.approx(8 / 3 - 1)
    assert np.isnan(degrees_of_freedom(labels, np.arange(80) // 40)), "two groups have no interval"
    assert np.isnan(degrees_of_freedom(np.ones(80), np.arange(80) // 8)), "nor has one class"
