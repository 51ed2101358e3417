"""Compare probes on latents with the dense probe of their layer and with the best baseline, and count them in the search."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from utils.sae.chosen import LayerAutoencoder
from utils.sae.encoded import Encoded
from utils.scores.baselines.compared import or_chance
from utils.scores.search.detectable import differences_and_shown
from utils.scores.search.searched import null_of_examples, searched
from utils.states.matrices import Matrices
from utils.states.source import Source
from utils.sweep.fits import Fitting, Task
from utils.sweep.outcome import Probe, Sweep
from utils.sweep.refits.latents.counts import (
    DIMENSIONS,
    LATENTS,
    CountedProbe,
    Features,
    LayerProblem,
    fit_counts,
    of_dimensions,
    of_latents,
    score_on_test,
)
from utils.sweep.refits.latents.screening import Screened, screen_dimensions, screen_latents

COMPARED_WITH = ("dense", "baseline")


@dataclass
class LayerOfLatents:
    """The probes on the latents of one layer, and what they are compared with.

    screened, encoded: of the latents on train; dense: the logistic probe on the layer's states.
    latents, dimensions: a probe for each count.
    """

    sae: LayerAutoencoder
    screened: Screened
    encoded: Encoded
    dense: Probe
    latents: list[CountedProbe]
    dimensions: list[CountedProbe]

    @property
    def best(self) -> CountedProbe:
        """Find the probe on latents whose count validation chose."""
        return chosen_count(self.latents)

    @property
    def scored(self) -> list[Probe]:
        """List the probes that are scored on test: on latents, on dimensions, on the states."""
        return [*(chosen_count(found).probe for found in (self.latents, self.dimensions) if found), self.dense]


def chosen_count(found: Sequence[CountedProbe]) -> CountedProbe:
    return next(one for one in found if one.chosen)


def probe_latents(
    sweep: Sweep, source: Source, saes: Sequence[LayerAutoencoder], fitting: Fitting, device: str = "cpu"
) -> list[LayerOfLatents]:
    """Probe the latents of each layer, as the first seed trains, and compare. Layers without a latent that is ever active on
    train are left out.
    """
    found = [layer for one in saes if (layer := probe_layer(sweep, source, one, fitting, device))]
    if found:
        compare_scored(sweep, found)
        account_for_all(sweep, found)
    return found


def probe_layer(sweep: Sweep, source: Source, sae: LayerAutoencoder, fitting: Fitting, device: str) -> LayerOfLatents | None:
    """Fit all counts of one layer's latents and dimensions, and score what validation chose."""
    problem = LayerProblem(fitting, of_first_seed(sweep.task), sweep.question, sae.layer)
    states = {split: source.of_layer(split, sae.layer) for split in source.tables}
    sample = np.flatnonzero(sweep.task.in_sample[:, 0])
    states["train"] = Matrices(states["train"].table, states["train"].index[sample])
    labels = problem.task.labels["train"][0]
    encoded = {split: Encoded.of(sae.autoencoder, states[split], device) for split in ("train", "val")}
    screened = screen_latents(encoded["train"], labels)
    if not len(screened.order):
        return None
    features = [
        Features(LATENTS, screened.order, of_latents(encoded)),
        Features(DIMENSIONS, screen_dimensions(states["train"], labels).order, of_dimensions(states)),
    ]
    found = [fit_counts(one, problem) for one in features]
    if "test" in states:
        encoded["test"] = Encoded.of(sae.autoencoder, states["test"], device)
        for one, counted in zip(features, found, strict=True):
            if counted:
                score_on_test(chosen_count(counted), one, problem)
    dense = dense_probe(sweep, problem, states)
    return LayerOfLatents(sae, screened, encoded["train"], dense, *found)


def of_first_seed(task: Task) -> Task:
    """Keep the sample of the first seed, and the true labels."""
    sample = task.in_sample[:, 0]
    labels = {split: found[:1] for split, found in task.labels.items()}
    labels["train"] = labels["train"][:, sample]
    return Task(task.first_sample, labels, np.ones((int(sample.sum()), 1), dtype=bool), task.seeds[:1])


def dense_probe(sweep: Sweep, problem: LayerProblem, states: dict[str, Matrices]) -> Probe:
    """Give the sweep's logistic probe of the layer and first seed; without one, fit it."""
    same = ("logistic", problem.layer, problem.task.seeds[0])
    found = [probe for probe in sweep.chosen if (probe.kind, probe.layer, probe.seed) == same]
    probe = found[0] if found else problem.chosen(problem.fit(states))
    return replace(probe, metrics={split: dict(scores) for split, scores in probe.metrics.items()})


def compare_scored(sweep: Sweep, layers: Sequence[LayerOfLatents]) -> None:
    """Add to the scores of the probes that were chosen their paired differences in AUROC.

    They are to the dense probe of the same layer, and to the best baseline, which counts as chance where it is below.
    """
    for split in [name for name in sweep.task.examples if name != "train"]:
        examples = sweep.task.examples[split]
        baseline = or_chance(sweep.best_logits[split], examples.labels)
        for layer in layers:
            for what, other in zip(COMPARED_WITH, (layer.dense.logits[split], baseline), strict=True):
                probes = [probe for probe in layer.scored if probe is not layer.dense or what != "dense"]
                ours = np.stack([probe.logits[split] for probe in probes])
                theirs = np.broadcast_to(other, ours.shape)
                found = differences_and_shown(ours, theirs, examples.labels, examples.groups)
                columns = [f"minus_{what}{end}" for end in ("", "_low", "_high", "_detectable")]
                for probe, *values in zip(probes, *found, strict=True):
                    probe.metrics[split] |= dict(zip(columns, map(float, values), strict=True))
                    probe.metrics[split]["best_baseline"] = sweep.best


def account_for_all(sweep: Sweep, layers: Sequence[LayerOfLatents]) -> None:
    """Give each probe that is scored on test the band and the permutation p of the whole search: the sweep's and these.

    The sweep's own rows keep what they had, which reckons with the sweep alone.
    """
    if "test" not in sweep.task.examples:
        return
    examples = sweep.task.examples["test"]
    ours = [probe for layer in layers for probe in layer.scored]
    searching = [*(probe for probe in sweep.chosen if not any(is_same(probe, other) for other in ours)), *ours]
    null = null_of_examples(examples, sweep.question.sequences["test"], sweep.of_sequences)
    logits, scored = np.stack([probe.logits["test"] for probe in searching]), [one.metrics["test"] for one in searching]
    found = searched(logits, examples.labels, examples.groups, scored, null)
    for probe, columns in zip(searching, found, strict=True):
        if any(probe is other for other in ours):
            probe.metrics["test"] |= columns | {"probes_together": len(searching)}


def is_same(probe: Probe, other: Probe) -> bool:
    """Say whether one is a copy of the other, with the same logits."""
    return probe.logits is other.logits
