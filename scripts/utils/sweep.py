"""Every layer's probe at one lag: trained together, scored on every split, beside what it must beat."""

import time

import numpy as np

from utils.baselines import majority_logits, read_token_logits
from utils.command_line import Progress
from utils.metrics import choose_threshold, scores
from utils.probes import Matrices
from utils.probes.linear import Settings, train
from utils.readings import lag_name, layer_name


def train_lag(arguments, language_model, splits, layers, lag, examples, tables, rows, owner, tracking, seconds):
    """Train every layer's probe at one lag and score it, and its baselines, on every split."""

    began = time.monotonic()
    matrices = {name: Matrices(table, rows[name]) for name, table in tables.items()}
    settings = Settings(arguments.epochs, arguments.learning_rate, arguments.weight_decay, arguments.probe_batch_size,
                        arguments.pos_weight_cap, arguments.seed)
    target = splits["train"].metadata["targets"][0]["name"]
    group = arguments.wandb_group or f"layer-sweep-{lag_name(lag)}"
    runs = [tracking.start(f"{layer_name(layer)}_{lag_name(lag)}", group,
                           {**vars(settings), **owner, "layer": layer, "lag": lag, "target": target}) for layer in layers]
    with Progress(f"train {len(layers)} probes", "epoch", arguments.epochs) as progress:

        def on_epoch(epoch, scores_by_layer):
            best = max(score["val_balanced_accuracy"] for score in scores_by_layer)
            progress.update(1, f"best validation balanced accuracy {best:.3f}")
            for one, score in zip(runs, scores_by_layer, strict=True):
                one.log({"epoch": epoch, **score})

        device = language_model.device if language_model.device.type == "cuda" else "cpu"
        trained = train(matrices["train"], examples["train"].labels, matrices["val"], examples["val"].labels, settings,
                        on_epoch, device)
    logits = {name: trained.probes.logits(matrices[name]) for name in matrices}
    probes = [{name: scores(logits[name][index], found.labels, found.groups, trained.threshold[index])
               for name, found in examples.items()} for index in range(len(layers))]
    for one, by_split, epoch in zip(runs, probes, trained.epoch, strict=True):
        one.finish({"best_epoch": epoch, **{f"{name}_{key}": value for name, found in by_split.items()
                                            for key, value in found.items()}})
    seconds[f"train_lag_{lag}"] = time.monotonic() - began
    return {"lag": lag, "layers": layers, "target": target, "trained": trained, "settings": settings, "probes": probes,
            "baselines": score_baselines(examples, tables, rows), "prevalence": splits["train"].metadata["prevalence"]}


def score_baselines(examples, tables, rows):
    """{baseline: {split: scores}, or None where not computed}; each with its threshold from validation."""

    train = examples["train"]
    logits = {"majority": {name: majority_logits(train.labels, len(found)) for name, found in examples.items()},
              "read token": {name: read_token_logits(train.tokens, train.labels, found.tokens)
                             for name, found in examples.items()},
              "own probability": {name: tables[name].own_logits[rows[name]]
                                  for name in examples if name != "train"}}
    result = {}
    for baseline, by_split in logits.items():
        if np.isnan(by_split["val"]).any():
            result[baseline] = None
            continue
        threshold = choose_threshold(by_split["val"], examples["val"].labels)
        result[baseline] = {name: scores(values, examples[name].labels, examples[name].groups, threshold)
                            for name, values in by_split.items()}
    return result


def best_layer(sweep) -> int:
    """The index of the layer with the best balanced accuracy on validation."""
    found = [by_split["val"]["balanced_accuracy"] for by_split in sweep["probes"]]
    return found.index(max(found))
