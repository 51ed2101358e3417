"""Read the results of a sweep as the charts see them: scores by cell, the layers that validation chose, the baselines."""

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from utils.base.errors import UserError
from utils.base.paths import short_path
from utils.data.sequences import SPLITS
from utils.pages.charts.cells import SCORE_LABELS, kind_order, known, layer_in_words, layer_order, mean, order_of
from utils.pages.charts.tables import (
    MAKE,
    SHOWN_SPLITS,
    baseline_rows,
    cell_columns,
    chosen_by,
    read_baselines,
    read_blocks,
    read_curve,
    read_interpreted,
    read_metrics,
    read_numbers,
    read_record,
)
from utils.saved.columns import BASELINES, CODELENGTH, CURVE, DOCUMENTS, RECORD, SUMMARY
from utils.scores.baselines.compared import best_baseline

OTHER_PAGES = ("visualization*.html", "transfer*.html", "*_interpretations.html", "*/*_interpretations.html")
CELL_SEED = ("target", "layer", "lag", "probe", "seed")  # what a row of probe_results.csv is of
OF_DOCUMENT = ("target", "probe", "layer_idx", "lag", "aggregate", "bucket", "split", "chosen")
WRITTEN_DIGITS = 1e-9  # of a difference that was written and read again
KEPT_COLUMNS = (*CELL_SEED, "l2")


@dataclass(frozen=True)
class Results:
    """The tables of one sweep.

    cells: {(target, probe, lag): {layer: [row of each seed]}}, layers in order; a score is a column SPLIT_NAME
    chosen: {(target, probe, lag): layer} of the best mean validation `metric` over the seeds; empty without validation
    baselines: {(target, lag): {(baseline, probe, layer): {split: [row of each seed]}}}, as `read_baselines` gives them
    groups: {(target, lag, split): number}
    curve: the rows of learning_curve.csv
    record: of the run, {} where there is none
    model: its name
    split: whose scores are shown
    metric: the score by which layers are chosen
    codelength: the rows of codelength.csv
    documents: the rows of document_scores.csv that are of all lengths
    files: the names of all tables of the folder
    pages: the names of its pages of texts and of latents
    directions: the entries of directions.json
    sae_probes: the rows of sae_probes.csv that validation chose
    sae_latents: the first rows of sae_latents.csv, of each probe
    blocks: how far each group moves the scores of the shown split, as far as the run kept it
    unconverged: {(target, probe, lag, layer): fits that stopped before their optimum}
    folder: where the tables lie
    """

    cells: dict
    chosen: dict
    baselines: dict
    groups: dict
    curve: list
    record: dict
    model: str
    split: str
    metric: str
    codelength: list
    documents: list
    files: list
    pages: list
    directions: list = field(default_factory=list)
    sae_probes: list = field(default_factory=list)
    sae_latents: list = field(default_factory=list)
    blocks: list = field(default_factory=list)
    unconverged: dict = field(default_factory=dict)
    folder: Path = Path()

    @cached_property
    def by_target(self) -> dict[str, dict]:
        """Give {target: {(probe, lag): {layer: [row of each seed]}}}."""
        found = defaultdict(dict)
        for (target, probe, lag), layers in self.cells.items():
            found[target][probe, lag] = layers
        return dict(found)

    @property
    def targets(self) -> list[str]:
        return list(self.by_target)

    @cached_property
    def kinds(self) -> list[str]:
        return sorted({probe for _, probe, _ in self.cells}, key=kind_order)

    def lags(self, target, probe=None) -> list[int]:
        return sorted({lag for kind, lag in self.by_target.get(target, ()) if probe in (None, kind)})

    def layers(self, target, probe) -> list[str]:
        of_target = self.by_target.get(target, {})
        found = {layer for (kind, _), layers in of_target.items() if kind == probe for layer in layers}
        return sorted(found, key=layer_order)

    @cached_property
    def best(self) -> tuple:
        """Give (target, probe, lag) of the best validation score, () without validation."""
        return max(
            self.chosen, default=(), key=lambda key: order_of(mean(self.rows(*key, self.chosen[key]), f"val_{self.metric}"))
        )

    @cached_property
    def classes(self) -> dict:
        """Give {(target, lag): Classes}, how the groups of the shown split hold the classes."""
        return {(block.about["target"], block.about["lag"]): block.classes for block in self.blocks}

    @cached_property
    def best_first(self) -> list[tuple]:
        """List (target, probe, lag, layer) of what was chosen, best on validation first."""
        chosen = [(*key, layer) for key, layer in self.chosen.items()]
        return sorted(chosen, key=lambda one: -order_of(mean(self.rows(*one), f"val_{self.metric}")))

    def rows(self, target, probe, lag, layer) -> list[dict]:
        return self.cells.get((target, probe, lag), {}).get(layer, [])

    def rows_at(self, target, lags) -> list[dict]:
        """List the rows of a target at some lags, of every kind and layer."""
        return [
            row
            for (_, lag), layers in self.by_target.get(target, {}).items()
            if lag in lags
            for rows in layers.values()
            for row in rows
        ]

    def all_rows(self) -> list[dict]:
        return [row for layers in self.cells.values() for rows in layers.values() for row in rows]

    def has(self, column) -> bool:
        return any(known(row.get(column)) for row in self.all_rows())


def read_results(folder, split=None, metric=None, flag="--results_dir") -> Results:
    """Read all tables of a folder of results. Raises UserError; flag: what named the folder.

    split: which one's scores to show; None: test where the table has it, else val
    metric: by which layers are chosen on validation; None: as the run chose, else the first of SCORE_LABELS that is there
    """
    path = Path(folder) / SUMMARY
    if not path.exists():
        raise UserError(f"{flag} {folder} holds no {SUMMARY}; {MAKE} --results_dir {folder}")
    split = choose_split(path, split, flag)
    rows = [without_unknown(row) for row in read_numbers(path, KEPT_COLUMNS, cell_columns(split))]
    record = read_record(Path(folder) / RECORD)
    metric = choose_metric(path, rows, split, metric, chosen_by(record))
    baselines = read_baselines(Path(folder) / BASELINES)
    cells = cells_of(path, [with_chance(row, split, baselines) for row in rows], metric)
    groups, unconverged = read_metrics(Path(folder), baselines)
    models = [record.get("model"), *(row.get("model") for row in baseline_rows(baselines))]
    return Results(
        cells,
        chosen_layers(cells, metric),
        baselines,
        groups,
        read_curve(Path(folder) / CURVE),
        record,
        next((short_path(str(one)) for one in models if one), "a model not named"),
        split,
        metric,
        list(read_numbers(Path(folder) / CODELENGTH, ("target", "lag", "layer", "bits"))),
        list(read_numbers(Path(folder) / DOCUMENTS, OF_DOCUMENT)),
        sorted(one.name for one in Path(folder).glob("*.csv")),
        [one.relative_to(folder).as_posix() for glob in OTHER_PAGES for one in sorted(Path(folder).glob(glob))],
        *read_interpreted(Path(folder)),
        read_blocks(Path(folder), split),
        unconverged,
        Path(folder),
    )


def without_unknown(row) -> dict:
    """Leave out the cells that hold no number: half of a large table."""
    return {name: value for name, value in row.items() if value == value or name in KEPT_COLUMNS}


def choose_split(path, wanted, flag) -> str:
    """Choose the split to show before the table is read for it. Raise UserError for another table and for one without it."""
    columns = [f"{one}_{name}" for one in SPLITS for name in SCORE_LABELS]
    first = next(read_numbers(path, KEPT_COLUMNS), None)
    if first is None:
        raise UserError(f"{path} has no row; {MAKE} --results_dir {path.parent}")
    if not set(columns) & set(first):
        raise UserError(f"{path} has none of the columns {columns[0]}, {columns[1]}, ...: it is another table; {MAKE}")
    there = [split for split in reversed(SHOWN_SPLITS) if has_scores(path, split)]
    if not there or wanted and wanted not in there:
        asked = (
            "" if not wanted else f"--split {wanted}: " if flag != "--compare" else f"{flag}: this run shows {wanted}, and "
        )
        raise UserError(
            f"{asked}{path} has no scores of {wanted or 'validation or test'}"
            + (f", it has those of {there[0]}; give --split {there[0]}" if there else f"; {MAKE}")
        )
    return wanted or there[0]


def has_scores(path, split) -> bool:
    columns = [f"{split}_{name}" for name in SCORE_LABELS]
    return any(known(row.get(name)) for row in read_numbers(path, (), columns) for name in columns)


def choose_metric(path, rows, split, wanted, usual=None) -> str:
    there = [name for name in SCORE_LABELS if any(known(row.get(f"{split}_{name}")) for row in rows)]
    if wanted and wanted not in there:
        raise UserError(f"--metric {wanted}: {path} has no {split}_{wanted}; give one of {', '.join(there)}")
    return wanted or (usual if usual in there else there[0])


def cells_of(path, rows, metric) -> dict:
    """Sort the rows into cells; rows with equal keys are refused.

    Of several penalties l2 of one probe, the one with the best validation score is kept.
    """
    best = {}
    for number, row in enumerate(rows, start=2):
        if row["lag"] is None or not row["layer"]:
            raise UserError(f"{path} line {number} has no {'lag' if row['lag'] is None else 'layer'}; {MAKE}")
        key = tuple(row[name] for name in CELL_SEED)
        other = best.get(key)
        if other and (other["l2"] == row["l2"] or not (known(other["l2"]) or known(row["l2"]))):
            raise UserError(
                f"{path} line {number} repeats target {row['target']!r}, layer {row['layer']}, lag "
                f"{row['lag']}, {row['probe']}, seed {row['seed']}, l2 {row['l2']:g}; {MAKE}"
            )
        if other is None or order_of(row.get(f"val_{metric}")) > order_of(other.get(f"val_{metric}")):
            best[key] = row
    cells = defaultdict(lambda: defaultdict(list))
    for row in sorted(best.values(), key=row_order):
        cells[row["target"], row["probe"], row["lag"]][row["layer"]].append(row)
    return {key: dict(layers) for key, layers in cells.items()}


def with_chance(row, split, baselines) -> dict:
    """Let a baseline below chance count as 0.5, which former tables did not; their interval is then of no use."""
    column = f"{split}_minus_baseline"
    by_name = baselines.get((row["target"], row["lag"]), {})
    beside = mean(by_name.get((row.get(f"{split}_best_baseline"), "", ""), {}).get(split, []), "auc")
    ours = row.get(f"{split}_auc")
    if not (beside < 0.5 and known(ours) and known(row.get(column)) and abs(row[column] - (ours - beside)) < WRITTEN_DIGITS):
        return row
    return {name: value for name, value in row.items() if not name.startswith(column)} | {column: ours - 0.5}


def row_order(row):
    return kind_order(row["probe"]), row["lag"], layer_order(row["layer"]), -1 if row["seed"] is None else row["seed"]


def chosen_layers(cells, metric) -> dict:
    """Choose the layer with the best validation score of each target, kind and lag; ties go to the earlier layer."""
    chosen = {}
    for key, layers in cells.items():
        layer = max(layers, key=lambda one: order_of(mean(layers[one], f"val_{metric}")))
        if known(mean(layers[layer], f"val_{metric}")):
            chosen[key] = layer
    return chosen


def baselines_at(results, target, lag, probe) -> dict[str, tuple[str, dict]]:
    """Find the baselines of a probe of this kind: {name: (label, {split: rows})}.

    A baseline that has layers, such as "random weights", is shown at its best layer by its own validation score; its label
    says which.
    """
    found, layered = {}, defaultdict(dict)
    for (name, kind, layer), by_split in results.baselines.get((target, lag), {}).items():
        if not kind and not layer:
            found[name] = name, by_split
        elif kind in ("", probe):
            layered[name][layer] = by_split
    for name, layers in layered.items():
        best = max(
            sorted(layers, key=layer_order), key=lambda one: order_of(mean(layers[one].get("val", []), results.metric))
        )
        found[name] = f"{name}, {probe.replace('_', ' ')} {layer_in_words(best)}", layers[best]
    return found


def baseline_to_beat(results, target, lag, probe, rows) -> str | None:
    """Name the baseline that the table names, else the one with the best validation AUROC, the majority class aside."""
    named = next((row[f"{results.split}_best_baseline"] for row in rows if row.get(f"{results.split}_best_baseline")), None)
    if named:
        return named
    there = baselines_at(results, target, lag, probe)
    scores = {name: mean(by_split.get("val", []), "auc") for name, (_, by_split) in there.items() if name != "majority"}
    scores = {name: score for name, score in scores.items() if known(score)}
    return best_baseline(scores) if scores else None


def questions_of(results: Results) -> int:
    """Count the questions of a run: its targets at its lags."""
    return len({(target, lag) for target, _, lag in results.cells})
