"""Score saved probes on other data: one pass of the model, then every probe's logits and scores on every target."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from utils.base.errors import UserError
from utils.data.sequences import Sequences, is_sequence_task, load_sequences, per_target
from utils.model.language_model import LanguageModel
from utils.probes.kinds import any_reads
from utils.saved.saved_probes import SavedProbe, logits_of
from utils.scores.average_precision import average_precisions
from utils.scores.calibration import checked_prevalence
from utils.scores.metrics import all_scores
from utils.scores.rows import divide
from utils.scores.search.searched import null_of_examples, searched
from utils.scores.thresholds import fitted_thresholds
from utils.states.extraction import Reading, drop_non_finite, run_pass
from utils.states.positions import Examples, Question, examples_at
from utils.states.sites import ATTENTION, sort_layers


@dataclass(frozen=True)
class Dataset:
    """One file of sequences. targets: of each target that is asked for the same windows, with its labels alone."""

    path: str
    targets: list[Sequences]

    @property
    def metadata(self) -> dict:
        return self.targets[0].metadata


@dataclass(frozen=True)
class Asked:
    """One question to the probes of one lag and reading, about one target.

    question  its examples are labelled tokens with a state at the lag, in documents that some of the probes may be scored on
    seen      bool [probes, documents of the preparation]: trained on or chosen by
    known     bool [probes]: whether anybody can tell
    scored    bool [probes, documents]
    """

    dataset: Dataset
    question: Question
    probes: list[SavedProbe]
    seen: np.ndarray
    known: np.ndarray
    scored: np.ndarray

    @property
    def sequences(self) -> Sequences:
        return self.question.sequences[self.dataset.path]

    @property
    def examples(self) -> Examples:
        return self.question.examples[self.dataset.path]

    @property
    def target(self) -> str:
        return self.question.name

    @property
    def labelled(self) -> np.ndarray:
        """Give the document of each labelled token, whether it has a state or not."""
        return self.sequences.documents[self.sequences.labelled()[0]]

    def scored_in(self, examples: Examples) -> np.ndarray:
        """Mark the examples that each probe is scored on: bool [probes, n]."""
        return self.scored[:, self.sequences.documents[examples.sequence]]


@dataclass(frozen=True)
class Answer:
    """The probes' answer, before anything is made of it (scores of tokens by `scores_of`; scores of documents would start
    here too): logits float32 [probes, n] on the examples, which are those of `asked` whose states are finite. used: bool
    [probes, n], which of them each probe is scored on.
    """

    asked: Asked
    examples: Examples
    logits: np.ndarray

    @property
    def used(self) -> np.ndarray:
        return self.asked.scored_in(self.examples)

    def counts(self) -> list[dict]:
        """Count per probe: labelled tokens that are no examples, as they have no token at the lag (n_no_state), or a state
        that overflowed (n_not_finite); documents that it was trained on or chosen by (None: nobody can tell).
        """
        asked, labelled = self.asked, np.unique(self.asked.labelled)
        there = asked.scored_in(asked.examples).sum(1)
        no_state, not_finite = asked.scored[:, asked.labelled].sum(1) - there, there - self.used.sum(1)
        left_out, kept = ((asked.seen & part)[:, labelled].sum(1) for part in (~asked.scored, asked.scored))
        return [
            {
                "n_no_state": int(no_state[index]),
                "n_not_finite": int(not_finite[index]),
                "n_seen_left_out": int(left_out[index]) if known else None,
                "n_seen_kept": int(kept[index]) if known else None,
            }
            for index, known in enumerate(asked.known)
        ]


def load_datasets(paths: Iterable[str], wanted: Sequence[str] | None = None) -> list[Dataset]:
    """Read each file with those of its targets that are wanted (None: all). Raises UserError where one has none of them."""
    datasets = []
    for path in dict.fromkeys(paths):
        sequences = load_sequences(path)
        names = sequences.target_names
        targets = [found for found, name in zip(per_target(sequences), names, strict=True) if not wanted or name in wanted]
        if not targets:
            raise UserError(
                f"--targets {','.join(wanted or ())}: {path} has none of them, it has {', '.join(map(repr, names))}"
            )
        datasets.append(Dataset(str(path), targets))
    for name in wanted or ():
        if not any(name == found.target_name for dataset in datasets for found in dataset.targets):
            raise UserError(f"--targets {name!r} is in none of the data; leave it out")
    return datasets


def require_lags(datasets: Sequence[Dataset], probes: Sequence[SavedProbe]) -> None:
    """Raise UserError where no labelled token of a dataset has a state at the lag of a probe."""
    for dataset in datasets:
        for lag in sorted({probe.lag for probe in probes}):
            if not any(len(examples_at(sequences, lag)) for sequences in dataset.targets):
                file = next(probe.file for probe in probes if probe.lag == lag)
                raise UserError(
                    f"lag {lag} of {file}: no labelled token of {dataset.path} has a token that far from it in "
                    "its window; leave these probes out with --lag, or prepare the data with --positions all"
                )


def by_reading(probes: Sequence[SavedProbe]) -> dict[tuple[str, int], list[SavedProbe]]:
    """Group the probes by (pool, attention segments): those of one entry are read by one pass.

    Probes on states join one that reads attention rows with the same pool, if there is one.
    """
    readings = sorted({probe.reading for probe in probes})
    with_attention = {pool: segments for pool, segments in reversed(readings) if segments}
    found = defaultdict(list)
    for probe in probes:
        pool, segments = probe.reading
        found[pool, segments or with_attention.get(pool, 0)].append(probe)
    return dict(found)


def answers(
    reading: Reading, language_model: LanguageModel, dataset: Dataset, probes: Sequence[SavedProbe], keep_seen: bool
) -> Iterator[Answer]:
    """Ask the probes of one dataset: one pass for each way of reading (pool, attention segments), mostly one in all.

    reading: how the pass is run; what is read follows from the probes. keep_seen: also score what a probe was trained on.
    """
    for (pool, segments), group in by_reading(probes).items():
        asked = [
            ask(dataset, target, lag, [probe for probe in group if probe.lag == lag], keep_seen)
            for target in range(len(dataset.targets))
            for lag in sorted({probe.lag for probe in group})
        ]
        if not any(len(one.examples) for one in asked):
            yield from (Answer(one, one.examples, np.empty((len(one.probes), 0), dtype=np.float32)) for one in asked)
            continue
        layers = {probe.layer for probe in group} - {ATTENTION}
        how = replace(
            reading,
            layers=tuple(sort_layers(layers or {0}, language_model.anatomy)),
            pool=pool,
            whole=any_reads({probe.kind for probe in group}, "sequences"),
            segments=segments,
            attention=segments > 0,
        )
        yield from answer_all(how, language_model, asked)


def answer_all(reading: Reading, language_model: LanguageModel, asked: Sequence[Asked]) -> Iterator[Answer]:
    """Run the pass, and give what the probes say on the examples whose states are finite."""
    questions = [one.question for one in asked]
    states = run_pass(reading, language_model, questions, own_probability=False)
    questions = drop_non_finite(states, language_model, questions)
    for one, question in zip(asked, questions, strict=True):
        path = one.dataset.path
        found, logits = question.examples[path], np.empty((len(one.probes), 0), dtype=np.float32)
        if len(found):
            logits = logits_of(one.probes, states.source(question), path)
        yield Answer(one, found, logits)


def ask(dataset: Dataset, target: int, lag: int, probes: list[SavedProbe], keep_seen: bool) -> Asked:
    """Find the examples of one target at one lag, and which of them each probe may be scored on."""
    sequences = dataset.targets[target]
    alike: dict[tuple, np.ndarray | None] = {}  # of probes that share their texts
    keys = [(id(probe.seen_hashes), probe.dataset_fingerprint) for probe in probes]
    for key, probe in zip(keys, probes, strict=True):
        if key not in alike:
            alike[key] = probe.has_seen(sequences)
    found = [alike[key] for key in keys]
    nothing = np.zeros(len(sequences.document_names), dtype=bool)
    seen = np.stack([nothing if those is None else those for those in found])
    scored = np.ones_like(seen) if keep_seen else ~seen
    examples = examples_at(sequences, lag)
    examples = examples[np.any(scored, axis=0)[sequences.documents[examples.sequence]]]
    question = Question(target, lag, {dataset.path: sequences}, {dataset.path: examples})
    known = np.array([those is not None for those in found])
    return Asked(dataset, question, probes, seen, known, scored)


def scores_of(answer: Answer) -> list[dict]:
    """Score each probe on the examples that it may be scored on: `metrics.scores`, average precision with its interval,
    in the sample and at the natural prevalence, precision and accuracy there, what a false positive rate of 1 % gives, and
    how it stands among the probes that are scored with it.
    """
    probes, used, alike, result = answer.asked.probes, answer.used, defaultdict(list), {}
    for index, probe in enumerate(probes):
        alike[used[index].tobytes(), str(probe.trained_share)].append(index)
    prevalence = checked_prevalence(answer.asked.sequences.prevalence, "prevalence")
    for which in alike.values():
        kept = used[which[0]]
        found = score(
            answer.logits[which][:, kept],
            answer.examples.labels[kept],
            answer.examples.groups[kept],
            [probes[index].threshold for index in which],
            prevalence,
            probes[which[0]].trained_share,
        )
        result |= zip(which, found, strict=True)
    return [
        result[index] | together | counted
        for index, (together, counted) in enumerate(zip(scored_together(answer, result), answer.counts(), strict=True))
    ]


def scored_together(answer: Answer, scored: Mapping[int, Mapping]) -> list[dict]:
    """Account for the probes that are scored on the same examples being many: the band and p-values of each.

    Not for a probe that has seen some of them: its logits follow from these labels. scored: of each probe, by its index.
    """
    used, sequences, alike = answer.used, answer.asked.sequences, defaultdict(list)
    result: list[dict] = [{} for _ in used]
    fresh = np.array([not counted["n_seen_kept"] for counted in answer.counts()])
    for index in np.flatnonzero(used.any(1) & fresh).tolist():
        alike[used[index].tobytes()].append(index)
    for which in alike.values():
        kept, scores = used[which[0]], [scored[index] for index in which]
        examples = answer.examples[kept]
        null = null_of_examples(examples, sequences, is_sequence_task(sequences))
        found = searched(answer.logits[which][:, kept], examples.labels, examples.groups, scores, null)
        for index, columns in zip(which, found, strict=True):
            result[index] = columns | {"probes_together": len(which)}
    return result


def score(
    logits: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    thresholds: Sequence[float],
    prevalence: float,
    trained_share: float,
) -> list[dict]:
    """Score the logits of probes that speak of one share of positives.

    logits [probes, n], labels and groups [n], thresholds [probes]; prevalence: NaN where it is not known."""
    if not len(labels):
        return [{"n": 0, "groups": 0, "prevalence": prevalence, "threshold": float(threshold)} for threshold in thresholds]
    result = all_scores(logits, labels, groups, thresholds, prevalence, trained_prevalence=trained_share)
    names = {"auprc": None} | ({} if np.isnan(prevalence) else {"auprc_at_prevalence": prevalence})
    ranked = average_precisions(logits, labels, groups, tuple(names.values()))
    fitted, fpr = fitted_thresholds(logits, labels)
    for index, scores in enumerate(result):
        for name, values in zip(names, ranked[index].tolist(), strict=True):
            scores |= dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))
        scores |= {
            "prevalence": prevalence,
            "threshold_at_1_fpr_fitted_here": float(fitted[index]),
            "acc_at_prevalence": prevalence * scores["recall"] + (1 - prevalence) * scores["neg_accuracy"],
            "precision_at_prevalence": precision(scores["recall"], 1 - scores["neg_accuracy"], prevalence),
            "precision_at_1_fpr_fitted_here": precision(scores["tpr_at_1_fpr"], float(fpr[index]), prevalence),
        }
    return result


def precision(tpr: float, fpr: float, prevalence: float) -> float:
    """Compute the precision where `prevalence` of all are; NaN where nothing is."""
    return float(divide(prevalence * tpr, prevalence * tpr + (1 - prevalence) * fpr))
