"""Temporary files: their names tell whose they are, so that those of killed runs can be removed and no living run's."""

import hashlib
import os
import re
import socket
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

TEMPORARY = re.compile(r"^\..+\.(?P<machine>[0-9a-f]{8})-(?P<process>\d+)-\w{8}\.tmp$", re.ASCII)
OLD = 24 * 3600  # seconds: no run writes one file for so long


def temporary_prefix(name: str) -> str:
    """Begin the name of a temporary file: what it will be, on which machine and by which process it is written."""
    return f".{name}.{this_machine()}-{os.getpid()}-"


@cache
def this_machine() -> str:
    """Tell machines apart whose processes have numbers of their own: 8 hexadecimal digits, others after a restart."""
    known = [socket.gethostname()]
    with suppress(OSError):  # not on every system
        known += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:8]


def remove_stale(folder: Path) -> None:
    """Remove the temporary files of killed runs: of processes of this machine that have ended, others when a day old."""
    with suppress(OSError):  # somebody else's, or gone meanwhile
        for entry in os.scandir(folder):
            if (found := TEMPORARY.search(entry.name)) and is_stale(entry, found["machine"], int(found["process"])):
                os.unlink(entry)


def is_stale(entry: os.DirEntry, machine: str, process: int) -> bool:
    """Say whether nobody writes this file any more."""
    if machine == this_machine():
        return not is_running(process)
    return time.time() - entry.stat(follow_symlinks=False).st_mtime > OLD


def is_running(process: int) -> bool:
    """Say whether there is such a process on this machine."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's
        return True
    return True
