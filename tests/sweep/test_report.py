"""The tables printed at the end of a sweep."""

from utils.scores.metrics import scores
from utils.sweep.report import one_sided


def test_a_probe_that_gives_one_answer_is_named_with_its_figures():
    labels, groups = [1, 1, 0, 0], [0, 1, 0, 1]
    warning = one_sided("layer3 on test", scores([1.0, 2.0, 3.0, 4.0], labels, groups, 0.0))
    assert "layer3 on test answers positive for all 4" in warning and "negatives 0.0%" in warning
    assert "AUROC is 0.000" in warning
    assert one_sided("layer3 on test", scores([1.0, 2.0, -3.0, 4.0], labels, groups, 0.0)) is None


def test_a_threshold_that_does_not_carry_over_is_not_said_to_be_ignorance():
    """Two groups of perfect ranks, all of them below the threshold."""
    warning = one_sided("layer1 on test", scores([-1.0, -2.0, -3.0, -4.0], [1, 1, 0, 0], [0, 1, 0, 1], 0.0))
    assert warning.endswith("its AUROC is 1.000") and "learnt" not in warning and "threshold from validation" in warning
    assert "answers negative for all 4 examples" in warning and "negatives 100.0%" in warning
