"""Locks: one writer at a time, nothing left behind, and a killed holder stops nobody."""

import subprocess
import sys
import time

import pytest

from helpers import SCRIPTS, environment
from utils.base.errors import UserError
from utils.base.processes.locks import LOCK, locked

HOLDING = """
import sys, time
sys.path.insert(0, sys.argv[1])
sys.argv[0] = "holder.py"
from utils.base.processes.locks import locked
with locked("."):
    print("held", flush=True)
    time.sleep(60)
"""
COUNTING = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from utils.base.processes.locks import locked
for _ in range(100):
    with locked("one", "two") if int(sys.argv[2]) % 2 else locked("two", "one"):
        number = int(Path("count").read_text())
        Path("count").write_text(str(number + 1))
"""


def python(code, *words, cwd):
    return subprocess.Popen(
        [sys.executable, "-c", code, str(SCRIPTS), *words], env=environment(), cwd=cwd, text=True, stdout=subprocess.PIPE
    )


@pytest.fixture
def holder(tmp_path):
    process = python(HOLDING, cwd=tmp_path)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_who_waits_too_long_is_told_for_whom(holder, tmp_path, capsys):
    said = rf"{tmp_path} is being written by process {holder.pid} on .* \(holder\.py\)"
    with pytest.raises(UserError, match=said), locked(tmp_path, longest_wait=0.3):
        pass
    assert capsys.readouterr().out.count("waiting for its end") == 1


def test_a_killed_holder_stops_nobody(holder, tmp_path):
    holder.kill()
    holder.wait()
    assert (tmp_path / LOCK).exists()
    started = time.monotonic()
    with locked(tmp_path):
        assert time.monotonic() - started < 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_nothing_is_lost_among_four_that_change_one_file_and_lock_in_other_orders(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "count").write_text("0")
    processes = [python(COUNTING, str(number), cwd=tmp_path) for number in range(4)]
    assert [process.wait(100) for process in processes] == [0] * 4
    assert (tmp_path / "count").read_text() == "400"
    assert [list((tmp_path / name).iterdir()) for name in ("one", "two")] == [[], []]


def test_a_folder_that_is_not_there_holds_nothing_up(tmp_path):
    with locked(tmp_path / "none"):
        assert not (tmp_path / "none").exists()
