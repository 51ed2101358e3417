"""Lists on a command line, with commas or spaces between; the numbers and names that flags take."""

import argparse
import importlib
import re

import pytest

from helpers import SCRIPTS, assert_one_line_error, call, flat, parser_of
from utils.base.cli.parser import NamesAction, Parser, lag_list, normalise, number_list
from utils.base.cli.words import items_of

NAMES = sorted(path.stem for path in SCRIPTS.glob("*.py"))
LISTS = [  # (script, flag, words that all say the same, what the script is told)
    ("train_probe", "targets", ["old town", "river"], "old town,river"),
    ("train_probe", "layer_sweep", ["embed", "0", "5", "11"], "embed,0,5,11"),
    ("train_probe", "lags", ["-1", "0"], [-1, 0]),
    ("train_probe", "lags", ["-4..-1", "2"], [-4, -3, -2, -1, 2]),
    ("train_probe", "probe", ["linear", "mlp"], ["linear", "mlp"]),
    ("train_probe", "train_seeds", ["0", "1"], [0, 1]),
    ("check_setup", "targets", ["a", "b"], "a,b"),
    ("check_setup", "layer_sweep", ["0", "final_norm"], "0,final_norm"),
    ("check_setup", "lags", ["-4", "-1"], [-4, -1]),
    ("check_setup", "probe", ["linear", "logistic"], ["linear", "logistic"]),
    ("check_setup", "train_seeds", ["0", "7"], [0, 7]),
    ("evaluate_probe", "probe", ["linear", "mlp"], ["linear", "mlp"]),
    ("evaluate_probe", "layers", ["0", "embed"], [0, "embed"]),
    ("evaluate_probe", "lag", ["-4", "-1"], [-4, -1]),
    ("evaluate_probe", "seed", ["0", "1"], [0, 1]),
    ("evaluate_probe", "targets", ["old town", "river"], ["old town", "river"]),
    ("prepare_data", "label", ["old town", "river"], ["old town", "river"]),
    ("prepare_data", "datasets", ["a", "b"], ["a", "b"]),
    ("prepare_data", "splits", ["train", "dev=val"], ["train", "dev=val"]),
    ("train_sae", "layers", ["all", "embed"], "all,embed"),
    ("interpret_sae", "layers", ["0", "embed"], "0,embed"),
    ("train_sae", "architecture", ["jumprelu", "batchtopk"], ["jumprelu", "batchtopk"]),
    ("train_sae", "target_l0", ["4", "16"], [4, 16]),
    ("train_sae", "seeds", ["0", "1"], [0, 1]),
]
BESIDE = {  # what else must be said
    "label": ["--task", "spans", "--input", "spans.jsonl"],
    "datasets": ["--task", "documents", "--input", "index.csv"],
    "splits": ["--task", "spans", "--input", "spans.jsonl"],
}


def told(script, flag, *words):
    return flat(importlib.import_module(script).parse([*BESIDE.get(flag, ()), *words]))[flag]


@pytest.mark.parametrize("script, flag, words, expected", LISTS)
def test_a_list_has_commas_or_spaces_between(script, flag, words, expected):
    first, *others = words
    commas = ",".join(words)
    for spelt in (
        [f"--{flag}", *words],
        [f"--{flag.replace('_', '-')}", *words],
        [f"--{flag}", commas],
        [f"--{flag}={commas}"],
        [f"--{flag}={first}", *others],
        [f"--{flag}", f"{first},", *others],
        [f"--{flag}", first, f",{','.join(others)}"],
    ):
        assert told(script, flag, *spelt) == expected, spelt


@pytest.mark.parametrize("script, flag, words, expected", LISTS)
def test_the_same_in_a_file(script, flag, words, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = [f"[{', '.join(words)}]", ",".join(words)]
    if flag not in ("targets", "label", "datasets", "splits"):  # whose names may hold spaces
        values.append(" ".join(words))
    for value in values:
        (tmp_path / "flags.yaml").write_text(f"{flag}: {value}\n")
        assert told(script, flag, "--config", "flags.yaml") == expected, value


@pytest.mark.parametrize("script", ["train_probe", "check_setup"])
def test_penalties(script, tmp_path):
    for words in (["0", "1e-3"], ["0,1e-3"], ["0, 1e-3"], ["0 1e-3"]):
        assert told(script, "l2_grid", "--probe", "linear", "logistic", "--l2_grid", *words) == [0, 1e-3]


def test_every_list_of_every_script_is_tried_here():
    tried = {(script, flag) for script, flag, *_ in LISTS} | {("train_probe", "l2_grid"), ("check_setup", "l2_grid")}
    found = {
        (name, action.option_strings[0][2:])
        for name in NAMES
        for action in parser_of(name)._actions
        if isinstance(action, NamesAction)
    }
    assert found == tried


@pytest.mark.parametrize("name", NAMES)
def test_every_help_text_that_speaks_of_a_list_says_what_stands_between(name):
    for action in parser_of(name)._actions:
        if action.nargs not in ("+", "*"):
            help = action.help or ""
            assert isinstance(action, NamesAction) == ("commas or spaces" in help), action.option_strings
            assert isinstance(action, NamesAction) or "a list" not in help, action.option_strings


@pytest.mark.parametrize("name", NAMES)
def test_no_script_with_a_list_has_inputs_that_the_list_would_swallow(name):
    actions = parser_of(name)._actions
    assert not any(isinstance(action, NamesAction) for action in actions) or all(action.option_strings for action in actions)


def test_the_next_flag_ends_the_list():
    arguments = importlib.import_module("train_probe").parse(
        ["--lags", "-1", "0", "--layer", "5", "--train-seeds", "0", "1", "--no_wandb", "--probe", "linear", "mlp"]
    )
    assert (arguments.lags, arguments.layer, arguments.train_seeds) == ([-1, 0], "5", [0, 1])
    assert (arguments.no_wandb, arguments.probe) == (True, ["linear", "mlp"])


@pytest.mark.parametrize(
    "name, words, needle",
    [
        ("train_probe", ["--layer", "0", "5"], "unknown argument 5"),
        ("train_probe", ["--epochs", "2", "3"], "unknown argument 3"),
        ("train_probe", ["--lags", "-1", "0", "--no_wandb", "4"], "unknown argument 4"),
        ("train_probe", ["--lags", "-1", "x"], "'-1,x' is not a list of lags"),
        ("train_probe", ["--lags", "-1", "-x"], "unknown argument -x"),
        ("train_probe", ["--lags", "-1", "-1"], "names a lag twice"),
        ("train_probe", ["--lags", "-1,,0"], "is not a list of lags"),
        ("train_probe", ["--probe", "linear", "mpl"], "did you mean mlp?"),
        ("train_probe", ["--lags"], "expected one argument"),
        ("inspect_data", ["--num_samples", "1", "2"], "unknown argument 2"),
    ],
)
def test_what_is_no_list_is_refused_as_before(name, words, needle):
    assert_one_line_error(call(name, *words), needle, status=2)


@pytest.mark.parametrize("minimum, whole", [(0, False), (1, False), (0, True), (3, True)])
def test_the_example_of_a_list_is_such_a_list(minimum, whole):
    numbers = number_list(minimum, whole)
    with pytest.raises(argparse.ArgumentTypeError) as error:
        numbers("-1")
    example = re.search(r"such as (\S+): ", str(error.value))[1]
    assert len(numbers(example)) > 1


@pytest.mark.parametrize("name", NAMES)
def test_help_shows_a_default_as_it_is_given(name):
    assert "(default: [" not in parser_of(name).format_help()


def test_a_list_in_words():
    assert normalise(["--lags", "-4", "-1", "--layer", "5"], ["lags"]) == ["--lags=-4,-1", "--layer", "5"]
    assert normalise(["--lags", "-4", "-1"]) == ["--lags=-4", "-1"], "of a flag that is no list one value is taken"
    assert normalise(["--names", "a", "-h"], ["names"]) == ["--names=a", "-h"]


def test_a_space_separates_inside_a_word_only_where_values_hold_none():
    parser = Parser("some.py", "", config=False)
    parser.add_argument("--lags", action="list", type=lag_list, help="lags")
    parser.add_argument("--names", action="names", help="names")
    arguments = parser.parse_args(["--lags", "-1 0, 3", "--names", "old town, river"])
    assert arguments == argparse.Namespace(lags=[-1, 0, 3], names="old town, river")
    assert items_of(" -4, -1 0,,2 ") == ["-4", "-1", "0", "", "2"]


def test_a_default_is_a_list_too():
    parser = Parser("some.py", "", config=False)
    group = parser.add_argument_group("a group knows the action")
    group.add_argument("--lags", action="list", type=lag_list, default="-1 0", help="lags")
    assert parser.parse_args([]).lags == [-1, 0]


@pytest.mark.parametrize(
    "file, words, kept",
    [
        ("common_positions: true\nlags: -4 -1\n", [], True),
        ("common_positions: true\nlags: -4,-1\n", ["--lags", "0"], False),
        ("common_positions: true\nlags: -4,-1\n", ["--lags", "0", "1"], True),
        ("l2_grid: 1\nprobe: logistic\n", ["--probe", "linear", "logistic"], True),
        ("l2_grid: 1\nprobe: logistic\n", ["--probe", "linear", "mlp"], False),
    ],
)
def test_a_list_on_the_command_line_makes_the_file_give_way_as_with_commas(file, words, kept, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flags.yaml").write_text(file)
    importlib.import_module("train_probe").parse(["--config", "flags.yaml", *words])
    assert ("is left out" in capsys.readouterr().out) == (not kept)
