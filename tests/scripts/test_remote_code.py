"""Python code that comes with a model runs when it is asked for, and never by accident."""

import io
import json
import re
import shutil

import pytest

from helpers import assert_one_line_error, assert_success, call, run_script, snapshot
from utils.saved.probe_files import load_probe

pytestmark = pytest.mark.slow

CODE = """
from pathlib import Path

from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

Path({marker!r}).write_text("it ran")


class OddConfig(LlamaConfig):
    model_type = "odd"


class OddForCausalLM(LlamaForCausalLM):
    config_class = OddConfig


class OddTokenizer(PreTrainedTokenizerFast):
    pass
"""


@pytest.fixture
def odd(tiny_model, tmp_path, monkeypatch):
    """A model whose architecture is in a file of its folder, and the file that this code writes when it runs."""
    from transformers import dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(tmp_path / "modules")
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 20))
    folder, marker = tmp_path / f"odd_{tmp_path.name}", tmp_path / "marker"
    shutil.copytree(tiny_model, folder)
    (folder / "odd.py").write_text(CODE.format(marker=str(marker)))
    edit(
        folder / "config.json",
        model_type="odd",
        architectures=["OddForCausalLM"],
        auto_map={"AutoConfig": "odd.OddConfig", "AutoModelForCausalLM": "odd.OddForCausalLM"},
    )
    return folder, marker


def edit(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def of_its_own_tokenizer(folder):
    edit(
        folder / "tokenizer_config.json",
        tokenizer_class="OddTokenizer",
        auto_map={"AutoTokenizer": [None, "odd.OddTokenizer"]},
    )


def commands(model, prepared, texts, to):
    return {
        "prepare_data": ("--dataset", texts, "--model_name", model, "--output_dir", to, "--context_length", "32"),
        "inspect_data": ("--data_path", prepared / "train.pth", "--model_name", model),
        "check_setup": ("--model_name", model, "--device", "cpu"),
        "train_probe": (
            *("--train_data", prepared / "train.pth", "--model_name", model, "--device", "cpu", "--no_wandb"),
            *("--output_dir", to, "--results_dir", to, "--layer", "2", "--epochs", "1"),
        ),
    }


SCRIPTS = ["prepare_data", "inspect_data", "check_setup", "train_probe"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_code_of_a_model_runs_though_standard_input_says_yes(script, odd, prepared, texts, tmp_path):
    folder, marker = odd
    of_its_own_tokenizer(folder)
    result = call(script, *commands(folder, prepared, texts, tmp_path / "out")[script])
    assert_one_line_error(result, folder, "--trust_remote_code")
    assert not marker.exists() and snapshot(tmp_path / "out") == {}


@pytest.mark.parametrize("script", ["evaluate_probe", "visualize_probe"])
def test_nor_does_it_where_saved_probes_name_the_model(script, odd, prepared, texts, tmp_path, tiny_model):
    folder, marker = odd
    to = ("--output_dir", tmp_path / "probes", "--results_dir", tmp_path / "results", "--no_wandb")
    train = ("--train_data", prepared / "train.pth", "--device", "cpu", "--layer", "2", "--epochs", "1")
    assert_success(call("train_probe", *train, *to))
    text = ("--text_file", next(texts.iterdir()), "--output", tmp_path / "page.html")
    more = text if script == "visualize_probe" else ("--data", prepared / "test.pth", "--results_dir", tmp_path / "results")
    result = call(script, "--probe_dir", tmp_path / "probes", "--model_name", folder, "--device", "cpu", *more)
    assert_one_line_error(result, folder, "--trust_remote_code")
    assert not marker.exists()


def test_with_the_flag_the_code_runs_and_what_it_makes_is_recorded(odd, texts, tmp_path):
    folder, marker = odd
    of_its_own_tokenizer(folder)
    trusted = ("--trust_remote_code", "--model_name", folder)
    made, out = tmp_path / "data", tmp_path / "out"
    assert_success(
        call(
            "prepare_data", *trusted, "--dataset", texts, "--output_dir", made, "--context_length", "32", "--max_texts", "8"
        )
    )
    assert marker.read_text() == "it ran"
    assert json.loads((made / "metadata.json").read_text())["trust_remote_code"] is True
    assert_success(call("inspect_data", *trusted, "--data_path", made / "train.pth"))
    setup = call("check_setup", *trusted, "--device", "cpu")
    assert re.search(r"a OddForCausalLM of 3 layers.*\n.*note +weights: .*--trust_remote_code", setup.stdout), setup.stdout
    train = ("--train_data", made / "train.pth", "--output_dir", out, "--results_dir", out, "--layer", "2", "--epochs", "1")
    assert_success(call("train_probe", *trusted, *train, "--device", "cpu", "--no_wandb"))
    assert json.loads((out / "run_record.json").read_text())["arguments"]["trust_remote_code"] is True
    assert load_probe(out / "probe_layer2_next.pth")["metadata"]["trust_remote_code"] is True


def test_a_model_of_plain_transformers_needs_no_flag_though_code_lies_beside_it(odd, prepared):
    folder, marker = odd
    edit(folder / "config.json", model_type="llama", architectures=["LlamaForCausalLM"])
    assert "passed  loading" in call("check_setup", "--model_name", folder, "--device", "cpu").stdout
    assert not marker.exists()


@pytest.mark.slow
def test_a_process_of_its_own_does_not_ask(odd):
    folder, marker = odd
    result = run_script("check_setup", "--model_name", folder, "--device", "cpu", input="y\ny\ny\n")
    assert_one_line_error(result, "--trust_remote_code")
    assert not marker.exists() and "[y/N]" not in result.stdout
