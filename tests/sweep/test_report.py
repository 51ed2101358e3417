"""The tables printed at the end of a sweep."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from utils.base.text_table import signed
from utils.scores.metrics import scores
from utils.sweep.outcome import Probe, Sweep
from utils.sweep.report.one import gap, interval_note, one_sided
from utils.sweep.report.several import sweeps_table

SHOWN = {"permutation_p": 0.04, "permutation_p_in_sweep": 0.195, "auc_band_low": 0.4, "auc_band_high": 0.7}


def probe(layer, val, p=0.04, in_sweep=0.195, **more):
    scored = {"balanced_accuracy": 0.6, "balanced_accuracy_low": 0.5, "balanced_accuracy_high": 0.7}
    test = {**scored, "auc": 0.576, "auc_low": 0.5, "auc_high": 0.64, "minus_baseline": 0.076, **SHOWN, **more}
    test |= {"permutation_p": p, "permutation_p_in_sweep": in_sweep}
    return Probe("logistic", layer, 0, 0, 0.1, 0.0, {}, {"val": scored | {"auc": val}, "test": test}, True)


def sweep(*probes, target="needle", groups=6, shifted=True):
    """A sweep whose baseline ranks the wrong way round on test; of 24 test examples in so many groups."""
    examples = SimpleNamespace(labels=np.tile([0, 1], 12), groups=np.arange(24) // 2 % groups)
    question = SimpleNamespace(lag=0, name=target)
    task = SimpleNamespace(examples={"test": examples, "val": examples}, seeds=[0])
    baseline = {"read token": {"val": {"auc": 0.6}, "test": {"auc": 0.453}}}
    return Sweep(question, "auc", [], list(probes), baseline, "read token", task, shifted=shifted)  # type: ignore[arg-type]


def test_a_probe_that_gives_one_answer_is_named_with_its_figures():
    labels, groups = [1, 1, 0, 0], [0, 1, 0, 1]
    warning = one_sided("layer3 on test", scores([1.0, 2.0, 3.0, 4.0], labels, groups, 0.0))
    assert "layer3 on test answers positive for all 4" in warning and "negatives 0.0%" in warning
    assert "AUROC is 0.000" in warning
    assert one_sided("layer3 on test", scores([1.0, 2.0, -3.0, 4.0], labels, groups, 0.0)) is None


def test_the_p_of_the_chosen_probe_and_of_the_maximum_are_told_apart():
    text = gap(sweep(probe(3, 0.9), probe(1, 0.8, 0.001, 0.012)))
    assert "permutation p of this probe 0.040, of the maximum of the sweep 0.012 (layer1 logistic; of 2 probes" in text
    assert "with all of them at once 0.400 to 0.700" in text and "nothing of new ones" in text
    text = gap(sweep(probe(3, 0.9, 0.04, 0.05), probe(1, 0.8, 0.04, 0.05), shifted=False))
    assert "sweep 0.050 (this probe; of 2 probes" in text and "shifted" not in text, "of equal ones it is the winner"


def test_one_probe_is_no_maximum_and_without_a_band_none_is_named():
    text = gap(sweep(probe(3, 0.9)))
    assert "of this probe 0.040" in text and "maximum" not in text and "at once" not in text
    nothing = {"auc_band_low": math.nan, "auc_band_high": math.nan}
    assert "at once" not in gap(sweep(probe(3, 0.9, **nothing), probe(1, 0.8, **nothing)))
    assert "permutation" not in gap(sweep(probe(3, 0.9, math.nan, math.nan), groups=2))


def test_a_baseline_below_chance_says_that_it_counts_as_chance():
    assert "with 0.453 (counts as 0.5) on test: +0.076" in gap(sweep(probe(3, 0.9)))
    assert "0.453 (counts as 0.5)" in sweeps_table([sweep(probe(3, 0.9))])
    above = sweep(probe(3, 0.9))
    above.baselines["read token"]["test"]["auc"] = 0.512
    assert "with 0.512 on test" in gap(above) and "counts as" not in gap(above) + sweeps_table([above])


def test_what_would_have_shown_is_no_more_than_is_left():
    difference = {"auc": 0.86, "d": 0.003, "d_low": -0.5, "d_high": 0.6}
    assert signed(difference | {"d_detectable": 0.1}, "d") == "+0.003 (-0.500 to +0.600; 0.100 would show)"
    text = signed(difference | {"d_detectable": math.inf}, "d")
    assert text == "+0.003 (-0.500 to +0.600; none could be shown, 0.143 is left up to 1)"


def test_several_questions_have_p_values_their_correction_and_the_reasons_for_none():
    p = 0.01, 0.02, 0.3
    sweeps = [sweep(probe(3, 0.9, 0.007, value), target=f"label{at}") for at, value in enumerate(p)]
    lines = sweeps_table([*sweeps, sweep(probe(3, 0.9, math.nan, math.nan), target="rare", groups=2)]).splitlines()
    found = [line.split()[-3:] for line in lines[1:5]]
    assert found == [["0.007", f"{one:.3f}", f"{over:.3f}"] for one, over in zip(p, (0.04, 0.06, 0.6), strict=True)] + [
        ["-", "-", "-"]
    ]
    rest = " ".join(lines[5:])
    assert "4 questions of this table" in rest and "Holm" in rest and "None covers a pick" in rest
    assert "in test of 1 of 4 questions (rare at lag 0): 2 groups hold the rarer class" in rest.replace(
        "\u2068", ""
    ).replace("\u2069", "")


@pytest.mark.parametrize(("groups", "why"), [(1, "1 group holds"), (2, "2 groups hold"), (3, "")])
def test_where_there_is_no_interval_there_is_no_p_and_both_are_said_to_be_missing(groups, why):
    note = interval_note(sweep(probe(3, 0.9), groups=groups), "test")
    assert note.startswith(f"no intervals and no permutation p in test: {why}") if why else note == ""


def test_a_threshold_that_does_not_carry_over_is_not_said_to_be_ignorance():
    """Two groups of perfect ranks, all of them below the threshold."""
    warning = one_sided("layer1 on test", scores([-1.0, -2.0, -3.0, -4.0], [1, 1, 0, 0], [0, 1, 0, 1], 0.0))
    assert warning.endswith("its AUROC is 1.000") and "learnt" not in warning and "threshold from validation" in warning
    assert "answers negative for all 4 examples" in warning and "negatives 100.0%" in warning
