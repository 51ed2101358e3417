"""Hold the findings of a sweep: every probe with its scores, the baselines, and the winner."""

from dataclasses import dataclass, field

import numpy as np

from utils.scores.baselines.compared import suspicious
from utils.scores.documents.scoring import DocumentScores
from utils.states.positions import Question, lag_name
from utils.states.sites import Layer, layer_name
from utils.sweep.fits import Task


@dataclass
class Probe:
    """One probe and its scores.

    metrics  scores by split
    chosen   its penalty is the best on validation; only then are logits (of val and test) and tensors kept
    tensors  what is saved
    notes    epoch, or gradient and convergence
    """

    kind: str
    layer: Layer
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
    """The findings for one question.

    chosen_by       the score on validation by which layers and kinds are chosen
    baselines       {name: {split: scores}, or None where not computed}
    best            the name of the baseline that probes are compared with, chosen on validation
    best_logits     its logits by split, [n]
    random_weights  probes of the model with random weights
    documents       scores of whole documents, where tokens give some
    shifted         whether labels were dealt anew within their documents, rather than between groups
    """

    question: Question
    chosen_by: str
    layers: list
    probes: list[Probe]
    baselines: dict
    best: str
    task: Task
    random_weights: list[Probe] = field(default_factory=list)
    documents: DocumentScores | None = None
    shifted: bool = False
    best_logits: dict = field(default_factory=dict)

    @property
    def lag(self) -> int:
        return self.question.lag

    @property
    def target(self) -> str:
        return self.question.name

    @property
    def of_several(self) -> bool:
        """Say whether the data have other targets."""
        return self.question.data.several_targets

    @property
    def file_name(self) -> dict:
        """Give the arguments of `probe_path` that tell this target from others of the data."""
        data = self.question.data
        return {"target": self.target, "alike": data.metadata["alike"]} if self.of_several else {}

    @property
    def of_sequences(self) -> bool:
        """Say whether whole sequences are labelled."""
        return self.question.of_sequences

    @property
    def prevalence(self) -> float:
        return self.question.data.prevalence

    @property
    def chosen(self) -> list[Probe]:
        return [probe for probe in self.probes if probe.chosen]

    @property
    def shown(self) -> list[Probe]:
        """List every layer's probe of the first seed where there is one kind, else the best layer of each kind."""
        first = [probe for probe in self.chosen if probe.seed == self.task.seeds[0]]
        kinds = {probe.kind: [other for other in first if other.kind == probe.kind] for probe in first}
        return first if len(kinds) == 1 else [max(probes, key=self.on_validation) for probes in kinds.values()]

    @property
    def warnings(self) -> list[str]:
        """Warn of baselines worse than guessing, since splits may not be independent, and of fits that failed."""
        found = [
            warning
            for name, by_split in self.baselines.items()
            if by_split
            for split in ("val", "test")
            if split in by_split
            and (warning := suspicious(f"{name} on {split}", by_split[split]["auc"], by_split[split]["auc_high"]))
        ]
        for kind in dict.fromkeys(probe.kind for probe in self.probes):
            for problem, why in (
                ("separable", "have no minimum, for without a penalty their classes can be parted"),
                ("unsolved", "did not reach the tolerance of their gradient; see probe_metrics.csv"),
            ):
                count = sum(probe.kind == kind and is_so(probe.notes, problem) for probe in self.probes)
                if count:
                    found.append(f"warning: {count} of {sum(probe.kind == kind for probe in self.probes)} {kind} fits {why}")
        return found

    @property
    def winner(self) -> Probe:
        """Find the chosen probe with the best score on validation; the first of equal ones."""
        return max(self.chosen, key=self.on_validation)

    def on_validation(self, probe: Probe) -> float:
        """Give the score by which probes are chosen; undefined ones come last."""
        score = probe.metrics["val"][self.chosen_by]
        return -np.inf if np.isnan(score) else score

    @property
    def maximum(self) -> Probe:
        """Find the chosen probe that stands out most on test, the winner where it is one of several such."""

        def standing(probe: Probe) -> tuple[float, bool]:
            return np.nan_to_num(probe.metrics["test"]["permutation_p_in_sweep"], nan=1), probe is not self.winner

        return min(self.chosen, key=standing)

    @property
    def twin(self) -> Probe:
        """Find the probe on random weights that is like the winner."""
        best = self.winner
        same = best.kind, best.layer, best.seed
        return next(probe for probe in self.random_weights if probe.chosen and (probe.kind, probe.layer, probe.seed) == same)

    @property
    def others(self) -> list[Probe]:
        """List the probes of other seeds that are like the winner."""
        best = self.winner
        return [probe for probe in self.chosen if (probe.kind, probe.layer) == (best.kind, best.layer) and probe is not best]


def is_so(notes: dict, problem: str) -> bool:
    """Say whether a fit has this problem: "separable" or "unsolved"."""
    separable = notes.get("separable", False)
    return separable if problem == "separable" else not (separable or notes.get("converged", True))


def run_name(kind: str, layer: Layer, lag: int, seed: int, target: str | None = None) -> str:
    """Name a probe: layer5_next, with its target, kind and seed where they are not the usual ones."""
    apart = ([target] if target else []) + ([] if kind == "linear" else [kind]) + ([f"seed{seed}"] if seed else [])
    return "_".join([layer_name(layer), lag_name(lag), *apart])
