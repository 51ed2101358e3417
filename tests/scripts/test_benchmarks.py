"""Benchmarks that have a small size run to their end in it: nobody else would notice one that broke."""

import subprocess
import sys
from pathlib import Path

import pytest

from helpers import environment

pytestmark = pytest.mark.slow
BENCH = Path(__file__).resolve().parents[2] / "bench"


TINY_PASS = "--tokens 600 --layers 2 --hidden_size 32 --latents 64 --batch_size 128 --rounds 1 --layers_timed 2"


@pytest.mark.parametrize(
    ("script", "flags", "row"),
    [
        ("extraction.py", "--small --windows 8 --rounds 1", "whole sweep, all layers"),
        ("gpu.py", "--device cpu --small --no_compile", "gemma-3-270m, bfloat16"),
        ("sae.py", "--latents 256 --rounds 1 --threads 1", "batchtopk, autograd"),
        ("report.py", "--penalties 1 --layers 2", " rows of probe_metrics.csv: written in "),
        ("sae_pass.py", f"{TINY_PASS} --context_length 32 --target_l0 4", "one pass a layer: "),
    ],
)
def test_it_ends_with_its_table(script, flags, row):
    done = subprocess.run(
        [sys.executable, BENCH / script, *flags.split()], env=environment(), text=True, capture_output=True, timeout=300
    )
    assert done.returncode == 0 and row in done.stdout, done.stdout + done.stderr
