#!/usr/bin/env python3
"""Labelled sequences -> probes of every target, layer, lag, kind, seed and penalty, from one pass of the model."""

import shlex
import sys
import time
from pathlib import Path

from utils.base.cli.parser import Parser, quiet_libraries, run
from utils.base.errors import UsageError, UserError
from utils.base.files import require_writable_folder
from utils.probes.kinds import PAGE_KINDS
from utils.sweep.flags import (
    add_comparison_flags,
    add_data_flags,
    add_model_flags,
    add_reading_flags,
    add_training_flags,
    check_flags,
)

MOST_TABLES = 8  # targets and lags: of more, one line each is shown; the tables hold everything


def build_parser() -> Parser:
    parser = Parser(
        __file__,
        __doc__,
        "next: python scripts/visualize_probe.py and scripts/visualize_results.py; or "
        "--predict_current once more, which checks the whole line",
    )
    add_model_flags(parser)
    add_data_flags(parser)
    add_reading_flags(parser)
    add_training_flags(parser)
    add_comparison_flags(parser)
    output = parser.add_argument_group("output")
    output.add_argument("--output_dir", default="models", help="folder for the probes")
    output.add_argument("--results_dir", default="results", help="folder for the tables")
    output.add_argument("--export", metavar="DIR", help="also write all probes into one file there, probes.safetensors")
    output.add_argument(
        "--overwrite", action="store_true", help="delete probes and tables of another model or dataset from these folders"
    )
    output.add_argument("--wandb_project", default="probe-training", help="Weights & Biases project")
    output.add_argument("--wandb_group", help="name that the runs of this sweep share (default: layer-sweep-LAG)")
    output.add_argument("--no_wandb", action="store_true", help="log nothing to Weights & Biases")
    return parser


def parse(argv):
    arguments = check_flags(build_parser().parse_args(argv))
    if arguments.learning_curve and arguments.kinds == ["attention_features"]:
        raise UsageError(
            "--learning_curve is of the states of a layer, which --probe attention_features does not read; add "
            "another kind, or leave it out"
        )
    return arguments


def main(argv=None):
    arguments = parse(argv)
    for flag in ("output_dir", "results_dir", *(["export"] if arguments.export else [])):
        require_writable_folder(getattr(arguments, flag), f"--{flag}")
    quiet_libraries()
    started = time.monotonic()
    from utils.sweep.questions import load_splits, split_targets

    targets = split_targets(arguments, load_splits(arguments))
    language_model = load_model(arguments, targets[0])
    finished = sweep(arguments, targets, language_model, {"load": time.monotonic() - started})
    say_more(arguments, targets, language_model, *finished)
    print(
        f"next: {page(arguments, finished[0])}python scripts/visualize_results.py --results_dir "
        f"{shlex.quote(arguments.results_dir)}"
    )
    return 0


def page(arguments, sweeps) -> str:
    """The command that shows the probes on a text, where there is a page for them."""
    if arguments.sequence_task or arguments.pool != "last" or not set(arguments.kinds) & set(PAGE_KINDS):
        return ""
    lags = [found.lag for found in sweeps]
    shown = "" if lags == [-1] else f" --lag {lags[0]}"
    return f"python scripts/visualize_probe.py --probe_dir {shlex.quote(arguments.output_dir)}{shown}; "


def sweep(arguments, targets, language_model, seconds):
    """From loaded data and model to saved probes and tables, and what is shown of them. Returns the sweeps, what they read
    from, whose they are, and the paths of the probes. targets: {split: Sequences} of each, all of the same windows.
    """
    from utils.base.tracking import tracker
    from utils.saved.export import refuse_export
    from utils.saved.owners import refuse_to_mix
    from utils.states.sites import parse_layers
    from utils.sweep.questions import choose_lags, draw_examples, settings_text
    from utils.sweep.saving import save_sweeps

    anatomy, metadata = language_model.anatomy, targets[0]["train"].metadata
    layers = parse_layers(arguments.layers, len(anatomy.blocks), anatomy.final_norm is not None)
    lags = choose_lags(arguments, metadata, anatomy.causal)
    owner = {
        "model": language_model.name,
        "model_fingerprint": language_model.fingerprint,
        "dataset_fingerprint": metadata["dataset_fingerprint"],
        "settings": settings_text(arguments),
    }
    strangers = refuse_to_mix(arguments.output_dir, arguments.results_dir, owner, arguments.overwrite)
    refuse_export(arguments, owner)
    tracking = tracker(not arguments.no_wandb, arguments.wandb_project)
    examples, samples = draw_examples(arguments, targets, lags)
    sources, random_sources = read(arguments, targets[0], language_model, layers, examples, samples, seconds)
    sweeps = train(arguments, targets, language_model, examples, samples, sources, random_sources, owner, tracking, seconds)
    written = save_sweeps(arguments, sweeps, targets, language_model, owner, strangers, seconds)
    tell_what_was_written(arguments, written)
    for found in sweeps if len(sweeps) <= MOST_TABLES else ():
        show(found)
    if len(sweeps) > 1:
        show_together(sweeps)
    return sweeps, sources, owner, written


def read(arguments, splits, language_model, layers, examples, samples, seconds):
    """{question: Source} of the model, and where it is asked for of the same model with random weights, else None."""
    from utils.model.random_weights import with_random_weights
    from utils.states.extraction import drop_non_finite, run_pass

    tables, rows, plans = run_pass(arguments, language_model, splits, layers, examples, seconds)
    whole = plans if "attention" in arguments.kinds else None
    drop_non_finite(tables, rows, examples, layers, language_model, whole, samples)
    sources = sources_of(arguments, tables, rows, plans, examples)
    if not arguments.random_weights:
        return sources, dict.fromkeys(sources)
    print("the same with random weights", flush=True)
    without = with_random_weights(language_model)
    tables, _, plans = run_pass(arguments, without, splits, layers, examples, {}, own_probability=False)
    if any(table.non_finite().any() for table in tables.values()):
        raise UserError(
            f"--random_weights: states of the random model are not finite in {language_model.dtype}; use "
            "--model_dtype float32, or leave it out"
        )
    rows = {question: {name: plans[name].rows(found[name]) for name in splits} for question, found in examples.items()}
    return sources, sources_of(arguments, tables, rows, plans, examples)


def sources_of(arguments, tables, rows, plans, examples):
    from utils.states.positions import ragged
    from utils.states.source import Source

    whole = "attention" in arguments.kinds
    return {
        question: Source(
            tables, rows[question], {name: ragged(plans[name], those) for name, those in found.items()} if whole else None
        )
        for question, found in examples.items()
    }


def train(arguments, targets, language_model, examples, samples, sources, random_sources, owner, tracking, seconds):
    """A sweep for each question, with its baselines."""
    from utils.base.progress import Progress
    from utils.sweep.document_scores import score_sweep
    from utils.sweep.judging import baseline_logits
    from utils.sweep.sweep import answer, make_task
    from utils.sweep.tracked_runs import Runs

    texts = texts_of(targets[0], language_model) if arguments.sequence_task else None
    device = language_model.device if language_model.device.type == "cuda" else "cpu"
    sweeps, remembered = [], {}
    with Progress("targets and lags", "sweep", len(sources)) as progress:
        for question, source in sources.items():
            splits, task = targets[question.target], make_task(arguments, examples[question], samples[question])
            metadata = splits["train"].metadata
            name = metadata["targets"][0]["name"]

            def start_runs(
                kind,
                lag=question.lag,
                name=name,
                layers=source.tables["train"].layers,
                shown=name if metadata["of_several"] else None,
            ):
                return Runs(arguments, tracking, {**owner, "target": name}, kind, lag, layers, shown)

            beside = baseline_logits(arguments, question.lag, task, splits, source, texts, remembered)
            sweeps.append(
                answer(
                    arguments,
                    question,
                    task,
                    source,
                    random_sources[question],
                    beside,
                    metadata,
                    start_runs,
                    device,
                    seconds,
                )
            )
            if arguments.max_val_tokens is None:  # a score of a document is one of all its tokens
                sweeps[-1].documents = score_sweep(sweeps[-1], splits, beside)
            progress.update(1, f"{name} at lag {question.lag}")
    return sweeps


def load_model(arguments, splits):
    """The model, after proof that the data were made with its tokenizer."""
    metadata = splits["train"].metadata
    name = arguments.model_name or metadata["model_name"]
    from utils.data.tokenizer import load_tokenizer, position_limit, tokenizer_fingerprint

    tokenizer = load_tokenizer(name)
    theirs, ours = metadata["tokenizer"]["fingerprint"], tokenizer_fingerprint(tokenizer)
    if theirs != ours:
        raise UserError(
            f"{arguments.train_data} was made with the tokenizer of {metadata['model_name']} ({theirs}), "
            f"--model_name {name} has another one ({ours}); prepare the data with --model_name {name}"
        )
    longest, limit = max(int(sequences.lengths.max()) for sequences in splits.values()), position_limit(name, tokenizer)
    if limit and longest > limit:
        raise UserError(
            f"{arguments.train_data} holds sequences of {longest} tokens, {name} has {limit} positions; prepare "
            "the data with a smaller --context_length"
        )
    from utils.model.language_model import load_language_model

    language_model = load_language_model(name, arguments.model_dtype, arguments.device)
    highest = max(int(sequences.input_ids.max()) for sequences in splits.values())
    if highest >= language_model.vocabulary:
        raise UserError(
            f"{arguments.train_data}: token id {highest} is out of range, {name} knows ids 0 to "
            f"{language_model.vocabulary - 1}; prepare the data with --model_name {name}"
        )
    print(
        f"{name}: {len(language_model.anatomy.blocks)} layers, hidden size {language_model.anatomy.hidden_size}, "
        f"{'causal' if language_model.anatomy.causal else 'bidirectional'}, "
        f"{str(language_model.dtype).removeprefix('torch.')} on {language_model.device}",
        flush=True,
    )
    return language_model


def texts_of(splits, language_model) -> dict[str, list[str]]:
    """{split: the text of each sequence: the original one where the data hold it, else its tokens, special ones left out}"""
    import numpy as np

    from utils.data.tokenizer import load_tokenizer

    if all(sequences.texts for sequences in splits.values()):
        return {
            name: [sequences.texts[document] for document in np.unique(sequences.documents, return_inverse=True)[1]]
            for name, sequences in splits.items()
        }
    tokenizer = load_tokenizer(language_model.name)
    return {
        name: [
            tokenizer.decode(ids[sequences.text_start : end].tolist())
            for ids, end in zip(sequences.input_ids, sequences.text_ends, strict=True)
        ]
        for name, sequences in splits.items()
    }


def tell_what_was_written(arguments, written):
    first, last = written[0][0], written[-1][0]
    print(
        f"wrote {len(written)} probes: {first}"
        + (f" ... {last.name}" if len(written) > 1 else "")
        + f"; tables: {Path(arguments.results_dir) / 'probe_results.csv'}, probe_metrics.csv, baselines.csv, "
        "run_record.json"
    )


def say_more(arguments, targets, language_model, sweeps, sources, owner, written):
    """What the directions say, and what was asked for beside the tables."""
    from utils.data.tokenizer import load_tokenizer
    from utils.sweep.after_sweep import tell_directions, write_export, write_learning_curve

    tokenizer = load_tokenizer(language_model.name)
    for line in tell_directions(arguments, sweeps, sources, targets, language_model, tokenizer, owner):
        print(line)
    if arguments.learning_curve:
        print(write_learning_curve(arguments, sweeps, sources, owner))
    if arguments.export:
        print(write_export(arguments, [path for path, _ in written]))


def show(sweep):
    """The tables of one lag: every layer where there is one probe a layer, else the best layer of each kind."""
    from utils.states.positions import lag_name
    from utils.sweep.outcome import table_layer
    from utils.sweep.report import document_table, gap, one_sided, sweep_table

    what = "sequences are positive" if sweep.of_sequences else "tokens are the target"
    print(
        f"\n{sweep.target!r}, lag {sweep.lag} ({lag_name(sweep.lag)}); {sweep.prevalence:.2%} of all {what}; "
        "thresholds from validation, intervals over groups"
    )
    probes = sweep.shown
    kinds = len({probe.kind for probe in sweep.chosen}) > 1
    names = [table_layer(probe.layer) + (f" {probe.kind}" if kinds else "") for probe in probes]
    for split in [name for name in ("val", "test") if name in probes[0].metrics]:
        entries = [(name, probe.metrics[split]) for name, probe in zip(names, probes, strict=True)]
        entries += [(f"({name})", by_split and by_split[split]) for name, by_split in sweep.baselines.items()]
        print(f"\n{sweep_table(entries, split)}")
        if entries[0][1]["groups"] < 3:
            print(f"no intervals: {entries[0][1]['groups']} group(s) in {split}, an interval over groups needs 3")
    print()
    for name, probe in zip(names, probes, strict=True):
        for split in ("val", "test"):
            warning = split in probe.metrics and one_sided(f"{name} on {split}", probe.metrics[split])
            if warning:
                print(warning, file=sys.stderr)
    for line in (*sweep.warnings, gap(sweep)):
        print(line)
    if sweep.documents:
        print(f"\n{document_table(sweep.documents)}")
        for line in sweep.documents.warnings:
            print(line)


def show_together(sweeps):
    """One line a question: its winner on validation, beside the best baseline there."""
    from utils.sweep.report import sweeps_table

    print(f"\nthe probe that validation chose for each target and lag\n{sweeps_table(sweeps)}")
    if len(sweeps) > MOST_TABLES:
        for sweep in sweeps:
            for line in (*sweep.warnings, *(sweep.documents.warnings if sweep.documents else ())):
                print(f"{sweep.target!r}, lag {sweep.lag}: {line}")


if __name__ == "__main__":
    run(main)
