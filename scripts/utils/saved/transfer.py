"""Tabulate what saved probes score on other data: results/transfer.csv, a row per probe, dataset and target, and the
matrix of the best layers' AUROC that follows from it.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.base.errors import UserError
from utils.base.files import WriteTogether, csv_text
from utils.base.text_table import bounds, share
from utils.base.text_table import table as table_text
from utils.probes.kinds import KINDS
from utils.saved.columns import (
    BASELINES,
    CONTENTS,
    MATRIX_ROW,
    METRICS,
    NUMBERS,
    OF_ROW,
    TOGETHER,
    TRANSFER,
    TRANSFER_COLUMNS,
    TRANSFER_KEY,
    TRANSFER_MATRIX,
)
from utils.saved.evaluation import Dataset
from utils.saved.owners import model_conflict
from utils.saved.saved_probes import SavedProbe
from utils.saved.tables import table_rows
from utils.scores.intervals import FEWEST, FEWEST_EFFECTIVE


def row_of(probe: SavedProbe, dataset: Dataset, target: str, scores: Mapping) -> dict:
    """Make a row of transfer.csv."""
    metadata = dataset.metadata
    return {
        "probe_file": probe.file,
        "probe_target": probe.target,
        "layer_idx": probe.layer,
        "lag": probe.lag,
        "probe": probe.kind,
        "seed": probe.seed,
        "data_file": dataset.path,
        "dataset_fingerprint": metadata["dataset_fingerprint"],
        "target": target,
        "split": metadata["split"],
        **scores,
        "probe_dir": probe.folder,
        "probe_val_auc": probe.on_validation("auc"),
        "probe_chosen_by": probe.chosen_by,
        "probe_val_score": probe.on_validation(probe.chosen_by),
        "probe_pool": probe.reading[0],
        "probe_fingerprint": probe.fingerprint,
        "probe_dataset_fingerprint": probe.dataset_fingerprint,
        "model": probe.model,
        "model_fingerprint": probe.model_fingerprint,
    }


@dataclass(frozen=True)
class Matrix:
    """rows: [(probe_dir, target, kind, lag)]; columns: [(data_file, target)]; cells: {(row, column): a row of transfer.csv},
    numbers as numbers, of the layer and seed with the best score on validation, by the rule of the run that trained them.
    """

    rows: list[tuple]
    columns: list[tuple]
    cells: dict

    @property
    def model(self) -> str:
        return next(iter(self.cells.values()))["model"]

    def chosen(self, row: tuple) -> dict:
        """Give a cell of the row: all are of one probe, of which older ones tell less."""
        cells = [self.cells[row, column] for column in self.columns if (row, column) in self.cells]
        return max(cells, key=lambda cell: bool(cell["probe_chosen_by"]))


def matrix_of(table: Sequence[Mapping]) -> Matrix:
    """Choose the best probe of each row of the matrix, and put its scores together; of equally good ones the first.

    table: rows of transfer.csv. Older ones do not tell the score that their run chose by; beside a probe of which no row
    tells it, AUROC decides.
    """
    best, cells, read = {}, {}, []
    for row in table:
        read.append({name: as_number(row.get(name)) if name in NUMBERS else str(row[name]) for name in TRANSFER_COLUMNS})
    told = {row["probe_file"]: float(row["probe_val_score"]) for row in read if row["probe_chosen_by"]}
    by_auc = {tuple(row[name] for name in MATRIX_ROW) for row in read if row["probe_file"] not in told}
    for row in read:
        key = tuple(row[name] for name in MATRIX_ROW)
        score = float(row["probe_val_auc"]) if key in by_auc else told[row["probe_file"]]
        if key not in best or score > best[key][0] or math.isnan(best[key][0]) and not math.isnan(score):
            best[key] = score, row["probe_file"]
        cells.setdefault((key, row["probe_file"]), {})[row["data_file"], row["target"]] = row
    columns = list(dict.fromkeys(column for found in cells.values() for column in found))
    targets = list(dict.fromkeys(target for _, target in columns))
    place = {target: index for index, target in enumerate(targets)}  # so that a target's own column lies on the diagonal
    rows = sorted(best, key=lambda row: (row[0], place.get(row[1], len(place)), row[1], KINDS.index(row[2]), row[3]))
    return Matrix(rows, columns, {(key, column): row for key in rows for column, row in cells[key, best[key][1]].items()})


def as_number(value: object) -> float:
    """Read a cell as a number: NaN for an empty cell; whole numbers as int."""
    found = float("nan") if value in ("", None) else float(str(value))
    return int(found) if found.is_integer() else found


def what_is_missing(rows: Sequence[dict]) -> list[str]:
    """Write a line for each reason why examples of a dataset were left out, or could not be scored. rows: of one dataset."""
    file = rows[0]["data_file"]
    lines = [
        f"{file}: {most(rows, name)} {words}"
        for name, words in (
            (
                "n_seen_left_out",
                "document(s) are left out, for probes were trained on them or chosen by them; --keep_seen scores them too",
            ),
            ("n_seen_kept", "document(s) are scored though probes were trained on them or chosen by them (--keep_seen)"),
            ("n_no_state", "labelled token(s) are left out, for no token lies at the lag of a probe"),
            ("n_not_finite", "labelled token(s) are left out, for their states are not finite"),
        )
        if most(rows, name) != "0"
    ]
    unknown = sum(row["n_seen_left_out"] is None for row in rows)
    one_class = sum(row["n"] > 0 and not 0 < row["pos_ratio"] < 1 for row in rows)
    empty = sum(row["n"] == 0 for row in rows)
    none = sum(not math.isnan(row["auc"]) and math.isnan(row["auc_low"]) for row in rows if row["n"])
    for count, words in (
        (
            unknown,
            "have no hashes to compare (no texts_*.json beside the probe, or data from before there were any): "
            "texts seen in training cannot be recognised, and none is left out",
        ),
        (
            none,
            f"have no interval: it needs {FEWEST} groups that hold each class, {FEWEST_EFFECTIVE} where groups count by "
            "their size, and a score that varies",
        ),
        (one_class, "hold examples of one class only: what needs both is empty in the table"),
        (empty, "have no example left"),
    ):
        if count:
            lines.append(f"{file}: {count} of {len(rows)} pairs of a probe and a target {words}")
    return [f"note: {line}" for line in lines]


def most(rows: Sequence[dict], name: str) -> str:
    """Write the largest count: '12', or 'up to 12' where it differs from probe to probe."""
    found = {row[name] or 0 for row in rows}
    return f"{'up to ' if len(found) > 1 else ''}{max(found):,}"


def search_lines(rows: Sequence[dict]) -> list[str]:
    """Write a line for each set of probes that were scored on the same examples: how validation's best stands."""
    together = defaultdict(list)
    for row in rows:
        if not math.isnan(row.get("permutation_p", math.nan)):
            together[tuple(row[name] for name in TOGETHER)].append(row)
    lines = []
    for (file, target, lag, *_, probes), found in together.items():
        by = "probe_val_score" if len({row["probe_chosen_by"] for row in found}) == 1 else "probe_val_auc"
        best = max(found, key=lambda row: -math.inf if math.isnan(row[by]) else row[by])
        lines.append(
            f"{file}, {target!r}, lag {lag}, {probes} probes: {best['probe_file']} was best on its own validation, "
            f"permutation p {best['permutation_p']:.3f}, as the best of all here {best['permutation_p_in_sweep']:.3f}, "
            f"AUROC {share(best['auc'])} within {bounds(best, 'auc_band')} together with all; "
            f"p of their maximum {min(row['permutation_p_in_sweep'] for row in found):.3f}"
        )
    return lines


def lines_of(matrix: Matrix) -> list[str]:
    """Write the printed table, its heading first: of each cell of the matrix what is compared, and the scores."""
    rows = [
        [
            "compared",
            "data",
            "probe",
            "lag",
            "layer",
            "n",
            "AUROC",
            "95 % interval",
            "AUPRC",
            "positive",
            "balanced acc",
            "TPR at 1 % FPR",
        ]
    ]
    for row in matrix.rows:
        for column in matrix.columns:
            if cell := matrix.cells.get((row, column)):
                low, high = share(cell["auc_low"]), share(cell["auc_high"])
                rows.append(
                    [
                        f"{cell['probe_target']!r} -> {cell['target']!r}",
                        cell["data_file"],
                        cell["probe"],
                        str(cell["lag"]),
                        cell["layer_idx"],
                        f"{cell['n']:,}",
                        share(cell["auc"]),
                        "-" if low == "-" else f"{low} to {high}",
                        share(cell["auprc"]),
                        share(cell["pos_ratio"]),
                        share(cell["balanced_accuracy"]),
                        share(cell["tpr_at_1_fpr"]),
                    ]
                )
    return table_text(rows).split("\n")


def matrix_text(matrix: Matrix) -> str:
    """Write transfer_matrix.csv: a row for each probe, with a column of AUROC for each dataset and target."""
    names = [f"{file}: {target}" for file, target in matrix.columns]
    rows = [
        dict(zip(MATRIX_ROW, row, strict=True))
        | {name: matrix.chosen(row)[name] for name in OF_ROW}
        | {
            name: matrix.cells[row, column]["auc"]
            for name, column in zip(names, matrix.columns, strict=True)
            if (row, column) in matrix.cells
        }
        for row in matrix.rows
    ]
    return csv_text([*MATRIX_ROW, *OF_ROW, *names], rows)


def refuse_other_model(results_dir: Path | str, probe: SavedProbe, overwrite: bool) -> bool:
    """Stop before rows of two models would be mixed. Returns whether an old transfer.csv is to be dropped,
    which `overwrite` allows; one that cannot be read counts as another model's.
    """
    folder = Path(results_dir)
    problems = {
        name: problem
        for name in (TRANSFER, METRICS, BASELINES)
        if (problem := model_conflict(folder / name, probe.model, probe.model_fingerprint))
    }
    if problems and not overwrite:
        name, problem = next(iter(problems.items()))
        raise UserError(f"{folder / name} {problem}: give another --results_dir, or replace {TRANSFER} with --overwrite")
    return TRANSFER in problems


def merge_transfer(results_dir: Path | str, rows: Sequence[dict], drop: bool) -> list[dict]:
    """Give transfer.csv's rows and these, which replace those of the same key; `drop`: the old ones go. Of a probe
    or a dataset that was evaluated now, no row stays that was made when its file held something else.
    """
    kept = [] if drop else table_rows(Path(results_dir) / TRANSFER)
    new = {tuple(str(row[name]) for name in TRANSFER_KEY) for row in rows}
    now = {(what, row[what]): row[what_it_is] for row in rows for what, what_it_is in CONTENTS.items()}
    kept = [
        row
        for row in kept
        if tuple(row[name] for name in TRANSFER_KEY) not in new
        and all(now.get((what, row[what]), row[what_it_is]) == row[what_it_is] for what, what_it_is in CONTENTS.items())
    ]
    return kept + list(rows)


def write_transfer(results_dir: Path | str, table: Sequence[dict], matrix: Matrix, pages: Mapping[str, str]) -> list[Path]:
    """Write transfer.csv, transfer_matrix.csv and the pages, {name: text}: all of them or none. Return their paths."""
    texts = {TRANSFER: csv_text(TRANSFER_COLUMNS, table), TRANSFER_MATRIX: matrix_text(matrix), **pages}
    with WriteTogether() as files:
        for name, text in texts.items():
            with files.open(Path(results_dir) / name) as file:
                file.write(text.encode("utf-8", "replace"))
    return [Path(results_dir) / name for name in texts]
