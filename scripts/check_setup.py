#!/usr/bin/env python3
"""Prove that machine, model and tokenizer are fit, and say what a run will take, before hours are spent."""

from utils.base.processes.signals import listen

if __name__ == "__main__":
    listen()  # first, so that Ctrl-C during the imports shows no traceback

import shlex
import sys
import time

from utils.base.cli.parser import Parser, quiet_libraries, run
from utils.base.errors import UserError
from utils.base.progress import Progress, readable_time
from utils.base.stopwatch import Stopwatch
from utils.base.text_table import how_many
from utils.states.flags import add_model_flags, add_reading_flags
from utils.sweep.flags import (
    add_data_flags,
    add_training_flags,
    asking_of,
    check_training_flags,
    files_of,
    fitting_of,
    reading_of,
    sampling_of,
)

DEFAULT_MODEL = "unsloth/gemma-3-270m"


def build_parser() -> Parser:
    parser = Parser(
        __file__,
        __doc__ + " Takes the flags that train_probe.py will be given.",
        epilog="next: python scripts/prepare_data.py, or with --train_data: python scripts/train_probe.py",
    )
    add_model_flags(parser, default=f"the data's own, without data {DEFAULT_MODEL}")
    add_data_flags(
        parser, default=None, help="file of labelled sequences that a run is estimated for (default: none, and no estimate)"
    )
    add_reading_flags(parser)
    add_training_flags(parser)
    return parser


def parse(argv):
    return check_training_flags(build_parser().parse_args(argv))


class Checks(list):
    """Shows every check as it is made."""

    def show(self, check):
        self.append(check)
        print(f"  {check}", flush=True)
        return check


def main(argv=None):
    arguments = parse(argv)
    quiet_libraries()
    checks, watch = Checks(), Stopwatch()
    if not machine_is_fit(arguments, checks, watch):
        return judge(arguments, checks, arguments.model_name or DEFAULT_MODEL)
    with watch("load"):
        targets = files_of(arguments).load_targets() if arguments.train_data else None
        name = arguments.model_name or (targets[0]["train"].model_name if targets else DEFAULT_MODEL)
        tokenizer, language_model = load_model(arguments, name, checks)
    reading = reading_of(arguments, language_model.anatomy)
    splits = targets and targets[0]
    model_is_fit(arguments, checks, language_model, tokenizer, splits)
    if splits and data_fit_the_model(arguments.train_data, checks, splits, language_model, tokenizer):
        estimate(arguments, checks, targets, language_model, reading, watch)
    return judge(arguments, checks, name)


def machine_is_fit(arguments, checks, watch) -> bool:
    """Check the machine. Return False where nothing more can be tried."""
    from utils.model.machine_checks import check_device, check_versions

    print("machine")
    if not checks.show(check_versions()).passed:
        return False
    with watch("load"):
        import torch  # noqa: F401  part of what loading takes
    return checks.show(check_device(arguments.device)).passed is not False or arguments.device == "auto"


def load_model(arguments, name, checks):
    from utils.base.checks import Check
    from utils.data.tokenizer import load_tokenizer
    from utils.model.language_model import load_language_model

    print(f"\nmodel {name}")
    started = time.perf_counter()
    tokenizer = load_tokenizer(name, trust_remote_code=arguments.trust_remote_code)
    language_model = load_language_model(name, arguments.model_dtype, arguments.device, arguments.trust_remote_code)
    anatomy = language_model.anatomy
    seconds = readable_time(time.perf_counter() - started)
    attention = "causal" if anatomy.causal else "bidirectional"
    last_norm = "with" if anatomy.final_norm is not None else "without"
    detail = (
        f"{seconds}; a {type(language_model.model).__name__} of {how_many(len(anatomy.blocks), 'layer')}, hidden size "
        f"{anatomy.hidden_size}, {attention}, {last_norm} a last norm; tokenizer of {len(tokenizer):,} tokens"
    )
    checks.show(Check("loading", True, detail))
    return tokenizer, language_model


def model_is_fit(arguments, checks, language_model, tokenizer, splits):
    from utils.data.position_limit import position_limit
    from utils.model.machine_checks import check_dtype, check_weights
    from utils.model.tokenizer_checks import check_bos, check_special_tokens, check_tokenizer, framed_sentences, ids_beyond
    from utils.states.checks import check_states

    limit = position_limit(language_model.name, language_model.trust_remote_code)
    checks.show(check_weights(language_model))
    checks.show(check_dtype(language_model, arguments.model_dtype))
    checks.show(check_special_tokens(tokenizer))
    own = checks.show(check_tokenizer(language_model, tokenizer, limit))
    if ids_beyond(language_model, tokenizer):
        print("  not checked, for lack of embeddings: BOS and hidden states")
        return
    if own.passed is False:  # what the model says about a text tells nothing then
        print("  not checked with another model's tokenizer: BOS")
    else:
        checks.show(check_bos(language_model, tokenizer, limit))
    framed = framed_sentences(tokenizer, limit)
    if splits:
        framed += longest_of_the_data(splits["train"], language_model, limit)
    for check in check_states(language_model, framed):
        checks.show(check)


def longest_of_the_data(sequences, language_model, limit) -> list[list[int]]:
    """The data's longest sequence, where the model can read it: some faults begin with length."""
    row = int(sequences.lengths.argmax())
    ids = sequences.input_ids[row, : sequences.lengths[row]].tolist()
    return [ids] if max(ids) < language_model.vocabulary and len(ids) <= (limit or len(ids)) else []


def data_fit_the_model(path, checks, splits, language_model, tokenizer) -> bool:
    from utils.model.belonging import check_ids, check_length, check_tokenizer_of_data

    print(f"\ndata {path}")
    name = language_model.name
    same = checks.show(check_tokenizer_of_data(path, splits, name, tokenizer))
    fits = checks.show(check_length(path, splits, name, language_model.trust_remote_code))
    known = checks.show(check_ids(path, splits, language_model))
    return same.passed and fits.passed and known.passed


def estimate(arguments, checks, targets, language_model, reading, watch):
    """Estimate time, memory, disk and the largest batch of the run that the same flags start."""
    from utils.base.checks import Check
    from utils.sweep.estimate import plan_run

    sampling = sampling_of(arguments, targets)
    try:
        asking = asking_of(arguments, targets, language_model.anatomy.causal)
        planned = plan_run(reading, language_model, asking.draw(targets, sampling))
    except UserError as error:
        checks.show(Check("run", False, "train_probe.py would refuse it", str(error)))
        return
    print(
        f"\nrun of train_probe.py: {planned.states:,} states in {how_many(len(reading.layers), 'layer')}, lags "
        f"{', '.join(map(str, asking.lags))}"
    )
    for check in measure(planned, fitting_of(arguments, sampling), language_model, watch.seconds):
        checks.show(check)


def measure(planned, fitting, language_model, seconds):
    """Measure a few batches and training steps of a planned run; give a check for each thing that could run out.

    seconds: of what was done already, by name.
    """
    import psutil

    from utils.base.checks import Check
    from utils.sweep import estimate as estimates

    batch_size, seconds = planned.reading.batch_size, dict(seconds)
    with Progress("measure", "step", len(planned.splits) + 3) as progress, estimates.PeakMemory() as memory:
        most, how = estimates.largest_batch(planned, language_model)
        if most:
            of_pass = estimates.seconds_of_pass(planned, language_model, progress.update)
            peak = estimates.peak_of_run(planned, memory.peak)
            cached = estimates.share_in_cache(planned, language_model)
            seconds["pass"] = of_pass * (1 - cached)
            seconds["training"] = estimates.seconds_of_training(planned, fitting, language_model, progress.update)
            seconds["baselines"] = estimates.seconds_of_baselines(planned.questions, language_model)
            progress.update(1)
    used = min(batch_size, max(map(len, planned.splits.values())))
    remedy = f"use --batch_size {most}" if most else "use a smaller --model_dtype"
    found = [Check("batch size", most >= used, f"--batch_size {batch_size}, the largest is about {most:,} ({how})", remedy)]
    if not most:
        return found
    by_name = ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items())
    linear = "" if fitting.kinds == ("linear",) else "; of the training, linear probes only are timed"
    kept = f"; {cached:.0%} of the states are in {planned.folder} already" if cached else ""
    found.append(Check("time", True, f"{readable_time(sum(seconds.values()))} in all: {by_name}{linear}{kept}"))
    free = psutil.virtual_memory().available + memory.before
    detail = f"{peak / 1e9:.2f} GB at most, {free / 1e9:.1f} GB can be had"
    found.append(Check("memory", peak <= free, detail, "use a smaller --batch_size, --memory_gb or fewer layers"))
    return [*found, check_disk(planned)]


def check_disk(planned):
    import os
    from pathlib import Path

    from utils.base.checks import Check
    from utils.states.extraction import require_disk_space

    size = f"{planned.states:,} states in {how_many(len(planned.reading.layers), 'layer')} are {planned.bytes / 1e9:.3f} GB"
    if planned.folder is None:
        return Check("disk", True, f"{size}: they stay in memory, --memory_gb allows {planned.budget / 1e9:.1f} GB")
    slow = "; reading them from there makes training slower than said" if planned.bytes > planned.budget else ""
    folder = Path(planned.folder).resolve()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        return Check("disk", False, f"{size}, and nothing can be written into {planned.folder}", "give another --cache_dir")
    try:
        require_disk_space(Path(planned.folder), planned.bytes)
    except UserError as error:
        return Check("disk", False, f"{size}", str(error))
    return Check("disk", True, f"{size}, which fit into {planned.folder}{slow}")


def judge(arguments, checks, name):
    failed = [check for check in checks if check.passed is False]
    if failed:
        raise UserError(
            f"{len(failed)} of {len(checks)} checks failed: "
            + "; ".join(f"{check.name} ({check.detail}; {check.remedy})" for check in failed)
        )
    notes = sum(check.passed is None for check in checks)
    print(f"\n{len(checks) - notes} checks passed, {notes} note(s)")
    if arguments.train_data:
        print(f"next: {shlex.join(['python', 'scripts/train_probe.py', *sys.argv[1:]])}")
    else:
        print(f"next: python scripts/prepare_data.py --model_name {name}")
    return 0


if __name__ == "__main__":
    run(main)
