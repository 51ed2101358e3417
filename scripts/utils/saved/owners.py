"""Keep apart the probes and rows of different models, datasets or settings."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from utils.base.errors import UserError
from utils.probes.directions import read_directions
from utils.saved.columns import COLUMNS, DIRECTIONS
from utils.saved.probe_files import probe_metadata
from utils.saved.seen_texts import texts_path
from utils.saved.tables import table_rows


@dataclass(frozen=True)
class Owner:
    """Whose results a file holds. Its fields are the last columns of every table, and stand in every probe."""

    model: str
    model_fingerprint: str
    dataset_fingerprint: str
    settings: str


def refuse_to_mix(output_dir: str, results_dir: str, owner: Owner, overwrite: bool) -> list[Path]:
    """Stop before probes and rows of two models or datasets would be mixed.

    Return their files, which `overwrite` allows to be deleted; what cannot be read counts as theirs.
    """
    probes = sorted(Path(output_dir).glob("probe_*.pth"))
    found = [(path, why) for path in probes if (why := conflict(path, probe_metadata, owner))]
    tables = [Path(results_dir) / name for name in COLUMNS]
    found += [(path, why) for path in tables if (why := conflict(path, table_rows, owner))]
    directions = Path(results_dir) / DIRECTIONS
    if directions.exists() and (why := conflict(directions, lambda path: [read_directions(path)["owner"]], owner)):
        found.append((directions, why))
    if found and not overwrite:
        path, why = found[0]
        raise UserError(
            f"{path} {why}: give other folders with --output_dir and --results_dir, or delete the old "
            "results with --overwrite"
        )
    ours = texts_path(output_dir, owner.dataset_fingerprint)
    texts = [path for path in Path(output_dir).glob("texts_*.json") if found and path != ours]
    return [*(path for path, _ in found), *texts]


def conflict(path: Path, read: Callable[[Path], Iterable[Mapping]], owner: Owner) -> str | None:
    """Say why this run's results must not be mixed with the file's; None where they may.

    read: gives the dicts in the file that name its owner.
    """
    try:
        found = list(read(path))
    except UserError as error:
        return f"cannot be kept beside the new results ({error})"
    for other in found:
        theirs = tuple(other.get(name) for name in ("model_fingerprint", "dataset_fingerprint"))
        if theirs != (owner.model_fingerprint, owner.dataset_fingerprint):
            return (
                f"is of model {other.get('model')!r} ({theirs[0]}) and dataset "
                f"{theirs[1]}, this run is of model {owner.model!r} "
                f"({owner.model_fingerprint}) and dataset {owner.dataset_fingerprint}"
            )
        if other.get("settings") != owner.settings:
            return f"was read or sampled by other flags ({other.get('settings')}; this run: {owner.settings})"
    return None
