"""The names of label rules: what is written is read again, and nothing else is."""

import pytest

from utils.data.label_rule import LabelRule


@pytest.mark.parametrize("name", ["target", "tokens", "onsets", "onsets_all", "within 1", "within 80", "whole"])
def test_a_rule_that_is_written_is_read_again(name):
    assert str(LabelRule.parse(name)) == name


@pytest.mark.parametrize("name", ["", "odd", "within", "within 0", "within -1", "within 8 ", "onsets 3", "Tokens"])
def test_any_other_name_is_refused(name):
    with pytest.raises(ValueError, match="no label rule"):
        LabelRule.parse(name)
