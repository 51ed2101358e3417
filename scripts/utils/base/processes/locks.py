"""One writer at a time: a lock on a folder while what it holds is checked, merged and written.

The lock is a file in the folder, and is gone afterwards. The system lets go of it when its holder ends, however that
happens, so what a killed run leaves stops nobody.
"""

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from utils.base.errors import UserError

if TYPE_CHECKING:
    from filelock import FileLock

LOCK = ".being_written"
PATIENCE = 5.0  # seconds, then it is said that another run is waited for
LONGEST_WAIT = 600.0  # seconds: a million rows are merged in less
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def locked(*folders: str | Path, longest_wait: float = LONGEST_WAIT) -> Iterator[None]:
    """Hold the folders for the block. Raise UserError where another run keeps one for too long.

    They are taken in one order by all runs, so that two runs never wait for each other. Who cannot write into a folder only
    reads it, and reads it without a lock.
    """
    with ExitStack() as stack:
        for folder in sorted({Path(folder).resolve() for folder in folders}):
            stack.enter_context(locked_folder(folder, longest_wait))
        yield


@contextmanager
def locked_folder(folder: Path, longest_wait: float) -> Iterator[None]:
    """Hold one folder."""
    from filelock import FileLock

    path = folder / LOCK
    lock = FileLock(path, fallback_to_soft=False)
    if folder.is_dir():  # else there is nothing to guard
        acquire(lock, path, longest_wait)
    if not lock.is_locked:
        yield
        return
    try:
        with suppress(OSError):  # who it is, for those who wait
            path.write_text(f"process {os.getpid()} on {socket.gethostname()} ({os.path.basename(sys.argv[0])})")
        yield
    finally:
        with suppress(OSError):
            path.unlink()  # before it is released: who waits for it sees that it has gone, and makes another
        lock.release()


def acquire(lock: "FileLock", path: Path, longest_wait: float) -> None:
    """Take the lock, or none where there can be none: we cannot write there, or the file system has no locks."""
    from filelock import Timeout

    try:
        try:
            lock.acquire(timeout=min(PATIENCE, longest_wait))
        except Timeout:
            print(f"{path.parent} is being written by {holder_of(path)}; waiting for its end", flush=True)
            lock.acquire(timeout=max(0, longest_wait - PATIENCE))
    except Timeout:
        raise UserError(
            f"{path.parent} is being written by {holder_of(path)}, for more than {longest_wait:.0f} s; end it, or wait for "
            "its end, and run the same command again"
        ) from None
    except OSError as error:
        if error.errno in NO_LOCKS:
            print(f"note: the file system of {path.parent} has no locks; run one script at a time there", flush=True)
        elif error.errno not in NOT_OURS:
            reason = error.strerror or error
            raise UserError(f"cannot lock {path.parent}: {reason}; choose another output folder") from error


def holder_of(path: Path) -> str:
    """Say who holds the lock, as far as it is known."""
    try:
        return path.read_text(encoding="utf-8", errors="replace") or "another run"
    except OSError:
        return "another run"
