#!/usr/bin/env python3
"""Labelled sequences -> probes of every target, layer, lag, kind, seed and penalty, from one pass of the model."""

from utils.base.processes.signals import listen

if __name__ == "__main__":
    listen()  # first, so that Ctrl-C during the imports shows no traceback

import shlex
import sys
from pathlib import Path

from utils.base.cli.parser import Parser, quiet_libraries, run
from utils.base.errors import UserError
from utils.base.files import require_writable_folder
from utils.base.paths import folder_path
from utils.base.stopwatch import Stopwatch
from utils.base.text_table import how_many
from utils.probes.kinds import PAGE_KINDS
from utils.states.flags import add_model_flags, add_reading_flags
from utils.sweep.flags import (
    add_data_flags,
    add_training_flags,
    asking_of,
    check_training_flags,
    files_of,
    fitting_of,
    reading_of,
    record_of,
    sampling_of,
    settings_text,
)
from utils.sweep.refits.flags import add_comparison_flags, check_comparison_flags


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
    output.add_argument("--output_dir", type=folder_path, default="models", help="folder for the probes")
    output.add_argument("--results_dir", type=folder_path, default="results", help="folder for the tables")
    output.add_argument("--export", type=folder_path, help="also write all probes into one file there, probes.safetensors")
    output.add_argument(
        "--overwrite", action="store_true", help="delete probes and tables of another model or dataset from these folders"
    )
    output.add_argument("--wandb_project", default="probe-training", help="Weights & Biases project")
    output.add_argument("--wandb_group", help="name that the runs of this sweep share (default: layer-sweep-LAG)")
    output.add_argument("--no_wandb", action="store_true", help="log nothing to Weights & Biases")
    return parser


def parse(argv):
    return check_comparison_flags(check_training_flags(build_parser().parse_args(argv)))


def main(argv=None):
    arguments = parse(argv)
    for flag in ("output_dir", "results_dir", *(["export"] if arguments.export else [])):
        require_writable_folder(getattr(arguments, flag), f"--{flag}")
    quiet_libraries()
    watch = Stopwatch()
    with watch("load"):
        targets = files_of(arguments).load_targets()
        language_model = load_model(arguments, targets[0])
        saes = load_saes(arguments, language_model)
    this_run, sweeps, sources = sweep(arguments, targets, language_model, watch)
    say_more(arguments, this_run, sweeps, sources, saes)
    print(f"next: {page(arguments)}python scripts/visualize_results.py --results_dir {shlex.quote(arguments.results_dir)}")
    return 0


def page(arguments) -> str:
    """Give the command that shows the probes on texts, where there is a page for them."""
    if not set(arguments.probe) & set(PAGE_KINDS):
        return ""
    return f"python scripts/visualize_probe.py --probe_dir {shlex.quote(arguments.output_dir)}; "


def sweep(arguments, targets, language_model, watch):
    """Go from loaded data and model to saved probes and tables, and show them.

    targets: {split: Sequences} of each, of the same windows. Return the Run, sweeps and {question's key: Source}.
    """
    from utils.base.tracking import tracker
    from utils.saved.export import refuse_other_export
    from utils.saved.owners import refuse_to_mix
    from utils.sweep.after_sweep import save
    from utils.sweep.refits.bootstrap import refit
    from utils.sweep.report.whole import show_sweeps

    this_run = describe_run(arguments, targets, language_model)
    asking = asking_of(arguments, targets, language_model.anatomy.causal)
    owner, output = this_run.owner, this_run.output
    refuse_to_mix(output.probes, output.results, owner, output.overwrite)
    if output.export:
        refuse_other_export(output.export, owner, output.overwrite)
    tracking = tracker(not arguments.no_wandb, arguments.wandb_project)
    questions = asking.draw(targets, this_run.sampling)
    questions, sources, random_sources, comparison = read(this_run, questions, arguments.random_weights, watch)
    with watch("train"):
        sweeps = train(arguments, this_run, questions, sources, random_sources, tracking)
    record = {
        "command": sys.argv,
        "arguments": record_of(arguments, this_run.sampling, targets),
        **vars(owner),
        "states_beside_transformers": comparison,
        "seconds": watch.seconds,
    }
    written, exported = save(this_run, sweeps, record)  # first: what follows may fail
    if arguments.refit_bootstrap:
        for found in sweeps:
            print(refit(found, sources[found.question.key], this_run.fitting, arguments.refit_bootstrap), flush=True)
        written, exported = save(this_run, sweeps, record)
    tell_what_was_written(arguments, written, exported)
    show_sweeps(sweeps)
    return this_run, sweeps, sources


def describe_run(arguments, targets, language_model):
    """Say what the run is about: a Run."""
    from utils.saved.owners import Owner, fingerprints_in
    from utils.sweep.saving import Output, Run

    sampling, reading = sampling_of(arguments, targets), reading_of(arguments, language_model.anatomy)
    output = Output(arguments.output_dir, arguments.results_dir, arguments.export, arguments.overwrite)
    data, settings = targets[0]["train"].dataset_fingerprint, settings_text(arguments, sampling, targets)
    model = language_model.named_in(fingerprints_in(output.probes, output.results, data))
    owner = Owner(language_model.name, model, data, settings)
    return Run(language_model, owner, reading, sampling, fitting_of(arguments, sampling), output)


def read(this_run, questions, random_weights, watch):
    """Read the states of the model, and where it is asked for of the same model with random weights.

    Return the questions, without the examples whose states are not finite, and {question's key: Source} of both models
    (None for the second where it is not asked for), and how far the states lay from those of transformers.
    """
    from utils.model.random_weights import with_random_weights
    from utils.states.extraction import drop_non_finite, run_pass

    states = run_pass(this_run.reading, this_run.language_model, questions)
    watch.seconds["pass"] = states.seconds
    questions = drop_non_finite(states, this_run.language_model, questions)
    sources = {question.key: states.source(question) for question in questions}
    if not random_weights:
        return questions, sources, dict.fromkeys(sources), states.comparison
    print("the same with random weights", flush=True)
    without = with_random_weights(this_run.language_model)
    random_states = run_pass(this_run.reading, without, questions, own_probability=False)
    if any(table.non_finite().any() for table in random_states.tables.values()):
        raise UserError(
            f"--random_weights: states of the random model are not finite in {without.dtype}; use "
            "--model_dtype float32, or leave it out"
        )
    return questions, sources, {question.key: random_states.source(question) for question in questions}, states.comparison


def train(arguments, this_run, questions, sources, random_sources, tracking):
    """Answer each question: a sweep with its baselines."""
    from utils.base.progress import Progress
    from utils.sweep.judging import baseline_logits, score_sweep
    from utils.sweep.questions import surroundings_of, texts_of
    from utils.sweep.sweep import answer
    from utils.sweep.tracked_runs import Runs

    language_model, fitting = this_run.language_model, this_run.fitting
    texts = texts_of(questions[0].sequences, language_model) if questions[0].of_sequences else None
    surroundings = surroundings_of(questions[0].sequences, language_model)
    device = language_model.device if language_model.device.type == "cuda" else "cpu"
    sweeps, remembered = [], {}
    with Progress("targets and lags", "sweep", len(questions)) as progress:
        for question in questions:
            source, common = sources[question.key], {**vars(this_run.owner), "target": question.name}

            def start_runs(kind, question=question, source=source, common=common):
                return Runs(tracking, arguments.wandb_group, common, kind, question, source.layers, fitting)

            baselines = baseline_logits(question, source, surroundings, texts, remembered)
            found = answer(question, source, random_sources[question.key], fitting, baselines, start_runs, device)
            if arguments.max_val_tokens is None:  # a score of a document is one of all its tokens
                found.documents = score_sweep(found, baselines)
            sweeps.append(found)
            progress.update(1, f"{question.name} at lag {question.lag}")
    return sweeps


def load_model(arguments, splits):
    """Load the model, after proof that the data were made with its tokenizer."""
    from utils.data.tokenizer import load_tokenizer
    from utils.model.belonging import check_ids, check_length, check_tokenizer_of_data, require

    name, path = arguments.model_name or splits["train"].model_name, arguments.train_data
    tokenizer = load_tokenizer(name, trust_remote_code=arguments.trust_remote_code)
    require(check_tokenizer_of_data(path, splits, name, tokenizer))
    require(check_length(path, splits, name, arguments.trust_remote_code))
    from utils.model.language_model import load_language_model

    language_model = load_language_model(name, arguments.model_dtype, arguments.device, arguments.trust_remote_code)
    require(check_ids(path, splits, language_model))
    anatomy = language_model.anatomy
    print(
        f"{name}: {how_many(len(anatomy.blocks), 'layer')}, hidden size {anatomy.hidden_size}, "
        f"{'causal' if anatomy.causal else 'bidirectional'}, "
        f"{str(language_model.dtype).removeprefix('torch.')} on {language_model.device}",
        flush=True,
    )
    for note in language_model.notes:
        print(note, flush=True)
    return language_model


def load_saes(arguments, language_model):
    """Load the sparse autoencoders whose latents are probed, of the layers that are read."""
    from utils.sae.chosen import autoencoders_at

    if not arguments.sae:
        return []
    return autoencoders_at(arguments.sae, language_model, reading_of(arguments, language_model.anatomy).layers)


def tell_what_was_written(arguments, written, exported):
    first, last = written[0][0], written[-1][0]
    others = f" ... {last.name}" if len(written) > 1 else ""
    table = Path(arguments.results_dir) / "probe_results.csv"
    print(
        f"wrote {len(written)} probes: {first}{others}; tables: {table}, probe_metrics.csv, baselines.csv, run_record.json"
    )
    if exported:
        print(exported)


def say_more(arguments, this_run, sweeps, sources, saes):
    """Say what the directions mean, and write what was asked for beside the tables."""
    from utils.data.tokenizer import load_tokenizer
    from utils.sweep.after_sweep import write_codelength, write_latents, write_learning_curve, write_sweep_directions

    language_model = this_run.language_model
    tokenizer = load_tokenizer(language_model.name, trust_remote_code=language_model.trust_remote_code)
    for line in write_sweep_directions(this_run, sweeps, sources, tokenizer):
        print(line)
    if arguments.learning_curve:
        print(write_learning_curve(this_run, sweeps, sources))
    if arguments.codelength:
        print(write_codelength(this_run, sweeps, sources))
    if saes:
        print(write_latents(this_run, sweeps, sources, saes, tokenizer))


if __name__ == "__main__":
    run(main)
