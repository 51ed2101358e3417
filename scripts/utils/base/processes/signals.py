"""Signals that end a run: what is open is cleaned up, one line is said, and the exit status is the one that shells expect.

SIGINT (Ctrl-C), SIGTERM and SIGHUP (the terminal has gone) raise `Stopped` wherever the run is, so that `with` and `finally`
blocks clean up. A script calls `listen` before it imports anything else: Ctrl-C during its imports shows no traceback.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Stopped(KeyboardInterrupt):
    """A signal that ends the run. number: which."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Moment:
    """What a signal meets. held: blocks that it must not cut in two; waiting: the signal that waits for their end; idle:
    whether there is nothing to clean up, not yet or no more.
    """

    held = 0
    waiting: int | None = None
    idle = True


def listen() -> None:
    """Let the signals raise `Stopped`. One that the caller ignores stays ignored, as under nohup."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, on_signal)


def on_signal(number: int, frame: FrameType | None) -> None:
    """Raise `Stopped`: after the blocks that hold it, and not in the middle of an import.

    Extension modules turn an exception in their imports into errors of their own, or lose it; so the process ends there.
    """
    if Moment.held:
        Moment.waiting = Moment.waiting or number
    elif Moment.idle or importing(frame):
        leave(number)
    else:
        raise Stopped(number)


def importing(frame: FrameType | None) -> bool:
    """Say whether a module is being imported in this frame or above it."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


@contextmanager
def held() -> Iterator[None]:
    """Do the block as a whole: a signal that comes meanwhile is raised at its end."""
    Moment.held += 1
    try:
        yield
    finally:
        Moment.held -= 1
        if not Moment.held and Moment.waiting is not None:
            number, Moment.waiting = Moment.waiting, None
            raise Stopped(number)


def farewell(number: int) -> str:
    """Say why the run ended."""
    how = "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
    return f"{os.path.basename(sys.argv[0])}: {how}; nothing half written was left"


def leave(number: int) -> None:
    """End the process at once."""
    with suppress(Exception):
        sys.stdout.flush()
    with suppress(OSError):
        os.write(2, f"{farewell(number)}\n".encode())
    os._exit(128 + number)
