"""Files that are whole or absent: atomic writes, checked reads, hashes."""

import csv
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import IO, Any

from utils.base.errors import UserError
from utils.base.paths import require_path

ROOT = Path(__file__).resolve().parents[3]  # of the checkout: requirements.txt and .env lie there


class WriteTogether:
    """Write several files so that all of them appear, or none.

    Each file grows under a temporary name in its own folder; leaving the block without an exception renames them all.

        with WriteTogether() as files:
            with files.open("data/train.pth") as file:
                file.write(b"...")
    """

    def __enter__(self):
        self._pending: list[tuple[str, Path]] = []
        return self

    @contextmanager
    def open(self, path: str | Path) -> Iterator[IO]:
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
            self._pending.append((temporary, path))
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(
                f"cannot write {path}: {error.strerror or error}; free space or choose another output folder"
            ) from error
        except RuntimeError as error:  # torch.save hides the failed write behind its own error
            if isinstance(error.__context__, OSError) or "PytorchStreamWriter" in str(error):
                reason = getattr(error.__context__, "strerror", None) or "the disk is full or not writable"
                raise UserError(f"cannot write {path}: {reason}; free space or choose another output folder") from error
            raise

    def __exit__(self, kind, error, traceback):
        if kind is None:
            umask = os.umask(0)
            os.umask(umask)
            for temporary, path in self._pending:
                try:
                    os.chmod(temporary, 0o666 & ~umask)
                    os.replace(temporary, path)
                except OSError as failure:
                    self._discard()
                    raise UserError(
                        f"cannot write {path}: {failure.strerror or failure}; choose another output folder"
                    ) from failure
        else:
            self._discard()
        return False

    def _discard(self):
        for temporary, _ in self._pending:
            Path(temporary).unlink(missing_ok=True)


@contextmanager
def atomic_write(path: str | Path) -> Iterator[IO]:
    """One file, whole or absent: yields a binary file object."""
    with WriteTogether() as files, files.open(path) as file:
        yield file


def json_text(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=True) + "\n"


def write_json(path: str | Path, value: object) -> None:
    with atomic_write(path) as file:
        file.write(json_text(value).encode("utf-8"))


def with_checksum(value: Mapping[str, Any]) -> dict[str, Any]:
    """Add a checksum to a JSON object, by which `read_checked_json` finds damage."""
    return {**value, "checksum": fingerprint(dict(value))}


def read_checked_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON object and compare it with its checksum, which older files lack. Raise ValueError for damage."""
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    found = value.pop("checksum", None)
    if found is not None and found != fingerprint(value):
        raise ValueError("its checksum is of other content")
    return value


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """`rows` are dicts; a missing or NaN value becomes an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", restval="", extrasaction="raise")
    writer.writeheader()
    writer.writerows({key: "" if value is None or value != value else value for key, value in row.items()} for row in rows)
    return text.getvalue()


def read_csv(path: str | Path) -> list[dict[str, str]]:
    """The rows as dicts of strings; [] where there is no file."""
    return list(csv_rows(path))


def csv_rows(path: str | Path, columns: Container[str] | None = None) -> Iterator[dict]:
    """Yield the rows as dicts of strings, of these columns only (None: all); none where there is no file.

    As csv.DictReader does, a row has the key None where it is longer than the header, and values None where it is shorter.
    """
    require_path(path, "file", "move it away or give another --results_dir")
    try:
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            if twice := {name for name in header if header.count(name) > 1}:
                raise csv.Error(f"two columns are named {min(twice)!r}")
            kept = [(index, name) for index, name in enumerate(header) if columns is None or name in columns]
            for cells in filter(None, reader):
                if len(cells) == len(header):
                    yield {name: cells[index] for index, name in kept}
                else:
                    more = {None: cells[len(header) :]} if len(cells) > len(header) else {}
                    yield {**dict(zip_longest(header, cells[: len(header)])), **more}
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {error}; move it away or give another --results_dir") from error


def fingerprint(*parts: Any) -> str:
    """A 16-digit hexadecimal hash of bytes, strings, numpy arrays and JSON-like values, in order."""
    digest = hashlib.sha256()
    for part in parts:
        if hasattr(part, "dtype"):  # a numpy array
            header = f"{part.dtype}{part.shape}".encode()
            body = part.ravel().view("uint8")
        else:
            header = b""
            body = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True, default=str).encode()
        digest.update((len(header) + len(body)).to_bytes(8, "little") + header)
        digest.update(body)
    return digest.hexdigest()[:16]


def require_writable_folder(path: str | Path, flag: str) -> None:
    """Make the folder and prove that a file can be written there, before any work is spent."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        reason = "it is a file" if os.path.isfile(path) else error.strerror or error
        raise UserError(f"cannot write into {flag} {path}: {reason}; choose another folder") from error
