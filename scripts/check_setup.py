#!/usr/bin/env python3
"""Prove that machine, model and tokenizer are fit, and say what a run will take, before hours are spent."""

import shlex
import sys
import time

from utils.base.cli.parser import Parser, quiet_libraries, run
from utils.base.errors import UserError
from utils.base.progress import Progress, readable_time
from utils.sweep.flags import add_data_flags, add_model_flags, add_reading_flags, add_training_flags, check_flags

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
    return check_flags(build_parser().parse_args(argv))


class Checks(list):
    """Shows every check as it is made."""

    def show(self, check):
        self.append(check)
        print(f"  {check}", flush=True)
        return check


def main(argv=None):
    arguments = parse(argv)
    quiet_libraries()
    checks, seconds = Checks(), {}
    if not machine_is_fit(arguments, checks, seconds):
        return judge(arguments, checks)
    from utils.states.sites import parse_layers

    started = time.perf_counter()
    targets = load_data(arguments)
    splits = targets and targets[0]
    tokenizer, language_model = load_model(arguments, checks)
    seconds["load"] += time.perf_counter() - started
    parse_layers(arguments.layers, len(language_model.anatomy.blocks), language_model.anatomy.final_norm is not None)
    model_is_fit(arguments, checks, language_model, tokenizer, splits)
    if splits and data_fit_the_model(arguments, checks, splits, language_model, tokenizer):
        estimate(arguments, checks, targets, language_model, seconds)
    return judge(arguments, checks)


def machine_is_fit(arguments, checks, seconds) -> bool:
    """False where nothing more can be tried."""
    from utils.model.machine_checks import check_device, check_versions

    print("machine")
    if not checks.show(check_versions()).passed:
        return False
    started = time.perf_counter()
    import torch  # noqa: F401  part of what loading takes

    seconds["load"] = time.perf_counter() - started
    return checks.show(check_device(arguments.device)).passed is not False or arguments.device == "auto"


def load_data(arguments):
    """{split: Sequences} of each target, or None without --train_data. Settles which model is meant."""
    targets = None
    if arguments.train_data:
        from utils.sweep.questions import load_splits, split_targets

        targets = split_targets(arguments, load_splits(arguments))
    of_the_data = targets[0]["train"].metadata["model_name"] if targets else DEFAULT_MODEL
    arguments.model_name = arguments.model_name or of_the_data
    return targets


def load_model(arguments, checks):
    from utils.base.checks import Check
    from utils.data.tokenizer import load_tokenizer
    from utils.model.language_model import load_language_model

    print(f"\nmodel {arguments.model_name}")
    started = time.perf_counter()
    tokenizer = load_tokenizer(arguments.model_name)
    language_model = load_language_model(arguments.model_name, arguments.model_dtype, arguments.device)
    anatomy = language_model.anatomy
    seconds = readable_time(time.perf_counter() - started)
    attention = "causal" if anatomy.causal else "bidirectional"
    last_norm = "with" if anatomy.final_norm is not None else "without"
    detail = (
        f"{seconds}; a {type(language_model.model).__name__} of {len(anatomy.blocks)} layers, hidden size "
        f"{anatomy.hidden_size}, {attention}, {last_norm} a last norm; tokenizer of {len(tokenizer):,} tokens"
    )
    checks.show(Check("loading", True, detail))
    return tokenizer, language_model


def model_is_fit(arguments, checks, language_model, tokenizer, splits):
    from utils.data.tokenizer import position_limit
    from utils.model.machine_checks import check_dtype
    from utils.model.tokenizer_checks import check_bos, check_special_tokens, check_tokenizer, framed_sentences, ids_beyond
    from utils.states.checks import check_states

    limit = position_limit(arguments.model_name, tokenizer)
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


def data_fit_the_model(arguments, checks, splits, language_model, tokenizer) -> bool:
    from utils.base.checks import Check
    from utils.data.tokenizer import position_limit, tokenizer_fingerprint

    print(f"\ndata {arguments.train_data}")
    metadata, name = splits["train"].metadata, arguments.model_name
    theirs, ours = metadata["tokenizer"]["fingerprint"], tokenizer_fingerprint(tokenizer)
    same = checks.show(
        Check(
            "data's tokenizer",
            theirs == ours,
            f"made with that of {metadata['model_name']} ({theirs}), {name} has {ours}",
            f"prepare the data with --model_name {name}",
        )
    )
    longest, limit = max(int(sequences.lengths.max()) for sequences in splits.values()), position_limit(name, tokenizer)
    fits = checks.show(
        Check(
            "length",
            not limit or longest <= limit,
            f"the longest sequence has {longest} tokens, the model {f'{limit:,}' if limit else 'unlimited'} positions",
            "use a smaller --context_length",
        )
    )
    highest, most = max(int(sequences.input_ids.max()) for sequences in splits.values()), language_model.vocabulary
    known = checks.show(
        Check(
            "ids",
            highest < most,
            f"the data's highest token id is {highest:,}, the model knows 0 to {most - 1:,}",
            f"prepare the data with --model_name {name}",
        )
    )
    return same.passed and fits.passed and known.passed


def estimate(arguments, checks, targets, language_model, seconds):
    """Time, memory, disk and the largest batch of the run that the same flags start."""
    splits = targets[0]
    import psutil

    from utils.base.checks import Check
    from utils.sweep.estimate import (
        PeakMemory,
        count_run,
        largest_batch,
        peak_of_run,
        seconds_of_pass,
        seconds_of_training,
        share_in_cache,
    )

    try:
        planned = count_run(arguments, language_model, targets)
    except UserError as error:
        checks.show(Check("run", False, "train_probe.py would refuse it", str(error)))
        return
    print(
        f"\nrun of train_probe.py: {planned.states:,} states in {len(planned.layers)} layers, lags "
        f"{', '.join(map(str, planned.lags))}"
    )
    with Progress("measure", "step", len(splits) + 2) as progress, PeakMemory() as memory:
        most, how = largest_batch(language_model, splits, planned, arguments.batch_size)
        if most:
            seconds["pass"] = seconds_of_pass(arguments, planned, language_model, splits, progress.update)
            peak = peak_of_run(planned, memory.peak)
            cached = share_in_cache(arguments, planned, language_model, splits)
            seconds["pass"] *= 1 - cached
            seconds["training"] = seconds_of_training(arguments, planned, language_model, progress.update)
    used = min(arguments.batch_size, max(map(len, splits.values())))
    checks.show(
        Check(
            "batch size",
            most >= used,
            f"--batch_size {arguments.batch_size}, the largest is about {most:,} ({how})",
            f"use --batch_size {most}" if most else "use a smaller --model_dtype",
        )
    )
    if not most:
        return
    checks.show(
        Check(
            "time",
            True,
            f"{readable_time(sum(seconds.values()))} in all: "
            + ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items())
            + ("" if arguments.kinds == ["linear"] else "; of the training, linear probes only are timed")
            + (f"; {cached:.0%} of the states are in {planned.folder} already" if cached else ""),
        )
    )
    free = psutil.virtual_memory().available + memory.before
    checks.show(
        Check(
            "memory",
            peak <= free,
            f"{peak / 1e9:.2f} GB at most, {free / 1e9:.1f} GB can be had",
            "use a smaller --batch_size, --memory_gb or fewer layers",
        )
    )
    checks.show(check_disk(planned))


def check_disk(planned):
    import os
    from pathlib import Path

    from utils.base.checks import Check
    from utils.states.extraction import require_disk_space

    size = f"{planned.states:,} states in {len(planned.layers)} layers are {planned.bytes / 1e9:.3f} GB"
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


def judge(arguments, checks):
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
        print(f"next: python scripts/prepare_data.py --model_name {arguments.model_name}")
    return 0


if __name__ == "__main__":
    run(main)
