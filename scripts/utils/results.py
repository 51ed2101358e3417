"""Probe files and result tables: one row a probe and split, of one model and one dataset only."""

from pathlib import Path

import torch

from utils.errors import UserError
from utils.files import WriteTogether, json_text, load_tensors, read_csv, save_tensors, write_csv
from utils.readings import lag_name, layer_name

FORMAT, VERSION = "linear-probe", 1
KEY = ("target", "layer_idx", "lag", "probe", "seed", "l2", "split")
SCORES = ("balanced_accuracy", "balanced_accuracy_low", "balanced_accuracy_high", "pos_accuracy", "neg_accuracy", "auc",
          "auc_low", "auc_high", "acc", "precision", "f1", "tp", "fp", "tn", "fn", "threshold", "balanced_accuracy_at_0",
          "n", "pos_ratio", "groups")
OWNERS = ("model", "model_fingerprint", "dataset_fingerprint")
METRICS, SUMMARY, BASELINES, RECORD = "probe_metrics.csv", "probe_results.csv", "baselines.csv", "run_record.json"
SUMMARY_SCORES = tuple(name for name in SCORES if name not in ("n", "pos_ratio", "threshold", "groups"))


def probe_path(folder, layer, lag, seed) -> Path:
    """models/probe_layer5_next.pth; the seed is in the name where it is not 0."""
    name = f"probe_{layer_name(layer)}_{lag_name(lag)}" + (f"_seed{seed}" if seed else "")
    return Path(folder) / f"{name}.pth"


def save_probe(files, path, weight, bias, metadata):
    """weight float32 [hidden_size], bias a number; both on raw hidden states."""
    state = {"weight": weight.detach().cpu().clone(), "bias": torch.tensor(float(bias))}
    with files.open(path) as file:
        save_tensors(file, FORMAT, VERSION, {"state_dict": state, "metadata": metadata})


def load_probe(path) -> dict:
    """{"state_dict": {weight [hidden_size], bias []}, "metadata": ...}"""
    return load_tensors(path, FORMAT, VERSION, made_by="scripts/train_probe.py")


def refuse_to_mix(output_dir, results_dir, owner, overwrite):
    """Stop before probes and rows of another model or dataset would stand beside these; `overwrite` deletes them."""
    strangers = []
    for path in sorted(Path(output_dir).glob("probe_*.pth")):
        metadata = load_probe(path)["metadata"]
        if any(metadata.get(name) != owner[name] for name in OWNERS[1:]):
            strangers.append((path, metadata))
    for name in (METRICS, BASELINES):
        path = Path(results_dir) / name
        rows = [row for row in read_csv(path) if any(row.get(key) != owner[key] for key in OWNERS[1:])]
        if rows:
            strangers.append((path, rows[0]))
    if strangers and not overwrite:
        path, other = strangers[0]
        raise UserError(
            f"{path} is of model {other.get('model')!r} ({other.get('model_fingerprint')}) and dataset "
            f"{other.get('dataset_fingerprint')}, this run is of model {owner['model']!r} "
            f"({owner['model_fingerprint']}) and dataset {owner['dataset_fingerprint']}: give other folders with "
            "--output_dir and --results_dir, or delete the old results with --overwrite")
    return [path for path, _ in strangers]


def merged(path, rows, key) -> list[dict]:
    """The rows of the file at `path` and these, which replace those of the same key."""
    new = {tuple(str(row[name]) for name in key) for row in rows}
    return [row for row in read_csv(path) if tuple(row[name] for name in key) not in new] + list(rows)


def write_tables(results_dir, probe_rows, baseline_rows, record):
    """probe_metrics.csv, what follows from it (probe_results.csv), baselines.csv and run_record.json."""
    folder = Path(results_dir)
    metrics = merged(folder / METRICS, probe_rows, KEY)
    write_csv(folder / METRICS, (*KEY, *SCORES, *OWNERS), metrics)
    write_csv(folder / SUMMARY, *summary(metrics))
    baseline_key = ("target", "baseline", "lag", "seed", "split")
    baselines = merged(folder / BASELINES, baseline_rows, baseline_key)
    write_csv(folder / BASELINES, (*baseline_key, *SCORES, *OWNERS), baselines)
    with WriteTogether() as files, files.open(folder / RECORD) as file:
        file.write(json_text(record).encode("utf-8"))


def summary(metrics) -> tuple[list[str], list[dict]]:
    """One row a probe, each score with its split before it."""
    splits = ("train", "val", "test")
    columns = ["target", "layer", "lag", "probe", "seed", "l2",
               *(f"{split}_{name}" for split in splits for name in SUMMARY_SCORES),
               *(f"n_{split}" for split in splits), *(f"pos_ratio_{split}" for split in splits)]
    rows = {}
    for row in metrics:
        key = tuple(str(row[name]) for name in KEY[:-1])
        one = rows.setdefault(key, dict(zip(("target", "layer", "lag", "probe", "seed", "l2"), key, strict=True)))
        split = row["split"]
        one.update({f"{split}_{name}": row.get(name, "") for name in SUMMARY_SCORES})
        one.update({f"n_{split}": row["n"], f"pos_ratio_{split}": row["pos_ratio"]})
    return columns, list(rows.values())
