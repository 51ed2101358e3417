"""Bands for a whole sweep: hand-made levels, against scikit-learn's own resamples, and coverage of the family."""

import numpy as np
import pytest
from scipy.stats import norm, t
from sklearn.metrics import roc_auc_score

from utils.scores.intervals import AUROC, LEVEL, BalancedAccuracy, Groups, interval, no_interval, share_bounds
from utils.scores.ranking import Ranked
from utils.scores.search.account import account
from utils.scores.search.nulls import Exchange, Shift
from utils.scores.search.places import in_places
from utils.scores.search.simultaneous import MOST_GROUPS, accuracy_influences, auroc_influences, joint_level, widened


def auroc_of(logits, labels, groups):
    return AUROC(Ranked.of(logits, np.broadcast_to(labels == 1, logits.shape)), Groups(groups))


def influences(logits, labels, groups):
    return auroc_influences(in_places(logits, labels == 1, Groups(groups)).wins, labels == 1, Groups(groups))


def unit(values):
    return (values / np.sqrt((values**2).sum(1, keepdims=True))).astype(np.float32)


def test_copies_of_one_probe_are_one_comparison_and_independent_ones_count_each():
    random = np.random.default_rng(0)
    one = unit(random.normal(size=(1, 400)) - 0.0)
    one = unit(one - one.mean(1, keepdims=True))
    assert joint_level(np.repeat(one, 200, axis=0)) == joint_level(one) == pytest.approx(0.05, abs=0.012)
    many = random.normal(size=(200, 400))
    many = unit(many - many.mean(1, keepdims=True))
    assert joint_level(many) == pytest.approx(1 - 0.95 ** (1 / 200), rel=0.35)  # Sidak's, for independent ones
    assert joint_level(many) < joint_level(many[:10]) < joint_level(many[:2]) < 0.05


@pytest.mark.slow
def test_the_level_is_that_of_plain_resamples_of_the_scores_themselves():
    random = np.random.default_rng(1)
    groups = np.repeat(np.arange(60), 8)
    labels = random.integers(0, 2, 480)
    common = random.normal(size=480)
    logits = np.stack([common + 0.5 * random.normal(size=480) + 0.4 * labels for _ in range(12)])
    found = norm.isf(joint_level(influences(logits, labels, groups)) / 2)
    value = np.array([roc_auc_score(labels, row) for row in logits])
    drawn = []
    for _ in range(600):
        kept = np.concatenate([np.flatnonzero(groups == g) for g in random.integers(0, 60, 60)])
        drawn.append([roc_auc_score(labels[kept], row[kept]) for row in logits])
    drawn = np.array(drawn)
    plain = np.quantile((np.abs(drawn - value) / drawn.std(0)).max(1), 0.95)
    assert found == pytest.approx(plain, abs=0.2) and 2.2 < found < norm.isf(0.025 / 12), "more than one, fewer than twelve"


def test_ends_are_those_of_a_single_interval_of_the_smaller_level():
    random = np.random.default_rng(2)
    groups, labels = np.repeat(np.arange(25), 6), random.integers(0, 2, 150)
    statistic = auroc_of(random.normal(size=(5, 150)) + labels, labels, groups)
    low, high = share_bounds(statistic)
    degrees = statistic.degrees[0]
    narrow, wide = (widened(statistic.value, low, high, degrees, level) for level in (0.05, 0.001))
    np.testing.assert_allclose(narrow, (low, high), rtol=1e-9)
    value = statistic.value
    step = (np.log(value / (1 - value)) - np.log(low / (1 - low))) * t.isf(0.0005, degrees) / t.isf(0.025, degrees)
    np.testing.assert_allclose(wide[0], 1 / (1 + np.exp(step) * (1 - value) / value), rtol=1e-9)
    assert (wide[0] < low).all() and (wide[1] > high).all()


def test_scores_at_a_bound_keep_their_trials_and_what_has_no_interval_has_no_band():
    value, low = np.array([1, 0, 0.7]), np.array([0.025 ** (1 / 30), 0, np.nan])
    found = widened(value, low, np.array([1, 1 - 0.025 ** (1 / 9), np.nan]), 29, 0.01)
    np.testing.assert_allclose(found[0], [0.005 ** (1 / 30), 0, np.nan])
    np.testing.assert_allclose(found[1], [1, 1 - 0.005 ** (1 / 9), np.nan])


@pytest.mark.parametrize("digits", [9, 1])
def test_influences_are_those_of_the_standard_error(digits):
    """Of many groups; with ties and without."""
    random = np.random.default_rng(5)
    groups, labels = random.integers(0, 80, 1200), random.integers(0, 2, 1200)
    logits = np.round(random.normal(size=(4, 1200)) + labels, digits)
    accuracy = BalancedAccuracy(logits, np.broadcast_to(labels == 1, logits.shape), Groups(groups), np.full(4, 0.4))
    found = (
        (influences(logits, labels, groups), auroc_of(logits, labels, groups)),
        (accuracy_influences(logits, labels == 1, Groups(groups), np.full(4, 0.4)), accuracy),
    )
    for ours, statistic in found:
        np.testing.assert_allclose(ours, unit(statistic.influence()), atol=1e-6)


def test_more_groups_than_are_resampled_give_the_same_level():
    random = np.random.default_rng(3)
    n = 3 * MOST_GROUPS
    labels = random.integers(0, 2, n)
    common = random.normal(size=n)
    logits = np.stack([common + random.normal(size=n) + 0.2 * labels for _ in range(20)])
    pooled = joint_level(influences(logits, labels, np.arange(n)))
    assert influences(logits, labels, np.arange(n)).shape == (20, MOST_GROUPS)
    assert pooled == pytest.approx(joint_level(influences(logits, labels, np.arange(n) % 500)), rel=0.35)


@pytest.mark.parametrize("of", ["auc", "balanced_accuracy"])
def test_the_band_holds_chance_where_single_intervals_do_not(of):
    random = np.random.default_rng(4)
    misses = np.zeros(2)
    for _ in range(60):
        groups, labels = np.repeat(np.arange(40), 10), random.integers(0, 2, 40).repeat(10)
        logits = random.normal(size=(60, 40)).repeat(10, axis=1) + random.normal(size=(60, 400))
        scored = {"threshold": np.zeros(60)}
        true = np.broadcast_to(labels == 1, logits.shape)
        for metric, statistic in (
            ("auc", auroc_of(logits, labels, groups)),
            ("balanced_accuracy", BalancedAccuracy(logits, true, Groups(groups), np.zeros(60))),
        ):
            scored[metric], (scored[f"{metric}_low"], scored[f"{metric}_high"]) = (
                statistic.value,
                share_bounds(statistic),
            )
        found = scored | account(logits, labels, groups, scored, Exchange.of(labels, groups), deals=1)
        misses += [((found[f"{of}{kind}_low"] > 0.5) | (found[f"{of}{kind}_high"] < 0.5)).any() for kind in ("", "_band")]
    assert misses[1] <= 0.15 * 60 < 0.8 * 60 < misses[0]


def test_without_a_class_there_is_neither_band_nor_p_value():
    labels = np.zeros(8)
    found = account(np.ones((2, 8)), labels, np.arange(8), {}, Exchange.of(labels, np.arange(8)))
    assert len(found) == 6 and all(np.isnan(values).all() for values in found.values())


def test_with_few_groups_independent_probes_count_each():
    """Sums over 15 groups are not normal, and long resamples are long for all probes: either would halve the count."""
    many = np.random.default_rng(6).normal(size=(200, 15))
    assert 1 - LEVEL <= 200 * joint_level(unit(many - many.mean(1, keepdims=True))) < 1.3 * (1 - LEVEL)


def test_probes_that_do_not_vary_count_each_beside_those_that_do():
    """Nothing shows that perfect scores are perfect together, so the intervals of seven are those of seven trials."""
    one = np.random.default_rng(7).normal(size=(1, 400))
    one, still = unit(one - one.mean(1, keepdims=True)), np.zeros((199, 400), dtype=np.float32)
    assert joint_level(still[:1]) == joint_level(one) == pytest.approx(0.05)
    assert joint_level(still[:7]) == pytest.approx(0.05 / 7)
    assert joint_level(np.concatenate([one, still])) == pytest.approx(0.05 / 200)
    for copies in (1, 50):  # of one comparison, beside four more
        found = joint_level(np.concatenate([np.repeat(one, copies, axis=0), still[:4]]))
        assert found == pytest.approx(0.05 / 5, rel=0.05), "copies are one comparison still"


def test_seven_perfect_scores_have_a_band_that_one_of_them_leaves_by_luck_in_one_sample_of_forty():
    """By exact binomials: the chance that some of seven probes is perfect in all groups, were it as good as the end says."""
    labels, groups = np.tile([0, 1], 30), np.repeat(np.arange(30), 2)
    logits = np.concatenate([np.repeat(labels[None] * 2.0 - 1, 7, axis=0), np.ones((3, 60))])  # three give one answer
    scored = {"threshold": np.zeros(10)}
    for metric, statistic in (
        ("auc", auroc_of(logits, labels, groups)),
        ("balanced_accuracy", BalancedAccuracy(logits, np.tile(labels == 1, (10, 1)), Groups(groups), np.zeros(10))),
    ):
        scored[metric], (scored[f"{metric}_low"], scored[f"{metric}_high"]) = statistic.value, interval(statistic)
    found = account(logits, labels, groups, scored, Exchange.of(labels, groups), deals=9)
    for metric in ("auc", "balanced_accuracy"):
        by_luck = {
            end: 1 - (1 - scored_low**30) ** 7
            for end, scored_low in (("own", scored[f"{metric}_low"][0]), ("band", found[f"{metric}_band_low"][0]))
        }
        assert by_luck["band"] == pytest.approx(0.025, abs=0.001) and by_luck["own"] > 0.15
        assert np.isnan(found[f"{metric}_band_low"][7:]).all(), "without an interval there is no band, and none counts"


def test_two_groups_have_no_p_value_and_three_have():
    """Within the documents of one or two groups a probe may find places by words that no other group has."""
    random = np.random.default_rng(8)
    labels, logits = np.tile([0, 1], 60), random.normal(size=(2, 120))
    for count in (1, 2, 3):
        groups = np.arange(120) // 4 % count
        true = np.tile(labels == 1, (2, 1))
        auc = AUROC(Ranked.of(logits, true), Groups(groups))
        scored = {"threshold": np.zeros(2)}
        for metric, statistic in (
            ("auc", auc),
            ("balanced_accuracy", BalancedAccuracy(logits, true, Groups(groups), np.zeros(2))),
        ):
            scored[metric], (scored[f"{metric}_low"], scored[f"{metric}_high"]) = statistic.value, interval(statistic)
        found = account(logits, labels, groups, scored, Shift.of(labels, np.arange(120) // 4, np.arange(120)), deals=19)
        for name in ("permutation_p", "permutation_p_in_sweep"):
            assert np.isnan(found[name]).all() == bool(no_interval(labels, groups)) == (count < 3)
