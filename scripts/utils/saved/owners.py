"""Keep apart the probes and rows of different models, datasets or settings."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from utils.base.errors import UserError
from utils.probes.directions.files import read_directions
from utils.saved.columns import COLUMNS, DIRECTIONS, OWNERS, TRANSFER, TRANSFER_MATRIX
from utils.saved.group_scores import GROUP_SCORES, owners_of_group_scores
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


def fingerprints_in(output_dir: str, results_dir: str, dataset_fingerprint: str) -> set[str]:
    """Collect the fingerprints by which the probes and tables of this dataset name their model.

    What cannot be read names none: `refuse_to_mix` says so.
    """
    found = [owner for path in Path(output_dir).glob("probe_*.pth") for owner in owners_of(path, probe_metadata)[0]]
    found += [owner for name in COLUMNS for owner in owners_of(Path(results_dir) / name, table_rows)[0]]
    return {owner.model_fingerprint for owner in found if owner.dataset_fingerprint == dataset_fingerprint}


def refuse_to_mix(output_dir: str, results_dir: str, owner: Owner, overwrite: bool) -> list[Path]:
    """Stop before probes and rows of two models or datasets would be mixed.

    Return their files, which `overwrite` allows to be deleted; what cannot be read counts as theirs. Another run may write
    there meanwhile, so this is asked once more, inside the lock, before anything is written.
    """
    probes = sorted(Path(output_dir).glob("probe_*.pth"))
    found = [(path, why) for path in probes if (why := conflict(path, probe_metadata, owner))]
    tables = [Path(results_dir) / name for name in COLUMNS]
    found += [(path, why) for path in tables if (why := conflict(path, table_rows, owner))]
    directions, group_scores = (Path(results_dir) / name for name in (DIRECTIONS, GROUP_SCORES))
    if directions.exists() and (why := conflict(directions, owner_of_directions, owner)):
        found.append((directions, why))
    if why := conflict(group_scores, owners_of_group_scores, owner):
        found.append((group_scores, why))
    if why := model_conflict(Path(results_dir) / TRANSFER, owner.model, owner.model_fingerprint):
        page = Path(TRANSFER).with_suffix(".html")
        found += [(Path(results_dir) / name, why) for name in (TRANSFER, TRANSFER_MATRIX, page)]
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
    found, problem = owners_of(path, read)
    for other in found:
        if (other.model_fingerprint, other.dataset_fingerprint) != (owner.model_fingerprint, owner.dataset_fingerprint):
            return (
                f"is of model {other.model!r} ({other.model_fingerprint}) and dataset "
                f"{other.dataset_fingerprint}, this run is of model {owner.model!r} "
                f"({owner.model_fingerprint}) and dataset {owner.dataset_fingerprint}"
            )
        if other.settings != owner.settings:
            return f"was read or sampled by other flags ({other.settings}; this run: {owner.settings})"
    return problem


def owners_of(path: Path, read: Callable[[Path], Iterable[Mapping]]) -> tuple[list[Owner], str | None]:
    """Give whose results a file holds, and why it cannot be read, or None. A file that has not changed is read once."""
    try:
        found = path.stat()
    except OSError:
        return owners_in_state(path, None, read)
    return owners_in_state(path, (found.st_ino, found.st_mtime_ns, found.st_size), read)


@cache
def owners_in_state(
    path: Path, state: tuple | None, read: Callable[[Path], Iterable[Mapping]]
) -> tuple[list[Owner], str | None]:
    """Give what `owners_of` gives of a file in this state."""
    found = []
    try:
        for one in read(path):
            named: dict[str, Any] = {name: one.get(name) for name in OWNERS}
            if (owner := Owner(**named)) not in found:
                found.append(owner)
    except UserError as error:
        return [], problem_without_remedy(path, error)
    return found, None


def owner_of_directions(path: Path) -> list[dict]:
    """Read whose directions a file holds, as the rows of a table are read."""
    return [read_directions(path)["owner"]]


def model_conflict(path: Path, model: str, model_fingerprint: str) -> str | None:
    """Say why the table cannot be kept with rows of this model, or None."""
    try:
        rows = table_rows(path)
    except UserError as error:
        return problem_without_remedy(path, error)
    for row in rows:
        if row.get("model_fingerprint") != model_fingerprint:
            return (
                f"is of model {row.get('model')!r} ({row.get('model_fingerprint')}), this run is of {model!r} "
                f"({model_fingerprint})"
            )
    return None


def problem_without_remedy(path: Path, error: UserError) -> str:
    """Say what is wrong with a file, without its name before and the remedy of its reader behind: ours is another."""
    problem, found, _ = str(error).rpartition("; ")
    problem = problem if found else str(error)
    return problem.removeprefix(f"{path} ") if problem.startswith(f"{path} ") else f"cannot be read ({problem})"
