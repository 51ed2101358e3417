"""The diffs of docs/extending.md apply to the tree as it is, and what they add works."""

import re
import shutil
import subprocess
import sys

import pytest

import house
from helpers import ROOT, SCRIPTS, environment

PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
DIFFS = dict(re.findall(r"^## (.*?)$.*?```diff\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the scripts to which all diffs of the page were applied."""
    folder = tmp_path_factory.mktemp("extended")
    shutil.copytree(SCRIPTS, folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    for heading, diff in DIFFS.items():
        done = subprocess.run(["git", "apply", "-"], input=diff, cwd=folder, text=True, capture_output=True, timeout=60)
        assert done.returncode == 0, f"{heading}: {done.stderr}"
    return folder


@pytest.mark.slow
def test_the_extended_tree_keeps_the_order_of_the_house(extended):
    wrong = [complaint for check in house.CHECKS for complaint in check(extended / "scripts")]
    assert wrong == []


def run(folder, script, *args):
    command = [sys.executable, str(folder / "scripts" / f"{script}.py"), *map(str, args)]
    done = subprocess.run(command, cwd=folder, env=environment(), text=True, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_section_shows_a_diff():
    assert list(DIFFS) == ["A reader", "A kind of probe", "A site", "A chart"]


def test_the_reader_reads_words_with_tags(extended, tiny_tokenizer):
    line = "Anna\tname\nsaw\tO\nBob\tname\nMiller\tname\n.\tO\n"
    code = (
        "from utils.data.readers.tagged import read_tagged\n"
        "(document,) = read_tagged('words.tsv').documents\n"
        "print([document.text[start:end] for start, end, _ in document.spans])"
    )
    (extended / "words.tsv").write_text(line, encoding="utf-8")
    env = environment({"PYTHONPATH": str(extended / "scripts")})
    done = subprocess.run([sys.executable, "-c", code], cwd=extended, env=env, text=True, capture_output=True, timeout=60)
    assert done.stdout.strip() == "['Anna', 'Bob Miller']", done.stderr


@pytest.mark.slow
def test_the_kind_the_site_and_the_chart_go_through_the_scripts(extended, prepared):
    flags = ("--layer_sweep", "words,embed,0", "--probe", "logistic,least_squares", "--no_wandb")
    said = run(extended, "train_probe", "--train_data", prepared / "train.pth", *flags)
    assert "least_squares" in said
    for layer in ("words", "embed", "layer0"):
        assert (extended / f"models/probe_{layer}_next_least_squares.pth").is_file()
    assert "calibration_error.html" in run(extended, "visualize_results")
