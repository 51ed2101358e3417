"""The registry of kinds: what follows from its rows, and that it is light."""

import subprocess
import sys

import numpy as np
import pytest

from helpers import SCRIPTS
from utils.probes.kinds import BY_NAME, FORMATS, KINDS, PAGE_KINDS, PENALISED, any_reads, trained_share


def test_what_is_derived_from_the_rows():
    assert [BY_NAME[name].name for name in KINDS] == list(KINDS) and KINDS[0] == "linear"
    assert PAGE_KINDS == ("linear", "logistic", "mass_mean", "mass_mean_tilted")
    assert {"logistic", "attention_features"} == PENALISED
    assert FORMATS == ("linear-probe", "mlp-probe", "attention-probe", "attention-features-probe")
    assert not any(kind.descends and kind.penalised for kind in BY_NAME.values())
    assert any_reads(["linear", "attention"], "sequences") and not any_reads(["linear"], "attention rows")


@pytest.mark.parametrize(
    "kind, weighted, cap, share",
    [
        ("linear", False, 5.0, 0.1),
        ("linear", True, None, 0.5),
        ("logistic", True, 3.0, 0.25),  # 10 positives count as 30 beside 90
        ("mass_mean", True, 5.0, np.nan),
        ("mass_mean_tilted", False, None, 0.5),
    ],
)
def test_the_share_of_positives_that_logits_speak_of(kind, weighted, cap, share):
    assert trained_share(kind, 10, 90, weighted, cap) == pytest.approx(share, nan_ok=True)


def test_without_examples_there_is_no_share():
    assert np.isnan(trained_share("linear", 0, 0, True))


def test_the_registry_imports_nothing_heavy():
    code = (
        "import sys, utils.probes.kinds; print([name for name in ('torch', 'numpy', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
