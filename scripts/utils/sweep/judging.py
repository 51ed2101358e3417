"""Score the fits of a sweep: choose on validation, judge once on test, compare with the baselines."""

from dataclasses import dataclass

import numpy as np

from utils.probes.kinds import trained_share
from utils.scores.baselines.compared import all_token_baselines, or_chance
from utils.scores.baselines.context import Surroundings
from utils.scores.baselines.texts import text_baselines
from utils.scores.controls import selectivity
from utils.scores.documents.layout import documents_of
from utils.scores.documents.scoring import DocumentScores, score_documents, why_not
from utils.scores.metrics import all_scores, at_threshold, scores
from utils.scores.ranking import auroc
from utils.scores.search.detectable import differences_and_shown
from utils.scores.search.nulls import Shift
from utils.scores.search.searched import null_of_examples, searched
from utils.scores.thresholds import choose_threshold, choose_thresholds
from utils.states.positions import Question
from utils.states.source import Source
from utils.sweep.fits import Fits, Fitting, Task
from utils.sweep.outcome import Probe, Sweep


def judge(fitting: Fitting, fits: Fits, task: Task, question: Question) -> list[Probe]:
    """Score every probe of one kind. The penalty is chosen by AUROC on validation; only what is chosen has intervals."""
    layers, seeds, _, penalties, _ = fits.logits["val"].shape
    grid = layers, seeds, penalties
    of_truth = {name: values[:, :, 0].reshape(-1, values.shape[-1]) for name, values in fits.logits.items()}
    thresholds = choose_thresholds(of_truth["val"], task.labels["val"][0])
    chosen = choose_penalties(of_truth["val"], task.labels["val"][0], grid)
    scorer = Scorer(fitting, fits, task, question.data.prevalence, thresholds, chosen)
    metrics = {name: scorer.scores(name, values, grid) for name, values in of_truth.items()}
    probes = []
    for index, (layer, seed, penalty) in enumerate(np.ndindex(*grid)):
        probe = Probe(
            fits.kind,
            fits.layers[layer],
            question.lag,
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
            of_control = {name: values[layer, seed, 1:, penalty] for name, values in fits.logits.items()}
            add_selectivity(probe, of_control, task, fits.seeds[seed])
        probes.append(probe)
    return probes


@dataclass(frozen=True)
class Scorer:
    """Scores all probes of one kind. thresholds, chosen: [probes], from validation."""

    fitting: Fitting
    fits: Fits
    task: Task
    prevalence: float
    thresholds: np.ndarray
    chosen: np.ndarray

    def scores(self, split: str, logits: np.ndarray, grid: tuple[int, int, int]) -> list[dict]:
        """Score one split: of train each seed's own sample. Only what is chosen has intervals.

        logits: [probes, n]; grid: how the probes lie in (layers, seeds, penalties).
        """
        examples, result = self.task.examples[split], [{}] * len(logits)
        seed_of = np.broadcast_to(np.asarray(self.fits.seeds)[None, :, None], grid).reshape(-1)
        for seed in np.unique(seed_of):
            kept = self.task.in_sample[:, seed] if split == "train" else slice(None)
            trained = share_in_training(self.fitting, self.task, self.fits.kind, seed)
            for intervals in (False, True):
                which = np.flatnonzero((seed_of == seed) & (self.chosen == intervals))
                if not len(which):
                    continue
                found = all_scores(
                    logits[which][:, kept],
                    examples.labels[kept],
                    examples.groups[kept],
                    self.thresholds[which],
                    self.prevalence,
                    intervals,
                    trained,
                )
                for index, scores_of_one in zip(which, found, strict=True):
                    result[index] = scores_of_one
        return result


def choose_penalties(logits: np.ndarray, labels: np.ndarray, grid: tuple[int, int, int]) -> np.ndarray:
    """Choose for each layer and seed the penalty with the best AUROC, of equal ones the largest: bool [probes]."""
    found = np.array([auroc(values, labels) for values in logits]).reshape(grid)
    best = np.nan_to_num(found, nan=-1.0).argmax(-1)
    return (np.arange(grid[-1]) == best[..., None]).reshape(-1)


def add_selectivity(probe: Probe, control_logits: dict[str, np.ndarray], task: Task, seed: int) -> None:
    """Add the probe's selectivity; probes on random labels have their own threshold from validation. seed: its index."""
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


def score_baselines(logits: dict, task: Task, question: Question) -> dict:
    """Score the baselines: {baseline: {split: scores}, or None where not computed}. Thresholds are from validation."""
    result, examples, prevalence = {}, task.first_sample, question.data.prevalence
    asked = float(np.mean(question.asked.labels == 1))
    for baseline, by_split in logits.items():
        if by_split is None or np.isnan(by_split["val"]).any():
            result[baseline] = None
            continue
        threshold = choose_threshold(by_split["val"], examples["val"].labels)
        trained = prevalence if baseline == "own probability" else asked
        result[baseline] = {
            name: scores(values, examples[name].labels, examples[name].groups, threshold, prevalence, trained)
            for name, values in by_split.items()
        }
    return result


def compare_with_others(sweep: Sweep, baseline: dict) -> None:
    """Measure how much better each chosen probe ranks than the best baseline, and than its twin on random weights.

    The differences are paired. baseline: {split: logits [n]}.
    """
    twins = {(probe.kind, probe.layer, probe.seed): probe.logits for probe in sweep.random_weights if probe.chosen}
    for name in [name for name in sweep.task.examples if name != "train"]:
        examples = sweep.task.examples[name]
        others = {
            "baseline": [(probe, or_chance(baseline[name], examples.labels)) for probe in sweep.chosen],
            "random_weights": [
                (probe, or_chance(twins[probe.kind, probe.layer, probe.seed][name], examples.labels))
                for probe in sweep.chosen
                if (probe.kind, probe.layer, probe.seed) in twins
            ],
        }
        for what, pairs in others.items():
            if not pairs:
                continue
            ours, theirs = np.stack([probe.logits[name] for probe, _ in pairs]), np.stack([other for _, other in pairs])
            found = differences_and_shown(ours, theirs, examples.labels, examples.groups)
            columns = [f"minus_{what}{end}" for end in ("", "_low", "_high", "_detectable")]
            for (probe, _), *values in zip(pairs, *found, strict=True):
                probe.metrics[name] |= dict(zip(columns, map(float, values), strict=True))
    for probe in sweep.chosen:
        for scores_of_split in probe.metrics.values():
            scores_of_split["best_baseline"] = sweep.best


def account_for_search(sweep: Sweep) -> None:
    """Give each chosen probe the band that holds for all of them on test, and its permutation p-values there.

    Not on validation: there these probes were chosen. Other targets and lags are other sweeps, and not reckoned with.
    """
    if "test" not in sweep.task.examples:
        return
    examples, probes = sweep.task.examples["test"], sweep.chosen
    null = null_of_examples(examples, sweep.question.sequences["test"], sweep.of_sequences)
    logits, scored = np.stack([probe.logits["test"] for probe in probes]), [probe.metrics["test"] for probe in probes]
    found = searched(logits, examples.labels, examples.groups, scored, null)
    for probe, columns in zip(probes, found, strict=True):
        probe.metrics["test"] |= columns
    sweep.shifted = isinstance(null, Shift)


def baseline_logits(
    question: Question, source: Source, surroundings: Surroundings, texts: dict | None, remembered: dict
) -> dict:
    """Fit every baseline on what the question asks: {name: {split: logits}, or None where not computed}.

    Of train the sample of the first seed is scored. texts, remembered: see `text_baselines`.
    """
    asked, examples, splits = question.asked, question.first_sample, question.sequences
    if question.of_sequences:
        of_tokens = all_token_baselines(asked, examples, splits, surroundings)
        return {**of_tokens, **text_baselines(asked, examples, splits, texts, remembered)}
    own = {name: table.own_logits[source.rows[name]] for name, table in source.tables.items() if name != "train"}
    own = own if question.lag == -1 and not any(np.isnan(values).any() for values in own.values()) else None
    found = all_token_baselines(asked, examples, splits, surroundings, own)
    return {**found, **({} if own else {"own probability": None})}


def share_in_training(fitting: Fitting, task: Task, kind: str, seed: int = 0) -> float:
    """Compute the share of positives, as they count in the loss, that the logits of a probe assume.

    NaN for kinds whose logits have no scale. seed: its index.
    """
    labels = task.labels["train"][0][task.in_sample[:, seed]]
    positives, negatives = int((labels == 1).sum()), int((labels == 0).sum())
    return trained_share(kind, positives, negatives, fitting.class_balance == "weighted", fitting.pos_weight_cap)


def score_sweep(sweep: Sweep, token_baselines: dict) -> DocumentScores | None:
    """Score documents by the probes of a sweep; None where that has no meaning.

    The labels must cover all tokens of a span task, and validation and test must hold documents of both classes (else the
    reason is printed). token_baselines: {name: {split: logits}}.
    """
    splits = sweep.question.sequences
    if (splits["train"].task, splits["train"].label_rule) != ("spans", "tokens") or "test" not in splits:
        return None
    documents = {"train": documents_of(splits["train"])}
    for split in ("val", "test"):
        examples = sweep.task.examples[split]
        documents[split] = documents_of(splits[split], examples.sequence, examples.position)
    reason = why_not(documents)
    if reason:
        print(f"no scores of documents for {sweep.target!r} at lag {sweep.lag}: {reason}", flush=True)
        return None
    probes = [{"probe": probe.kind, "layer_idx": probe.layer, "seed": probe.seed} for probe in sweep.chosen]
    logits = {split: np.stack([probe.logits[split] for probe in sweep.chosen]) for split in ("val", "test")}
    return score_documents(documents, logits, probes, sweep.target, sweep.lag, token_baselines)
