"""All probes of one question: fitted together, chosen on validation, scored beside what they must beat."""

import time

import numpy as np

from utils.base.errors import UserError
from utils.base.progress import Progress
from utils.scores.baselines import best_baseline
from utils.scores.controls import control_labels, shuffled_labels
from utils.sweep.fits import Task, fit
from utils.sweep.judging import compare, judge, score_baselines
from utils.sweep.outcome import Sweep


def make_task(arguments, examples, in_sample) -> Task:
    labels = {name: found.labels[None] for name, found in examples.items()}
    if arguments.control and arguments.sequence_task:
        drawn = shuffled_labels({name: found.labels for name, found in examples.items()}, arguments.control)
    elif arguments.control:  # matched to the first seed's sample, whatever other seeds there are
        first = examples["train"][in_sample[:, 0]]
        everywhere = {f"all of {name}": found.tokens for name, found in examples.items()}
        drawn = control_labels({"train": first.tokens, **everywhere}, first.labels, arguments.control)
        drawn = {name: drawn[f"all of {name}"] for name in examples}
    if arguments.control:
        labels = {name: np.concatenate([labels[name], drawn[name]]) for name in labels}
        for seed, sample in zip(arguments.seeds, in_sample.T, strict=True):
            if any(len(set(column[sample].tolist())) < 2 for column in drawn["train"]):
                raise UserError(
                    f"--control: the {int(sample.sum())} training examples of seed {seed} hold random labels of "
                    "one class only; train on more of them, or leave --control out"
                )
    return Task(examples, labels, in_sample, arguments.seeds)


def answer(arguments, question, task, source, random_source, beside, metadata, start_runs, device, seconds) -> Sweep:
    """Fit every kind to one question and score it. beside: logits of the baselines, {name: {split: logits}}, or None where
    not computed; start_runs(kind): what logs.
    """
    began = time.monotonic()
    target, prevalence, lag = metadata["targets"][0]["name"], metadata["prevalence"], question.lag
    layers, several = source.tables["train"].layers, metadata["of_several"]
    chosen_by = "auc" if metadata.get("task", "token") != "token" else "balanced_accuracy"  # few positives: no threshold
    probes, random_probes, logged = [], [], []
    for kind in arguments.kinds:
        runs = start_runs(kind)
        with Progress(f"train {kind}", "epoch", arguments.epochs * len(arguments.seeds)) as progress:

            def on_epoch(seed, epoch, scores, runs=runs, progress=progress):
                truth = [by_column[0] for by_column in scores]
                best = max(score["val_balanced_accuracy"] for score in truth)
                progress.update(1, f"best validation balanced accuracy {best:.3f}")
                runs.log(seed, epoch, truth)

            fits = fit(kind, arguments, task, source, layers, on_epoch, device)
        probes += judge(arguments, fits, task, lag, prevalence)
        logged.append((runs, kind))
        if random_source is not None:
            twins = fit(kind, arguments, task.truth_only(), random_source, layers, lambda *_: None, device)
            random_probes += judge(arguments, twins, task, lag, prevalence)
    baselines = score_baselines(arguments, beside, task, prevalence)
    best = best_baseline({name: found["val"]["auc"] for name, found in baselines.items() if found})
    sweep = Sweep(
        question,
        target,
        several,
        chosen_by,
        prevalence,
        layers,
        probes,
        baselines,
        best,
        task,
        arguments.sequence_task,
        random_probes,
    )
    compare(sweep, beside[best])
    for runs, kind in logged:
        runs.finish([probe for probe in sweep.chosen if probe.kind == kind])
    seconds["train"] = seconds.get("train", 0.0) + time.monotonic() - began
    return sweep
