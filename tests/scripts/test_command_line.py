"""What a command line takes, what it says, and how the files of the suite hang together."""

import argparse
import ast
import json
import os
import re
import subprocess
import sys

import pytest

from helpers import ROOT, SCRIPTS, assert_one_line_error, call, environment, parser_of, run_script
from utils.base.cli.parser import normalise

NAMES = sorted(path.stem for path in SCRIPTS.glob("*.py"))
MODULES = sorted(path for path in SCRIPTS.rglob("*.py"))
UTILS = SCRIPTS / "utils"
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


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


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


# How the files hang together


def listed_order():
    """The order of the modules that scripts/utils/__init__.py promises."""
    listing = ast.get_docstring(tree_of(UTILS / "__init__.py")).split(":", 1)[1]
    return [name.strip() for name in listing.replace("\n", " ").split(",")]


def owner_of(path):
    """'probes' for utils/probes/linear.py, 'files' for utils/files.py."""
    return path.relative_to(UTILS).parts[0].removesuffix(".py")


def imports_of(path):
    """(line, module) of every import, those inside functions too; of `from utils import files`, 'utils.base.files'."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            names = [f"utils.{alias.name}" for alias in node.names] if node.module == "utils" else [node.module]
            yield from ((node.lineno, name) for name in names)


def test_the_list_of_modules_names_every_module_once():
    there = {owner_of(path) for path in UTILS.rglob("*.py")} - {"__init__"}
    assert sorted(listed_order()) == sorted(there)


def test_no_module_imports_one_that_comes_after_it():
    order = listed_order()
    wrong, seen = [], 0
    for path in UTILS.rglob("*.py"):
        for line, name in imports_of(path):
            parts = name.split(".")
            if parts[0] != "utils" or path == UTILS / "__init__.py":
                continue
            seen += 1
            ours, theirs = owner_of(path), parts[1]
            if ours != theirs and order.index(theirs) > order.index(ours):
                wrong.append(f"{path.relative_to(SCRIPTS)}:{line} imports {name}, which comes after {ours}")
    assert seen > 30, "the walk found almost no imports: it looks in the wrong place"
    assert not wrong, "\n".join(wrong)


def test_no_file_imports_a_script():
    wrong = [
        f"{path.relative_to(SCRIPTS)}:{line} imports {name}"
        for path in MODULES
        for line, name in imports_of(path)
        if name.partition(".")[0] in NAMES
    ]
    assert not wrong, "\n".join(wrong)


def test_importing_any_module_prints_writes_and_changes_nothing(tmp_path):
    names = [
        str(path.relative_to(SCRIPTS).with_suffix("")).replace(os.sep, ".").removesuffix(".__init__") for path in MODULES
    ]
    watch = (
        "import importlib, json, os, signal, sys\n"
        "before = dict(os.environ), signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), os.getcwd()\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        "after = dict(os.environ), signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), os.getcwd()\n"
        "changed = {k for k in {**before[0], **after[0]} if before[0].get(k) != after[0].get(k)}\n"
        "ours = {k for k in changed if not k.startswith(('KMP_', 'OMP_', 'TORCH', 'CUDA'))}\n"
        "sys.exit(0 if not ours and before[1:] == after[1:] else f'changed: {ours}')\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", watch],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        timeout=120,
        env=environment({"PYTHONPATH": str(SCRIPTS)}),
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def dangers(tree):
    """(line, what) of everything that could run code out of a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in ("eval", "exec", "pickle.load", "pickle.loads", "joblib.load", "os.system", "yaml.load"):
                yield node.lineno, called
            for keyword in node.keywords:
                value = ast.unparse(keyword.value)
                if (keyword.arg, value) in (
                    ("weights_only", "False"),
                    ("allow_pickle", "True"),
                    ("shell", "True"),
                ) or keyword.arg == "trust_remote_code":
                    yield node.lineno, f"{keyword.arg}={value}"
            if called == "torch.load" and "weights_only" not in [keyword.arg for keyword in node.keywords]:
                yield node.lineno, "torch.load without weights_only"
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            yield from ((node.lineno, name) for name in names if name in ("pickle", "dill", "joblib", "marshal", "shelve"))


def test_nothing_in_the_scripts_can_run_code_out_of_a_file():
    found = [f"{path.relative_to(ROOT)}:{line}: {what}" for path in MODULES for line, what in dangers(tree_of(path))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "torch.load(path, weights_only=False)",
        "torch.load(path)",
        "eval(text)",
        "pickle.load(file)",
        "import pickle",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "from pickle import load",
        "numpy.load(p, allow_pickle=True)",
    ],
)
def test_the_search_for_dangers_finds_each_of_them(text):
    assert len(list(dangers(ast.parse(text)))) == 1


def test_a_script_is_short_enough_to_be_read_as_a_story():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in MODULES
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 320
    }
    assert not long


def test_no_line_of_the_suite_names_a_place_on_one_machine():
    places = re.compile(r"/(?:home|Users|root|work|tmp)/")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in MODULES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if places.search(line)
    ]
    assert not found
