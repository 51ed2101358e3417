"""The tables of a sweep as the charts see them: numbers by cell, the layers chosen on validation, what stands beside them.

A cell is one layer of one kind of probe, for one target, at one lag: a row of probe_results.csv for each seed.
"""

import json
import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from utils.base.errors import UserError
from utils.base.files import read_csv

SUMMARY, METRICS, BASELINES = "probe_results.csv", "probe_metrics.csv", "baselines.csv"
CURVE, RECORD = "learning_curve.csv", "run_record.json"
SCORES = {"balanced_accuracy": "balanced accuracy", "acc": "accuracy", "f1": "F1", "auc": "AUROC", "auprc": "AUPRC"}
SPLITS = ("train", "val", "test")
KINDS = ("linear", "logistic", "mass_mean", "mass_mean_tilted", "mlp", "attention", "attention_features")
CURVE_SIZES = {
    "n_train": "training examples",
    "train_examples": "training examples",
    "groups_train": "training groups",
    "train_groups": "training groups",
    "n": "training examples",
    "groups": "training groups",
    "fraction": "share of the training data",
}
KEY = ("target", "layer", "lag", "probe", "seed")
WORDS = {
    "target",
    "layer",
    "layer_idx",
    "probe",
    "baseline",
    "split",
    "model",
    "model_fingerprint",
    "dataset_fingerprint",
    "settings",
    "converged",
    "separable",
    "unit",
}
WHOLE = {"lag", "seed"}
MAKE = "make it with scripts/train_probe.py"


@dataclass(frozen=True)
class Results:
    """cells: {(target, probe, lag): {layer: [row of each seed]}}, layers in order; a score is a column SPLIT_NAME.

    chosen: {(target, probe, lag): layer} of the best mean validation `metric` over the seeds; empty without validation.
    beside: {(target, lag): {(baseline, probe, layer): {split: [row of each seed]}}}, probe and layer "" where a baseline
    has none. groups: {(target, lag, split): number}. curve: the rows of learning_curve.csv.
    """

    cells: dict
    chosen: dict
    beside: dict
    groups: dict
    curve: list
    record: dict
    model: str
    split: str
    metric: str

    @property
    def targets(self) -> list[str]:
        return list(dict.fromkeys(target for target, _, _ in self.cells))

    @property
    def kinds(self) -> list[str]:
        return sorted({probe for _, probe, _ in self.cells}, key=kind_order)

    def lags(self, target, probe=None) -> list[int]:
        return sorted({lag for of, kind, lag in self.cells if of == target and probe in (None, kind)})

    def layers(self, target, probe) -> list[str]:
        found = {layer for (of, kind, _), layers in self.cells.items() if (of, kind) == (target, probe) for layer in layers}
        return sorted(found, key=layer_order)

    @property
    def best(self) -> tuple:
        """(target, probe, lag) of the best validation score, () without validation."""
        return max(
            self.chosen, default=(), key=lambda key: order_of(mean(self.rows(*key, self.chosen[key]), f"val_{self.metric}"))
        )

    def rows(self, target, probe, lag, layer) -> list[dict]:
        return self.cells.get((target, probe, lag), {}).get(layer, [])

    def has(self, column) -> bool:
        return any(known(row.get(column)) for layers in self.cells.values() for rows in layers.values() for row in rows)

    def score_of(self, rows, name) -> float:
        return mean(rows, f"{self.split}_{name}")


def read_results(folder, split=None, metric=None) -> Results:
    """All tables of a folder of results. split: which one's scores to show, None: test if there, else val; metric: by
    which layers are chosen on validation, None: as the run chose, else the first of SCORES that is there. Raises UserError.
    """
    path = Path(folder) / SUMMARY
    if not path.exists():
        raise UserError(f"--results_dir {folder} holds no {SUMMARY}; {MAKE} --results_dir {folder}")
    rows = numbers(path, (*KEY, "l2"))
    if not rows:
        raise UserError(f"{path} has no row; {MAKE} --results_dir {folder}")
    scored = [f"{one}_{name}" for one in SPLITS for name in SCORES]
    if not set(scored) & set(rows[0]):
        raise UserError(f"{path} has none of the columns {scored[0]}, {scored[1]}, ...: it is another table; {MAKE}")
    split = choose_split(path, rows, split)
    record = read_record(Path(folder) / RECORD)
    metric = choose_metric(path, rows, split, metric, chosen_by(record))
    cells = cells_of(path, rows, metric)
    beside = beside_of(Path(folder) / BASELINES)
    models = [
        record.get("model"),
        *(
            row.get("model")
            for one in beside.values()
            for by_split in one.values()
            for found in by_split.values()
            for row in found
        ),
    ]
    return Results(
        cells,
        chosen_layers(cells, metric),
        beside,
        groups_of(Path(folder), beside),
        read_curve(Path(folder) / CURVE),
        record,
        next((str(one) for one in models if one), "a model not named"),
        split,
        metric,
    )


def numbers(path, required) -> list[dict]:
    """The rows of a table, cells as numbers (NaN where empty or "nan"), WORDS as text, WHOLE as int or None."""
    rows = read_csv(path)
    missing = [name for name in required if rows and name not in rows[0]]
    if missing:
        raise UserError(f"{path} is another table: it has no column {' and no '.join(missing)}; {MAKE}")
    return [
        {name: parsed(path, number, name, text) for name, text in row.items()} for number, row in enumerate(rows, start=2)
    ]


def parsed(path, number, name, text):
    if name is None or text is None:
        raise UserError(f"{path} line {number} has {'more' if name is None else 'fewer'} cells than the header; {MAKE}")
    if name in WORDS or name.endswith("best_baseline"):
        return text
    if text.strip() in ("", "nan"):
        return None if name in WHOLE else math.nan
    try:
        return int(text) if name in WHOLE else float(text)
    except ValueError:
        raise UserError(f"{path} line {number}: {name} is {text[:40]!r}, not a number; {MAKE}") from None


def choose_split(path, rows, wanted) -> str:
    there = [split for split in ("test", "val") if any(known(row.get(f"{split}_{name}")) for row in rows for name in SCORES)]
    if not there or wanted and wanted not in there:
        asked = f"--split {wanted}: " if wanted else ""
        raise UserError(
            f"{asked}{path} has no scores of {wanted or 'validation or test'}"
            + (f", it has those of {there[0]}; give --split {there[0]}" if there else f"; {MAKE}")
        )
    return wanted or there[0]


def chosen_by(record) -> str | None:
    """The score by which the run itself chose layers, where its record says one."""
    found = {
        question.get("chosen_by")
        for by_lag in (record.get("selected_on_validation") or {}).values()
        if isinstance(by_lag, dict)
        for question in by_lag.values()
        if isinstance(question, dict)
    }
    return found.pop() if len(found) == 1 else None


def choose_metric(path, rows, split, wanted, usual=None) -> str:
    there = [name for name in SCORES if any(known(row.get(f"{split}_{name}")) for row in rows)]
    if wanted and wanted not in there:
        raise UserError(f"--metric {wanted}: {path} has no {split}_{wanted}; give one of {', '.join(there)}")
    return wanted or (usual if usual in there else there[0])


def cells_of(path, rows, metric) -> dict:
    """Of several penalties l2 of one probe, the one with the best validation score is kept; equal keys are refused."""
    best = {}
    for number, row in enumerate(rows, start=2):
        if row["lag"] is None or not row["layer"]:
            raise UserError(f"{path} line {number} has no {'lag' if row['lag'] is None else 'layer'}; {MAKE}")
        key = tuple(row[name] for name in KEY)
        other = best.get(key)
        if other and (other["l2"] == row["l2"] or not (known(other["l2"]) or known(row["l2"]))):
            raise UserError(
                f"{path} line {number} repeats target {row['target']!r}, layer {row['layer']}, lag "
                f"{row['lag']}, {row['probe']}, seed {row['seed']}, l2 {row['l2']:g}; {MAKE}"
            )
        if other is None or order_of(row.get(f"val_{metric}")) > order_of(other.get(f"val_{metric}")):
            best[key] = row
    cells = defaultdict(lambda: defaultdict(list))
    for row in sorted(
        best.values(),
        key=lambda row: (
            kind_order(row["probe"]),
            row["lag"],
            layer_order(row["layer"]),
            -1 if row["seed"] is None else row["seed"],
        ),
    ):
        cells[row["target"], row["probe"], row["lag"]][row["layer"]].append(row)
    return {key: dict(layers) for key, layers in cells.items()}


def chosen_layers(cells, metric) -> dict:
    """Ties go to the earlier layer."""
    chosen = {}
    for key, layers in cells.items():
        layer = max(layers, key=lambda one: order_of(mean(layers[one], f"val_{metric}")))
        if known(mean(layers[layer], f"val_{metric}")):
            chosen[key] = layer
    return chosen


def beside_of(path) -> dict:
    rows = numbers(path, ("target", "baseline", "lag", "split"))
    beside = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for row in rows:
        key = (row["baseline"], row.get("probe", ""), row.get("layer_idx", ""))
        beside[row["target"], row["lag"]][key][row["split"]].append(row)
    return {key: {name: dict(by_split) for name, by_split in one.items()} for key, one in beside.items()}


def baselines_at(results, target, lag, probe) -> dict[str, tuple[str, dict]]:
    """{name: (label, {split: rows})} of what stands beside a probe of this kind. A baseline that has layers, such as
    "random weights", is shown at its best one, by its own validation score; its label says which.
    """
    plain, layered = {}, defaultdict(dict)
    for (name, kind, layer), by_split in results.beside.get((target, lag), {}).items():
        if not kind and not layer:
            plain[name] = name, by_split
        elif kind in ("", probe):
            layered[name][layer] = by_split
    for name, layers in layered.items():
        best = max(
            sorted(layers, key=layer_order), key=lambda one: order_of(mean(layers[one].get("val", []), results.metric))
        )
        plain[name] = f"{name}, {probe.replace('_', ' ')} {layer_name(best)}", layers[best]
    return plain


def best_baseline(results, target, lag, probe, rows) -> str | None:
    """The name that the table gives, else the baseline of the best validation AUROC, the majority class apart."""
    named = next((row[f"{results.split}_best_baseline"] for row in rows if row.get(f"{results.split}_best_baseline")), None)
    there = baselines_at(results, target, lag, probe)
    if named:
        return named
    scores = {name: mean(by_split.get("val", []), "auc") for name, (_, by_split) in there.items() if name != "majority"}
    return max((name for name in scores if known(scores[name])), key=scores.get, default=None)


def groups_of(folder, beside) -> dict:
    """From probe_metrics.csv where it says them, else from the baselines."""
    rows = [row for one in beside.values() for by_split in one.values() for found in by_split.values() for row in found]
    if (folder / METRICS).exists():
        rows += numbers(folder / METRICS, ("target", "lag", "split"))
    return {(row["target"], row["lag"], row["split"]): int(row["groups"]) for row in rows if known(row.get("groups"))}


def read_record(path) -> dict:
    try:
        record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}; move it away or give another --results_dir") from error
    return record if isinstance(record, dict) else {}


def read_curve(path) -> list[dict]:
    """Each row gets "size", of the first column of CURVE_SIZES that is there, whose words are in "size_name"."""
    rows = numbers(path, ("target", "lag", "probe"))
    name = next((one for one in CURVE_SIZES if rows and one in rows[0]), None)
    if rows and name is None:
        raise UserError(f"{path} has no column {' or '.join(CURVE_SIZES)}; move it away or make it anew")
    return [
        {**row, "layer": row.get("layer", row.get("layer_idx", "")), "size": row[name], "size_name": CURVE_SIZES[name]}
        for row in rows
    ]


def known(value) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def order_of(value) -> float:
    return value if known(value) else -math.inf


def values(rows, column) -> list[float]:
    return [row[column] for row in rows if known(row.get(column))]


def mean(rows, column) -> float:
    """Over the seeds; NaN where none is known. One seed's number stays what it is, to the last digit."""
    found = values(rows, column)
    return math.fsum(found) / len(found) if found else math.nan


def interval(rows, column) -> tuple[float, float]:
    """The 95 % interval of a score; of several seeds the lowest and the highest end, which is wider than any one's."""
    low, high = values(rows, f"{column}_low"), values(rows, f"{column}_high")
    return (min(low), max(high)) if low and high else (math.nan, math.nan)


def layer_name(layer) -> str:
    return f"layer {layer}" if layer.isdigit() else layer


def layer_order(layer):
    """embed, 0, 1, ..., then others by name, final_norm, attention."""
    number = layer.isascii() and layer.isdigit()
    place = {"embed": 0, "final_norm": 3, "attention": 4}.get(layer, 1 if number else 2)
    return place, int(layer) if number else 0, layer


def kind_order(kind):
    return KINDS.index(kind) if kind in KINDS else len(KINDS), kind
