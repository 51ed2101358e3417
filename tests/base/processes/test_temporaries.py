"""Temporary files of killed runs are removed by the next run into the folder; those of living runs and of strangers stay."""

import os
import subprocess
import sys
import time

import pytest

from utils.base.files import atomic_write
from utils.base.processes.temporaries import OLD, temporary_prefix, this_machine


@pytest.fixture
def ended():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def left_after_a_write(folder, name, age=0.0):
    """Whether a file of this name and age, seconds, is there after something was written beside it."""
    (folder / name).write_bytes(b"half")
    os.utime(folder / name, (time.time() - age,) * 2)
    with atomic_write(folder / "new.txt") as file:
        file.write(b"whole")
    return (folder / name).exists()


def test_of_this_machine_those_of_ended_processes_go(tmp_path, ended):
    machine = this_machine()
    assert not left_after_a_write(tmp_path, f".train.pth.{machine}-{ended}-abcdefg8.tmp")
    assert left_after_a_write(tmp_path, f".train.pth.{machine}-{os.getpid()}-abcdefg8.tmp", age=2 * OLD)
    assert left_after_a_write(tmp_path, f".train.pth.{machine}-1-abcdefg8.tmp", age=2 * OLD)


def test_of_other_machines_those_of_yesterday_go(tmp_path):
    assert left_after_a_write(tmp_path, ".train.pth.00000000-99999-abcdefg8.tmp", age=OLD / 2)
    assert not left_after_a_write(tmp_path, ".train.pth.00000000-99999-abcdefg8.tmp", age=2 * OLD)


@pytest.mark.parametrize("name", ["train.pth.tmp", ".train.download.tmp", ".train.pth.00000000-1-abcdefg8.tmp.bak", "x.tmp"])
def test_what_is_not_ours_stays(tmp_path, name):
    assert left_after_a_write(tmp_path, name, age=100 * OLD)


def test_a_file_that_is_being_written_bears_the_name_that_is_looked_for(tmp_path):
    with atomic_write(tmp_path / "new.txt") as file:
        file.write(b"whole")
        (there,) = tmp_path.iterdir()
        assert there.name.startswith(temporary_prefix("new.txt"))
    assert [path.name for path in tmp_path.iterdir()] == ["new.txt"]
