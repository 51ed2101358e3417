"""All probes of one question: fitted together, chosen on validation, scored beside what they must beat."""

import time
from dataclasses import dataclass, field

import numpy as np

from utils.base.errors import UserError
from utils.base.progress import Progress
from utils.probes.kinds import KINDS
from utils.scores.baselines import all_sequence_baselines, all_token_baselines, best_baseline, suspicious
from utils.scores.controls import control_labels, selectivity, shuffled_labels
from utils.scores.differences import paired_differences
from utils.scores.metrics import all_scores, at_threshold, auroc, scores
from utils.scores.thresholds import choose_threshold, choose_thresholds
from utils.states.positions import Question, lag_name
from utils.states.sites import ATTENTION_LAYER, layer_name
from utils.sweep.fits import Fits, Task, fit


@dataclass
class Probe:
    """One probe and what is known of it. metrics by split; chosen: its penalty is the best on validation, and only then are
    kept logits (of val and test) and tensors, what is saved; notes: epoch, or gradient and convergence.
    """

    kind: str
    layer: object
    lag: int
    seed: int
    l2: float | None
    threshold: float
    logits: dict
    metrics: dict
    chosen: bool
    tensors: dict | None = None
    notes: dict = field(default_factory=dict)


@dataclass
class Sweep:
    """What one question gave. of_several: whether the data have other targets; chosen_by: the score on validation by which
    layers and kinds are chosen; baselines: {name: {split: scores}, or None where not computed}; best: the name of the one
    that probes are compared with, chosen on validation; random_weights: probes of the model with random weights;
    documents: the DocumentScores, where tokens give scores of documents.
    """

    question: Question
    target: str
    of_several: bool
    chosen_by: str
    prevalence: float
    layers: list
    probes: list[Probe]
    baselines: dict
    best: str
    task: Task
    of_sequences: bool
    random_weights: list[Probe] = field(default_factory=list)
    documents: object = None

    @property
    def lag(self) -> int:
        return self.question.lag

    @property
    def chosen(self) -> list[Probe]:
        return [probe for probe in self.probes if probe.chosen]

    @property
    def shown(self) -> list[Probe]:
        """Every layer's probe where there is one kind (of the first seed), else the best layer of each kind."""
        first = [probe for probe in self.chosen if probe.seed == self.task.seeds[0]]
        kinds = {probe.kind: [other for other in first if other.kind == probe.kind] for probe in first}
        return first if len(kinds) == 1 else [max(probes, key=self.on_validation) for probes in kinds.values()]

    @property
    def warnings(self) -> list[str]:
        """Baselines that do worse than guessing, for the split is not independent then; fits that are no minimum."""
        found = [warning for name, by_split in self.baselines.items() if by_split for split in ("val", "test")
                 if split in by_split and (warning := suspicious(f"{name} on {split}", by_split[split]["auc"],
                                                                       by_split[split]["auc_high"]))]
        for kind in dict.fromkeys(probe.kind for probe in self.probes):
            for problem, why in (("separable", "have no minimum, for without a penalty their classes can be parted"),
                                 ("unsolved", "did not reach the tolerance of their gradient; see probe_metrics.csv")):
                count = sum(probe.kind == kind and is_so(probe.notes, problem) for probe in self.probes)
                if count:
                    found.append(f"warning: {count} of {sum(probe.kind == kind for probe in self.probes)} {kind} fits {why}")
        return found

    @property
    def winner(self) -> Probe:
        """The chosen probe with the best score on validation; of equal ones the first."""
        return max(self.chosen, key=self.on_validation)

    def on_validation(self, probe) -> float:
        score = probe.metrics["val"][self.chosen_by]
        return -np.inf if np.isnan(score) else score

    @property
    def others(self) -> list[Probe]:
        """The winner's like of other seeds."""
        best = self.winner
        return [probe for probe in self.chosen if (probe.kind, probe.layer) == (best.kind, best.layer) and probe is not best]


def is_so(notes, problem) -> bool:
    separable = notes.get("separable", False)
    return separable if problem == "separable" else not (separable or notes.get("converged", True))


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
                raise UserError(f"--control: the {int(sample.sum())} training examples of seed {seed} hold random labels of "
                                "one class only; train on more of them, or leave --control out")
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
    sweep = Sweep(question, target, several, chosen_by, prevalence, layers, probes, baselines, best, task,
                  arguments.sequence_task, random_probes)
    compare(sweep, beside[best])
    for runs, kind in logged:
        runs.finish([probe for probe in sweep.chosen if probe.kind == kind])
    seconds["train"] = seconds.get("train", 0.0) + time.monotonic() - began
    return sweep


def judge(arguments, fits: Fits, task, lag, prevalence) -> list[Probe]:
    """Every probe's scores; the penalty is chosen by AUROC on validation, and only what is chosen has intervals."""
    layers, seeds, _, penalties, _ = fits.logits["val"].shape
    grid = layers, seeds, penalties
    of_truth = {name: values[:, :, 0].reshape(-1, values.shape[-1]) for name, values in fits.logits.items()}
    thresholds = choose_thresholds(of_truth["val"], task.labels["val"][0])
    chosen = choose_penalties(of_truth["val"], task.labels["val"][0], grid)
    metrics = {name: scored(arguments, fits, values, task, name, grid, thresholds, chosen, prevalence)
               for name, values in of_truth.items()}
    probes = []
    for index, (layer, seed, penalty) in enumerate(np.ndindex(*grid)):
        probe = Probe(fits.kind, fits.layers[layer], lag, task.seeds[fits.seeds[seed]], fits.penalties[penalty],
                      float(thresholds[index]), {}, {name: found[index] for name, found in metrics.items()},
                      bool(chosen[index]), notes=fits.notes(layer, seed, penalty))
        if probe.chosen:
            probe.tensors = fits.tensors(layer, seed, penalty)
            probe.logits = {name: values[index] for name, values in of_truth.items() if name != "train"}
            add_selectivity(probe, {name: values[layer, seed, 1:, penalty] for name, values in fits.logits.items()}, task,
                            fits.seeds[seed])
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
            found = all_scores(logits[which][:, kept], examples.labels[kept], examples.groups[kept], thresholds[which],
                               prevalence, intervals, trained) if len(which) else []
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
        found = [at_threshold(logits[kept], labels[kept], threshold)["balanced_accuracy"]
                 for logits, labels, threshold in zip(values, task.labels[name][1:], thresholds, strict=True)]
        probe.metrics[name] |= {"control": float(np.mean(found)),
                                "selectivity": selectivity(probe.metrics[name]["balanced_accuracy"], found)}


def score_baselines(arguments, logits, task, prevalence) -> dict:
    """{baseline: {split: scores}, or None where not computed}; each with its threshold from validation."""
    result, examples = {}, task.first_sample
    for baseline, by_split in logits.items():
        if by_split is None or np.isnan(by_split["val"]).any():
            result[baseline] = None
            continue
        threshold = choose_threshold(by_split["val"], examples["val"].labels)
        trained = prevalence if baseline == "own probability" else share_in_training(arguments, task, baseline)
        result[baseline] = {name: scores(values, examples[name].labels, examples[name].groups, threshold, prevalence,
                                         trained) for name, values in by_split.items()}
    return result


def compare(sweep, baseline):
    """How much better each chosen probe ranks than the best baseline, and than its twin on random weights: paired."""
    twins = {(probe.kind, probe.layer, probe.seed): probe.logits for probe in sweep.random_weights if probe.chosen}
    for name in [name for name in sweep.task.examples if name != "train"]:
        examples = sweep.task.examples[name]
        others = {"baseline": [(probe, baseline[name]) for probe in sweep.chosen],
                  "random_weights": [(probe, twins[probe.kind, probe.layer, probe.seed][name]) for probe in sweep.chosen
                                     if (probe.kind, probe.layer, probe.seed) in twins]}
        for what, pairs in others.items():
            if not pairs:
                continue
            nowhere = np.zeros(len(pairs))
            found = paired_differences(np.stack([probe.logits[name] for probe, _ in pairs]),
                                       np.stack([other for _, other in pairs]), examples.labels, examples.groups,
                                       nowhere, nowhere, "auc")
            for (probe, _), *values in zip(pairs, *found, strict=True):
                probe.metrics[name] |= dict(zip((f"minus_{what}", f"minus_{what}_low", f"minus_{what}_high"),
                                                map(float, values), strict=True))
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


def table_layer(layer) -> str:
    return ATTENTION_LAYER if layer == ATTENTION_LAYER else layer_name(layer)


def run_name(kind, layer, lag, seed, target=None) -> str:
    """layer5_next, and what sets it apart where that is not the usual; target: where there are several"""
    apart = ([target] if target else []) + ([] if kind == "linear" else [kind]) + ([f"seed{seed}"] if seed else [])
    return "_".join([table_layer(layer), lag_name(lag), *apart])
