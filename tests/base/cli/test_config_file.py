"""Flags from YAML: of a file, of a section, of a `probe:` section; and what the command line says of the same."""

import importlib
import time
from types import SimpleNamespace

import pytest

from helpers import ROOT, assert_one_line_error, assert_success, call, flat, parser_of
from utils.base.cli.config_file import GIVE_WAY
from utils.base.cli.parser import Parser
from utils.base.cli.span_probe_section import OF_TRAINING, RENAMED, SOLVED_KINDS
from utils.base.cli.words import actions_of
from utils.base.errors import UsageError
from utils.probes.kinds import BY_NAME, KINDS, PENALISED
from utils.sweep.flags import penalties_of

PROBE = """
dataset_name: needles
dataset:
  sizes: {train: 300, val: 100}
  families: [[payment, email], [files]]
seed: 7
probe:
  layers_to_probe: [8, 16]
  activation_site: resid_post
  negatives_per_doc: 128
  token_matched_negatives: true
  max_train_docs: 50
  max_val_docs: 20
  max_train_tokens: null
  max_val_tokens: 5000
  batch_size: 256
  num_epochs: 3
  learning_rate: 1e-3
  l2_grid: [0, 1e-4, 1e-3, 1e-2]
  class_balance: downsample
  train_seeds: [0, 1, 2]
  device: cpu
  model_dtype: bfloat16
  feature_dtype: float32
  output_dir: results/probes/needles_v1
"""
SECTIONS = """
prepare_data:
  context_length: 32
train_probe:
  layer: 1
train_probe of all:
  layer_sweep: all
  no-wandb: true
"""


@pytest.fixture
def parse(tmp_path, monkeypatch):
    """parse(script, text of config.yaml, words...) -> what the script is told, parsed in the test's own folder."""
    monkeypatch.chdir(tmp_path)

    def told(script, text, *words, place="config.yaml"):
        (tmp_path / "config.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
        return SimpleNamespace(
            **{"config": place, **flat(importlib.import_module(script).parse(["--config", place, *words]))}
        )

    return told


@pytest.fixture
def refusal(parse):
    """refusal(script, text, words...) -> the message of the UsageError, one line."""

    def said(*arguments, **options):
        with pytest.raises(UsageError) as error:
            parse(*arguments, **options)
        return str(error.value)

    return said


def same_but_config(one, other):
    first, second = ({name: value for name, value in flat(each).items() if name != "config"} for each in (one, other))
    return first == second


# What is taken, and from where


@pytest.mark.parametrize(
    "script, text, words",
    [
        (
            "train_probe",
            "layer-sweep: [embed, 1]\nlags: [-4, -1]\nlearning_rate: 1e-2\nno_wandb: true\noverwrite: false\n",
            ["--layer_sweep", "embed,1", "--lags", "-4,-1", "--learning_rate", "1e-2", "--no_wandb"],
        ),
        ("train_probe", "control: true\n", ["--control"]),
        ("train_probe", "control: 7\n", ["--control", "7"]),
        ("train_probe", "control: false\n", []),
        ("prepare_data", "language: no\ntarget_token: -- x\n", ["--language", "no", "--target_token=-- x"]),
        ("inspect_data", "num_samples: 2\n", ["--num_samples", "2"]),
        ("check_setup", "layer: 3\n", ["--layer", "3"]),
        ("visualize_probe", "lag: -4\noutput: page.html\n", ["--lag", "-4", "--output", "page.html"]),
        ("visualize_results", "metric: auc\n", ["--metric", "auc"]),
        (
            "evaluate_probe",
            "data: [a b.pth, 'c,d.pth']\nlayers: [0, embed]\n",
            ["--data", "a b.pth", "c,d.pth", "--layers", "0,embed"],
        ),
    ],
)
def test_flags_of_a_file_are_as_if_typed(parse, script, text, words):
    told = parse(script, text)
    assert same_but_config(told, importlib.import_module(script).parse(words))
    assert told.config == "config.yaml"


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "scripts").glob("*.py")))
def test_every_script_but_the_one_of_experiments_takes_a_file(name):
    assert ("config" in actions_of(parser_of(name))) == (name != "run_experiment")
    assert parser_of(name).script == name


def test_the_section_of_the_script_is_taken(parse):
    assert parse("prepare_data", SECTIONS).context_length == 32
    told = parse("train_probe", SECTIONS, place="config.yaml:train_probe  of all")
    assert (told.layer, told.layer_sweep, told.no_wandb) == (None, "all", True)
    assert parse("train_probe", SECTIONS, place="config.yaml:train_probe").layer == "1"
    assert same_but_config(parse("inspect_data", "inspect_data:\n"), importlib.import_module("inspect_data").parse([]))


def test_a_file_whose_name_has_a_colon(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml:b").write_text("layer: 4\n")
    assert importlib.import_module("train_probe").parse(["--config", "a.yaml:b"]).layer == "4"


@pytest.mark.parametrize(
    "text, place, needles",
    [
        (
            SECTIONS,
            "config.yaml",
            ["2 sections are of train_probe: train_probe, train_probe of all", "--config 'config.yaml:train_probe of all'"],
        ),
        (SECTIONS, "config.yaml:train_probe of al", ["no such section; did you mean 'train_probe of all'?"]),
        (SECTIONS, "config.yaml:prepare_data", ["a section of prepare_data, not of train_probe"]),
        ("layer: 1\n", "config.yaml:train_probe", ["config.yaml has no sections"]),
        ("prepare_data: {seed: 1}\n", "config.yaml", ["there is no section 'train_probe'; the file has prepare_data"]),
        (
            "no_wandb: true\n" + SECTIONS,
            "config.yaml:train_probe",
            ["line 1: key 'no_wandb' stands outside of the sections"],
        ),
        ("probe: {layers_to_probe: 1}\ntrain_probe: {layer: 1}\n", "config.yaml", ["2 sections are of train_probe"]),
        (SECTIONS, "none.yaml", ["none.yaml: the file does not exist"]),
        (SECTIONS, ".", ["--config '.' is a folder, not a file"]),
    ],
)
def test_a_section_that_cannot_be_taken(refusal, text, place, needles):
    said = refusal("train_probe", text, place=place)
    assert not [needle for needle in needles if needle not in said], said


# What is refused


@pytest.mark.parametrize(
    "script, text, needles",
    [
        ("train_probe", "layer: 5\nepoch: 10\n", ["config.yaml, line 2: unknown key 'epoch'; did you mean 'epochs'?"]),
        ("prepare_data", "\n\ncontext_lenght: 10\n", ["line 3: ", "did you mean 'context_length'?"]),
        ("train_probe", "layer: 5\nepochs: ten\n", ["line 2: argument --epochs: 'ten' is not a whole number of at least 1"]),
        (
            "train_probe",
            "train_probe:\n  probe: lineal\n",
            ["line 2, section train_probe: argument --probe", "mean linear?"],
        ),
        ("train_probe", "model_dtype: float64\n", ["line 1: argument --model_dtype: invalid choice: 'float64'"]),
        ("train_probe", "no_wandb: yes\n", ["line 1: key 'no_wandb' is a flag that stands alone", "not 'yes'"]),
        ("train_probe", "no_wandb: 'true'\n", ["unquoted"]),
        ("train_probe", "epochs: true\n", ["takes a value, not true"]),
        ("train_probe", "layer:\n", ["line 1: key 'layer' has no value"]),
        ("train_probe", "lags: {a: 1}\n", ["keys of its own"]),
        ("train_probe", "layer: 1\nlayer: 2\n", ["line 2: key 'layer' is there twice, first in line 1"]),
        ("evaluate_probe", "layer: 1\nlayers: 2\n", ["line 2: key 'layers' is another name of 'layer'"]),
        ("train_probe", "layer: 1\nconfig: other.yaml\n", ["line 2: key 'config'", "cannot name another"]),
        ("train_probe", "help: true\n", ["unknown key 'help'"]),
        # hostile, and long
        ("train_probe", "layer: !!python/object/apply:os.mkdir [harm]\n", ["line 1: the tag"]),
        ("train_probe", "a: &a {x: 1}\ntrain_probe:\n  <<: *a\n", ["'<<'"]),
        ("train_probe", "[" * 20_000, ["broken YAML"]),
        ("train_probe", "{a: " * 20_000, ["broken YAML"]),
        ("train_probe", b"\xff\xfea\0", ["not UTF-8"]),
        ("train_probe", "", ["no section and no flag"]),
        ("train_probe", "layer: 1\n" * 1_000_000, ["larger than 200,000 bytes"]),
        ("train_probe", "x: &x [" + "a," * 500 + "a]\nlayer: &y [" + "*x," * 500 + "*x]\n", ["is a list"]),
        (
            "train_probe",
            f"export: &a {'a' * 50_000}\nlags: [{'*a, ' * 9000}*a]\n",
            ["line 2: key 'lags'", "100,000 characters"],
        ),
        ("train_probe", "".join(f"a{i}: 1\n" for i in range(2000)), ["2,000 keys"]),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_line(refusal, tmp_path, script, text, needles):
    began = time.monotonic()
    said = refusal(script, text)
    assert not [needle for needle in needles if needle not in said], said
    assert len(said) < 1000 and time.monotonic() - began < 10
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_wrong_flags_are_one_line_on_standard_error(tmp_path):
    (tmp_path / "a.yaml").write_text("layer: 5\nepoch: 10\n")
    assert_one_line_error(call("train_probe", "--config", "a.yaml", cwd=tmp_path), "a.yaml, line 2", "'epochs'?", status=2)
    assert_one_line_error(call("train_probe", "--config", cwd=tmp_path), "--config: expected one argument", status=2)
    assert_one_line_error(call("train_probe", "--config", "a.yaml", "--config", "a.yaml", cwd=tmp_path), "2 times", status=2)


def test_help_answers_whatever_the_file_is():
    result = assert_success(call("train_probe", "--config", "none.yaml", "--help"))
    assert "--config FILE" in result.stdout and "--some_switch=false" in result.stdout


# The command line wins


FILE = "layer_sweep: all\ntrain_seeds: [1, 2]\nprobe: logistic\nl2_grid: [0.1]\nno_wandb: true\nepochs: 3\n"


def test_what_is_typed_wins(parse):
    told = parse("train_probe", FILE, "--epochs", "4", "--l2_grid=0.5,0.25")
    assert (told.epochs, told.l2_grid, told.layer_sweep, told.train_seeds) == (4, [0.5, 0.25], "all", [1, 2])
    assert parse("evaluate_probe", "data: [a, b]\n", "--data", "c").data == ["c"]


@pytest.mark.parametrize(
    "script, text, words, left_out",
    [
        ("train_probe", FILE, ["--layer", "5"], {"layer_sweep"}),
        ("train_probe", FILE, ["--seed", "3"], {"train_seeds"}),
        ("train_probe", "layer: 1\n", ["--layer-sweep=0,1"], {"layer"}),
        ("train_probe", "seed: 1\n", ["--train_seeds", "0,1"], {"seed"}),
        ("train_probe", FILE, ["--probe", "linear"], {"l2_grid"}),
        ("train_probe", FILE, ["--probe", "linear,logistic"], set()),
        ("train_probe", "lags: [-4, 0]\ncommon_positions: true\n", ["--predict_current"], {"lags", "common_positions"}),
        ("train_probe", "lags: [-4, 0]\ncommon_positions: true\n", ["--predict_current=false"], set()),
        ("train_probe", "predict_current: true\n", ["--lags", "-4,-1"], {"predict_current"}),
        ("train_probe", "pool: mean\n", ["--probe", "attention"], {"pool"}),
        ("train_probe", "pool: mean\n", ["--probe", "logistic"], set()),
        (
            "prepare_data",
            "task: spans\ninput: a\nonset_only: true\nonset_negatives: all\n",
            ["--within", "8"],
            {"onset_only", "onset_negatives"},
        ),
        ("prepare_data", "task: spans\ninput: a\nwithin: 8\n", ["--onset_only"], {"within"}),
        (
            "prepare_data",
            "task: spans\ninput: a\nonset_only: true\nonset_negatives: all\n",
            ["--onset_only=false"],
            {"onset_negatives"},
        ),
        ("visualize_probe", "dataset: a\ntext_source: gutenberg\n", ["--text_file", "b"], {"dataset", "text_source"}),
        ("visualize_probe", "text_file: a\n", ["--dataset", "b"], {"text_file"}),
        ("visualize_probe", "text_file: a\n", ["--text_source", "gutenberg"], {"text_file"}),
    ],
)
def test_a_flag_of_the_file_gives_way_to_one_that_contradicts_it(parse, capsys, script, text, words, left_out):
    told, alone = parse(script, text, *words), importlib.import_module(script).parse
    kept = "".join(line + "\n" for line in text.splitlines() if line.partition(":")[0] not in left_out)
    said = capsys.readouterr().out
    assert {name for name in left_out if f"note: --{name}" in said} == left_out
    assert said.count("is left out") == len(left_out)
    assert same_but_config(told, parse(script, kept, *words) if kept else alone(words))


def test_two_flags_of_the_file_that_contradict_each_other_are_refused(refusal):
    assert "--layer 5 and --layer_sweep all contradict" in refusal("train_probe", "layer: 5\nlayer_sweep: all\n")
    assert "--layer 5 and --layer_sweep all contradict" in refusal(
        "train_probe", "epochs: 1\n", "--layer", "5", "--layer_sweep", "all"
    )


def test_the_contradictions_are_of_flags_that_there_are():
    """A pair that no script has would be a typing error; and kinds with a penalty are those of probe_flags."""
    scripts = [set(actions_of(parser_of(path.stem))) for path in (ROOT / "scripts").glob("*.py")]
    for flag, _, losers in GIVE_WAY:
        assert any({flag, *losers} <= flags or {flag, losers[0]} <= flags for flags in scripts), flag
    without_penalty = next(applies for flag, applies, losers in GIVE_WAY if losers == ("l2_grid",))
    assert {kind for kind in KINDS if not without_penalty(kind)} == PENALISED


@pytest.mark.parametrize(
    "words, expected",
    [
        ([], True),
        (["--no_wandb=false"], False),
        (["--no-wandb=False"], False),
        (["--no_wandb=true"], True),
        (["--no_wandb=false", "--no_wandb"], True),
        (["--no_wandb", "--no_wandb=false"], False),
    ],
)
def test_a_switch_of_the_file_can_be_turned_off(parse, words, expected):
    assert parse("train_probe", FILE, *words).no_wandb is expected


def test_a_switch_is_true_or_false(refusal, parse):
    assert refusal("train_probe", FILE, "--no_wandb=maybe").startswith("--no_wandb stands alone, or is --no_wandb=true or ")
    assert parse("train_probe", "control: 7\n", "--control=false").control == 0
    assert parse("train_probe", "control: 7\n", "--control=true").control == 5


def test_an_option_that_takes_a_value_may_be_told_true(parse):
    """`false` is a name as good as any for a folder."""
    assert parse("train_probe", FILE, "--output_dir=false", "--results_dir=true").output_dir == "false"


# The `probe:` section


def test_the_probe_section_as_it_stands(parse, capsys):
    told = parse("train_probe", PROBE)
    assert (told.layer_sweep, told.negatives_per_doc, told.token_matched_negatives) == ("8,16", 128, True)
    assert (told.max_train_docs, told.max_val_docs, told.max_train_tokens, told.max_val_tokens) == (50, 20, None, 5000)
    assert (told.probe_batch_size, told.batch_size, told.epochs, told.learning_rate) == (256, 48, 3, 1e-3)
    assert (told.probe, penalties_of(told), told.class_balance, told.train_seeds) == (
        ["logistic"],
        [1e-2, 1e-3, 1e-4, 0],
        "downsample",
        [0, 1, 2],
    )
    assert (told.device, told.model_dtype) == ("cpu", "bfloat16")
    assert told.output_dir == told.results_dir == "results/probes/needles_v1"
    said = capsys.readouterr().out
    assert said.startswith("note: --epochs 3, --learning_rate 1e-3, --probe_batch_size 256 of config.yaml train nothing")
    assert said.count("\n") == 1


def test_the_probe_section_for_another_kind(parse, capsys):
    told = parse("train_probe", PROBE, "--probe", "linear")
    assert (told.probe, told.epochs, told.probe_batch_size) == (["linear"], 3, 256)
    assert capsys.readouterr().out.splitlines() == [
        "note: --l2_grid 0,1e-4,1e-3,1e-2 of config.yaml, line 19, is left out: the command line has --probe"
    ]
    assert parse("train_probe", "probe:\n  num_epochs: 3\n").probe == ["linear"]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "line, needles",
    [
        ("activation_site: attn_out", ["line 2, section probe: activation_site 'attn_out'", "only resid_post"]),
        ("feature_dtype: float16", ["feature_dtype 'float16' is not supported, only float32"]),
        ("layer_to_probe: 3", ["line 2, section probe: unknown key 'layer_to_probe'; did you mean 'layers_to_probe'?"]),
        ("tokenizer: gpt2", ["line 2", "tokenizer 'gpt2'", "its own tokenizer"]),
        ("model: a\n  tokenizer: b", ["line 3", "tokenizer 'b'"]),
        ("model_dtype: int8", ["line 2", "--model_dtype", "'int8'"]),
        ("class_balance: focal", ["line 2", "--class_balance"]),
        ("num_epochs: 3\n  epochs: 4", ["line 3", "line 2 gives already"]),
        ("token_matched_negatives: 2", ["line 2", "true or false"]),
        ("train_seeds: null", ["line 2", "has no value"]),
        ("probe: linear\n  l2_grid: [0.1]", ["--l2_grid is for", "--probe linear"]),
    ],
)
def test_what_the_probe_section_cannot_have(refusal, line, needles):
    said = refusal("train_probe", f"probe:\n  {line}\n")
    assert not [needle for needle in needles if needle not in said], said


def test_the_probe_section_is_train_probes_alone(refusal, parse):
    assert "there is no section 'inspect_data'; the file has dataset_name, dataset, seed, probe" in refusal(
        "inspect_data", PROBE
    )
    assert parse("train_probe", "probe:\n  model: gpt2\n  tokenizer: gpt2\n  train_data: a.pth\n").model_name == "gpt2"


def test_the_probe_sections_flags_are_there_and_of_their_kinds():
    flags = actions_of(parser_of("train_probe"))
    assert {*RENAMED.values(), *OF_TRAINING} <= set(flags)


def test_the_solved_kinds_are_those_of_the_registry_that_do_not_descend():
    assert {kind.name for kind in BY_NAME.values() if not kind.descends} == SOLVED_KINDS


# Experiments


EXPERIMENT = "inspect_data:\ntrain_probe next:\n  layer_sweep: all\n  no_wandb: true\n  epochs: 3\n"


def dry(tmp_path, *words):
    (tmp_path / "experiment.yaml").write_text(EXPERIMENT)
    return call("run_experiment", "experiment.yaml", "--dry_run", *words, cwd=tmp_path)


def test_set_stands_in_place_of_what_the_file_says(tmp_path):
    result = assert_success(
        dry(
            tmp_path,
            "--set",
            "train_probe next.layer=0",
            "--set=train_probe  next.no-wandb=false",
            "--set",
            "train_probe next.export=a=b.c",
            "--set",
            "inspect_data.num_samples=3",
        )
    )
    commands = [line.split("scripts/")[1] for line in result.stdout.splitlines() if line.startswith("python ")]
    assert commands == ["inspect_data.py --num_samples 3", "train_probe.py --epochs 3 --layer 0 --export a=b.c"]


@pytest.mark.parametrize(
    "setting, needles",
    [
        ("train_probe.epochs=1", ["--set train_probe.epochs", "no such section; did you mean 'train_probe next'?"]),
        ("train_probe next.epoch=1", ["--set train_probe next.epoch: unknown key 'epoch'; did you mean 'epochs'?"]),
        ("train_probe next.epochs=x", ["with --set, section train_probe next: argument --epochs: 'x'"]),
        ("train_probe next.no_wandb=1", ["--set train_probe next.no_wandb", "true or false"]),
        ("epochs=1", ["is not SECTION.FLAG=VALUE"]),
        ("train_probe next.epochs", ["is not SECTION.FLAG=VALUE"]),
    ],
)
def test_a_setting_that_is_refused(tmp_path, setting, needles):
    assert_one_line_error(dry(tmp_path, "--set", setting), *needles, status=2)


@pytest.mark.slow
def test_a_run_that_failed_goes_on_with_its_settings(tmp_path):
    (tmp_path / "experiment.yaml").write_text("inspect_data:\n  data_path: a.pth\n")
    result = call("run_experiment", "experiment.yaml", "--set", "inspect_data.data_path=b c.pth", cwd=tmp_path)
    assert result.returncode == 1
    assert "experiment.yaml --set 'inspect_data.data_path=b c.pth' --from inspect_data" in result.stderr


def test_a_step_may_name_a_file_and_turn_off_what_it_says(tmp_path):
    (tmp_path / "flags.yaml").write_text("layer_sweep: all\nno_wandb: true\n")
    (tmp_path / "steps.yaml").write_text("train_probe:\n  config: flags.yaml\n  layer: 5\n  no_wandb: false\n")
    result = assert_success(call("run_experiment", "steps.yaml", "--dry_run", cwd=tmp_path))
    words = result.stdout.splitlines()[1].split("train_probe.py ")[1]
    assert words == "--config flags.yaml --layer 5 --no_wandb=false"
    (tmp_path / "flags.yaml").write_text("layer_swep: all\n")
    assert_one_line_error(
        call("run_experiment", "steps.yaml", "--dry_run", cwd=tmp_path),
        "flags.yaml, line 1",
        "did you mean 'layer_sweep'?",
        status=2,
    )


def test_a_parser_of_no_config_refuses_one():
    with pytest.raises(SystemExit):
        Parser(__file__, "nothing", config=False).parse_args(["--config", "a.yaml"])
