"""Write and read directions.json: what the directions of probes promote, and the cosines between them."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from utils.base.errors import UserError
from utils.base.files import WriteTogether, read_checked_json, with_checksum

FORMAT, VERSION = "probe-directions", 1
ENTRY = {"target": str, "layer": (int, str), "lag": int, "kind": str, "seed": int}  # of which probe an entry is
DIGITS = 6  # significant ones, in the file


def read_directions(path: str | Path) -> dict:
    """Read an earlier file: {"format", "version", "owner", "entries", "cosines"}. Raise UserError for a damaged one."""
    remedy = "move it away, or delete the old results with --overwrite"
    try:
        value = read_checked_json(path)
        found = value.get("format"), value.get("version")
        if found == (FORMAT, VERSION) and (problem := directions_problem(value)):
            raise ValueError(problem)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}); {remedy}") from error
    if found != (FORMAT, VERSION):
        raise UserError(
            f"{path} has format {found[0]!r} version {found[1]!r}, this suite reads {FORMAT!r} version {VERSION}; {remedy}"
        )
    return value


def directions_problem(value: Mapping[str, Any]) -> str | None:
    """Say what a file of directions lacks or garbles, or None."""
    if set(value) != {"format", "version", "owner", "entries", "cosines"}:
        return f"its keys are {', '.join(value)}"
    owner, entries, table = value["owner"], value["entries"], value["cosines"]
    if not (isinstance(owner, dict) and isinstance(entries, list) and isinstance(table, dict)):
        return "its owner, entries or cosines are not what they should be"
    for entry in entries:
        if not (isinstance(entry, dict) and all(isinstance(entry.get(name), kind) for name, kind in ENTRY.items())):
            return f"an entry does not say of which probe it is: {str(entry)[:60]}"
    if len({entry_key(entry) for entry in entries}) < len(entries):
        return "two of its entries are of one probe"
    match table:
        case {"names": list(names), "matrix": list(rows)} if len(rows) == len(names):
            square = all(isinstance(row, list) and len(row) == len(names) for row in rows)
        case _:
            square = False
    return None if square else "its cosines are not of every direction with every other"


def entry_key(entry: Mapping[str, Any]) -> tuple:
    """Identify the probe whose direction it is."""
    return tuple(entry[name] for name in ENTRY)


def write_directions(
    files: WriteTogether, path: str | Path, owner: Mapping[str, Any], entries: Sequence[dict], cosines: dict
):
    """Write JSON: {"format", "version", "checksum", "owner", "entries", "cosines"}, an entry or a row of cosines a line.

    Numbers have 6 significant digits, cosines 3 digits after the point; what is undefined is null.
    """
    rows = [[None if math.isnan(one) else round(one, 3) for one in row] for row in cosines["matrix"]]
    entries = [rounded_numbers(entry) for entry in entries]
    table = {"names": list(cosines["names"]), "matrix": rows}
    whole = {"format": FORMAT, "version": VERSION, "owner": owner, "entries": entries, "cosines": table}
    lines = [
        f'{{"format": {json.dumps(FORMAT)}, "version": {VERSION}, "checksum": "{with_checksum(whole)["checksum"]}", '
        f'"owner": {json.dumps(owner)}, "entries": [',
        ",\n".join(map(json.dumps, entries)),
        f'], "cosines": {{"names": {json.dumps(cosines["names"])}, "matrix": [',
        ",\n".join(map(json.dumps, rows)),
        "]}}",
    ]
    with files.open(path) as file:
        file.write(("\n".join(lines) + "\n").encode("utf-8"))


def rounded_numbers(value: Any) -> Any:
    """Round every number of a value as it goes into the file."""
    if isinstance(value, dict):
        return {key: rounded_numbers(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded_numbers(part) for part in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value
