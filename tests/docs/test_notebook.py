"""docs/notebook.md runs as it is printed, and `utils` offers the names that it uses without loading anything before."""

import importlib
import re
import subprocess
import sys

import pytest

from helpers import ROOT, SCRIPTS, environment

PAGE = (ROOT / "docs/notebook.md").read_text(encoding="utf-8")
NAMES = [
    "load_language_model",
    "load_tokenizer",
    "load_sequences",
    "read_states",
    "Matrices",
    "Linear",
    "Logistic",
    "MassMean",
    "MLP",
    "Attention",
    "scores",
    "choose_threshold",
    "paired_difference",
    "load_probes",
    "promoted_tokens",
]


def python(code, **options):
    command = [sys.executable, "-W", "error::ImportWarning", "-c", code]
    found = subprocess.run(command, env=environment(), text=True, capture_output=True, timeout=300, **options)
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.mark.slow
def test_the_notebook_finds_the_next_token_as_it_is_printed():
    said = python(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1], cwd=ROOT)
    shown = re.search(r"```text\n(.*?)```", PAGE, re.DOTALL)[1]
    assert re.sub(r"\d", "0", said).split(":")[0] == re.sub(r"\d", "0", shown).split(":")[0], "other lines than are shown"
    auc, low, high, groups = map(float, re.match(r"AUROC (\S+) \((\S+) to (\S+)\) over (\d+) texts", said).groups())
    assert 0.9 < low < auc < high < 1 and groups > 10
    balanced, positive = re.search(r"balanced accuracy (\S+); (\S+)% of", said).groups()
    assert float(balanced) > 0.85 and 1 < float(positive) < 10
    assert said.splitlines()[-1].startswith("promoted tokens: [' the'")


@pytest.mark.parametrize("name", [name for name in NAMES if name != "scores"])  # a room that can be called, see below
def test_the_door_gives_the_function_or_class_itself(name):
    found = getattr(importlib.import_module("utils"), name)
    assert found.__name__ == name and getattr(importlib.import_module(found.__module__), name) is found
    assert name in PAGE


def test_the_door_names_exactly_these_and_refuses_others():
    door = importlib.import_module("utils")
    assert dir(door) == sorted(NAMES)
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = door.nothing_of_the_kind


def test_importing_utils_loads_nothing():
    code = "import sys, utils\nprint([name for name in ('numpy', 'torch', 'transformers', 'scipy') if name in sys.modules])"
    assert python(code, cwd=SCRIPTS).strip() == "[]"


@pytest.mark.parametrize("first", ["import utils.scores.metrics", "from utils import choose_threshold", "pass"])
def test_scores_is_the_function_whether_its_room_was_imported_before_or_not(first):
    code = f"{first}\nfrom utils import scores\nprint(scores([-1.0, 2.0], [0, 1], [0, 1], 0.0)['auc'])"
    assert python(code, cwd=SCRIPTS).strip() == "1.0"


def test_the_room_of_scores_is_reached_as_any_other():
    code = (
        "import utils.scores.thresholds as thresholds\nimport utils.scores.metrics\nfrom utils.scores import ranking\n"
        "print(thresholds.choose_threshold([-1.0, 2.0], [0, 1]), utils.scores.metrics.all_scores, ranking)"
    )
    assert python(code, cwd=SCRIPTS).startswith("0.5 ")
