"""Intervals over groups: they cover the population's value, by simulation; their parts against scikit-learn and DeLong.

What is hard for intervals (bench/coverage.py has more of it) stands beside the usual interval that fails there.

Coverage is of known truths: in group g a logit is normal, its mean shift_g + (distance + slope_g) x (label - 1/2), shift
and slope normal with standard deviation .5, groups of 20 to 60 examples with shares of positives of their own. Over groups a
logit is normal again, so that AUROC is Phi(distance / sqrt(2 v)), balanced accuracy at 0 Phi(distance / 2 / sqrt(v)), with
v = 1 + .5^2 + .5^2 / 4.
"""

import time

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from utils.scores import intervals
from utils.scores.differences import paired_difference, paired_differences
from utils.scores.intervals import AUROC, BalancedAccuracy, Groups, interval, reasons, t_quantile
from utils.scores.metrics import all_scores, rates, scores
from utils.scores.ranking import Ranked
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
    """The share of intervals that hold the truth, of those given: of three groups some differ too much in size."""
    given = ~np.isnan(low)
    assert given.mean() > 0.85 and (low[given] <= high[given]).all()
    return np.mean((low[given] <= truth) & (truth <= high[given]))


@pytest.mark.parametrize("count", REPETITIONS)
def test_intervals_cover_the_populations_value(count):
    (logits,), labels, group = draw(np.random.default_rng(count), REPETITIONS[count], count)
    groups = Groups(group)
    found = BalancedAccuracy(logits, labels, groups, np.zeros(len(logits))), AUROC(Ranked.of(logits, labels), groups)
    for statistic, truth in zip(found, truths(1.3), strict=True):
        assert 0.92 <= covered(*interval(statistic), truth) <= 0.98


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
    assert covered(*interval(statistic), truths(1.3)[0]) > 0.92  # of the very same samples


def test_pairing_narrows_the_interval_and_a_probe_against_itself_is_zero():
    (one, other), labels, group = draw(np.random.default_rng(0), 1, 40, (1.5, 1.1), shared=0.9)
    alone = scores(one[0], labels[0], group, 0.0)
    for metric in ("balanced_accuracy", "auc"):
        difference, low, high = paired_difference(one[0], other[0], labels[0], group, 0.0, 0.0, metric)
        assert difference == pytest.approx(alone[metric] - scores(other[0], labels[0], group, 0.0)[metric], abs=1e-12)
        assert low < difference < high and high - low < alone[f"{metric}_high"] - alone[f"{metric}_low"]
        itself = paired_difference(one[0], one[0], labels[0], group, 0.0, 0.0, metric)
        assert itself[0] == 0 and np.isnan(itself[1:]).all()  # a width of 0 is no interval
        assert paired_difference(-one[0], one[0], labels[0], group, 0.0, 0.0, metric)[0] < -0.3
    best, worst = 2.0 * labels[0] - 1, 1 - 2.0 * labels[0]
    difference, low, high = paired_difference(best, worst, labels[0], group, 0.0, 0.0, "auc")
    edge = 1 - 0.025 ** (1 / 40)  # of each score alone, by Clopper and Pearson
    assert (difference, high) == (1, 1) and low == pytest.approx(1 - np.sqrt(2) * edge)
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
def test_influence_is_the_slope_of_scikit_learns_weighted_scores(decimals):
    random, step = np.random.default_rng(0), 1e-4
    logits, labels, group = tied(random, 12, decimals)
    groups, at_zero = Groups(group), np.zeros(len(logits))
    auroc, accuracy = AUROC(Ranked.of(logits, labels), groups), BalancedAccuracy(logits, labels, groups, at_zero)
    for row in range(len(logits)):
        for statistic, score, values in (
            (auroc, roc_auc_score, logits[row]),
            (accuracy, balanced_accuracy_score, logits[row] > 0),
        ):
            assert statistic.value[row] == pytest.approx(score(labels[row], values), abs=1e-12)
            for one in range(groups.count):
                up, down = (
                    score(labels[row], values, sample_weight=1 + change * (group == one)) for change in (step, -step)
                )
                assert statistic.influence()[row, one] == pytest.approx((up - down) / 2 / step, abs=1e-6)
        mixed = AUROC(Ranked.of(logits, labels), Groups(random.permutation(group)))
        assert np.abs(mixed.influence() - auroc.influence()).max() > 0.01


def test_error_of_single_examples_is_delongs_and_ten_thousand_take_a_moment():
    random = np.random.default_rng(0)
    labels = random.random((1, 10_000)) < 0.3
    logits, each = random.normal(size=labels.shape) + labels, Groups(np.arange(10_000))
    begun = time.perf_counter()
    statistic = AUROC(Ranked.of(logits, labels), each)
    error = intervals.standard_error(statistic)[0]
    assert time.perf_counter() - begun < 2
    positives, negatives = np.sort(logits[labels]), np.sort(logits[~labels])
    of_positives = np.searchsorted(negatives, positives) / len(negatives)
    of_negatives = 1 - np.searchsorted(positives, negatives) / len(positives)
    delong = np.sqrt(of_positives.var(ddof=1) / len(positives) + of_negatives.var(ddof=1) / len(negatives))
    assert error == pytest.approx(delong, rel=0.001)


@pytest.mark.parametrize("count", [31, 290])
def test_the_error_is_that_of_leaving_out_each_group(count):
    (logits,), labels, group = draw(np.random.default_rng(0), 1, count)
    found = intervals.standard_error(AUROC(Ranked.of(logits, labels), Groups(group)))[0]
    left_out = np.array([roc_auc_score(labels[0][group != one], logits[0][group != one]) for one in range(count)])
    jackknife = np.sqrt((count - 1) / count * ((left_out - left_out.mean()) ** 2).sum())
    assert found == pytest.approx(jackknife, rel=0.05)
    blind = intervals.standard_error(AUROC(Ranked.of(logits, labels), Groups(np.arange(len(group)))))[0]
    assert blind != pytest.approx(jackknife, rel=0.15), "every example a group of its own"


def test_a_rate_by_hand():
    right, whole = np.array([[1.0, 2, 5, 4]]), np.full((1, 4), 5.0)
    rate = intervals.Rate(right, whole)
    assert intervals.standard_error(rate)[0] == pytest.approx(np.std([0.2, 0.4, 1, 0.8], ddof=1) / 2)  # the textbook's
    assert rate.degrees == pytest.approx(3) and t_quantile(np.array(3.0)) == pytest.approx(3.182446, abs=1e-6)
    assert intervals.effective_number(np.array([[3.0, 1, 1, 1]])) == pytest.approx(36 / 12)  # Kish
    assert intervals.combined(np.array(3.0), np.array(4.0), np.array(0.0)) == 5
    assert intervals.combined(np.array(3.0), np.array(4.0), np.array(-1.0)) == 1


def test_a_score_at_its_bound_has_the_end_of_clopper_and_pearson_and_one_wrong_pair_no_narrower_interval():
    labels, group = np.tile([1, 0], 60), np.repeat(np.arange(30), 4)
    edge = 0.025 ** (1 / 30)
    perfect = scores(2 * labels - 1, labels, group, 0.0)
    assert perfect["auc_high"] == perfect["balanced_accuracy_high"] == 1
    assert perfect["auc_low"] == perfect["balanced_accuracy_low"] == pytest.approx(edge)
    wrong = scores(1 - 2 * labels, labels, group, 0.0)
    assert (wrong["auc_low"], wrong["auc_high"]) == pytest.approx((0, 1 - edge))
    logits = labels + np.linspace(0, 0.5, 120)
    logits[np.flatnonzero(labels == 1)[0]] = np.sort(logits[labels == 0])[-1] - 1e-3  # below one negative
    almost = scores(logits, labels, group, 0.7)
    assert 1 - almost["auc"] == pytest.approx(1 / 3600) and almost["auc_low"] <= perfect["auc_low"] < almost["auc_high"] < 1
    spread = labels + np.random.default_rng(0).normal(0, 0.3, 120)  # many groups err: their spread is known
    assert perfect["auc_low"] < scores(spread, labels, group, 0.5)["auc_low"]


def test_where_there_is_no_interval_the_reason_is_known():
    labels, group = np.array([1, 0] * 6), np.repeat(np.arange(6), 2)
    uneven = np.repeat(np.arange(5), [200, 2, 2, 2, 2])
    for truth, those, why in (
        (labels, group // 3, "2 groups hold the rarer class, an interval needs 3"),
        (labels, np.where(labels == 1, group % 2, group), "2 groups hold the rarer class, an interval needs 3"),
        (np.tile([1, 0], 104), uneven, "the groups differ so much in size that they count as 1.1, an interval needs 2.5"),
        (labels, group, ""),
    ):
        logits = truth + np.linspace(-0.9, 0.9, len(truth))
        found, statistic = scores(logits, truth, those, 0.5), AUROC(Ranked.of(logits[None], truth[None] == 1), Groups(those))
        assert reasons(statistic.classes) == [why] and 0.5 < found["auc"] < 1
        assert np.isnan([found["auc_low"], found["balanced_accuracy_high"]]).all() == bool(why)
    constant = scores(np.zeros(12), labels, group, 0.0)
    assert constant["auc"] == 0.5 and np.isnan([constant["auc_low"], constant["balanced_accuracy_low"]]).all()
    chance, group = np.tile([1, 0], 40), np.repeat(np.arange(4), 20)
    found = scores(np.random.default_rng(0).normal(size=80), chance, group, 0.0)
    assert found["auc_low"] < 0.5 < found["auc_high"], "four equal groups are enough"


def plain(value, error, count):
    """The usual interval: the score and t times its error, which has groups - 1 degrees of freedom."""
    return value - student.ppf(0.975, count - 1) * error, value + student.ppf(0.975, count - 1) * error


def test_paired_differences_near_1_cover_where_the_plain_interval_covers_half():
    random, samples, aurocs = np.random.default_rng(0), 400, (0.998, 0.993)
    labels, distances = random.random((samples, 31)) < 0.5, [np.sqrt(2) * norm.ppf(auroc) for auroc in aurocs]
    common = random.normal(0, np.sqrt(0.5), labels.shape)
    ours, theirs = (
        distance * (labels - 0.5) + common + random.normal(0, np.sqrt(0.5), labels.shape) for distance in distances
    )
    nowhere, group = np.zeros(samples), np.arange(31)
    value, low, high = paired_differences(ours, theirs, labels, group, nowhere, nowhere, "auc")
    given = ~np.isnan(low)
    assert given.mean() > 0.95 and (low[given] <= high[given]).all()
    assert covered(low[given], high[given], 0.005) > 0.92
    one, other = (AUROC(Ranked.of(logits, labels), Groups(group)) for logits in (ours, theirs))
    error = np.sqrt(((one.influence() - other.influence()) ** 2).sum(1))
    assert covered(*plain(value, error, 31), 0.005) < 0.7


def test_rates_at_their_bound_widen_balanced_accuracy_where_the_plain_interval_fails():
    random, samples = np.random.default_rng(1), 400
    group, at_zero = np.repeat(np.arange(8), 60), np.zeros(400)
    labels = random.random((samples, len(group))) < 0.01
    shift, slope = random.normal(0, SPREAD, (2, samples, 8))
    logits = 1.3 * (labels - 0.5) + shift[:, group] + slope[:, group] * (labels - 0.5) + random.normal(size=labels.shape)
    statistic, truth = BalancedAccuracy(logits, labels, Groups(group), at_zero), truths(1.3)[0]
    low, high = interval(statistic)
    given = ~np.isnan(low)
    assert covered(low[given], high[given], truth) > 0.92
    ends = plain(statistic.value, intervals.standard_error(statistic), 8)
    assert covered(*(end[given] for end in ends), truth) < 0.9


def test_groups_of_very_unequal_sizes_count_as_fewer():
    random, samples, found = np.random.default_rng(2), 400, []
    for _ in range(samples // 4):
        group = np.repeat(np.arange(15), np.ceil(6 * np.exp(1.5 * random.normal(size=15))).astype(int))
        shift, labels = random.normal(0, 1, (4, 15)), random.random((4, len(group))) < 0.5
        logits = 1.5 * (labels - 0.5) + shift[:, group] * (labels - 0.5) + random.normal(size=labels.shape)
        statistic = AUROC(Ranked.of(logits, labels), Groups(group))
        ends = interval(statistic), plain(statistic.value, np.sqrt((statistic.influence() ** 2).sum(1)), 15)
        found.append(np.stack([*ends[0], *ends[1]]))
    low, high, plain_low, plain_high = (values[~np.isnan(values)] for values in np.concatenate(found, axis=1))
    truth = norm.cdf(1.5 / np.sqrt(2 * 1.25))
    assert covered(low, high, truth) > 0.92
    assert covered(plain_low, plain_high, truth) < 0.91


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
