"""Benchmarks that have a small size run to their end in it: nobody else would notice one that broke."""

import subprocess
import sys
from pathlib import Path

import pytest

from helpers import environment

pytestmark = pytest.mark.slow
BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.mark.parametrize(
    "arguments, row",
    [
        (("extraction.py", "--small", "--windows", "8", "--rounds", "1"), "whole sweep, all layers"),
        (("gpu.py", "--device", "cpu", "--small", "--no_compile"), "bare forward"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_it_ends_with_its_table(arguments, row):
    name, *flags = arguments
    done = subprocess.run(
        [sys.executable, BENCH / name, *flags], env=environment(), text=True, capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert row in done.stdout and "no measurement" in done.stdout
