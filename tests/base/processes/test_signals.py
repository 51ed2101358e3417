"""Signals: one line, the usual exit status, no traceback, and nothing half written, from the first moment on."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers import SCRIPTS, environment, start_script
from utils.base.processes.signals import ENDING, Moment, Stopped, held, listen

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
WRITING = """
import sys, time
sys.path.insert(0, sys.argv[1])
sys.argv[0] = "writer.py"
from utils.base.cli.parser import run
from utils.base.files import WriteTogether

def main(argv):
    with WriteTogether() as files, files.open("out/whole.bin") as file:
        file.write(b"x" * 1000)
        print("writing", flush=True)
        time.sleep(60)

run(main)
"""


@pytest.fixture
def listening():
    handlers = {number: signal.getsignal(number) for number in ENDING}
    listen()
    Moment.idle = False
    yield
    Moment.idle = True
    for number, handler in handlers.items():
        signal.signal(number, handler)


def wait_until_it_listens(process):
    """Until the process catches SIGHUP, which Python does not do by itself; a second where the system does not say."""
    status, until = Path(f"/proc/{process.pid}/status"), time.monotonic() + (20 if Path("/proc/self/status").exists() else 1)
    while time.monotonic() < until:
        caught = re.search(r"^SigCgt:\s*(\w+)", status.read_text(), re.MULTILINE) if status.exists() else None
        if caught and int(caught[1], 16) >> (signal.SIGHUP - 1) & 1:
            return
        time.sleep(0.002)


@pytest.mark.slow
@pytest.mark.parametrize("after", [0, 0.05, 0.2, 0.5])
@pytest.mark.parametrize("number", STATUS, ids=lambda number: number.name)
def test_a_signal_in_the_first_half_second_shows_no_traceback(number, after, tmp_path, texts, tiny_model):
    """Python is importing, for seconds."""
    process = start_script("prepare_data", "--dataset", texts, "--model_name", tiny_model, cwd=tmp_path)
    wait_until_it_listens(process)
    time.sleep(after)
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    how = "interrupted" if number == signal.SIGINT else f"ended by {number.name}"
    assert (process.returncode, errors) == (STATUS[number], f"prepare_data.py: {how}; nothing half written was left\n")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("number", STATUS, ids=lambda number: number.name)
def test_a_signal_in_the_middle_of_a_write_leaves_no_temporary_file(number, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITING, str(SCRIPTS)],
        env=environment(),
        cwd=tmp_path,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.readline() == "writing\n"
    assert len(list((tmp_path / "out").iterdir())) == 1
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == STATUS[number] and len(errors.splitlines()) == 1 and "writer.py: " in errors
    assert list((tmp_path / "out").iterdir()) == []


def test_a_signal_waits_for_the_end_of_what_must_not_be_cut_in_two(listening):
    done = []
    with pytest.raises(Stopped) as stop, held():
        with held():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
            done.append("inner")
        done.append("outer")
    assert stop.value.number == signal.SIGTERM and done == ["inner", "outer"]
    with held():
        pass  # no signal waits any more


def test_a_signal_that_the_caller_ignores_stays_ignored(listening):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    listen()
    os.kill(os.getpid(), signal.SIGHUP)
    with pytest.raises(Stopped):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)
