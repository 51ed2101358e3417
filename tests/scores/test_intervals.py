"""Intervals over groups: they cover the population's value, by simulation; their parts against scikit-learn and DeLong.

Coverage is of known truths: in group g a logit is normal, its mean shift_g + (distance + slope_g) x (label - 1/2), shift
and slope normal with standard deviation .5, groups of 20 to 60 examples with shares of positives of their own. Over groups a
logit is normal again, so that AUROC is Phi(distance / sqrt(2 v)), balanced accuracy at 0 Phi(distance / 2 / sqrt(v)), with
v = 1 + .5^2 + .5^2 / 4.
"""

import time

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from utils.scores import intervals
from utils.scores.differences import paired_difference, paired_differences
from utils.scores.intervals import AUROC, BalancedAccuracy, Groups, jackknife_error, share_bounds, t_quantile
from utils.scores.metrics import all_scores, rates, scores
from utils.scores.ranking import Ranked, pair_wins
from utils.scores.thresholds import choose_thresholds

SPREAD, VARIANCE = 0.5, 1 + 0.5**2 * 1.25
REPETITIONS = {3: 1000, 5: 1000, 10: 1000, 20: 1000, 50: 500, 200: 200}  # standard error of .95: .007, .010, .015


def truths(distance):
    """(balanced accuracy at 0, AUROC) of the population."""
    return norm.cdf(distance / 2 / np.sqrt(VARIANCE)), norm.cdf(distance / np.sqrt(2 * VARIANCE))


def draw(random, repetitions, count, distances=(1.3,), shared=0.0):
    """(logits [repetitions, n] for each of the distances, labels [repetitions, n], group [n]). shared: the part of the
    variance of every effect and noise that all distances have in common.
    """
    group = np.repeat(np.arange(count), random.integers(20, 61, count))
    labels = random.random((repetitions, len(group))) < random.beta(6, 6, (repetitions, count))[:, group]

    def effects(part):
        shift, slope = random.normal(0, SPREAD * np.sqrt(part), (2, repetitions, count))
        return shift[:, group] + slope[:, group] * (labels - 0.5) + np.sqrt(part) * random.normal(size=labels.shape)

    common = effects(shared) if shared else 0.0
    return [distance * (labels - 0.5) + common + effects(1 - shared) for distance in distances], labels, group


def covered(low, high, truth):
    assert not np.isnan(low).any() and (low <= high).all()
    return np.mean((low <= truth) & (truth <= high))


@pytest.mark.parametrize("count", REPETITIONS)
def test_intervals_cover_the_populations_value(count):
    (logits,), labels, group = draw(np.random.default_rng(count), REPETITIONS[count], count)
    groups = Groups(group)
    found = BalancedAccuracy(logits, labels, groups, np.zeros(len(logits))), AUROC(Ranked.of(logits, labels), groups)
    for statistic, truth in zip(found, truths(1.3), strict=True):
        assert 0.92 <= covered(*share_bounds(statistic, count), truth) <= 0.98


@pytest.mark.parametrize("count", REPETITIONS)
@pytest.mark.slow
def test_paired_differences_cover_the_populations_value(count):
    repetitions = REPETITIONS[count]
    logits, labels, group = draw(np.random.default_rng(100 + count), repetitions, count, (1.5, 1.1), shared=0.5)
    at_zero, truth = np.zeros(repetitions), np.subtract(truths(1.5), truths(1.1))
    for metric, difference in zip(("balanced_accuracy", "auc"), truth, strict=True):
        _, low, high = paired_differences(*logits, labels, group, at_zero, at_zero, metric)
        assert 0.92 <= covered(low, high, difference) <= 0.98


def test_a_bootstrap_over_examples_would_cover_far_less():
    random = np.random.default_rng(0)
    (logits,), labels, group = draw(random, 300, 10)
    weights = random.multinomial(len(group), np.full(len(group), 1 / len(group)), size=300)
    said = logits > 0
    tp, positives, tn, negatives = (
        (mask @ weights.T.astype(np.float32)) for mask in (said & labels, labels, ~said & ~labels, ~labels)
    )
    low, high = np.quantile((tp / positives + tn / negatives) / 2, [0.025, 0.975], axis=1)
    assert covered(low, high, truths(1.3)[0]) < 0.85
    groups = Groups(group)
    statistic = BalancedAccuracy(logits, labels, groups, np.zeros(len(logits)))
    assert covered(*share_bounds(statistic, groups.count), truths(1.3)[0]) > 0.92  # of the very same samples


def test_pairing_narrows_the_interval_and_a_probe_against_itself_is_zero():
    (one, other), labels, group = draw(np.random.default_rng(0), 1, 40, (1.5, 1.1), shared=0.9)
    alone = scores(one[0], labels[0], group, 0.0)
    for metric in ("balanced_accuracy", "auc"):
        difference, low, high = paired_difference(one[0], other[0], labels[0], group, 0.0, 0.0, metric)
        assert difference == pytest.approx(alone[metric] - scores(other[0], labels[0], group, 0.0)[metric], abs=1e-12)
        assert low < difference < high and high - low < alone[f"{metric}_high"] - alone[f"{metric}_low"]
        assert paired_difference(one[0], one[0], labels[0], group, 0.0, 0.0, metric) == (0, 0, 0)
        assert paired_difference(-one[0], one[0], labels[0], group, 0.0, 0.0, metric)[0] < -0.3
    best, worst = 2.0 * labels[0] - 1, 1 - 2.0 * labels[0]
    assert paired_difference(best, worst, labels[0], group, 0.0, 0.0, "auc") == (1, 1, 1)
    with pytest.raises(ValueError, match="'f1'"):
        paired_difference(one[0], other[0], labels[0], group, 0.0, 0.0, "f1")


@pytest.mark.slow
def test_the_winner_of_200_probes_of_noise_is_not_above_chance_on_test():
    """200 sweeps of 200 probes whose logits, and whose labels, depend on the group but not on each other. A lower end above
    .5 is expected in .025 of the sweeps, with standard error .011: .05 is two of them above.
    """
    random, sweeps, probes, count = np.random.default_rng(0), 200, 200, 20
    group = np.repeat(np.arange(count), 10)

    def noise():
        labels = random.random((sweeps, len(group))) < random.beta(6, 6, (sweeps, count))[:, group]
        logits = random.standard_normal((sweeps, probes, len(group)), dtype=np.float32)
        return logits + 0.3 * random.standard_normal((sweeps, probes, count), dtype=np.float32)[:, :, group], labels

    (validation, truth), (test, labels) = noise(), noise()
    flat = np.repeat(truth, probes, axis=0), np.repeat(labels, probes, axis=0)
    thresholds = choose_thresholds(validation.reshape(-1, len(group)), flat[0])
    on_validation, on_test = (
        rates(logits.reshape(-1, len(group)), true, thresholds)["balanced_accuracy"].reshape(sweeps, probes)
        for logits, true in ((validation, flat[0]), (test, flat[1]))
    )
    every = np.arange(sweeps)
    beyond = {}
    for selected_on, found in (("validation", on_validation), ("test", on_test)):
        winner = found.argmax(1)
        rows = all_scores(test[every, winner], labels, group, thresholds.reshape(sweeps, probes)[every, winner])
        beyond[selected_on] = [np.mean([row[name] > 0.5 for row in rows]) for name in ("balanced_accuracy_low", "auc_low")]
    assert max(beyond["validation"]) <= 0.05, beyond
    assert min(beyond["test"]) > 0.4, beyond
    assert on_validation.max(1).mean() > 0.56  # the winner's score on validation is no evidence


def tied(random, count, decimals, n=300, probes=3):
    labels = random.random((probes, n)) < 0.4
    return np.round(random.normal(size=(probes, n)) + labels, decimals), labels, random.integers(0, count, n)


@pytest.mark.parametrize("decimals", [0, 1, 12])
def test_auroc_of_weighted_groups_is_scikit_learns_ties_included(decimals):
    random = np.random.default_rng(0)
    logits, labels, group = tied(random, 12, decimals)
    groups = Groups(group)
    statistic = AUROC(Ranked.of(logits, labels), groups)
    weights = random.integers(0, 4, (5, groups.count)).astype(float)
    drawn, left_out = statistic.drawn(weights), statistic.left_out()
    for row in range(len(logits)):
        assert statistic.value[row] == pytest.approx(roc_auc_score(labels[row], logits[row]), abs=1e-12)
        won = pair_wins(logits[row], labels[row], group, groups.count)
        for owner, other in ((0, 1), (3, 3), (11, 5)):
            mine, theirs = logits[row][labels[row] & (group == owner)], logits[row][~labels[row] & (group == other)]
            gaps = mine[:, None] - theirs
            assert won[owner, other] == (gaps > 0).sum() + (gaps == 0).sum() / 2
        for sample, weight in zip(drawn[row], weights, strict=True):
            assert sample == pytest.approx(roc_auc_score(labels[row], logits[row], sample_weight=weight[group]), abs=1e-6)
        for without, value in enumerate(left_out[row]):
            kept = group != without
            assert value == pytest.approx(roc_auc_score(labels[row][kept], logits[row][kept]), abs=1e-12)


def test_error_of_single_examples_is_delongs_and_ten_thousand_take_a_moment():
    random = np.random.default_rng(0)
    labels = random.random((1, 10_000)) < 0.3
    logits, each = random.normal(size=labels.shape) + labels, Groups(np.arange(10_000))
    begun = time.perf_counter()
    statistic = AUROC(Ranked.of(logits, labels), each)
    error = intervals.standard_error(statistic, each.count)[0]
    assert time.perf_counter() - begun < 2
    positives, negatives = np.sort(logits[labels]), np.sort(logits[~labels])
    of_positives = np.searchsorted(negatives, positives) / len(negatives)
    of_negatives = 1 - np.searchsorted(positives, negatives) / len(positives)
    delong = np.sqrt(of_positives.var(ddof=1) / len(positives) + of_negatives.var(ddof=1) / len(negatives))
    assert error == pytest.approx(delong, rel=0.001)


@pytest.mark.parametrize("count", [31, 290])
def test_bootstrap_and_jackknife_agree_where_both_are_possible(count):
    (logits,), labels, group = draw(np.random.default_rng(0), 4, count)
    groups = Groups(group)
    for statistic in (BalancedAccuracy(logits, labels, groups, np.zeros(4)), AUROC(Ranked.of(logits, labels), groups)):
        jackknife = intervals.jackknife_error(statistic.left_out())
        np.testing.assert_allclose(intervals.standard_error(statistic, count), jackknife, rtol=0.1)
        assert (intervals.standard_error(statistic, count) != jackknife).all()


def test_where_there_is_no_interval_and_where_a_score_has_no_spread():
    labels, group = np.array([1, 0] * 6), np.repeat(np.arange(6), 2)
    perfect = scores(2 * labels - 1, labels, group, 0.0)
    assert perfect["auc_high"] == perfect["balanced_accuracy_high"] == 1
    assert perfect["auc_low"] == perfect["balanced_accuracy_low"] == pytest.approx(0.025 ** (1 / 6))  # Clopper and Pearson
    wrong = scores(1 - 2 * labels, labels, group, 0.0)
    assert (wrong["auc_low"], wrong["auc_high"]) == pytest.approx((0, 1 - 0.025 ** (1 / 6)))
    constant = scores(np.zeros(12), labels, group, 0.0)
    assert constant["auc_low"] == constant["auc_high"] == constant["balanced_accuracy_low"] == 0.5
    for few in (group // 3, np.where(labels == 1, group % 2, group)):  # two groups; six, but positives in two of them
        found = scores(2 * labels - 1, labels, few, 0.0)
        assert found["auc"] == 1 and np.isnan([found["auc_low"], found["balanced_accuracy_high"]]).all()


def test_jackknife_of_a_mean_by_hand_and_no_interval_below_three_groups():
    values = np.array([0.2, 0.5, 0.6])
    left_out = np.array([values[[1, 2]].mean(), values[[0, 2]].mean(), values[[0, 1]].mean()])
    error = values.std(ddof=1) / np.sqrt(3)  # the jackknife of a mean is the textbook's standard error
    assert jackknife_error(left_out) == pytest.approx(error, abs=1e-12)
    assert t_quantile(np.array(3)) == pytest.approx(4.302653, abs=1e-6)
    assert np.isnan(t_quantile(np.array(2)))


@pytest.mark.parametrize("groups", [5, 40])
def test_intervals_cover_what_they_claim_when_groups_differ(groups):
    """Groups with accuracies of their own: the mean over many is covered about 95 times in 100."""
    random, hits, trials = np.random.default_rng(1), 0, 300
    for _ in range(trials):
        quality = np.repeat(random.normal(1.2, 0.5, groups), 60)
        labels = np.tile([0, 1], groups * 30)
        logits = random.normal(size=len(labels)) + quality * (labels - 0.5)
        found = scores(logits, labels, np.repeat(np.arange(groups), 60), 0.0)
        # E Phi(q / 2), q normal(1.2, 0.5): Phi(0.6 / sqrt(1 + 0.25**2))
        hits += found["balanced_accuracy_low"] <= 0.7198 <= found["balanced_accuracy_high"]
        assert found["auc_low"] < found["auc_high"]
    assert 0.90 < hits / trials < 0.99
