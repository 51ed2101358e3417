#!/usr/bin/env python3
"""A YAML file, a section a script -> the steps, one after the other, each shown as the shell command it stands for."""

import contextlib
import difflib
import importlib
import io
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from os.path import expanduser
from pathlib import Path

from utils.command_line import Parser, readable_time, run
from utils.errors import UsageError, UserError
from utils.experiments import fault, read_experiment

SCRIPTS = Path(__file__).resolve().parent
GRACE = 3  # seconds: a step that was signalled together with this process ends by itself, and a second signal would hurt


def parse(argv):
    parser = Parser(__doc__, epilog="next: python scripts/run_experiment.py configs/demo.yaml --dry_run")
    parser.add_argument("--from", metavar="STEP", help="the section to start at, those before it are left out (default: the "
                                                       "first)")
    parser.add_argument("--dry_run", action="store_true", help="check everything and print the commands, run none")
    parser.add_argument("experiment", nargs="?", type=expanduser, help="YAML file, such as configs/demo.yaml")
    return parser.parse_args(argv)


def main(argv=None):
    arguments = parse(argv)
    if arguments.experiment is None:
        raise UsageError("no experiment was given; try: python scripts/run_experiment.py configs/demo.yaml")
    steps = read_experiment(arguments.experiment)
    commands = [command(step.script, words) for step, words in check_all(arguments.experiment, steps)]
    first = index_of(arguments.experiment, steps, getattr(arguments, "from"))
    comment = "# " if arguments.dry_run else ""
    if first:
        print(f"{comment}left out by --from: {', '.join(step.name for step in steps[:first])}", flush=True)
    for index in range(first, len(steps)):
        title = f"step {index + 1} of {len(steps)}, {steps[index].name}"
        print(f"{comment}{title}\n{shlex.join(['python', *commands[index]])}", flush=True)
        if not arguments.dry_run:
            started = time.monotonic()
            run_step(title, commands[index], [arguments.experiment, "--from", steps[index].name])
            if index < len(steps) - 1:  # the last word is the last step's
                print(f"{title}, took {readable_time(time.monotonic() - started)}\n", flush=True)
    return 0


def command(script, words) -> list[str]:
    """What follows `python`; the script's path as one would type it here."""
    return [os.path.relpath(SCRIPTS / f"{script}.py"), *words]


def nearest(name, names, otherwise="there are") -> str:
    """The end of an error about an unknown name: the one that was meant, else all that there are."""
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"{otherwise} {', '.join(names)}"


def index_of(path, steps, name) -> int:
    names = [step.name for step in steps]
    wanted = names[0] if name is None else " ".join(name.split())
    if wanted not in names:
        raise UsageError(f"--from {name!r} is no section of {path}; {nearest(wanted, names)}")
    return names.index(wanted)


def check_all(path, steps):
    """[(step, words of its command line)], every one accepted by its script's own `parse`: what is wrong with the last
    section is said before the first has run.
    """
    known = sorted(file.stem for file in SCRIPTS.glob("*.py") if file.stem != Path(__file__).stem)
    for step in steps:
        if step.script not in known:
            raise fault(path, f"unknown section {step.name!r}; {nearest(step.script, known, 'the scripts are')}", step.line)
    checked = []
    for step in steps:
        script = importlib.import_module(step.script)
        check_keys(path, step, parser_of(script))
        words = [word for key, value in step.values.items() for word in flag(key, value)]
        refusal = refused(script, words)
        if refusal:
            line = next((step.lines[key] for key in re.findall(r"--(\w+)", refusal) if key in step.lines), step.line)
            raise fault(path, refusal, line, step.name)
        checked.append((step, words))
    return checked


def parser_of(script) -> Parser:
    """The parser that the script's `parse` builds, caught before it parses: it knows the flags."""

    class Built(Exception):
        pass

    class Caught(Parser):
        def parse_args(self, args=None, namespace=None):
            raise Built(self)

    original, script.Parser = script.Parser, Caught
    try:
        script.parse([])
    except Built as built:
        return built.args[0]
    finally:
        script.Parser = original
    raise AssertionError(f"{script.__name__}.parse does not use Parser")


def check_keys(path, step, parser):
    """Raises UsageError for a key that is no flag, and for a switch where a value belongs or the other way round."""
    actions = {option[2:]: action for action in parser._actions for option in action.option_strings
               if option.startswith("--") and option != "--help"}
    for key, value in step.values.items():
        if key not in actions:
            raise fault(path, f"unknown key {key!r}; {nearest(key, list(actions), f'{step.script}.py has')}",
                        step.lines[key], step.name)
        if actions[key].nargs == 0 and not isinstance(value, bool):
            raise fault(path, f"key {key!r} is a flag that stands alone; write true or false, unquoted, not {value!r}",
                        step.lines[key], step.name)
        if actions[key].nargs != 0 and isinstance(value, bool):
            raise fault(path, f"key {key!r} takes a value, not {str(value).lower()}; give one, delete the line for the "
                              "default, or quote the word if it is meant", step.lines[key], step.name)


def flag(key, value) -> list[str]:
    """('layer', '5') -> ['--layer', '5'];  ('lags', '-4,-1') -> ['--lags=-4,-1'];  ('no_wandb', True) -> ['--no_wandb']"""
    if isinstance(value, bool):
        return [f"--{key}"] if value else []
    return [f"--{key}={value}"] if value.startswith("-") else [f"--{key}", value]


def refused(script, words) -> str:
    """The message with which a script's `parse` refuses its command line; empty where it takes it."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
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
