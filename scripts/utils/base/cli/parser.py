"""What every script's command line shares: flags in both spellings, checked numbers, one-line errors, progress."""

import argparse
import difflib
import math
import os
import re
import signal
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NoReturn

from utils.base.cli.config_file import ScriptParser, with_config
from utils.base.cli.words import actions_of, items_of, settle_switches
from utils.base.errors import UsageError, UserError, is_out_of_memory
from utils.base.files import ROOT
from utils.base.processes.parent import end_with_parent
from utils.base.processes.signals import Moment, Stopped, farewell, listen

LARGEST_INTEGER = 2**63 - 1  # what islice, torch's generators and numpy's indices can hold
MOST_LAG = 2**31 - 1  # tokens
MOST_LAGS = 10_000  # in one range
ASK_FOR_LESS = (
    "free some, use a larger machine, or ask for less at once: fewer texts, layers, lags, seeds, probes, latents or "
    "examples, shorter windows, smaller batches"
)


class Parser(ScriptParser):
    """argparse with `--some-flag` = `--some_flag`, values such as `-4,-1` after a space, lists with commas or spaces (the
    actions "list" and "names"), `--switch=false`, flags from a YAML file (--config), and one-line errors.
    """

    def __init__(self, file: str, description: str | None, epilog: str | None = None, config: bool = True) -> None:
        super().__init__(description=description, epilog=epilog, allow_abbrev=False, formatter_class=HelpFormatter)
        self.script = Path(file).stem  # whose parser this is: an experiment builds several
        self.register("action", "list", ListAction)
        self.register("action", "names", NamesAction)
        if config:
            self.add_argument(
                "--config",
                metavar="FILE",
                help="flags from a YAML file or from its section of this script (FILE:SECTION where it has "
                "several); the command line wins, and --some_switch=false turns a switch off",
            )

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        lists = [name for name, action in actions_of(self).items() if isinstance(action, NamesAction)]
        words = normalise(sys.argv[1:] if args is None else args, lists)
        if not {"-h", "--help"} & set(words):
            words = with_config(self, words)
        return super().parse_known_args(settle_switches(self, words), namespace)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        values, unknown = self.parse_known_args(args, namespace)
        if unknown:
            known = [flag for action in self._actions for flag in action.option_strings]
            near = difflib.get_close_matches(unknown[0], known, n=1)
            self.error(f"unknown argument {unknown[0]}" + (f"; did you mean {near[0]}?" if near else "; see --help"))
        return values

    def print_help(self, file: Any = None) -> None:
        """argparse's own is silent where the reader of a long text went away; `run` has an answer to that."""
        (file or sys.stdout).write(self.format_help())

    def error(self, message: str) -> NoReturn:
        self.exit(UsageError.exit_status, f"{self.prog}: error: {message}\n")


class NamesAction(argparse.Action):
    """A flag that takes several names: `--label city,'old town'` or `--label city 'old town'`.

    `type` is given all of them as one text, with commas between.
    """

    def __init__(self, option_strings: Sequence[str], dest: str, help: str, **options: Any) -> None:
        text, default, value = help.partition(" (default")
        help = f"{text}; commas or spaces between them{default}{value}"
        super().__init__(option_strings, dest, help=help, **options)

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, values)


class ListAction(NamesAction):
    """The same where no value holds a space, as numbers and layers: a space separates inside a word, too."""

    def __init__(self, option_strings: Sequence[str], dest: str, type: Callable[[str], Any] = str, **options: Any) -> None:
        super().__init__(option_strings, dest, type=lambda text: type(",".join(items_of(text))), **options)


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Adds each default, and leaves it out where the help text already says it."""

    def _get_help_string(self, action):
        if action.default is None or action.default is False or "default" in (action.help or ""):
            return action.help
        if isinstance(action.default, str) and action.default != action.default.strip():
            return f"{action.help} (default: %(default)r)"  # a space counts, so it is shown
        return super()._get_help_string(action)


def normalise(words: Sequence[str], lists: Collection[str] = ()) -> list[str]:
    """['--max-texts', '5', '--shift', '-4', '--lags', '-4', '-1'] -> ['--max_texts', '5', '--shift=-4', '--lags=-4,-1']

    lists: the flags whose values are a list, which ends where the next flag begins.
    """
    result, in_list = [], False
    for argument in words:
        is_number = re.match(r"-(\.?\d|inf|nan)", argument)
        if argument.startswith("--"):
            name, equals, value = argument[2:].partition("=")
            name = name.replace("-", "_")
            result.append(f"--{name}{equals}{value}")
            in_list = name in lists
        elif in_list and "=" in result[-1] and (is_number or not argument.startswith("-")):
            comma = "" if result[-1].endswith(",") or argument.startswith(",") else ","
            result[-1] += f"{comma}{argument}"
        elif result and re.fullmatch(r"--\w+", result[-1]) and (is_number or in_list and not argument.startswith("-")):
            result[-1] += f"={argument}"
        else:
            result.append(argument)
            in_list = False
    return result


def whole_number(minimum: int) -> Callable[[str], int]:
    """An argparse type: a whole number of at least `minimum`."""

    def parse(text):
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < minimum:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {minimum}")
        if value > LARGEST_INTEGER:
            raise argparse.ArgumentTypeError(f"{text!r} is too large, the most is {LARGEST_INTEGER}")
        return value

    return parse


def number(minimum: float = -math.inf, maximum: float = math.inf, exclusive: bool = False) -> Callable[[str], float]:
    """An argparse type: a finite number within the bounds (`exclusive`: the bounds themselves are refused)."""

    def parse(text):
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        inside = minimum < value < maximum if exclusive else minimum <= value <= maximum
        if not (math.isfinite(value) and inside):
            between = "between" if exclusive else "from"
            bounds = f"above {minimum:g}" if exclusive else f"of at least {minimum:g}"
            if math.isfinite(maximum):
                bounds = f"{between} {minimum:g} {'and' if exclusive else 'to'} {maximum:g}"
            raise argparse.ArgumentTypeError(f"{text!r} is not a number {bounds}")
        return value

    return parse


def lag_number(text: str) -> int:
    """An argparse type: a whole number of tokens, also below zero."""
    try:
        lag = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number such as -1") from None
    if abs(lag) > MOST_LAG:
        raise argparse.ArgumentTypeError(f"{text!r} is too large, the most is {MOST_LAG} tokens")
    return lag


def lag_range(text: str) -> list[int]:
    ends = [lag_number(part) for part in text.split("..", 1)]
    if ends[-1] < ends[0]:
        raise argparse.ArgumentTypeError(f"{text!r} runs backwards; write {ends[-1]}..{ends[0]}")
    if ends[-1] - ends[0] > MOST_LAGS:
        raise argparse.ArgumentTypeError(f"{text!r} is more than {MOST_LAGS} lags")
    return list(range(ends[0], ends[-1] + 1))


def lag_list(text: str) -> list[int]:
    """An argparse type: '-4,-1,0' -> [-4, -1, 0]; '-4..-1' -> [-4, -3, -2, -1]"""
    try:
        lags = [lag for part in text.split(",") for lag in lag_range(part)]
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of lags such as -4,-1,0: {error}") from None
    if len(set(lags)) < len(lags):
        raise argparse.ArgumentTypeError(f"{text!r} names a lag twice")
    return lags


def number_list(minimum: int, whole: bool = False) -> Callable[[str], list]:
    """An argparse type: '0,1e-3' -> [0.0, 0.001]; at least one number, none twice, each at least `minimum`."""
    one = whole_number(minimum) if whole else number(minimum)
    least = minimum or 0.01
    example = f"{minimum},{minimum + 1},{minimum + 2}" if whole else f"{10 * least:g},{least:g}"

    def parse(text):
        try:
            values = [one(part.strip()) for part in text.split(",")]
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is not a list such as {example}: {error}") from None
        if len(set(values)) < len(values):
            raise argparse.ArgumentTypeError(f"{text!r} names a number twice")
        return values

    return parse


def name_list(names: Sequence[str]) -> Callable[[str], list[str]]:
    """An argparse type: 'a,b' -> ['a', 'b'], each one of `names`, none twice."""

    def parse(text):
        found = [part.strip() for part in text.split(",")]
        for part in found:
            if part not in names:
                near = difflib.get_close_matches(part, names, n=1)
                raise argparse.ArgumentTypeError(
                    f"{part!r} is none of {', '.join(names)}" + (f"; did you mean {near[0]}?" if near else "")
                )
        if len(set(found)) < len(found):
            raise argparse.ArgumentTypeError(f"{text!r} names one twice")
        return found

    return parse


def add_trust_flag(group: Any) -> None:
    """Add the flag without which no Python code runs that comes with a model."""
    group.add_argument(
        "--trust_remote_code",
        action="store_true",
        help="run the Python code that comes with the model or its tokenizer; read it first (default: it is refused)",
    )


def run(main: Callable[[Sequence[str] | None], int], argv: Sequence[str] | None = None) -> NoReturn:
    """Run a script's `main` and turn what a user can mend into one line on standard error and an exit status."""
    name = Path(sys.argv[0]).name
    listen()
    end_with_parent()
    try:
        Moment.idle = False
        from dotenv import load_dotenv

        load_dotenv(ROOT / ".env")
        try:
            status = main(argv)
        finally:  # --help ends in SystemExit: what it printed meets a closed pipe here, not when the interpreter ends
            sys.stdout.flush()
    except UserError as error:
        print(f"{name}: error: {' '.join(str(error).split())}", file=sys.stderr)
        status = error.exit_status
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        print(f"{name}: error: {what_ran_out(error)}; {ASK_FOR_LESS}", file=sys.stderr)
        status = UserError.exit_status
    except KeyboardInterrupt as stop:
        number = stop.number if isinstance(stop, Stopped) else signal.SIGINT
        print(farewell(number), file=sys.stderr)
        status = 128 + number
    except BrokenPipeError:  # the reader of our output went away, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    finally:
        Moment.idle = True
    sys.exit(status)


def what_ran_out(error: BaseException) -> str:
    """Say which memory ran out, and how much was asked for where the error tells."""
    where = "memory of the device" if any(word in str(error) for word in ("CUDA", "MPS", "HIP")) else "memory"
    asked = re.search(r"allocate ([\d.]+ ?(?:[KMGT]i?B|bytes))", str(error))
    return f"out of {where}" + (f" ({asked[1]} more were asked for)" if asked else "")


def quiet_libraries() -> None:
    """Keep the libraries' own bars, advice and telemetry out of the output; call before they are imported."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("DATASETS_VERBOSITY", "error")
