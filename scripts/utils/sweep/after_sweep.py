"""Write what follows from finished sweeps: all probes in one file, directions, learning curve, codelength, latents."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from utils.base.files import WriteTogether, csv_text
from utils.base.processes.locks import locked
from utils.probes.directions.described import cosines, direction_entries, pattern
from utils.probes.directions.files import entry_key, read_directions, write_directions
from utils.probes.logistic.solver import solve
from utils.sae.chosen import LayerAutoencoder
from utils.saved.columns import (
    CODELENGTH,
    CODELENGTH_COLUMNS,
    CURVE,
    CURVE_COLUMNS,
    DIRECTIONS,
    SAE_LATENTS,
    SAE_LATENTS_COLUMNS,
    SAE_PROBES,
    SAE_PROBES_COLUMNS,
)
from utils.saved.export import export
from utils.saved.owners import refuse_to_mix
from utils.saved.probe_files import load_probe
from utils.saved.seen_texts import give_texts
from utils.scores.controls import shuffled_labels
from utils.states.matrices import Matrices
from utils.states.sites import ATTENTION
from utils.states.source import Source
from utils.sweep.outcome import Probe, Sweep, run_name
from utils.sweep.refits.codelength import in_parts, online_codelength
from utils.sweep.refits.latents.compared import probe_latents
from utils.sweep.refits.latents.named import name_latents, rows_of_counts, rows_of_latents
from utils.sweep.refits.learning_curve import curve_rows, learning_curve_weights
from utils.sweep.report.afterwards import codelength_line, direction_line
from utils.sweep.report.latents import latents_report
from utils.sweep.sampling import class_weights
from utils.sweep.saving import Run, save_sweeps, shared_metadata

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOST_SHOWN = 8  # questions that a line names
SHUFFLED_SEED = 1  # other draws than those of control labels, which texts have at seed 0
MOST_COSINES = 500  # directions: their table grows with the square


def save(run: Run, sweeps: Sequence[Sweep], record: dict) -> tuple[list[tuple[Path, dict]], str]:
    """Save probes, tables and record, and the export where one is asked for; see `save_sweeps`.

    Return each saved probe's path and metadata, and a line about the export ("" without).
    """
    written = save_sweeps(run, sweeps, record)
    return written, write_export(run, [path for path, _ in written]) if run.output.export else ""


def write_export(run: Run, paths: Sequence[Path]) -> str:
    """Write the saved probes at these paths into one file, with the texts of their run."""
    output = run.output
    with still_ours(run, *filter(None, [output.export])) as files:
        probes = [load_probe(path) for path in paths]
        give_texts(output.probes, (probe["metadata"] for probe in probes))
        path = export(files, output.export, probes, output.overwrite)
    return f"wrote {path}: {len(paths)} probes in one file"


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
    with still_ours(run) as files:
        old = read_directions(path)["entries"] if path.exists() else []
        kept = [entry for entry in old if entry_key(entry) not in new]
        write_directions(files, path, owner, kept + entries, cosines(names[:MOST_COSINES], weights[:MOST_COSINES]))
    number, shown = len(kept + entries), min(len(names), MOST_COSINES)
    what = "the tokens that {} directions promote and suppress" if run.language_model.has_head else "{} directions"
    return [*filter(None, lines), f"wrote {path}: {what.format(number)}, and the cosines of {shown} of this run"]


@contextmanager
def still_ours(run: Run, *more: str) -> Iterator[WriteTogether]:
    """Write beside the results of this run. Raise UserError where another run has replaced them meanwhile.

    more: folders that are written too.
    """
    output = run.output
    with locked(output.probes, output.results, *more), WriteTogether() as files:
        refuse_to_mix(output.probes, output.results, run.owner, overwrite=False)
        yield files


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
    with still_ours(run) as files, files.open(path) as file:
        file.write(csv_text(CURVE_COLUMNS, rows).encode("utf-8"))
    return f"wrote {path}: {len(rows)} logistic probes on 1/16 to all of the training examples"


def write_codelength(run: Run, sweeps: Sequence[Sweep], sources: Mapping[tuple, Source]) -> str:
    """Measure the bits that the first seed's training labels cost given each layer, of shuffled and control labels too.

    A question whose labels cannot be sent in parts has rows without bits, and a line that says why.
    """
    rows, lines = [], []
    for sweep in sweeps:
        of_question = codelength_rows(run, sweep, sources[sweep.question.key])
        rows += of_question
        lines.append(codelength_line(sweep, of_question))
    path = Path(run.output.results) / CODELENGTH
    with still_ours(run) as files, files.open(path) as file:
        file.write(csv_text(CODELENGTH_COLUMNS, rows).encode("utf-8"))
    more = [f"{len(lines) - MOST_SHOWN} others are in the table"] if len(lines) > MOST_SHOWN else []
    return "\n  ".join([f"wrote {path}: the fewest bits of", *lines[:MOST_SHOWN], *more])


def codelength_rows(run: Run, sweep: Sweep, source: Source) -> list[dict]:
    """Make the rows of codelength.csv of one question, one for each layer."""
    sample = sweep.task.in_sample[:, 0]
    labels = {"train": sweep.task.labels["train"][:, sample], "val": sweep.task.labels["val"]}
    shuffled = shuffled_labels({name: those[0] for name, those in labels.items()}, 1, SHUFFLED_SEED)
    labels = {name: np.vstack([those[:1], shuffled[name], those[1:]]) for name, those in labels.items()}
    parts = in_parts(sweep.task.examples["train"].groups[sample], labels["train"])
    rows = []
    for layer in source.layers:
        row = {
            "target": sweep.target,
            "layer": layer,
            "lag": sweep.lag,
            "seed": run.fitting.seeds[0],
            "n": int(sample.sum()),
        }
        if 0 in parts.sizes:
            train, val = source.of_layer("train", layer), source.of_layer("val", layer)
            train = Matrices(train.table, train.index[sample])
            found = online_codelength(train, val, labels["train"], labels["val"], parts, run.fitting.l2_grid)
            row |= {"bits": found.bits[0], "bits_by_share": found.by_share[0], "compression": found.n / found.bits[0]}
            for name, those in (("shuffled", slice(1, 2)), ("control", slice(2, None))):
                known = np.isfinite(found.bits[those])
                if known.any():
                    row[f"{name}_bits"] = found.bits[those][known].mean()
                    row[f"{name}_bits_by_share"] = found.by_share[those][known].mean()
        rows.append(dict.fromkeys(CODELENGTH_COLUMNS, "") | row | vars(run.owner))
    return rows


def write_latents(
    run: Run,
    sweeps: Sequence[Sweep],
    sources: Mapping[tuple, Source],
    saes: Sequence[LayerAutoencoder],
    tokenizer: "PreTrainedTokenizerBase",
) -> str:
    """Probe the latents of sparse autoencoders, write both tables, and return what is to be said of each question."""
    owner, language_model = vars(run.owner), run.language_model
    device = "cuda" if language_model.device.type == "cuda" else "cpu"
    probe_rows, latent_rows, reports = [], [], []
    for sweep in sweeps:
        layers = probe_latents(sweep, sources[sweep.question.key], saes, run.fitting, device)
        named = [name_latents(layer, sweep, language_model, tokenizer) for layer in layers]
        probe_rows += rows_of_counts(sweep, layers, owner)
        for layer, latents in zip(layers, named, strict=True):
            latent_rows += rows_of_latents(sweep, layer, latents, owner)
        reports.append(latents_report(sweep, layers, named))
    folder = Path(run.output.results)
    with still_ours(run) as files:
        for name, columns, rows in (
            (SAE_PROBES, SAE_PROBES_COLUMNS, probe_rows),
            (SAE_LATENTS, SAE_LATENTS_COLUMNS, latent_rows),
        ):
            with files.open(folder / name) as file:
                file.write(csv_text(columns, rows).encode("utf-8"))
    return "\n".join(
        [*reports, f"wrote {folder / SAE_PROBES} and {SAE_LATENTS}: probes on latents, and the latents they read"]
    )


def all_rows(matrices: Matrices) -> torch.Tensor:
    """Read the whole matrix of one layer: float32 [n, hidden_size]."""
    return matrices.rows(np.arange(len(matrices)))[0]
