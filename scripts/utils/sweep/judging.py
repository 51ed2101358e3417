"""Score the fits of a sweep: choose on validation, judge once on test, compare with what a probe must beat."""

import numpy as np

from utils.probes.kinds import KINDS
from utils.scores.baselines import all_sequence_baselines, all_token_baselines
from utils.scores.controls import selectivity
from utils.scores.differences import paired_differences
from utils.scores.metrics import all_scores, at_threshold, scores
from utils.scores.ranking import auroc
from utils.scores.thresholds import choose_threshold, choose_thresholds
from utils.sweep.fits import Fits
from utils.sweep.outcome import Probe


def judge(arguments, fits: Fits, task, lag, prevalence) -> list[Probe]:
    """Every probe's scores; the penalty is chosen by AUROC on validation, and only what is chosen has intervals."""
    layers, seeds, _, penalties, _ = fits.logits["val"].shape
    grid = layers, seeds, penalties
    of_truth = {name: values[:, :, 0].reshape(-1, values.shape[-1]) for name, values in fits.logits.items()}
    thresholds = choose_thresholds(of_truth["val"], task.labels["val"][0])
    chosen = choose_penalties(of_truth["val"], task.labels["val"][0], grid)
    metrics = {
        name: scored(arguments, fits, values, task, name, grid, thresholds, chosen, prevalence)
        for name, values in of_truth.items()
    }
    probes = []
    for index, (layer, seed, penalty) in enumerate(np.ndindex(*grid)):
        probe = Probe(
            fits.kind,
            fits.layers[layer],
            lag,
            task.seeds[fits.seeds[seed]],
            fits.penalties[penalty],
            float(thresholds[index]),
            {},
            {name: found[index] for name, found in metrics.items()},
            bool(chosen[index]),
            notes=fits.notes(layer, seed, penalty),
        )
        if probe.chosen:
            probe.tensors = fits.tensors(layer, seed, penalty)
            probe.logits = {name: values[index] for name, values in of_truth.items() if name != "train"}
            add_selectivity(
                probe,
                {name: values[layer, seed, 1:, penalty] for name, values in fits.logits.items()},
                task,
                fits.seeds[seed],
            )
        probes.append(probe)
    return probes


def scored(arguments, fits, logits, task, split, grid, thresholds, chosen, prevalence) -> list[dict]:
    """The scores of one split: of train each seed's own sample, intervals for what is chosen only."""
    examples, result = task.examples[split], [None] * len(logits)
    seed_of = np.broadcast_to(np.asarray(fits.seeds)[None, :, None], grid).reshape(-1)
    for seed in np.unique(seed_of):
        kept = task.in_sample[:, seed] if split == "train" else slice(None)
        trained = share_in_training(arguments, task, fits.kind, seed)
        for intervals in (False, True):
            which = np.flatnonzero((seed_of == seed) & (chosen == intervals))
            found = (
                all_scores(
                    logits[which][:, kept],
                    examples.labels[kept],
                    examples.groups[kept],
                    thresholds[which],
                    prevalence,
                    intervals,
                    trained,
                )
                if len(which)
                else []
            )
            for index, scores_of_one in zip(which, found, strict=True):
                result[index] = scores_of_one
    return result


def choose_penalties(logits, labels, grid) -> np.ndarray:
    """bool [layers * seeds * penalties]: of each layer and seed the penalty of the best AUROC, of equal ones the largest."""
    found = np.array([auroc(values, labels) for values in logits]).reshape(grid)
    best = np.nan_to_num(found, nan=-1.0).argmax(-1)
    return (np.arange(grid[-1]) == best[..., None]).reshape(-1)


def add_selectivity(probe, control_logits, task, seed):
    """control: mean balanced accuracy over the random labels, each with its own threshold from validation; seed: index."""
    if not len(control_logits["val"]):
        return
    thresholds = choose_thresholds(control_logits["val"], task.labels["val"][1:])
    for name, values in control_logits.items():
        kept = task.in_sample[:, seed] if name == "train" else slice(None)
        found = [
            at_threshold(logits[kept], labels[kept], threshold)["balanced_accuracy"]
            for logits, labels, threshold in zip(values, task.labels[name][1:], thresholds, strict=True)
        ]
        probe.metrics[name] |= {
            "control": float(np.mean(found)),
            "selectivity": selectivity(probe.metrics[name]["balanced_accuracy"], found),
        }


def score_baselines(arguments, logits, task, prevalence) -> dict:
    """{baseline: {split: scores}, or None where not computed}; each with its threshold from validation."""
    result, examples = {}, task.first_sample
    for baseline, by_split in logits.items():
        if by_split is None or np.isnan(by_split["val"]).any():
            result[baseline] = None
            continue
        threshold = choose_threshold(by_split["val"], examples["val"].labels)
        trained = prevalence if baseline == "own probability" else share_in_training(arguments, task, baseline)
        result[baseline] = {
            name: scores(values, examples[name].labels, examples[name].groups, threshold, prevalence, trained)
            for name, values in by_split.items()
        }
    return result


def compare(sweep, baseline):
    """How much better each chosen probe ranks than the best baseline, and than its twin on random weights: paired."""
    twins = {(probe.kind, probe.layer, probe.seed): probe.logits for probe in sweep.random_weights if probe.chosen}
    for name in [name for name in sweep.task.examples if name != "train"]:
        examples = sweep.task.examples[name]
        others = {
            "baseline": [(probe, baseline[name]) for probe in sweep.chosen],
            "random_weights": [
                (probe, twins[probe.kind, probe.layer, probe.seed][name])
                for probe in sweep.chosen
                if (probe.kind, probe.layer, probe.seed) in twins
            ],
        }
        for what, pairs in others.items():
            if not pairs:
                continue
            nowhere = np.zeros(len(pairs))
            found = paired_differences(
                np.stack([probe.logits[name] for probe, _ in pairs]),
                np.stack([other for _, other in pairs]),
                examples.labels,
                examples.groups,
                nowhere,
                nowhere,
                "auc",
            )
            for (probe, _), *values in zip(pairs, *found, strict=True):
                probe.metrics[name] |= dict(
                    zip((f"minus_{what}", f"minus_{what}_low", f"minus_{what}_high"), map(float, values), strict=True)
                )
    for probe in sweep.chosen:
        for scores_of_split in probe.metrics.values():
            scores_of_split["best_baseline"] = sweep.best


def baseline_logits(arguments, lag, task, splits, source, texts=None, remembered=None) -> dict:
    """{name: {split: logits}, or None where not computed}, each fitted on the sample of the first seed. texts, remembered:
    of all_sequence_baselines.
    """
    examples = task.first_sample
    if arguments.sequence_task:
        return all_sequence_baselines(examples, splits, texts, remembered)
    own = {name: table.own_logits[source.rows[name]] for name, table in source.tables.items() if name != "train"}
    own = own if lag == -1 and not any(np.isnan(values).any() for values in own.values()) else None
    return {**all_token_baselines(examples, splits, own), **({} if own else {"own probability": None})}


def share_in_training(arguments, task, kind, seed=0) -> float:
    """The share of positives, as they count in the loss, that the logits of a kind of probe (or a baseline) speak of; NaN
    for those whose logits have no scale. seed: its index.
    """
    if kind.startswith("mass_mean"):
        return 0.5 if kind == "mass_mean_tilted" else float("nan")  # the bias lies midway between the classes
    labels = task.labels["train"][0][task.in_sample[:, seed]]
    positives, negatives = int((labels == 1).sum()), int((labels == 0).sum())
    if kind in KINDS and arguments.class_balance == "weighted":
        positives *= min(negatives / positives, arguments.pos_weight_cap or np.inf)
    return positives / (positives + negatives)
