"""Probe files and result tables: one row a probe and split, of one model and one dataset only."""

import math
import re
from pathlib import Path
from types import NoneType
from urllib.parse import quote

import torch

from utils.base.errors import UserError
from utils.base.files import csv_text, fingerprint, json_text, load_tensors, read_csv, save_tensors
from utils.probes.kinds import KINDS
from utils.scores.documents.scoring import COLUMNS as DOCUMENT_COLUMNS
from utils.states.positions import lag_name
from utils.states.sites import layer_name

FORMAT, VERSION = "linear-probe", 1
LONGEST_NAME = 100  # characters of a target in a file name
OTHER_FORMATS = {"mlp": "mlp-probe", "attention": "attention-probe",  # by kind; all others are linear
                 "attention_features": "attention-features-probe"}
PROBE = ("target", "layer_idx", "lag", "probe", "seed")
KEY = (*PROBE, "l2", "split")
SCORES = ("balanced_accuracy", "balanced_accuracy_low", "balanced_accuracy_high", "pos_accuracy", "neg_accuracy", "auc",
          "auc_low", "auc_high", "acc", "precision", "recall", "f1", "auprc", "brier", "ece", "tpr_at_1_fpr",
          "fpr_at_95_tpr", "tp", "fp", "tn", "fn", "threshold", "balanced_accuracy_at_0", "n", "pos_ratio", "groups")
COMPARED = ("control", "selectivity", "best_baseline", "minus_baseline", "minus_baseline_low", "minus_baseline_high",
            "minus_random_weights", "minus_random_weights_low", "minus_random_weights_high")
SOLVED = ("gradient", "converged", "separable")  # of exact fits
METADATA = {"model": str, "model_fingerprint": str, "dataset_fingerprint": str, "tokenizer_fingerprint": str,
            "target": str, "token": (int, NoneType), "lag": int, "seed": int, "kind": str, "layer": (int, str),
            "hidden_size": int, "threshold": (int, float), "prevalence": (int, float), "causal": bool}
OWNERS = ("model", "model_fingerprint", "dataset_fingerprint", "settings")
BASELINE_KEY = ("target", "baseline", "layer_idx", "lag", "probe", "seed", "split")
METRICS, SUMMARY, BASELINES, RECORD = "probe_metrics.csv", "probe_results.csv", "baselines.csv", "run_record.json"
DOCUMENTS = "document_scores.csv"
COLUMNS = {METRICS: (*KEY, "chosen", *SCORES, *COMPARED, *SOLVED, *OWNERS), BASELINES: (*BASELINE_KEY, *SCORES, *OWNERS),
           DOCUMENTS: (*DOCUMENT_COLUMNS, *OWNERS)}
SUMMARY_SCORES = tuple(name for name in (*SCORES, *COMPARED) if name not in ("n", "pos_ratio", "threshold", "groups"))


def probe_path(folder, layer, lag, seed, kind="linear", target=None) -> Path:
    """models/probe_layer5_next.pth; the kind is in the name where it is not linear, the seed where it is not 0, the target
    where it is given: probe_layer5_lag-4_backtracking.pth. Of the target all but letters, digits, - and _ is written =20.
    """
    name = f"probe_{layer_name(layer)}_{lag_name(lag)}"
    if target is not None:
        name += f"_{slug(target)}"
    name += f"_{kind}" if kind != "linear" else ""
    return Path(folder) / (name + (f"_seed{seed}" if seed else "") + ".pth")


def slug(target) -> str:
    """A target as part of a file name: short, and so that no two probes have one name, whatever the targets are called."""
    name = quote(target, safe="").replace(".", "%2E").replace("~", "%7E").replace("%", "=")
    if re.search(rf"(^|_)({'|'.join(KINDS)}|seed\d+)$", name):  # "x_mlp" is no probe of the kind mlp
        name = name.replace("_", "=5F") + "="
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME - 20]}={fingerprint(target)}"


def save_probe(files, path, state, metadata):
    """state: tensors by name; of a linear probe weight float32 [hidden_size] and bias [], both on raw hidden states."""
    state = {name: torch.as_tensor(value).detach().cpu().float().clone() for name, value in state.items()}
    with files.open(path) as file:
        save_tensors(file, OTHER_FORMATS.get(metadata["kind"], FORMAT), VERSION,
                     {"state_dict": state, "metadata": metadata})


def load_probe(path) -> dict:
    """{"state_dict": {weight [hidden_size], bias []} or what its kind has, "metadata": ...}"""
    probe = load_tensors(path, (FORMAT, *OTHER_FORMATS.values()), VERSION, made_by="scripts/train_probe.py")
    problem = first_problem(probe)
    if problem:
        raise UserError(f"{path} is not a sound probe: {problem}; make it with scripts/train_probe.py, or move it away")
    return probe


def first_problem(probe) -> str | None:
    """What makes a probe file unusable, or None."""
    state, metadata = probe.get("state_dict"), probe.get("metadata")
    if not isinstance(state, dict) or not isinstance(metadata, dict):
        return "it lacks its state_dict or its metadata"
    for name, kind in METADATA.items():
        value = metadata.get(name)
        if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
            return f"its {name} is {value!r}"
    named = ("embed", "final_norm", "attention")
    if not (isinstance(metadata["layer"], int) and metadata["layer"] >= 0 or metadata["layer"] in named):
        return f"its layer is {metadata['layer']!r}"
    shapes = {"weight": (metadata["hidden_size"],), "bias": ()} if probe["format"] == FORMAT else dict.fromkeys(state)
    for name, shape in shapes.items():
        tensor = state.get(name)
        if not isinstance(tensor, torch.Tensor) or shape not in (None, tensor.shape):
            return f"its {name} is not a tensor" + (f" of shape {list(shape)}" if shape else "")
        if not tensor.isfinite().all():
            return f"its {name} is not finite"
    if not math.isfinite(metadata["threshold"]):
        return f"its threshold is {metadata['threshold']}"
    return None


def refuse_to_mix(output_dir, results_dir, owner, overwrite):
    """Stop before probes and rows of another model or dataset would stand beside these. Returns their files, which
    `overwrite` allows to be deleted; what cannot be read counts as theirs.
    """
    strangers = [(path, problem) for path in sorted(Path(output_dir).glob("probe_*.pth"))
                 if (problem := stranger(path, probe_metadata, owner))]
    strangers += [(path, problem) for path in (Path(results_dir) / name for name in COLUMNS)
                  if (problem := stranger(path, table_rows, owner))]
    if strangers and not overwrite:
        path, problem = strangers[0]
        raise UserError(f"{path} {problem}: give other folders with --output_dir and --results_dir, or delete the old "
                        "results with --overwrite")
    return [path for path, _ in strangers]


def stranger(path, read, owner) -> str | None:
    """What keeps this run's results from standing beside the file, or None. read(path) -> dicts that name its owner."""
    try:
        found = read(path)
    except UserError as error:
        return f"cannot be kept beside the new results ({error})"
    for other in found:
        if any(other.get(name) != owner[name] for name in OWNERS[1:3]):
            return (f"is of model {other.get('model')!r} ({other.get('model_fingerprint')}) and dataset "
                    f"{other.get('dataset_fingerprint')}, this run is of model {owner['model']!r} "
                    f"({owner['model_fingerprint']}) and dataset {owner['dataset_fingerprint']}")
        if other.get("settings") != owner["settings"]:
            return f"was read or sampled by other flags ({other.get('settings')}; this run: {owner['settings']})"
    return None


def probe_metadata(path) -> list[dict]:
    return [load_probe(path)["metadata"]]


def table_rows(path) -> list[dict[str, str]]:
    """The rows of one of the tables; [] where there is no file."""
    rows = read_csv(path)
    if rows and set(rows[0]) != set(COLUMNS[path.name]):
        odd = set(rows[0]).symmetric_difference(COLUMNS[path.name])
        raise UserError(f"it has other columns than this suite's: {', '.join(sorted(map(str, odd)))}")
    return rows


def merged(path, rows, key, replaced) -> list[dict]:
    """The rows of the file at `path`, unless it is one of `replaced`, and these, which replace those of the same key (all
    penalties and splits of a probe at once).
    """
    kept = [] if path in replaced else read_csv(path)
    new = {tuple(str(row[name]) for name in key) for row in rows}
    return [row for row in kept if tuple(row[name] for name in key) not in new] + list(rows)


def write_tables(files, results_dir, probe_rows, baseline_rows, document_rows, record, replaced=()):
    """probe_metrics.csv, what follows from it (probe_results.csv), baselines.csv, run_record.json, and document_scores.csv
    where there is something to write; `replaced`: the tables whose old rows are dropped.
    """
    folder = Path(results_dir)
    metrics = merged(folder / METRICS, probe_rows, PROBE, replaced)
    baselines = merged(folder / BASELINES, baseline_rows, BASELINE_KEY[:-1], replaced)
    texts = {METRICS: csv_text(COLUMNS[METRICS], metrics), SUMMARY: csv_text(*summary(metrics)),
             BASELINES: csv_text(COLUMNS[BASELINES], baselines), RECORD: json_text(record)}
    documents = merged(folder / DOCUMENTS, document_rows, ("target", "lag"), replaced)
    if documents:
        texts[DOCUMENTS] = csv_text(COLUMNS[DOCUMENTS], documents)
    for name, text in texts.items():
        with files.open(folder / name) as file:
            file.write(text.encode("utf-8"))


def summary(metrics) -> tuple[list[str], list[dict]]:
    """One row a chosen probe, each score with its split before it."""
    splits = ("train", "val", "test")
    columns = ["target", "layer", "lag", "probe", "seed", "l2",
               *(f"{split}_{name}" for split in splits for name in SUMMARY_SCORES),
               *(f"n_{split}" for split in splits), *(f"pos_ratio_{split}" for split in splits)]
    rows = {}
    for row in metrics:
        if str(row["chosen"]) != "1":
            continue
        key = tuple("" if row[name] is None else str(row[name]) for name in KEY[:-1])
        one = rows.setdefault(key, dict(zip(("target", "layer", "lag", "probe", "seed", "l2"), key, strict=True)))
        split = row["split"]
        one.update({f"{split}_{name}": row.get(name, "") for name in SUMMARY_SCORES})
        one.update({f"n_{split}": row["n"], f"pos_ratio_{split}": row["pos_ratio"]})
    return columns, list(rows.values())
