"""What a sweep leaves behind: a file a chosen probe, the tables, the record of the run; all or none of them."""

import sys
from importlib.metadata import version
from pathlib import Path

from utils.base.files import WriteTogether
from utils.saved.probe_files import probe_path, save_probe
from utils.saved.tables import COLUMNS, DOCUMENTS, SOLVED, write_tables
from utils.sweep.outcome import table_layer
from utils.sweep.questions import sampling_of


def save_sweeps(arguments, sweeps, targets, language_model, owner, strangers, seconds) -> list[tuple[Path, dict]]:
    """Writes everything, and only then deletes what it replaces. Returns each saved probe's path and metadata."""
    sampling = vars(sampling_of(arguments))
    probe_rows, baseline_rows, document_rows, written = [], [], [], []
    with WriteTogether() as files:
        for sweep in sweeps:
            shared = shared_metadata(targets[sweep.question.target], language_model, owner)
            for probe in sweep.chosen:
                path = probe_path(
                    arguments.output_dir,
                    probe.layer,
                    probe.lag,
                    probe.seed,
                    probe.kind,
                    sweep.target if sweep.of_several else None,
                )
                metadata = {
                    **shared,
                    "sampling": sampling,
                    "target": sweep.target,
                    "lag": probe.lag,
                    "seed": probe.seed,
                    "kind": probe.kind,
                    "layer": probe.layer,
                    "l2": probe.l2,
                    "threshold": probe.threshold,
                    "pool": arguments.pool,
                    "attention_segments": arguments.attention_segments,
                    **probe.notes,
                    "metrics": probe.metrics,
                    "baselines": sweep.baselines,
                    **as_document_score(sweep, probe),
                }
                save_probe(files, path, probe.tensors, metadata)
                written.append((path, metadata))
            probe_rows += rows_of_probes(sweep, owner)
            baseline_rows += rows_of_baselines(sweep, owner, arguments.seeds[0])
            document_rows += [row | owner for row in sweep.documents.rows] if sweep.documents else []
        record = {
            "command": sys.argv,
            "arguments": vars(arguments),
            **owner,
            "seconds": seconds,
            "selected_on_validation": selected(sweeps),
            "versions": {name: version(name) for name in ("torch", "transformers", "numpy", "scipy", "scikit-learn")},
        }
        write_tables(files, arguments.results_dir, probe_rows, baseline_rows, document_rows, record, replaced=strangers)
    kept = [name for name in COLUMNS if name != DOCUMENTS or document_rows]
    for path in set(strangers) - {*(path for path, _ in written), *(Path(arguments.results_dir) / name for name in kept)}:
        path.unlink(missing_ok=True)
    return written


def shared_metadata(splits, language_model, owner) -> dict:
    """What the metadata of all probes of one target have in common. splits: its Sequences."""
    metadata = splits["train"].metadata
    return {
        **owner,
        "token": metadata["targets"][0]["token"],
        "hidden_size": language_model.anatomy.hidden_size,
        "causal": language_model.anatomy.causal,
        "model_dtype": str(language_model.dtype).removeprefix("torch."),
        "tokenizer_fingerprint": metadata["tokenizer"]["fingerprint"],
        "prevalence": metadata["prevalence"],
        "task": metadata.get("task", "token"),
        "label_rule": metadata.get("label_rule", "target"),
        "source": metadata["source"],
        "context_length": metadata["context_length"],
        "texts": text_hashes(splits),
    }


def text_hashes(splits) -> dict[str, list[str]]:
    """{split: the hashes of its documents}, by which a text is known that was trained on, chosen by, or kept apart."""
    hashes = splits["train"].metadata.get("document_hashes")
    return (
        {}
        if hashes is None
        else {
            name: [hashes[document] for document in sorted(set(sequences.documents.tolist()))]
            for name, sequences in splits.items()
        }
    )


def as_document_score(sweep, probe) -> dict:
    """{"document_score": by which aggregate of its tokens' logits the probe was chosen to score documents, and how}"""
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


def rows_of_probes(sweep, owner) -> list[dict]:
    """For probe_metrics.csv: one a probe, penalty and split."""
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


def rows_of_baselines(sweep, owner, seed) -> list[dict]:
    """For baselines.csv: one a baseline and split, and one a chosen probe of the model with random weights and split."""
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


def selected(sweeps) -> dict:
    """{target: {lag: what won}}"""
    result = {}
    for sweep in sweeps:
        result.setdefault(sweep.target, {})[str(sweep.lag)] = what_won(sweep)
    return result


def what_won(sweep) -> dict:
    """What validation chose for one question: the best probe, and of each kind the penalties and epochs."""
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
                "layer": table_layer(probe.layer),
                "seed": probe.seed,
                "l2": probe.l2,
                **{name: value for name, value in probe.notes.items() if name in ("epoch", "gradient", "converged")},
            }
            for probe in sweep.chosen
        ],
    }
