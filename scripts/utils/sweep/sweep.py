"""Answer one question: fit all probes together, choose on validation, compare with the baselines."""

from collections.abc import Callable, Sequence

import numpy as np

from utils.base.errors import UserError
from utils.base.progress import Progress
from utils.scores.baselines.compared import best_baseline
from utils.scores.controls import control_labels, shuffled_labels
from utils.scores.search.choice import score_to_choose_by
from utils.states.positions import Question
from utils.states.source import Source
from utils.sweep.fits import Fits, Fitting, Task, fit
from utils.sweep.judging import account_for_search, compare_with_others, judge, score_baselines
from utils.sweep.outcome import Sweep
from utils.sweep.tracked_runs import Runs


def make_task(question: Question, fitting: Fitting) -> Task:
    """Put the labels of a question together: the truth, and the control labels where they are asked for."""
    labels = {name: found.labels[None] for name, found in question.examples.items()}
    if fitting.control:
        drawn = draw_control(question, fitting)
        labels = {name: np.concatenate([labels[name], drawn[name]]) for name in labels}
    return Task(question.examples, labels, question.in_sample, fitting.seeds)


def draw_control(question: Question, fitting: Fitting) -> dict[str, np.ndarray]:
    """Draw control labels: {split: int8 [draws, n]}. Raise UserError where a seed's sample holds one class only."""
    examples = question.examples
    if question.of_sequences:
        drawn = shuffled_labels({name: found.labels for name, found in examples.items()}, fitting.control)
    else:  # matched to the first seed's sample, whatever other seeds there are
        first = question.first_sample["train"]
        everywhere = {f"all of {name}": found.tokens for name, found in examples.items()}
        of_all = control_labels({"train": first.tokens, **everywhere}, first.labels, fitting.control)
        drawn = {name: of_all[f"all of {name}"] for name in examples}
    for seed, sample in zip(fitting.seeds, question.in_sample.T, strict=True):
        if any(len(set(column[sample].tolist())) < 2 for column in drawn["train"]):
            raise UserError(
                f"--control: the {int(sample.sum())} training examples of seed {seed} hold random labels of "
                "one class only; train on more of them, or leave --control out"
            )
    return drawn


def answer(
    question: Question,
    source: Source,
    random_source: Source | None,
    fitting: Fitting,
    baselines: dict,
    start_runs: Callable[[str], Runs],
    device: str = "cpu",
) -> Sweep:
    """Fit every kind of probe to one question, and score it.

    random_source: the same states of the model with random weights; baselines: logits, {name: {split: logits}, or None
    where not computed}; start_runs(kind): what logs the fits of a kind.
    """
    task = make_task(question, fitting)
    probes, random_probes, logged = [], [], {}
    for kind in fitting.kinds:
        logged[kind] = start_runs(kind)
        probes += judge(fitting, fit_and_log(kind, fitting, task, source, logged[kind], device), task, question)
        if random_source is not None:
            twins = fit(kind, fitting, task.truth_only(), random_source, lambda *_: None, device)
            random_probes += judge(fitting, twins, task, question)
    scores = score_baselines(baselines, task, question)
    best = best_baseline({name: found["val"]["auc"] for name, found in scores.items() if found})
    sweep = Sweep(
        question=question,
        chosen_by=score_to_choose_by(question.data.task),
        layers=source.layers,
        probes=probes,
        baselines=scores,
        best=best,
        task=task,
        random_weights=random_probes,
        best_logits=baselines[best],
    )
    compare_with_others(sweep, baselines[best])
    account_for_search(sweep)
    for kind, runs in logged.items():
        runs.finish([probe for probe in sweep.chosen if probe.kind == kind])
    return sweep


def fit_and_log(kind: str, fitting: Fitting, task: Task, source: Source, runs: Runs, device: str) -> Fits:
    """Fit one kind of probe; show its progress, and log its epochs."""
    with Progress(f"train {kind}", "epoch", fitting.epochs * len(fitting.seeds)) as progress:

        def on_epoch(seed: int, epoch: int, scores: Sequence) -> None:
            truth = [by_column[0] for by_column in scores]
            best = max(score["val_balanced_accuracy"] for score in truth)
            progress.update(1, f"best validation balanced accuracy {best:.3f}")
            runs.log(seed, epoch, truth)

        return fit(kind, fitting, task, source, on_epoch, device)
