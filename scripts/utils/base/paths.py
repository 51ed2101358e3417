"""Paths that a user gives: refuse what can be neither read nor written, before anything is loaded.

Each function for argparse's `type` returns the path with ~ replaced. A path that is not there yet passes, since an earlier
step may make it; the reader says that it is missing.
"""

import argparse
import errno
import os
import stat
from os.path import expanduser
from pathlib import Path, PurePath

from utils.base.errors import UserError

NO_FILES = ("/proc", "/sys")  # what the kernel shows there only looks like files
LONGEST_SHOWN = 255  # characters
SPECIAL = (("a pipe", stat.S_ISFIFO), ("a socket", stat.S_ISSOCK), ("a device", stat.S_ISCHR), ("a device", stat.S_ISBLK))


def short_path(path: str | Path) -> str:
    """Name a file or folder by the last two parts of its path: a page is mailed around, and says nothing of the machine."""
    parts = PurePath(str(path)).parts
    absolute = PurePath(str(path)).is_absolute()
    named = [part for part in parts[1 if absolute else 0 :] if part != ".."]
    return "/".join(named[-1:] if absolute and len(named) < 4 else named[-2:])


def link_to(folder: str | Path, page_folder: str | Path) -> str | None:
    """Write the way from a page's folder to another one: "", "../results/"; None where it would tell of the machine.

    A way that climbs more than one folder and goes down again names folders of the user.
    """
    way = PurePath(os.path.relpath(os.path.realpath(folder), os.path.realpath(page_folder)))
    down = [part for part in way.parts if part != ".."]
    return None if down and len(way.parts) - len(down) > 1 else "" if way == PurePath() else f"{way.as_posix()}/"


def path_problem(path: str | Path, wanted: str | None = None) -> str | None:
    """Say why a path can be neither read nor written as "file" or "folder" (None: either); None for one that can or is not
    there yet. Nothing is opened, so a pipe does not block.
    """
    path = os.fspath(path)
    if "\0" in path or not path:
        return "holds a NUL character, as no path can" if path else "is empty"
    try:
        mode = os.stat(path).st_mode
        real = os.path.realpath(path)
    except FileNotFoundError:
        return "is a link to what is not there" if os.path.islink(path) else None
    except (OSError, UnicodeError) as error:  # too long, looping, denied, a file where a folder should be
        return f"cannot be read or written: {getattr(error, 'strerror', None) or 'it is no path'}"
    if real.startswith(NO_FILES) and real.startswith(tuple(f"{root}/" for root in NO_FILES)) or real in NO_FILES:
        return f"lies in {Path(*Path(real).parts[:2])}, where there are no files to use"
    for name, is_one in SPECIAL:
        if is_one(mode):
            return f"is {name}, not a file"
    if wanted not in (None, "folder" if stat.S_ISDIR(mode) else "file"):
        return "is a folder, not a file" if stat.S_ISDIR(mode) else "is a file, not a folder"
    if not os.access(path, os.R_OK | os.X_OK if stat.S_ISDIR(mode) else os.R_OK):
        return f"cannot be read: {os.strerror(errno.EACCES)}"
    return None


def shortened(path: str | Path) -> str:
    """Cut a long path in its middle."""
    text = str(path)
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 20]}...{text[-16:]}"


def in_quotes(path: str | Path) -> str:
    """Quote a path for a message of one line; a long one is cut."""
    return repr(shortened(path))


def require_path(path: str | Path, wanted: str, remedy: str) -> None:
    """Raise UserError for a path that can be neither read nor written as "file" or "folder"."""
    if problem := path_problem(path, wanted):
        raise UserError(f"{in_quotes(path)} {problem}; {remedy}")


def require_name_or_path(text: str, flag: str) -> None:
    """Raise UserError for what a file gives, and the user did not, in the place of a flag, if it can be neither a name nor a
    path.
    """
    if problem := path_problem(text):
        raise UserError(f"{in_quotes(text)} {problem}; give another name or path with {flag}")


def checked(text: str, wanted: str | None) -> str:
    path = expanduser(text)
    if problem := path_problem(path, wanted):
        remedy = f"give another {wanted}" if wanted else "give another name or path"
        raise argparse.ArgumentTypeError(f"{in_quotes(text)} {problem}; {remedy}")
    return path


def file_path(text: str) -> str:
    """An argparse type: a file, to read or to write."""
    return checked(text, "file")


def folder_path(text: str) -> str:
    """An argparse type: a folder, to read or to write."""
    return checked(text, "folder")


def name_or_path(text: str) -> str:
    """An argparse type: a name on the Hub, or a file or folder."""
    return checked(text, None)


def name_or_folder(text: str) -> str:
    """An argparse type: a name on the Hub, or a folder."""
    return checked(text, "folder")


def paths_in(text: str) -> list[str]:
    """'a.pth,b.pth' -> ['a.pth', 'b.pth']; what is there as a whole is one path."""
    return [text] if os.path.lexists(text) else [expanduser(part) for part in text.split(",")]


def file_paths(text: str) -> str:
    """An argparse type: a file, or several with commas between, which stay one word."""
    for part in paths_in(expanduser(text)):
        checked(part, "file")
    return expanduser(text)


def any_paths(text: str) -> str:
    """An argparse type: a file or a folder, or several with commas between, which stay one word."""
    for part in paths_in(expanduser(text)):
        checked(part, None)
    return expanduser(text)
