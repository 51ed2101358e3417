"""USAGE and README say what the scripts do: every flag with its default, every command parses, the contract holds."""

import dataclasses
import importlib
import re
import shlex

import pytest

from helpers import ROOT
from utils.sweep.flags import POS_WEIGHT_CAP

SCRIPTS = (
    "prepare_data",
    "inspect_data",
    "train_probe",
    "visualize_probe",
    "visualize_results",
    "run_experiment",
    "check_setup",
    "evaluate_probe",
)
CONTRACT = {
    "prepare_data": {
        "model_name": "unsloth/gemma-3-270m",
        "target_token": " the",
        "context_length": 256,
        "max_texts": 1000,
        "max_chunks_per_class": 50000,
        "train_ratio": 0.8,
        "language": "en",
        "output_dir": "data",
    },
    "inspect_data": {"data_path": "data/train.pth", "num_samples": 5},
    "train_probe": {
        "model_dtype": "auto",
        "train_data": "data/train.pth",
        "output_dir": "models",
        "batch_size": 48,
        "epochs": 10,
        "learning_rate": 1e-3,
        "weight_decay": 1e-4,
        "pos_weight_cap": 5.0,
        "wandb_project": "probe-training",
        "predict_current": False,
        "no_wandb": False,
    },
    "visualize_probe": {
        "probe_dir": "models",
        "model_name": None,
        "model_dtype": "auto",
        "num_tokens": 4000,
        "text_source": "gutenberg",
        "text_file": None,
        "output": "visualization.html",
    },
}


def actions(name, monkeypatch):
    """The flags of a script: what its parse() adds to its parser."""
    module, found = importlib.import_module(name), []
    original = module.Parser.parse_args

    def catch(parser, argv=None, namespace=None):
        found.extend(action for action in parser._actions if action.option_strings and action.dest != "help")
        return original(parser, argv, namespace)

    monkeypatch.setattr(module.Parser, "parse_args", catch)
    module.parse([])
    return found


def section(name):
    usage = (ROOT / "USAGE.md").read_text(encoding="utf-8")
    return re.search(rf"^## \d\. {name}\.py$(.*?)(?=^## |\Z)", usage, re.MULTILINE | re.DOTALL).group(1)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_flag_is_in_the_scripts_table_with_its_default_and_no_other_is(name, monkeypatch):
    rows = dict(re.findall(r"^\| `--(\w+)` \| (.*?) \|", section(name), re.MULTILINE))
    flags = {action.dest: action for action in actions(name, monkeypatch)}
    assert set(rows) == set(flags)
    for flag, action in flags.items():
        if action.default not in (None, False):
            stated = rows[flag].strip("`").strip('"')
            assert type(action.default)(stated) == action.default, flag


def flat(arguments) -> dict:
    """{flag: value} of what a parse() returns, those in its dataclasses too."""
    found = dict(vars(arguments))
    for value in vars(arguments).values():
        found |= vars(value) if dataclasses.is_dataclass(value) else {}
    return found


@pytest.mark.parametrize("name", CONTRACT)
def test_the_contracts_flags_have_the_contracts_defaults(name):
    arguments = flat(importlib.import_module(name).parse([]))
    if "pos_weight_cap" in CONTRACT[name]:  # of next-token data; others have none
        assert arguments["pos_weight_cap"] is None
        arguments["pos_weight_cap"] = POS_WEIGHT_CAP
    assert {flag: arguments[flag] for flag in CONTRACT[name]} == CONTRACT[name]


def commands():
    for page in ("README.md", "USAGE.md"):
        text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
        for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
            for line in block.splitlines():
                if line.startswith("python scripts/"):
                    yield line


@pytest.mark.parametrize("line", sorted(set(commands())))
def test_every_command_of_the_documents_is_understood(line):
    words = shlex.split(line, comments=True)
    path = ROOT / words[1]
    assert path.is_file()
    importlib.import_module(path.stem).parse(words[2:])


def test_there_are_commands_to_test():
    assert len(set(commands())) > 12


def test_the_documents_speak_of_files_that_exist():
    for page in ("README.md", "USAGE.md", "DESIGN.md", "LESSONS.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        for path in re.findall(r"\b((?:scripts|bench|tests)/[\w/]+\.py)\b", text):
            assert (ROOT / path).is_file(), f"{page}: {path}"
        assert "@" not in re.sub(r"hidden_states @ probe", "", text), f"{page} has a place that was never filled in"
