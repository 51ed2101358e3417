#!/usr/bin/env python3
"""A YAML file, a section a script -> the steps, one after the other, each shown as the shell command it stands for."""

import contextlib
import importlib
import io
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from utils.base.cli.config_file import check_keys, give_way
from utils.base.cli.parser import Parser, run
from utils.base.cli.words import actions_of, as_words
from utils.base.cli.yaml_file import fault, nearest, read_experiment
from utils.base.errors import UsageError, UserError
from utils.base.paths import file_path
from utils.base.progress import readable_time

SCRIPTS = Path(__file__).resolve().parent
GRACE = 3  # seconds: a step that was signalled together with this process ends by itself, and a second signal would hurt


def build_parser() -> Parser:
    parser = Parser(__file__, __doc__, "next: python scripts/run_experiment.py configs/demo.yaml --dry_run", config=False)
    parser.add_argument(
        "--from", metavar="STEP", help="the section to start at; those before it are skipped (default: the first)"
    )
    parser.add_argument(
        "--set",
        action="append",
        metavar="SECTION.FLAG=VALUE",
        help='for a quick trial, a value in place of the one in the file: "train_probe.layer_sweep=0,3"; repeat it for '
        "each flag; true or false for a flag that stands alone (default: none)",
    )
    parser.add_argument("--dry_run", action="store_true", help="check everything and print the commands, run none")
    parser.add_argument("experiment", nargs="?", type=file_path, help="YAML file, such as configs/demo.yaml")
    return parser


def parse(argv):
    return build_parser().parse_args(argv)


def main(argv=None):
    arguments = parse(argv)
    if arguments.experiment is None:
        raise UsageError("no experiment was given; try: python scripts/run_experiment.py configs/demo.yaml")
    steps, settings = read_experiment(arguments.experiment), read_settings(arguments.set or ())
    commands = [command(step.script, words) for step, words in check_all(arguments.experiment, steps, settings)]
    again = [arguments.experiment, *(word for setting in arguments.set or () for word in ("--set", setting))]
    first = index_of(arguments.experiment, steps, getattr(arguments, "from"))
    comment = "# " if arguments.dry_run else ""
    if first:
        print(f"{comment}left out by --from: {', '.join(step.name for step in steps[:first])}", flush=True)
    for index in range(first, len(steps)):
        title = f"step {index + 1} of {len(steps)}, {steps[index].name}"
        print(f"{comment}{title}\n{shlex.join(['python', *commands[index]])}", flush=True)
        if not arguments.dry_run:
            started = time.monotonic()
            run_step(title, commands[index], [*again, "--from", steps[index].name])
            if index < len(steps) - 1:  # the last word is the last step's
                print(f"{title}, took {readable_time(time.monotonic() - started)}\n", flush=True)
    return 0


def command(script, words) -> list[str]:
    """What follows `python`; the script's path as one would type it here."""
    return [os.path.relpath(SCRIPTS / f"{script}.py"), *words]


def read_settings(texts) -> dict[str, dict[str, str]]:
    """['train_probe next.layer-sweep=0,3'] -> {'train_probe next': {'layer_sweep': '0,3'}}"""
    settings = {}
    for text in texts:
        place, equals, value = text.partition("=")
        section, dot, key = place.rpartition(".")
        section, key = " ".join(section.split()), key.strip().removeprefix("--").replace("-", "_")
        if not (equals and dot and section and key):
            raise UsageError(f"--set {text!r} is not SECTION.FLAG=VALUE, such as train_probe.layer_sweep=0,3")
        if key in settings.setdefault(section, {}):
            raise UsageError(f"--set {section}.{key} is given twice; give it once")
        settings[section][key] = value
    return settings


def index_of(path, steps, name) -> int:
    names = [step.name for step in steps]
    wanted = names[0] if name is None else " ".join(name.split())
    if wanted not in names:
        raise UsageError(f"--from {name!r} is no section of {path}; {nearest(wanted, names)}")
    return names.index(wanted)


def check_all(path, steps, settings):
    """[(step, words of its command line)], every one accepted by its script's own `parse`: what is wrong with the last
    section is said before the first has run. settings: what `read_settings` returns.
    """
    known = sorted(file.stem for file in SCRIPTS.glob("*.py") if file.stem != Path(__file__).stem)
    for step in steps:
        if step.script not in known:
            raise fault(path, f"unknown section {step.name!r}; {nearest(step.script, known, 'the scripts are')}", step.line)
    names = [step.name for step in steps]
    for section, given in settings.items():
        if section not in names:
            raise UsageError(f"--set {section}.{next(iter(given))}: {path} has no such section; {nearest(section, names)}")
    return [(step, check_step(path, step, settings.get(step.name, {}))) for step in steps]


def check_step(path, step, given) -> list[str]:
    """The words of its command line. given: {flag: text} of --set, which stand in place of what the file says."""
    script = importlib.import_module(step.script)
    actions = actions_of(script.build_parser())
    step = check_keys(path, step, actions)
    given = {key: switched(key, text, actions) for key, text in given.items()}
    for key, value in given.items():
        check_keys(f"--set {step.name}.{key}", replace(step, name=None, values={key: value}, lines={key: None}), actions)
    words = as_words({**give_way(step.values, given)[0], **given})
    refusal = refused(script, words)
    if refusal:
        named = re.findall(r"--(\w+)", refusal)
        if set(named) & set(given):
            raise fault(f"{path} with --set", refusal, section=step.name)
        raise fault(path, refusal, next((step.lines[key] for key in named if key in step.lines), step.line), step.name)
    return words


def switched(key, text, actions) -> str | bool:
    """True and False for a flag that can stand alone."""
    alone = key in actions and actions[key].nargs in (0, "?")
    return {"true": True, "false": False}.get(text.lower(), text) if alone else text


def refused(script, words) -> str:
    """The message with which a script's `parse` refuses its command line; empty where it takes it."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):  # notes are for the step itself
            script.parse(words)
    except UserError as error:
        return str(error)
    except SystemExit:
        return said.getvalue().partition(": error: ")[2].strip()
    return ""


def run_step(title, words, again):
    """Run one script on our own standard output and error. Raises UserError where it fails; `again`: the arguments of this
    script that start here once more.
    """
    go_on = shlex.join(["python", *command(Path(__file__).stem, again)])
    with subprocess.Popen([sys.executable, *words]) as process:
        try:
            status = process.wait()
        except KeyboardInterrupt:
            end(process, signal.SIGINT)
            print(f"{title}: interrupted; to go on: {go_on}", flush=True)
            raise
        except SystemExit:  # what `run` makes of SIGTERM
            end(process, signal.SIGTERM)
            raise
    if status:
        how = f"exit status {status}" if status > 0 else f"signal {-status} ({signal.strsignal(-status)})"
        raise UserError(f"{title}, failed with {how}, the steps after it were not run; mend it, then: {go_on}")


def end(process, number):
    """Wait for the step to end by the signal that it got with us (Ctrl-C reaches both), else send it on."""
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
        process.wait()


if __name__ == "__main__":
    run(main)
