"""Save what a sweep leaves behind: a file per chosen probe, the tables, the record of the run; all of them or none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from utils.base.files import WriteTogether
from utils.base.processes.locks import locked
from utils.data.sequences import Sequences
from utils.model.language_model import LanguageModel
from utils.saved.columns import SOLVED
from utils.saved.group_scores import GROUP_SCORES, Block, hash_of_examples, write_group_scores
from utils.saved.owners import Owner, refuse_to_mix
from utils.saved.probe_files import probe_metadata, probe_path, save_probe
from utils.saved.seen_texts import write_texts
from utils.saved.tables import write_tables
from utils.scores.differences import DIFFERENCES_OF, ByGroup
from utils.scores.thresholds import operating_points
from utils.states.extraction import Reading
from utils.states.sites import layer_name
from utils.sweep.fits import Fitting
from utils.sweep.outcome import Probe, Sweep
from utils.sweep.sampling import Sampling

VERSIONS = ("torch", "transformers", "numpy", "scipy", "scikit-learn")


@dataclass(frozen=True)
class Output:
    """Where results go. export: a folder for all probes in one file; overwrite: those of other runs may be deleted."""

    probes: str
    results: str
    export: str | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class Run:
    """All that a run shares: its owner, its model, how it reads, samples and fits, and where the results go."""

    language_model: LanguageModel
    owner: Owner
    reading: Reading
    sampling: Sampling
    fitting: Fitting
    output: Output


def save_sweeps(run: Run, sweeps: Sequence[Sweep], record: dict) -> list[tuple[Path, dict]]:
    """Write everything, and only then delete what it replaces. Return each saved probe's path and metadata.

    record: what else the record of the run says. Raise UserError where another run has written there meanwhile, and the two
    must not be mixed.
    """
    owner = vars(run.owner)
    probe_rows, baseline_rows, document_rows, written = [], [], [], []
    results, by_group = Path(run.output.results), [block_of(sweep, owner) for sweep in sweeps]
    with WriteTogether() as files:
        for sweep in sweeps:
            for probe in sweep.chosen:
                path = probe_path(run.output.probes, probe.layer, probe.lag, probe.seed, probe.kind, **sweep.file_name)
                metadata = metadata_of(run, sweep, probe)
                save_probe(files, path, probe.tensors, metadata)
                written.append((path, metadata))
            probe_rows += rows_of_probes(sweep, owner)
            baseline_rows += rows_of_baselines(sweep, owner, run.fitting.seeds[0])
            document_rows += [row | owner for row in sweep.documents.rows] if sweep.documents else []
        write_texts(files, run.output.probes, sweeps[0].question.sequences)
        versions = {name: version(name) for name in VERSIONS}
        record = {**record, "selected_on_validation": selected(sweeps), "versions": versions}
        with locked(run.output.probes, results):
            replaced = refuse_to_mix(run.output.probes, run.output.results, run.owner, run.output.overwrite)
            write_tables(files, results, probe_rows, baseline_rows, document_rows, record, replaced)
            write_group_scores(files, results / GROUP_SCORES, by_group, replaced)
            files.commit(gone=[*replaced, *former_files(run.output.probes, sweeps)])
    return written


def former_files(folder: str, sweeps: Sequence[Sweep]) -> list[Path]:
    """Find files of these probes from before names that differ only in case were told apart."""
    return [
        path
        for sweep in sweeps
        if sweep.file_name.get("alike")
        for probe in sweep.chosen
        if (path := probe_path(folder, probe.layer, probe.lag, probe.seed, probe.kind, sweep.target)).exists()
        and probe_metadata(path)[0]["target"] == sweep.target
    ]


def metadata_of(run: Run, sweep: Sweep, probe: Probe) -> dict:
    """Collect what a probe's file says of it."""
    return {
        **shared_metadata(sweep.question.sequences, run.language_model, run.owner),
        "sampling": vars(run.sampling),
        "target": sweep.target,
        "lag": probe.lag,
        "seed": probe.seed,
        "kind": probe.kind,
        "layer": probe.layer,
        "l2": probe.l2,
        "threshold": probe.threshold,
        "chosen_by": sweep.chosen_by,
        "pool": run.reading.pool,
        "attention_segments": run.reading.segments,
        **probe.notes,
        "metrics": probe.metrics,
        "validation_curve": operating_points(probe.logits["val"], sweep.task.labels["val"][0]),
        "baselines": sweep.baselines,
        **as_document_score(sweep, probe),
    }


def shared_metadata(splits: Mapping[str, Sequences], language_model: LanguageModel, owner: Owner) -> dict:
    """Collect what the metadata of all probes of one target have in common. splits: its Sequences."""
    data = splits["train"]
    return {
        **vars(owner),
        "token": data.target_token,
        "hidden_size": language_model.anatomy.hidden_size,
        "causal": language_model.anatomy.causal,
        "model_dtype": str(language_model.dtype).removeprefix("torch."),
        "trust_remote_code": language_model.trust_remote_code,
        "tokenizer_fingerprint": data.tokenizer_fingerprint,
        "prevalence": data.prevalence,
        "task": data.task,
        "label_rule": data.label_rule,
        "source": data.metadata["source"],
        "context_length": data.metadata["context_length"],
        "truncation_side": (data.metadata.get("truncated") or {}).get("side"),
    }


def as_document_score(sweep: Sweep, probe: Probe) -> dict:
    """Give {"document_score": by which aggregate of its tokens' logits the probe was chosen to score documents, and how}"""
    if sweep.documents is None or probe is not sweep.chosen[sweep.documents.winner.index]:
        return {}
    winner = sweep.documents.winner
    return {
        "document_score": {
            "aggregate": winner.name["aggregate"],
            "threshold": winner.threshold,
            "platt_slope": winner.platt[0],
            "platt_intercept": winner.platt[1],
        }
    }


def rows_of_probes(sweep: Sweep, owner: dict) -> list[dict]:
    """Make the rows of probe_metrics.csv: one for each probe, penalty and split."""
    return [
        {
            "target": sweep.target,
            "layer_idx": probe.layer,
            "lag": probe.lag,
            "probe": probe.kind,
            "seed": probe.seed,
            "l2": probe.l2,
            "split": split,
            "chosen": int(probe.chosen),
            **scores,
            **{name: value for name, value in probe.notes.items() if name in SOLVED},
            **owner,
        }
        for probe in sweep.probes
        for split, scores in probe.metrics.items()
    ]


def rows_of_baselines(sweep: Sweep, owner: dict, seed: int) -> list[dict]:
    """Make the rows of baselines.csv: one for each split of each baseline, and of each chosen probe of random weights."""
    rows = [
        {
            "target": sweep.target,
            "baseline": name,
            "layer_idx": "",
            "lag": sweep.lag,
            "probe": "",
            "seed": seed,
            "split": split,
            **scores,
            **owner,
        }
        for name, by_split in sweep.baselines.items()
        for split, scores in (by_split or {}).items()
    ]
    return rows + [
        {
            "target": sweep.target,
            "baseline": "random weights",
            "layer_idx": probe.layer,
            "lag": sweep.lag,
            "probe": probe.kind,
            "seed": probe.seed,
            "split": split,
            **scores,
            **owner,
        }
        for probe in sweep.random_weights
        if probe.chosen
        for split, scores in probe.metrics.items()
    ]


def block_of(sweep: Sweep, owner: dict) -> Block:
    """Keep how far each group moves the scores of the chosen probes, on test where there is one, else on validation."""
    split = "test" if "test" in sweep.task.examples else "val"
    examples, chosen = sweep.task.examples[split], sweep.chosen
    logits, thresholds = np.stack([probe.logits[split] for probe in chosen]), np.array([probe.threshold for probe in chosen])
    arrays = {}
    for metric in DIFFERENCES_OF:
        found = ByGroup.of(metric, logits, examples.labels, examples.groups, thresholds)
        arrays |= {metric: found.influences, f"{metric}_values": found.values}
        arrays |= {"positives": found.positives, "negatives": found.negatives}
    about = {"target": sweep.target, "lag": sweep.lag, "split": split, "n": len(examples)}
    probes = [[str(probe.layer), probe.kind, probe.seed] for probe in chosen]
    return Block({**about, "examples": hash_of_examples(sweep.question, split), "probes": probes, **owner}, arrays)


def selected(sweeps: Sequence[Sweep]) -> dict:
    """Give {target: {lag: what won}}."""
    result = {}
    for sweep in sweeps:
        result.setdefault(sweep.target, {})[str(sweep.lag)] = what_won(sweep)
    return result


def what_won(sweep: Sweep) -> dict:
    """Say what validation chose for one question: the best probe, and of each kind the penalties and epochs."""
    winner = sweep.winner
    return {
        "chosen_by": sweep.chosen_by,
        "layer": winner.layer,
        "probe": winner.kind,
        "seed": winner.seed,
        "l2": winner.l2,
        "best_baseline": sweep.best,
        "chosen": [
            {
                "probe": probe.kind,
                "layer": layer_name(probe.layer),
                "seed": probe.seed,
                "l2": probe.l2,
                **{name: value for name, value in probe.notes.items() if name in ("epoch", "gradient", "converged")},
            }
            for probe in sweep.chosen
        ],
    }
