"""What every command line takes and says."""

import argparse
import json
import os
import subprocess
import sys

import pytest

from helpers import SCRIPTS, assert_one_line_error, call, environment, parser_of, run_script
from utils.base.cli.parser import normalise

NAMES = sorted(path.stem for path in SCRIPTS.glob("*.py"))
HEAVY = {
    "torch",
    "transformers",
    "datasets",
    "wandb",
    "numpy",
    "pandas",
    "pyarrow",
    "sklearn",
    "scipy",
    "tokenizers",
    "safetensors",
    "huggingface_hub",
    "psutil",
}


def flags_of(name):
    return [
        action
        for action in parser_of(name)._actions
        if action.option_strings and not isinstance(action, argparse._HelpAction)
    ]


# What is taken


def test_hyphens_and_underscores_name_the_same_flag():
    assert normalise(["--max-texts", "5", "--train-ratio=0.5"]) == ["--max_texts", "5", "--train_ratio=0.5"]
    assert normalise(["--max_texts", "5", "--train_ratio=0.5"]) == ["--max_texts", "5", "--train_ratio=0.5"]


@pytest.mark.parametrize("name", NAMES)
def test_every_flag_is_known_in_both_spellings(name):
    known = {flag for action in flags_of(name) for flag in action.option_strings if flag.startswith("--")}
    assert known
    assert not [flag for flag in known if "-" in flag[2:]], "declared with a hyphen, so the underscore is not known"
    hyphens = {flag: "--" + flag[2:].replace("_", "-") for flag in known}
    assert {flag: normalise([spelt])[0] for flag, spelt in hyphens.items()} == {flag: flag for flag in known}


def test_a_value_keeps_its_hyphens_where_the_flag_loses_them():
    assert normalise(["--output-dir=my-data", "--model-name", "a-b/c-d"]) == [
        "--output_dir=my-data",
        "--model_name",
        "a-b/c-d",
    ]


@pytest.mark.parametrize(
    "name, flag, value, expected",
    [
        ("train_probe", "--lags", "-4,-1", [-4, -1]),
        ("train_probe", "--lags", "-1", [-1]),
        ("train_probe", "--lags", "0", [0]),
        ("prepare_data", "--target_token", "-1", "-1"),
        ("prepare_data", "--target-token", "-.5", "-.5"),
        ("prepare_data", "--target_token", " the", " the"),
    ],
)
def test_a_value_that_begins_with_a_minus_is_no_flag(name, flag, value, expected):
    module = sys.modules.get(name) or __import__(name)
    assert getattr(module.parse([flag, value]), flag[2:].replace("-", "_")) == expected
    assert getattr(module.parse([f"{flag}={value}"]), flag[2:].replace("-", "_")) == expected


@pytest.mark.parametrize(
    "name, typed, meant",
    [
        ("prepare_data", "--context_lenght", "--context_length"),
        ("prepare_data", "--max-text", "--max_texts"),
        ("inspect_data", "--num_sample", "--num_samples"),
        ("train_probe", "--layer_sweeps", "--layer_sweep"),
        ("train_probe", "--learning_rates=1", "--learning_rate"),
    ],
)
def test_a_mistyped_flag_is_answered_with_the_one_that_was_meant(name, typed, meant):
    assert_one_line_error(
        call(name, typed, "7"),
        f"unknown argument {typed.replace('-', '_').replace('__', '--', 1)}",
        f"did you mean {meant}?",
        status=2,
    )


@pytest.mark.parametrize("name", NAMES)
def test_nonsense_is_answered_with_help_and_no_flag_is_guessed_from_its_first_letters(name):
    assert_one_line_error(call(name, "--zzqx"), "unknown argument --zzqx; see --help", status=2)
    whole = max((flag for action in flags_of(name) for flag in action.option_strings), key=len)
    assert_one_line_error(call(name, whole[:-2], "1"), "unknown argument", whole, status=2)


@pytest.mark.parametrize("name", NAMES)
def test_a_flag_without_its_value_is_wrong_usage(name):
    flag = next(action.option_strings[0] for action in flags_of(name) if action.nargs is None)
    assert_one_line_error(call(name, flag), flag, "expected one argument", status=2)


# What is said


@pytest.mark.parametrize("name", NAMES)
def test_every_flag_has_a_help_text_that_tells_its_default(name):
    parser = parser_of(name)
    formatter = parser._get_formatter()
    for action in flags_of(name):
        flag = action.option_strings[0]
        text = formatter._get_help_string(action) if action.help else ""
        assert len(text) > 10, f"{name} {flag} has no help text"
        assert "default" in text or action.default in (None, False), f"{name} {flag} hides its default"
    shown = " ".join(parser.format_help().split())
    for action in flags_of(name):
        if isinstance(action.default, (int, float, str)) and action.default is not False:
            default = action.default if str(action.default).strip() == str(action.default) else repr(action.default)
            assert f"(default: {default})" in shown, f"{action.option_strings[0]}: {default}"


@pytest.fixture(scope="module", params=NAMES)
def help_in_a_fresh_process(request):
    """--help as a user runs it; afterwards the process tells what it had imported."""
    watch = (
        "import atexit, json, os, runpy, sys\n"
        "atexit.register(lambda: os.write(2, json.dumps(sorted(sys.modules)).encode()))\n"
        "script = sys.argv.pop(1)\n"
        "sys.argv[0] = script\n"
        "sys.path.insert(0, os.path.dirname(script))\n"
        "runpy.run_path(script, run_name='__main__')\n"
    )
    return request.param, subprocess.run(
        [sys.executable, "-c", watch, str(SCRIPTS / f"{request.param}.py"), "--help"],
        env=environment({"COLUMNS": "100"}),
        text=True,
        capture_output=True,
        timeout=60,
    )


def test_help_answers_without_importing_anything_heavy(help_in_a_fresh_process):
    name, result = help_in_a_fresh_process
    assert result.returncode == 0, result.stderr
    imported = {module.partition(".")[0] for module in json.loads(result.stderr)}
    assert "argparse" in imported
    assert not imported & HEAVY
    assert result.stdout.startswith(f"usage: {name}.py")


def test_help_shows_every_flag_and_the_next_step(help_in_a_fresh_process):
    name, result = help_in_a_fresh_process
    for action in flags_of(name):
        assert action.option_strings[0] in result.stdout
    assert "next: python scripts/" in result.stdout


def test_help_works_from_another_folder(tmp_path):
    result = run_script("prepare_data", "--help", cwd=tmp_path)
    assert result.returncode == 0
    assert result.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_help_into_a_closed_pipe_is_no_complaint_of_the_interpreter():
    reading, writing = os.pipe()
    os.close(reading)
    try:
        result = subprocess.run(
            [sys.executable, str(SCRIPTS / "train_probe.py"), "--help"],
            stdout=writing,
            stderr=subprocess.PIPE,
            env=environment({"PYTHONUNBUFFERED": None}),
            text=True,
            timeout=60,
        )
    finally:
        os.close(writing)
    assert (result.returncode, result.stderr) == (141, "")
