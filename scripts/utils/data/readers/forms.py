"""What form a file has, by its first bytes and its ending, and the rows of JSON and parquet files."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path

from utils.base.errors import UserError
from utils.data.readers.annotated import decode, json_object, parse_json, read_bytes

CSV, TSV, JSON, PARQUET = "CSV", "TSV", "JSON", "parquet"
ENDINGS_OF = {
    ".csv": CSV,
    ".tsv": TSV,
    ".tab": TSV,
    ".jsonl": JSON,
    ".ndjson": JSON,
    ".json": JSON,
    ".parquet": PARQUET,
}
UNPACKED = {".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}
PACKED = {b"\x1f\x8b": ".gz", b"BZh": ".bz2", b"\xfd7zXZ\x00": ".xz"}
REFUSED = {  # {first bytes: what such a file is, and the remedy}
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an Excel workbook; save the sheet as CSV (UTF-8)",
    b"ARROW1": "an Arrow file; write it as parquet",
    b"FEA1": "a Feather file; write it as parquet",
    b"SQLite format 3\x00": "an SQLite database; export the table as CSV",
    b"%PDF": "a PDF; give its texts as a table",
    b"{\\rtf": "an RTF document; save it as plain CSV",
    **{bytes([0x80, number]): "a Python pickle, which could run code; write it as parquet" for number in range(2, 6)},
    b"\x93NUMPY": "a NumPy array; write its rows as CSV",
    b"\xff\xfe": "text in UTF-16, which is not UTF-8; convert it (iconv -f UTF-16 -t UTF-8)",
    b"\xfe\xff": "text in UTF-16, which is not UTF-8; convert it (iconv -f UTF-16 -t UTF-8)",
    b"<!doctype html": "an HTML page; save the table as CSV",
    b"<html": "an HTML page; save the table as CSV",
    b"<?xml": "an XML file; save the table as CSV",
}
ZIP = b"PK\x03\x04"


def read_form(path: str | Path) -> tuple[str | None, bytes]:
    """Return the form of a file (CSV, TSV, JSON or PARQUET) and its bytes, unpacked where gzip, bzip2 or xz packed it.

    The first bytes say it, then the ending; None where neither does. A form that no reader knows is a UserError.
    """
    data = read_bytes(path)
    names = [ending.lower() for ending in Path(path).suffixes]
    for start, ending in PACKED.items():
        if data.startswith(start):
            data = unpacked(data, ending, path)
            names = [name for name in names if name != ending]
    if data.startswith(b"PAR1"):
        return PARQUET, data
    if data.startswith(ZIP):
        raise UserError(f"--input {path} is {zip_kind(data)}")
    beginning = data[:64].lstrip().lower()
    for start, what in REFUSED.items():
        if data.startswith(start) or start.startswith(b"<") and beginning.startswith(start):
            raise UserError(f"--input {path} is {what}")
    form = ENDINGS_OF.get(names[-1]) if names else None
    if form == PARQUET:
        raise UserError(f"--input {path} is damaged or not a parquet file; download or make it again")
    return form, data


def unpacked(data: bytes, ending: str, path: str | Path) -> bytes:
    """Unpack a packed file. The UserError names one that is damaged."""
    try:
        return UNPACKED[ending](data)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise UserError(f"--input {path}: cannot be unpacked ({ending}: {error}); download or pack it again") from error


def zip_kind(data: bytes) -> str:
    """Say what a file is whose container is a zip archive, and the remedy."""
    if b"[Content_Types].xml" in data[:4096] or b"xl/" in data[:65536]:
        return "an Excel workbook; save the sheet as CSV (UTF-8)"
    if data[30:38] == b"mimetype":
        return "an OpenDocument file; save the sheet as CSV (UTF-8)"
    return "a zip archive; unpack it"


def rows_of_file(path: str | Path) -> Iterator[tuple[int, str, dict]]:
    """Yield (number, where it stands, row) of each row of JSON lines, of one JSON list of objects, or of parquet."""
    form, data = read_form(path)
    if form in (CSV, TSV):
        raise UserError(f"--input {path} is a {form} table; this task reads JSON lines, a JSON list of objects, or parquet")
    yield from parquet_rows(data, path) if form == PARQUET else json_rows(data, path)


def json_rows(data: bytes, path: str | Path) -> Iterator[tuple[int, str, dict]]:
    """The same of the bytes of a JSON file: an object a line, or one list of objects."""
    if data.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
        found = parse_json(decode(data, path), str(path), "give one list of objects, or an object a line")
        for number, row in enumerate(found if isinstance(found, list) else (), 1):
            where = f"{path}, item {number}"
            if not isinstance(row, dict):
                raise UserError(f"{where}: a JSON {type(row).__name__}, not an object; give a list of objects")
            yield number, where, row
        return
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.strip():
            where = f"{path}, line {number}"
            yield number, where, json_object(decode(line, path, number), where)


def parquet_rows(data: bytes, path: str | Path) -> Iterator[tuple[int, str, dict]]:
    """The same of the bytes of a parquet file."""
    for number, row in enumerate(parquet_table(data, path).to_pylist(), 1):
        yield number, f"{path}, row {number}", row


def parquet_table(data: bytes, path: str | Path):
    """Read the bytes of a parquet file as a pyarrow table. The UserError names a file that is damaged."""
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.read_table(io.BytesIO(data))
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"--input {path} is damaged or not a parquet file: {error}; download or make it again") from error
