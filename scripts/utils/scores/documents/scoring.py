"""Score documents by every probe and aggregate, and by the baselines; all that is chosen is chosen on validation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from utils.scores.baselines.compared import best_baseline, or_chance, suspicious
from utils.scores.calibration import calibration
from utils.scores.documents.aggregates import AGGREGATES, aggregated
from utils.scores.documents.baselines import TOKEN_BASELINES, document_baselines
from utils.scores.documents.buckets import ALL, bucketed
from utils.scores.documents.layout import Documents
from utils.scores.documents.platt import platt
from utils.scores.metrics import all_scores
from utils.scores.rows import probe_chunks
from utils.scores.search.detectable import differences_and_shown
from utils.scores.search.nulls import Exchange
from utils.scores.search.searched import SEARCH, searched
from utils.scores.thresholds import choose_thresholds

SCORED = ("val", "test")
NAME = {"probe": "", "baseline": "", "layer_idx": "", "seed": "", "aggregate": ""}  # of what gave a score
DOCUMENT_KEY = ("target", "lag", *NAME, "bucket", "split")
JUDGED = (
    "auc",
    "auc_low",
    "auc_high",
    "auprc",
    "fpr_at_95_tpr",
    "tpr_at_1_fpr",
    "balanced_accuracy",
    "balanced_accuracy_low",
    "balanced_accuracy_high",
    "threshold",
)
CALIBRATED = ("brier", "ece", "platt_slope", "platt_intercept")
MINUS_BASELINE = ("minus_baseline", "minus_baseline_low", "minus_baseline_high", "minus_baseline_detectable")
DOCUMENT_COLUMNS = (
    *DOCUMENT_KEY,
    "chosen",
    *JUDGED,
    "n",
    "pos_ratio",
    "groups",
    *SEARCH,
    *CALIBRATED,
    "optimism",
    "best_baseline",
    *MINUS_BASELINE,
)


@dataclass
class Chosen:
    """What validation chose of some candidates: a probe and its aggregate, or a baseline's aggregate.

    name: as NAME, aggregate "" where a document has one score as it is; index: which candidate; values: {split: float64
    [d]}; platt: (slope, intercept), from validation; scores: {split: {bucket: as in the rows}}.
    """

    name: dict
    index: int
    values: dict
    threshold: float
    platt: tuple[float, float]
    scores: dict

    @property
    def aurocs(self) -> tuple[float, float]:
        """Give AUROC on validation, where the choice was made, and on test: their difference is the optimism of choosing."""
        return tuple(self.scores[split][ALL]["auc"] for split in SCORED)


@dataclass
class DocumentScores:
    """The scores of one target at one lag.

    rows: of results/document_scores.csv, see DOCUMENT_COLUMNS
    winner: the probe and aggregate that validation chose
    baselines: {name: Chosen, or None where not computed}
    best: the name of the baseline that the winner is compared with, "" without any
    """

    rows: list[dict]
    winner: Chosen
    baselines: dict
    best: str

    @property
    def warnings(self) -> list[str]:
        """Warn of baselines that rank documents the wrong way round."""
        return [
            warning
            for name, found in self.baselines.items()
            if found
            for split in SCORED
            if (
                warning := suspicious(
                    f"{name} of documents on {split}", found.scores[split][ALL]["auc"], found.scores[split][ALL]["auc_high"]
                )
            )
        ]


def why_not(documents: Mapping[str, Documents]) -> str | None:
    """Say why {split: Documents} can have no meaningful score; None where they can."""
    for split, purpose in (("val", "choose by"), ("test", "judge by")):
        n, positives = len(documents[split]), int(documents[split].labels.sum())
        if positives in (0, n):
            return f"{split} has {n} documents, {positives} of them positive: nothing to {purpose}"
    return None


def score_documents(
    documents: Mapping[str, Documents],
    logits: Mapping[str, np.ndarray],
    probes: Sequence[Mapping[str, Any]],
    target: str,
    lag: int,
    token_baselines: Mapping[str, Mapping[str, np.ndarray] | None] | None = None,
) -> DocumentScores:
    """Score documents by all aggregates of all probes and of the baselines; validation chooses one of each.

    documents: {"val" and "test": Documents, at least one in each; "train" for the baselines that are fitted}
    logits: {split: [probes, n]}, finite; columns as `documents_of` was given them
    probes: [{"probe", "layer_idx", "seed"}], one for each row of the logits
    token_baselines: {name: {split: logits [n]}, or None where not computed}; those in TOKEN_BASELINES are used

    All are scored, on test as parts of a search; only what is chosen has buckets and calibration. Of equally good ones the
    earlier probe is chosen, then the earlier aggregate. A class that is absent leaves NaN; see `why_not`.
    """
    scored = {split: documents[split] for split in SCORED}
    judge = partial(judged, documents=scored, buckets=bucketed(scored))
    winner, others = choose_candidate(probes, logits, scored, judge, search=True)
    baselines = {}
    for name in TOKEN_BASELINES:
        by_split = (token_baselines or {}).get(name)
        if by_split is None or not all(np.isfinite(by_split[split]).all() for split in SCORED):
            baselines[name] = None
            continue
        rows = {split: np.asarray(by_split[split])[None] for split in SCORED}
        baselines[name], more = choose_candidate([{"baseline": name}], rows, scored, judge)
        others += more
    for name, values in document_baselines(documents).items():
        baselines[name] = None if values is None else judge(NAME | {"baseline": name}, 0, values)
    there = {name: found for name, found in baselines.items() if found}
    best = best_baseline({name: found.aurocs[0] for name, found in there.items()}) if there else ""
    if best:
        compare_with_baseline(winner, there[best], best, scored, judge.keywords["buckets"])
    rows = [row for one in (winner, *there.values()) for row in rows_of(one)] + others
    return DocumentScores([{"target": target, "lag": lag} | row for row in rows], winner, baselines, best)


def choose_candidate(
    names: Sequence[Mapping[str, Any]],
    logits: Mapping[str, np.ndarray],
    documents: Mapping[str, Documents],
    judge: Callable[..., Chosen],
    search: bool = False,
) -> tuple[Chosen, list[dict]]:
    """Choose the candidate and aggregate of the greatest AUROC on validation; return it and the rows of all the others.

    search: account on test for the choice among all of them.
    """
    aurocs, rows, tested = [], [], []
    for start, stop in probe_chunks(len(names), len(AGGREGATES) * max(map(len, documents.values()))):
        values = {
            split: aggregated(logits[split][start:stop], those).reshape(-1, len(those)) for split, those in documents.items()
        }
        thresholds = choose_thresholds(zero_unless_finite(values["val"])[0], documents["val"].labels)
        found = {
            split: table_scores(values[split], those.labels, those.groups, thresholds, search and split == "test")
            for split, those in documents.items()
        }
        if search:
            tested.append(values["test"])
        aurocs += [scores["auc"] for scores in found["val"]]
        rows += [
            [
                NAME
                | dict(name)
                | {"aggregate": aggregate, "bucket": ALL, "split": split, "chosen": 0}
                | found[split][index * len(AGGREGATES) + column]
                for split in documents
            ]
            for index, name in enumerate(names[start:stop])
            for column, aggregate in enumerate(AGGREGATES)
        ]
    best = int(np.nan_to_num(aurocs, nan=-1.0).argmax())
    candidate, aggregate = best // len(AGGREGATES), list(AGGREGATES)[best % len(AGGREGATES)]
    values = {
        split: aggregated(logits[split][candidate : candidate + 1], those, (aggregate,))[0, 0]
        for split, those in documents.items()
    }
    chosen = judge(NAME | dict(names[candidate]) | {"aggregate": aggregate}, candidate, values)
    if search:
        of_test = [test for _, test in rows]
        add_search(np.concatenate(tested), documents["test"], of_test)
        chosen.scores["test"][ALL] |= {name: of_test[best][name] for name in SEARCH if name in of_test[best]}
    return chosen, [row for index, both in enumerate(rows) if index != best for row in both]


def add_search(values: np.ndarray, documents: Documents, rows: Sequence[dict]) -> None:
    """Add to the rows of all candidates their part of the search: a band over all and p-values.

    values: [candidates, d]; labels are exchanged between groups. A candidate of which a value is not finite is left out.
    """
    sound = zero_unless_finite(values)[1]
    kept, labels, groups = [rows[index] for index in np.flatnonzero(sound).tolist()], documents.labels, documents.groups
    found = searched(values[sound], labels, groups, kept, Exchange.of(labels, groups)) if kept else []
    for row, columns in zip(kept, found, strict=True):
        row |= columns


def zero_unless_finite(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Set rows of values [candidates, d] that are not finite to 0, and mark the finite ones: bool [candidates]."""
    sound = np.all(np.isfinite(values), axis=1)
    return np.where(sound[:, None], values, 0), sound


def table_scores(
    values: np.ndarray, labels: ArrayLike, groups: ArrayLike, thresholds: ArrayLike, intervals: bool = True
) -> list[dict]:
    """Compute the table's scores of values [candidates, d], NaN where a value is not finite."""
    values, sound = zero_unless_finite(values)
    found = all_scores(values, labels, groups, thresholds, intervals=intervals)
    return [
        {name: one[name] for name in (*JUDGED, "n", "pos_ratio", "groups")}
        | ({} if fine else dict.fromkeys(JUDGED, float("nan")))
        for one, fine in zip(found, sound, strict=True)
    ]


def judged(
    name: dict[str, Any],
    index: int,
    values: Mapping[str, np.ndarray],
    documents: Mapping[str, Documents],
    buckets: Mapping[str, Mapping[str, np.ndarray]],
) -> Chosen:
    """Judge one score of documents, {split: [d]}, in every bucket; threshold and Platt scaling come from validation."""
    threshold = float(choose_thresholds(zero_unless_finite(values["val"][None])[0], documents["val"].labels)[0])
    fitted = platt(values["val"], documents["val"].labels)
    scores = {split: {} for split in documents}
    for split, those in documents.items():
        for bucket, kept in buckets[split].items():
            some, labels, groups = values[split][kept], those.labels[kept], those.groups[kept]
            scores[split][bucket] = table_scores(some[None], labels, groups, [threshold])[0] | calibrated(
                some, labels, fitted
            )
    chosen = Chosen(name, index, {split: values[split] for split in documents}, threshold, fitted, scores)
    validation, test = chosen.aurocs
    scores["test"][ALL]["optimism"] = validation - test
    return chosen


def calibrated(values: np.ndarray, labels: np.ndarray, fitted: tuple[float, float]) -> dict[str, float]:
    """Compute Brier score and ECE of the Platt-scaled values [d], at the sample's own prevalence."""
    slope, intercept = fitted
    logits, share = slope * values + intercept, float(np.mean(labels))
    fine = np.isfinite(logits).all()
    found = calibration(logits[None], (labels == 1)[None], share, share) if fine else {}
    return {
        **{name: float(found[name][0]) if fine else float("nan") for name in ("brier", "ece")},
        "platt_slope": slope,
        "platt_intercept": intercept,
    }


def compare_with_baseline(
    winner: Chosen,
    baseline: Chosen,
    best: str,
    documents: Mapping[str, Documents],
    buckets: Mapping[str, Mapping[str, np.ndarray]],
) -> None:
    """Measure how much better the winner ranks documents than the best baseline: paired, by split and bucket."""
    for split, those in documents.items():
        for bucket, kept in buckets[split].items():
            ours, theirs = (one.values[split][kept] for one in (winner, baseline))
            found, labels, groups = (np.nan,) * 4, those.labels[kept], those.groups[kept]
            if np.isfinite([ours, theirs]).all():
                found = map(float, np.ravel(differences_and_shown(ours, or_chance(theirs, labels), labels, groups)))
            winner.scores[split][bucket] |= {"best_baseline": best} | dict(zip(MINUS_BASELINE, found, strict=True))


def rows_of(chosen: Chosen) -> list[dict]:
    return [
        chosen.name | {"bucket": bucket, "split": split, "chosen": 1} | scores
        for split, by_bucket in chosen.scores.items()
        for bucket, scores in by_bucket.items()
    ]
