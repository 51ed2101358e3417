"""kill -9 at any moment: what has its final name is whole, and the same command once more gives the same bytes."""

import json
import os
import random
import shutil
import time
from pathlib import Path

import pytest

from forked import start
from helpers import assert_success, write_texts

STEPS = ("prepare", "train", "evaluate", "visualize")
SMALL = ("--context_length", 32, "--max_chunks_per_class", 120)
FULL = pytest.mark.skipif(not os.environ.get("PROBE_FAULTS"), reason="some minutes: set PROBE_FAULTS=1")


def run(command, folder):
    """Run it to its end; return how long that took."""
    started = time.monotonic()
    assert_success(start(*command, cwd=folder).finish())
    return time.monotonic() - started


@pytest.fixture(scope="module")
def steps(tmp_path_factory, tiny_model):
    """{step: (its command, the folder before it, {path: bytes} after it, seconds)}, each after the one before; training adds
    to the tables of an earlier one.
    """
    root = tmp_path_factory.mktemp("kills")
    texts = write_texts(root / "texts", 6, 2500)
    train = ("train_probe", "--train_data", "data/train.pth", "--probe", "mass_mean", "--no_wandb", "--layer_sweep")
    commands = {
        "prepare": ("prepare_data", "--dataset", texts, "--model_name", tiny_model, "--output_dir", "data", *SMALL),
        "earlier": (*train, "0"),
        "train": (*train, "1,2"),
        "evaluate": ("evaluate_probe", "--keep_seen"),
        "visualize": ("visualize_results",),
    }
    made, before = {}, root / "nothing"
    before.mkdir()
    for step, command in commands.items():
        after = root / step
        shutil.copytree(before, after)
        seconds = run(command, after)
        made[step] = command, before, files_of(after), seconds
        before = after
    return made


def files_of(folder):
    """{path: bytes} of all files, hidden ones too; of the record without its seconds."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}
    for name in found:
        if name.endswith("run_record.json"):
            found[name] = json.dumps({**json.loads(found[name]), "seconds": None}).encode()
    return found


def kill_once(step, seconds, folder):
    """Kill the step so many seconds after its start; check what it leaves; run it again.

    Return whether it was running, and how long it takes by itself.
    """
    command, before, done, _ = step
    shutil.copytree(before, folder)
    there = files_of(folder)
    process = start(*command, cwd=folder)
    time.sleep(seconds)
    running = process.running
    process.kill()
    process.finish()
    for name, content in files_of(folder).items():
        if not name.endswith(".tmp") and not name.endswith(".being_written"):
            assert content in (there.get(name), done.get(name)), f"{name} is neither as before nor as it becomes"
    whole = run(command, folder)
    left = files_of(folder)
    assert left.keys() == done.keys()
    assert [name for name in done if left[name] != done[name]] == []
    return running, whole


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_one_kill(steps, step, tmp_path):
    kill_once(steps[step], 0.5 * steps[step][-1], tmp_path / "run")


@FULL
@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_15_kills_of_each_step(steps, step, tmp_path):
    draw, seconds, running = random.Random(step), steps[step][-1], []
    for number in range(15):
        was_running, seconds = kill_once(steps[step], draw.uniform(0.1, 1) * seconds, tmp_path / str(number))
        running.append(was_running)
        shutil.rmtree(tmp_path / str(number))
    assert sum(running) >= 8, "most kills came after the end"
