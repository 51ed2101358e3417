"""Experiments of several steps: what is refused before anything runs, and what happens when it does run."""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers import (
    ROOT,
    SCRIPTS,
    assert_one_line_error,
    assert_success,
    call,
    command,
    environment,
    prose,
    run_script,
    snapshot,
)
from run_experiment import GRACE, end, run_step
from utils.base.cli.yaml_file import read_experiment
from utils.base.errors import UserError

EXPERIMENT = """
# three steps, the last one short
prepare_data:
  dataset: it's $TEXTS
  model_name: {model}
  context-length: 32
  max_chunks_per_class: 300
  output_dir: out

inspect_data:
  data_path: out/train.pth
  num_samples: 1

train_probe next:
  train_data: out/train.pth
  layer_sweep: [embed, 1]
  epochs: 1
  no_wandb: true
  overwrite: false
"""
NAMES = ["prepare_data", "inspect_data", "train_probe next"]


@pytest.fixture
def write(tmp_path):
    """write(text or bytes) -> the path of an experiment in the test's own folder."""

    def to_file(text, name="experiment.yaml"):
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
        return name

    return to_file


@pytest.fixture
def dry(write, tmp_path):
    """dry(text) -> the ended process of a --dry_run."""
    return lambda text, *more: call("run_experiment", write(text), "--dry_run", *more, cwd=tmp_path)


def commands_of(output):
    """[[script, words...]] of every command that was printed, as a shell reads it."""
    lines = [shlex.split(line)[1:] for line in output.splitlines() if line.startswith("python ")]
    return [[Path(script).stem, *words] for script, *words in lines]


def titles_of(output):
    return re.findall(r"^step \d of \d, ([^,\n]+)$", output, re.MULTILINE)


# What runs


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory, texts, tiny_model):
    """The three steps as a process of their own, in a folder of their own: (folder, the ended process)."""
    folder = tmp_path_factory.mktemp("experiment")
    (folder / "it's $TEXTS").symlink_to(texts)
    (folder / "tiny.yaml").write_text(EXPERIMENT.format(model=tiny_model))
    return folder, run_script("run_experiment", "tiny.yaml", cwd=folder)


@pytest.mark.slow
def test_the_steps_run_in_order_each_shown_as_its_command(whole_run):
    folder, result = whole_run
    assert_success(result)
    assert titles_of(result.stdout) == NAMES
    assert [words[0] for words in commands_of(result.stdout)] == ["prepare_data", "inspect_data", "train_probe"]
    places = [
        result.stdout.index(said)
        for said in (
            "step 1 of 3, prepare_data\n",
            "prepare_data.py --dataset",
            "wrote out/train.pth",
            "step 1 of 3, prepare_data, took ",
            "step 2 of 3, inspect_data\n",
            "--num_samples 1",
            "checks passed",
            "step 2 of 3, inspect_data, took ",
            "step 3 of 3, train_probe next\n",
            "--layer_sweep embed,1",
            "wrote 2 probes",
        )
    ]
    assert places == sorted(places), "a step speaks before its command is shown, or after the next began"
    assert result.stdout.splitlines()[-1].startswith("next: python scripts/visualize_probe.py --probe_dir")
    assert sorted(path.name for path in (folder / "models").glob("probe_*")) == [
        "probe_embed_next.pth",
        "probe_layer1_next.pth",
    ]


@pytest.mark.slow
def test_the_commands_of_a_dry_run_do_the_same_in_a_shell(whole_run, texts, tmp_path):
    """All that --dry_run prints for the first step is given to bash: the same data come out, byte for byte."""
    folder, result = whole_run
    text = (folder / "tiny.yaml").read_text()
    (tmp_path / "tiny.yaml").write_text(text[: text.index("inspect_data")])
    dry = assert_success(call("run_experiment", "tiny.yaml", "--dry_run", cwd=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"], "a dry run wrote something"
    assert commands_of(dry.stdout) == commands_of(result.stdout)[:1]
    (tmp_path / "it's $TEXTS").symlink_to(texts)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    assert_success(
        subprocess.run(
            ["bash", "-e"],
            input=dry.stdout,
            text=True,
            capture_output=True,
            cwd=tmp_path,
            env=environment({"PATH": path}),
            timeout=120,
        )
    )
    whole, pasted = (
        {Path(path).name: digest for path, digest in snapshot(root / "out").items()} for root in (folder, tmp_path)
    )
    assert len(whole) == 4 and pasted == whole


@pytest.mark.slow
def test_the_first_failure_stops_the_run_and_says_how_to_go_on(write, tmp_path):
    """The second step is told of a file that is not there; the label has a space, which the shell must be told."""
    path = write(
        "inspect_data:\ninspect_data it's missing: {data_path: nowhere.pth}\ntrain_probe: {train_data: nowhere.pth}\n"
    )
    result = run_script("run_experiment", path, "--from", "inspect_data it's missing", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stdout.startswith("left out by --from: inspect_data\n")
    assert titles_of(result.stdout) == ["inspect_data it's missing"]
    assert [words[0] for words in commands_of(result.stdout)] == ["inspect_data"]
    theirs, ours = result.stderr.splitlines()
    assert theirs.startswith("inspect_data.py: error: nowhere.pth does not exist")
    assert ours.startswith("run_experiment.py: error: step 2 of 3, inspect_data it's missing, failed with exit status 1")
    words = shlex.split(ours.partition("then: ")[2])
    assert words[0] == "python" and (tmp_path / words[1]).resolve() == SCRIPTS / "run_experiment.py"
    again = assert_success(call("run_experiment", *words[2:], "--dry_run", cwd=tmp_path))
    assert again.stdout.splitlines()[:2] == [
        "# left out by --from: inspect_data",
        "# step 2 of 3, inspect_data it's missing",
    ]


def test_a_step_that_is_killed_is_named_with_the_signal():
    """As the system does where memory runs out."""
    run_step("step 1 of 2, one", ["-c", ""], ["experiment.yaml"])
    with pytest.raises(UserError, match=r"^step 2 of 2, other, failed with signal 9 \(Killed\), .* then: python \S+ again$"):
        run_step("step 2 of 2, other", ["-c", "import os; os.kill(os.getpid(), 9)"], ["again"])


# What is cut off


@pytest.fixture
def begin(write, tmp_path, tiny_model, texts):
    """begin(words) -> (process, id of its step's process), once a line with these words was said: an experiment whose
    first step is in the middle of a long text.
    """
    folder = shutil.copytree(texts, tmp_path / "texts")
    (folder / "text9.txt").write_text(prose(9) * 3000)
    path = write(
        f"prepare_data:\n  dataset: texts/*.txt\n  model_name: {tiny_model}\n  context_length: 32\n"
        "  output_dir: out\ninspect_data:\n"
    )
    process = subprocess.Popen(
        command("run_experiment", path),
        env=environment(),
        cwd=tmp_path,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )

    def until(words):
        assert any(words in line for line in process.stdout), process.stderr.read()
        time.sleep(0.5)
        found = subprocess.run(["ps", "-o", "pid=,ppid=", "-A"], text=True, capture_output=True, check=True).stdout
        (step,) = [int(line.split()[0]) for line in found.splitlines() if line.split()[1] == str(process.pid)]
        return process, step

    try:
        yield until
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def gone(step):
    try:
        os.kill(step, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.slow
def test_ctrl_c_reaches_both_and_leaves_nothing(begin, tmp_path):
    process, step = begin("target ' the' is token")
    started = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert time.monotonic() - started < GRACE, "it waited to send the step a signal that the step already had"
    assert process.returncode == 130
    assert errors.splitlines() == [
        f"{name}.py: interrupted; nothing half written was left" for name in ("prepare_data", "run_experiment")
    ]
    assert re.fullmatch(
        r"step 1 of 2, prepare_data: interrupted; to go on: python \S+/run_experiment.py experiment.yaml "
        r"--from prepare_data",
        output.splitlines()[-1],
    )
    assert gone(step) and list((tmp_path / "out").iterdir()) == []


@pytest.mark.slow
def test_a_signal_for_the_experiment_alone_is_handed_on_to_its_step(begin, tmp_path):
    process, step = begin("prepare_data.py --dataset")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 143
    assert errors.splitlines() == [
        f"{name}.py: ended by SIGTERM; nothing half written was left" for name in ("prepare_data", "run_experiment")
    ]
    assert gone(step) and not list(tmp_path.glob("out/*"))


@pytest.mark.slow
def test_a_killed_experiment_takes_its_step_along(begin, tmp_path):
    """No signal handler runs in the experiment: the step itself notices."""
    process, step = begin("target ' the' is token")
    process.kill()
    errors = process.stderr.read()  # until the step has closed it too
    assert errors.splitlines() == ["prepare_data.py: ended by SIGTERM; nothing half written was left"]
    until = time.monotonic() + 10
    while not gone(step) and time.monotonic() < until:
        time.sleep(0.05)
    assert gone(step) and list((tmp_path / "out").iterdir()) == []


@pytest.mark.slow
def test_a_step_that_got_no_ctrl_c_of_its_own_is_sent_one():
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stderr=subprocess.DEVNULL) as process:
        end(process, signal.SIGINT)
    assert process.returncode == -signal.SIGINT


# Where to start


def test_from_leaves_out_the_steps_before_it_by_name(dry):
    text = EXPERIMENT.format(model="model")
    result = assert_success(dry(text, "--from", "train_probe next"))
    assert [words[0] for words in commands_of(result.stdout)] == ["train_probe"]
    assert result.stdout.splitlines()[:2] == [
        "# left out by --from: prepare_data, inspect_data",
        "# step 3 of 3, train_probe next",
    ]
    assert "left out" not in assert_success(dry(text)).stdout


@pytest.mark.parametrize(
    "typed, said",
    [
        ("train_prob next", "did you mean 'train_probe next'?"),
        ("train_probe", "did you mean 'train_probe next'?"),
        ("zzz", "there are prepare_data, inspect_data, train_probe next"),
    ],
)
def test_from_an_unknown_step(dry, typed, said):
    result = dry(EXPERIMENT.format(model="model"), "--from", typed)
    assert_one_line_error(result, f"--from '{typed}' is no section of experiment.yaml", said, status=2)


# What a value becomes


@pytest.mark.parametrize(
    "script, line, expected",
    [
        ("prepare_data", "language: no", ["--language", "no"]),
        ("prepare_data", "text_column: on", ["--text_column", "on"]),
        ("prepare_data", "dataset: 2024-01-01", ["--dataset", "2024-01-01"]),
        ("prepare_data", "seed: 010", ["--seed", "010"]),
        ("prepare_data", "target_token: ' the'", ["--target_token", " the"]),
        ("prepare_data", "target_token: 'true'", ["--target_token", "true"]),
        ("prepare_data", "target_token: 12:30", ["--target_token", "12:30"]),
        ("prepare_data", "target_token: -- x", ["--target_token=-- x"]),
        ("prepare_data", "target_token: \"$HOME `ls` 'é'\"", ["--target_token", "$HOME `ls` 'é'"]),
        ("prepare_data", "max-texts: 7", ["--max_texts", "7"]),
        ("prepare_data", "{}", []),
        ("train_probe", "learning_rate: 1e-3", ["--learning_rate", "1e-3"]),
        ("train_probe", "lags: [-4, -1, 0]", ["--lags=-4,-1,0"]),
        ("train_probe", "lags: -1", ["--lags=-1"]),
        ("train_probe", "layer_sweep: [0, 5, final_norm]", ["--layer_sweep", "0,5,final_norm"]),
        ("train_probe", "layer: &one 5\n  seed: *one", ["--layer", "5", "--seed", "5"]),
        ("train_probe", "no_wandb: true", ["--no_wandb"]),
        ("train_probe", "no_wandb: False", []),
    ],
)
def test_a_value_reaches_the_script_as_it_was_written(dry, script, line, expected):
    result = assert_success(dry(f"{script}:\n  {line}\n"))
    assert commands_of(result.stdout) == [[script, *expected]]


def test_an_empty_section_is_a_script_with_its_defaults_and_a_label_tells_two_apart(dry):
    result = assert_success(dry("inspect_data:\ninspect_data  of val:\n  data_path: data/val.pth\n"))
    assert commands_of(result.stdout) == [["inspect_data"], ["inspect_data", "--data_path", "data/val.pth"]]
    assert "# step 2 of 2, inspect_data of val\n" in result.stdout


# What is refused, before anything runs


@pytest.mark.parametrize(
    "text, needles",
    [
        # names
        ("trian_probe:\n", ["line 1: unknown section 'trian_probe'; did you mean 'train_probe'?"]),
        (
            "inspect_data:\ntrain-probe again:\n",
            ["line 2: unknown section 'train-probe again'; did you mean 'train_probe'?"],
        ),
        ("zzzz:\n", ["unknown section 'zzzz'; the scripts are", "train_probe"]),
        ("run_experiment:\n", ["unknown section 'run_experiment'"]),
        (
            "train_probe:\n  layer_swep: all\n",
            ["line 2, section train_probe: unknown key 'layer_swep'; did you mean 'layer_sweep'?"],
        ),
        ("train_probe:\n  max-chunks: all\n", ["unknown key 'max_chunks'"]),
        ("train_probe:\n  zzzz: 1\n", ["unknown key 'zzzz'; train_probe.py has model_name, "]),
        ("train_probe:\n  help: true\n", ["unknown key 'help'"]),
        ("train_probe:\n  predict: true\n", ["predict_current"]),
        # values
        (
            "train_probe:\n  seed: 1\n  epochs: ten\n",
            ["line 3, section train_probe: ", "--epochs: 'ten' is not a whole number"],
        ),
        ("train_probe x:\n  layer: 5\n  layer_sweep: all\n", ["section train_probe x: --layer 5 and --layer_sweep all"]),
        ("train_probe:\n  no_wandb: yes\n", ["key 'no_wandb' is a flag that stands alone", "true or false", "not 'yes'"]),
        ("train_probe:\n  no_wandb: 'true'\n", ["no_wandb", "unquoted"]),
        ("train_probe:\n  epochs: true\n", ["takes a value"]),
        ("train_probe:\n  epochs: false\n", ["line 2", "key 'epochs' takes a value, not false", "delete the line"]),
        ("train_probe:\n  layer:\n", ["line 2", "key 'layer' has no value"]),
        ("train_probe:\n  layer: null\n", ["no value"]),
        ("train_probe:\n  lags: []\n", ["the list is empty"]),
        ("train_probe:\n  lags: [1, ]\n  seed: [~]\n", ["line 3", "empty item"]),
        ("train_probe:\n  lags: [[1]]\n", ["an item of 'lags' is a list"]),
        ("train_probe:\n  lags: {a: 1}\n", ["keys of its own"]),
        ('train_probe:\n  layer: "a\\0"\n', ["no command line"]),
        ('train_probe:\n  layer: "\\ud800"\n', ["no command line"]),
        # sections
        ("train_probe: [1]\n", ["section train_probe: it holds a list"]),
        ("train_probe: 5\n", ["it holds the text '5'"]),
        ("inspect_data:\ninspect_data:\n", ["line 2: section 'inspect_data' is there twice, first in line 1", "label"]),
        ("train_probe:\n  layer: 1\n  layer: 2\n", ["line 3", "key 'layer' is there twice, first in line 2"]),
        ("prepare_data:\n  max_texts: 1\n  max-texts: 2\n", ["line 3", "key 'max_texts' is there twice"]),
        ("'':\n", ["empty name"]),
        ("? [a, b]\n: 1\n", ["a section's name is a list"]),
        ("a: &a {x: 1}\ninspect_data:\n  <<: *a\n", ["line 3", "'<<'"]),
        # files
        ("", ["the file has no section"]),
        ("# nothing\n", ["the file has no section"]),
        ("{}", ["the file has no section"]),
        ("- train_probe\n", ["line 1: the file holds a list"]),
        ("train_probe", ["the file holds the text 'train_probe'"]),
        ("train_probe:\n\tlayer: 5\n", ["line 2, column 1: broken YAML", "'\\t'", "indent with spaces"]),
        ("train_probe:\n  layer: 5\n  seed: 'x\n", ["broken YAML", "quoted scalar from line 3"]),
        ("train_probe:\n  layer: a: b\n", ["line 2, column 11: broken YAML", "mapping values are not allowed here"]),
        ("train_probe:\n  layer: *none\n", ["line 2", "undefined alias 'none'"]),
        ("a:\n---\nb:\n", ["line 2", "another document"]),
        ("a: 1\nb: \x07\n", ["line 2: broken YAML, the character '\\x07'"]),
        ("[" * 20_000, ["broken YAML"]),
        (b"# caf\xe9\n", ["not UTF-8 text (byte 6)"]),
        (b"\xff\xfea\0", ["not UTF-8 text (byte 1)"]),
        (
            "train_probe:\n  layer: !!python/object/apply:os.mkdir [harm]\n",
            ["line 2", "python/object/apply:os.mkdir", "tag"],
        ),
        ("train_probe: !ours {layer: 1}\n", ["the tag '!ours'"]),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(dry, tmp_path, text, needles):
    assert_one_line_error(dry(text), "experiment.yaml", *needles, status=2)
    assert [path.name for path in tmp_path.iterdir()] == ["experiment.yaml"]


def test_a_fault_of_the_last_section_is_said_before_the_first_has_run(write, tmp_path, tiny_model):
    path = write(EXPERIMENT.format(model=tiny_model).replace("epochs:", "epoch:"))
    result = run_script("run_experiment", path, "--from", "prepare_data", cwd=tmp_path)
    assert_one_line_error(result, "section train_probe next: unknown key 'epoch'; did you mean 'epochs'?", status=2)
    assert result.stdout == "" and [path.name for path in tmp_path.iterdir()] == ["experiment.yaml"]


@pytest.mark.parametrize(
    "arguments, needles",
    [
        ([], ["no experiment was given", "configs/demo.yaml"]),
        (["none.yaml"], ["none.yaml: the file does not exist"]),
        (["."], ["experiment: '.' is a folder, not a file"]),
        (["none.yaml", "--fron", "x"], ["unknown argument --fron; did you mean --from?"]),
        (["none.yaml", "--dry-run", "more.yaml"], ["unknown argument more.yaml"]),
    ],
)
def test_no_file_to_read(tmp_path, arguments, needles):
    assert_one_line_error(call("run_experiment", *arguments, cwd=tmp_path), *needles, status=2)


def test_a_file_with_a_byte_order_mark_and_lines_that_end_as_on_windows(dry):
    result = assert_success(dry(b"\xef\xbb\xbfinspect_data:\r\n  num_samples: 2\r\n"))
    assert commands_of(result.stdout) == [["inspect_data", "--num_samples", "2"]]


# The experiments of the repository


def test_there_are_experiments():
    assert (ROOT / "configs/demo.yaml").is_file()


@pytest.mark.parametrize("path", sorted(ROOT.glob("configs/*.yaml")), ids=lambda path: path.name)
def test_every_section_of_a_ready_made_experiment_is_accepted_by_its_script(path):
    result = assert_success(call("run_experiment", path.relative_to(ROOT), "--dry_run", cwd=ROOT))
    assert [words[0] for words in commands_of(result.stdout)] == [step.script for step in read_experiment(path)]
    assert all(line.startswith(("python scripts/", "# ")) for line in result.stdout.splitlines())


def test_the_demo_reads_what_its_own_steps_have_written():
    """Every path below data/, models/ or results/ that a step reads lies where an earlier one writes."""
    written = ["data/demo/python_docs.jsonl"]
    for step in read_experiment(ROOT / "configs/demo.yaml"):
        for key, value in step.values.items():
            if key in ("output_dir", "results_dir", "output", "save_dir"):
                written.append(value)
            elif isinstance(value, str) and value.startswith(("data/", "models/", "results/")):
                assert any(value == path or value.startswith(f"{path}/") for path in written), f"{step.name}: {key}: {value}"
    assert len(written) > 3
