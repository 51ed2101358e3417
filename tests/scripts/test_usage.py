"""The documents say what the scripts do: every command of theirs parses, and the contract holds."""

import importlib
import re
import shlex

import pytest

from helpers import ROOT, flat
from utils.sweep.flags import POS_WEIGHT_CAP
from visualize_probe import TOKENS

PAGES = sorted(str(path.relative_to(ROOT)) for folder in (ROOT, ROOT / "docs") for path in folder.glob("*.md"))
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


@pytest.mark.parametrize("name", CONTRACT)
def test_the_contracts_flags_have_the_contracts_defaults(name):
    arguments = flat(importlib.import_module(name).parse([]))
    if "pos_weight_cap" in CONTRACT[name]:  # of next-token data; others have none
        assert arguments["pos_weight_cap"] is None
        arguments["pos_weight_cap"] = POS_WEIGHT_CAP
    if "text_source" in CONTRACT[name]:  # the flag's default: a file if there is one, else this
        assert arguments["text_source"] is None
        arguments["text_source"] = "gutenberg"
    if "num_tokens" in CONTRACT[name]:  # of whole texts, another
        assert arguments["num_tokens"] is None
        arguments["num_tokens"] = TOKENS[False]
    assert {flag: arguments[flag] for flag in CONTRACT[name]} == CONTRACT[name]


def commands():
    """Every command of the pages, but those of extending.md: its scripts were changed by its diffs."""
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
        for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) if page != "docs/extending.md" else ():
            for line in block.splitlines():
                if line.startswith("python scripts/"):
                    yield " ".join(line.split())


WHOLE_CONTRACT = (  # each script's every flag of the contract, in one command
    'python scripts/prepare_data.py --model_name unsloth/gemma-3-270m --target_token " the" --context_length 256 '
    "--max_texts 1000 --max_chunks_per_class 50000 --train_ratio 0.8 --language en --output_dir data",
    "python scripts/inspect_data.py --data_path data/train.pth --model_name unsloth/gemma-3-270m --num_samples 5",
    "python scripts/train_probe.py --layer 11",
    "python scripts/train_probe.py --layer_sweep 0,5,11,17",
    "python scripts/train_probe.py --model_name unsloth/gemma-3-270m --model_dtype auto --train_data data/train.pth "
    "--val_data data/val.pth --output_dir models --layer_sweep auto --batch_size 48 --epochs 10 --learning_rate 1e-3 "
    "--weight_decay 1e-4 --pos_weight_cap 5.0 --wandb_project probe-training --wandb_group layer-sweep-next",
    "python scripts/visualize_probe.py --probe_dir models --model_name unsloth/gemma-3-270m --model_dtype auto "
    "--num_tokens 4000 --text_source gutenberg --language en --output visualization.html",
)


@pytest.mark.parametrize("line", sorted({*commands(), *WHOLE_CONTRACT}))
def test_every_command_of_the_documents_is_understood(line):
    words = shlex.split(line, comments=True)
    path = ROOT / words[1]
    assert path.is_file()
    importlib.import_module(path.stem).parse(words[2:])


def test_there_are_commands_to_test():
    assert len(set(commands())) > 40


@pytest.mark.parametrize("page", PAGES)
def test_the_documents_speak_of_files_that_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    text = re.sub(r"```diff\n.*?```", "", text, flags=re.DOTALL)  # these make files
    for path in re.findall(r"\b((?:scripts|bench|tests|docs|configs)/[\w/]+\.(?:py|md|yaml))\b", text):
        assert (ROOT / path).is_file(), f"{page}: {path}"
    outside_code = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    assert "@" not in outside_code and "TODO" not in text, f"{page} has a place that was never filled in"
