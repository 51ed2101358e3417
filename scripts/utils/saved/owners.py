"""Whose results are these? Probes and rows of different models, datasets or settings are never mixed."""

from pathlib import Path

from utils.base.errors import UserError
from utils.saved.probe_files import probe_metadata
from utils.saved.tables import COLUMNS, OWNERS, table_rows


def refuse_to_mix(output_dir, results_dir, owner, overwrite):
    """Stop before probes and rows of another model or dataset would stand beside these. Returns their files, which
    `overwrite` allows to be deleted; what cannot be read counts as theirs.
    """
    strangers = [
        (path, problem)
        for path in sorted(Path(output_dir).glob("probe_*.pth"))
        if (problem := stranger(path, probe_metadata, owner))
    ]
    strangers += [
        (path, problem)
        for path in (Path(results_dir) / name for name in COLUMNS)
        if (problem := stranger(path, table_rows, owner))
    ]
    if strangers and not overwrite:
        path, problem = strangers[0]
        raise UserError(
            f"{path} {problem}: give other folders with --output_dir and --results_dir, or delete the old "
            "results with --overwrite"
        )
    return [path for path, _ in strangers]


def stranger(path, read, owner) -> str | None:
    """What keeps this run's results from standing beside the file, or None. read(path) -> dicts that name its owner."""
    try:
        found = read(path)
    except UserError as error:
        return f"cannot be kept beside the new results ({error})"
    for other in found:
        if any(other.get(name) != owner[name] for name in OWNERS[1:3]):
            return (
                f"is of model {other.get('model')!r} ({other.get('model_fingerprint')}) and dataset "
                f"{other.get('dataset_fingerprint')}, this run is of model {owner['model']!r} "
                f"({owner['model_fingerprint']}) and dataset {owner['dataset_fingerprint']}"
            )
        if other.get("settings") != owner["settings"]:
            return f"was read or sampled by other flags ({other.get('settings')}; this run: {owner['settings']})"
    return None
