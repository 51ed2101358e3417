"""Write what follows from finished sweeps: the directions in words, the learning curve, all probes in one file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from utils.base.files import WriteTogether, csv_text
from utils.probes.directions import cosines, direction_entries, entry_key, pattern, read_directions, write_directions
from utils.probes.logistic.solver import solve
from utils.saved.columns import CURVE, CURVE_COLUMNS, DIRECTIONS
from utils.saved.export import export
from utils.saved.probe_files import load_probe
from utils.saved.seen_texts import give_texts
from utils.states.matrices import Matrices
from utils.states.sites import ATTENTION
from utils.states.source import Source
from utils.sweep.learning_curve import curve_rows, learning_curve_weights
from utils.sweep.outcome import Probe, Sweep, run_name
from utils.sweep.report import direction_line
from utils.sweep.sampling import class_weights
from utils.sweep.saving import Output, Run, shared_metadata

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOST_COSINES = 500  # directions: their table grows with the square


def write_sweep_directions(
    run: Run, sweeps: Sequence[Sweep], sources: Mapping[tuple, Source], tokenizer: "PreTrainedTokenizerBase"
) -> list[str]:
    """Write results/directions.json, entries of other lags and kinds kept. Return the lines that say what is in it."""
    entries, names, weights, lines = [], [], [], []
    owner = vars(run.owner)
    for sweep in sweeps:
        linear = [probe for probe in sweep.chosen if "weight" in probe.tensors and probe.layer != ATTENTION]
        if not linear:
            continue
        shared = shared_metadata(sweep.question.sequences, run.language_model, run.owner)
        metadata = [
            {**shared, "target": sweep.target, **{name: getattr(probe, name) for name in ("layer", "lag", "kind", "seed")}}
            for probe in linear
        ]
        weight = np.stack([probe.tensors["weight"].numpy() for probe in linear])
        patterns = patterns_of(linear, sources[sweep.question.key])
        found = direction_entries(run.language_model, tokenizer, metadata, weight, patterns)
        entries += found
        weights += list(weight)
        target = sweep.target if sweep.of_several else None
        names += [run_name(probe.kind, probe.layer, probe.lag, probe.seed, target) for probe in linear]
        if sweep.winner in linear:
            winner = linear.index(sweep.winner)
            lines.append(direction_line(names[winner - len(linear)], found[winner], shared["token"]))
    if not entries:
        return []
    path = Path(run.output.results) / DIRECTIONS
    new = {entry_key(entry) for entry in entries}
    old = read_directions(path)["entries"] if path.exists() else []
    kept = [entry for entry in old if entry_key(entry) not in new]
    with WriteTogether() as files:
        write_directions(files, path, owner, kept + entries, cosines(names[:MOST_COSINES], weights[:MOST_COSINES]))
    number, shown = len(kept + entries), min(len(names), MOST_COSINES)
    what = "the tokens that {} directions promote and suppress" if run.language_model.has_head else "{} directions"
    return [*filter(None, lines), f"wrote {path}: {what.format(number)}, and the cosines of {shown} of this run"]


def patterns_of(probes: Sequence[Probe], source: Source) -> np.ndarray:
    """Compute the patterns of probes: float32 [probes, hidden_size].

    The covariance is that of the train states of each probe's layer.
    """
    layers, by_probe = list(source.tables["train"].layers), {}
    for some in {(probe.kind, probe.seed): None for probe in probes}:
        ordered = sorted(
            (probe for probe in probes if (probe.kind, probe.seed) == some), key=lambda probe: layers.index(probe.layer)
        )
        weight = np.stack([probe.tensors["weight"].numpy() for probe in ordered])
        by_probe |= {
            id(probe): one for probe, one in zip(ordered, pattern(source.matrices("train"), weight).numpy(), strict=True)
        }
    return np.stack([by_probe[id(probe)] for probe in probes])


def write_learning_curve(run: Run, sweeps: Sequence[Sweep], sources: Mapping[tuple, Source]) -> str:
    """Fit logistic probes to more and more of the first seed's examples, of each question's best layer on validation."""
    rows, fitting = [], run.fitting
    for sweep in sweeps:
        best = max((probe for probe in sweep.chosen if probe.layer != ATTENTION), key=sweep.on_validation)
        source, examples = sources[sweep.question.key], sweep.task.examples
        weights, columns = learning_curve_weights(
            examples["train"].groups, examples["train"].labels, sweep.task.in_sample[:, 0].astype(np.float64)
        )
        labels = np.repeat(examples["train"].labels[:, None], weights.shape[1], axis=1).astype(np.float32)
        weights = class_weights(weights, labels, fitting.class_balance, fitting.pos_weight_cap)
        solutions = solve(source.of_layer("train", best.layer), labels, weights, fitting.l2_grid)
        states = {name: all_rows(source.of_layer(name, best.layer)) for name in source.tables if name != "train"}
        common = {
            "target": sweep.target,
            "layer": best.layer,
            "lag": sweep.lag,
            "probe": "logistic",
            "seed": fitting.seeds[0],
            **vars(run.owner),
        }
        rows += curve_rows(common, columns, solutions, states, examples)
    path = Path(run.output.results) / CURVE
    with WriteTogether() as files, files.open(path) as file:
        file.write(csv_text(CURVE_COLUMNS, rows).encode("utf-8"))
    return f"wrote {path}: {len(rows)} logistic probes on 1/16 to all of the training examples"


def all_rows(matrices: Matrices) -> torch.Tensor:
    """Read the whole matrix of one layer: float32 [n, hidden_size]."""
    return matrices.rows(np.arange(len(matrices)))[0]


def write_export(output: Output, paths: Sequence[Path]) -> str:
    """Write the saved probes at these paths into one file, with the texts of their run."""
    probes = [load_probe(path) for path in paths]
    give_texts(output.probes, (probe["metadata"] for probe in probes))
    with WriteTogether() as files:
        path = export(files, output.export, probes, output.overwrite)
    return f"wrote {path}: {len(paths)} probes in one file"
