"""Give every flag that takes a path every kind of path that leads nowhere: one line that names flag and value."""

import contextlib
import os
import shutil
import socket

import pytest

from helpers import assert_one_line_error, call, parser_of
from utils.base.cli.words import actions_of
from utils.base.paths import any_paths, file_path, file_paths, folder_path, name_or_folder, name_or_path, path_problem

pytestmark = pytest.mark.slow

SCRIPTS = (
    "prepare_data",
    "inspect_data",
    "train_probe",
    "evaluate_probe",
    "visualize_probe",
    "visualize_results",
    "check_setup",
    "run_experiment",
    "train_sae",
)
NOBODY = 65534
TAKES = {  # {type of a flag: what it refuses}
    file_path: {"folder"},
    file_paths: {"folder"},
    folder_path: {"file"},
    name_or_folder: {"file"},
    any_paths: set(),
    name_or_path: set(),
}
TEXT = (
    "path",
    "_dir",
    "_data",
    "file",
    "input",
    "output",
    "export",
    "compare",
    "dataset",
    "sae",
    "model_name",
    "config",
    "experiment",
    "data",
)
NO_PATHS = {"datasets", "dataset_config", "memory_gb"}  # names of sets in an index, of a configuration


def path_flags():
    """(script, flag or positional, its type) of all."""
    for script in SCRIPTS:
        parser = parser_of(script)
        for action in parser._actions:
            if action.type in TAKES or action.dest == "config":
                yield script, (action.option_strings or [None])[0], file_path if action.dest == "config" else action.type


FLAGS = list(path_flags())


def bad(kind, folder):
    """A path of that kind."""
    path = folder / kind
    if kind == "too long":
        return folder / ("x" * 300)
    if kind == "far too long":
        return "/".join([str(folder), *["y" * 200] * 30])
    if kind == "looping":
        path.symlink_to(path)
    elif kind == "loop on the way":
        (folder / "loop").symlink_to(folder / "loop")
        return folder / "loop" / "train.pth"
    elif kind == "link to nothing":
        path.symlink_to(folder / "nothing")
    elif kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif kind == "below a file":
        (folder / "file").write_text("text")
        return folder / "file" / "train.pth"
    elif kind == "file":
        path.write_text("text")
    elif kind == "folder":
        path.mkdir()
    elif kind == "denied":
        path.mkdir(mode=0)
        return path / "train.pth"
    return {"/proc": "/proc/self/mem", "/dev/full": "/dev/full", "NUL": "a\0b"}.get(kind, path)


KINDS = (
    "too long",
    "far too long",
    "looping",
    "loop on the way",
    "link to nothing",
    "a pipe",
    "a socket",
    "below a file",
    "file",
    "folder",
    "denied",
    "/proc",
    "/dev/full",
    "NUL",
)


@contextlib.contextmanager
def as_nobody(wanted):
    """Root may open everything, so it steps down for paths that are denied."""
    stepped = wanted and os.geteuid() == 0
    if stepped:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if stepped:
            os.seteuid(0)


def test_every_flag_that_sounds_like_a_path_is_checked():
    for script in SCRIPTS:
        for name, action in actions_of(parser_of(script)).items():
            sounds = name not in NO_PATHS and any(name == word or name.endswith(word) for word in TEXT)
            assert (action.type in TAKES or name == "config") == sounds, f"{script} --{name}"
    assert len(FLAGS) >= 30


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("script", "flag", "takes"), FLAGS, ids=[f"{script} {flag}" for script, flag, _ in FLAGS])
def test_a_path_that_leads_nowhere_is_one_line_with_flag_and_value(script, flag, takes, kind, tmp_path, monkeypatch):
    if kind in ("file", "folder") and kind not in TAKES[takes]:
        pytest.skip("this flag takes one")
    monkeypatch.chdir("/" if kind == "denied" else tmp_path)
    value = bad(kind, tmp_path)
    with as_nobody(kind == "denied"):
        result = call(script, *([flag] if flag else []), value)
    shown = {"too long": "xxx", "far too long": "yyy", "NUL": r"a\x00b"}.get(kind, str(value)[-16:])
    assert_one_line_error(result, flag or "experiment", shown, ";", status=2)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "file"]


def test_a_line_break_in_a_path_stays_one_line(tmp_path):
    (tmp_path / "a\nb").write_text("text")
    assert_one_line_error(call("train_probe", "--output_dir", tmp_path / "a\nb"), "--output_dir", r"a\nb", status=2)


def test_what_is_there_or_may_come_passes(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for name in ("folder", "file", "link", "not yet", "not/yet"):
        assert path_problem(tmp_path / name) is None
    assert path_problem("unsloth/gemma-3-270m", "folder") is None
    assert path_problem("/dev/shm", "folder") is None
    assert file_paths(f"{tmp_path}/file,{tmp_path}/link") == f"{tmp_path}/file,{tmp_path}/link"


def test_a_table_that_is_a_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "probe_results.csv")
    assert_one_line_error(call("visualize_results", "--results_dir", tmp_path), "probe_results.csv", "pipe")


def test_a_text_that_is_a_pipe_does_not_block(tmp_path, tiny_model):
    os.mkfifo(tmp_path / "text.txt")
    result = call(
        "prepare_data",
        "--dataset",
        tmp_path,
        "--model_name",
        tiny_model,
        "--output_dir",
        tmp_path / "out",
        "--context_length",
        32,
    )
    assert_one_line_error(result, "text.txt", "pipe")


@pytest.mark.parametrize("make", (os.mkdir, os.mkfifo))
def test_a_file_beside_the_one_that_is_named(make, prepared, tmp_path):
    data = shutil.copytree(prepared, tmp_path / "data")
    (data / "val.pth").unlink()
    make(data / "val.pth")
    result = call("train_probe", "--train_data", data / "train.pth", "--output_dir", tmp_path / "models", "--no_wandb")
    assert_one_line_error(result, data / "val.pth", "not a file", "scripts/prepare_data.py")


# Memory


@pytest.mark.parametrize("error", (MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes")))
def test_memory_that_runs_out_anywhere_is_one_line_with_a_remedy(error, monkeypatch, tmp_path, prepared, tiny_model):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("utils.sweep.questions.load_sequences", fail)
    result = call("train_probe", "--train_data", prepared / "train.pth", "--output_dir", tmp_path / "a", "--no_wandb")
    assert_one_line_error(result, "out of memory", "fewer texts, layers", "smaller batches")


def test_another_error_of_the_runtime_stays_one_of_ours(monkeypatch, tmp_path, prepared):
    def fail(*_, **__):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr("utils.sweep.questions.load_sequences", fail)
    with pytest.raises(RuntimeError):
        call("train_probe", "--train_data", prepared / "train.pth", "--output_dir", tmp_path / "a", "--no_wandb")
