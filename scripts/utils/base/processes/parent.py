"""A step ends with the experiment that started it, also where that was killed: it waits for a pipe between them to close."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

PIPE = "PROBE_EXPERIMENT_PIPE"  # the environment variable that names the step's end
LONGEST_FAREWELL = 30  # seconds that a step takes to clean up; after a kill at any moment its files are whole


@contextmanager
def ending_with_us() -> Iterator[dict[str, Any]]:
    """Give the options of subprocess.Popen for steps that shall not outlive this process."""
    theirs, ours = os.pipe()
    try:
        yield {"pass_fds": (theirs,), "env": {**os.environ, PIPE: str(theirs)}}
    finally:
        os.close(theirs)
        os.close(ours)


def end_with_parent() -> None:
    """In a step: end by SIGTERM as soon as the experiment has gone. Elsewhere nothing happens."""
    descriptor = os.environ.pop(PIPE, "")
    if descriptor.isdecimal():
        Thread(target=wait_for_parent, args=(int(descriptor),), daemon=True).start()


def wait_for_parent(descriptor: int) -> None:
    """Wait until the other end of the pipe is closed, however the parent came to its end."""
    try:
        os.read(descriptor, 1)
    except OSError:  # the variable was not from an experiment
        return
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LONGEST_FAREWELL)
    os._exit(128 + signal.SIGTERM)
