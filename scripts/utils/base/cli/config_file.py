"""Flags of a script from a YAML file (--config), and the one check of such flags, which an experiment's sections share.

A file holds flags (`layer: 5`), or sections headed by scripts, of which the script's own is taken, or for train_probe.py a
`probe:` section (see span_probe_section.py). The command line wins, also over a flag of the file that contradicts it.
"""

import argparse
import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from utils.base.cli.sae_sections import SAE_HEADINGS, sae_step
from utils.base.cli.span_probe_section import HEADING, idle_flags_note, translate
from utils.base.cli.words import actions_of, as_words, chunks_of, items_of
from utils.base.cli.yaml_file import Step, YamlNode, fault, flags_of, line_of, nearest, read_mapping, sections_of
from utils.base.errors import UsageError
from utils.base.paths import in_quotes, path_problem


class ScriptParser(argparse.ArgumentParser):
    """What a `Parser` (parser.py) is to a file of flags."""

    script: str  # whose parser it is

    def try_words(self, words: list[str]) -> None:
        """Parse them and drop the result. Raises argparse.ArgumentError for a value that is refused."""
        self.exit_on_error = False
        try:
            super().parse_known_args(words)
        finally:
            self.exit_on_error = True


def always(_: object) -> bool:
    return True


def on(value: object) -> bool:
    return value is True


def off(value: object) -> bool:
    return value is False


def lacks(*kinds: str) -> Callable[[object], bool]:
    return lambda value: not set(kinds) & set(items_of(str(value)))


def among(kind: str) -> Callable[[object], bool]:
    return lambda value: kind in items_of(str(value))


GIVE_WAY = (  # (a flag that is given, of which values, the flags of the file that contradict it)
    ("layer", always, ("layer_sweep",)),
    ("layer_sweep", always, ("layer",)),
    ("seed", always, ("train_seeds",)),
    ("train_seeds", always, ("seed",)),
    ("predict_current", on, ("lags", "common_positions")),
    ("lags", always, ("predict_current",)),
    ("lags", lambda value: re.fullmatch(r"-?\d+", str(value).strip()), ("common_positions",)),
    ("probe", lacks("logistic", "attention_features"), ("l2_grid",)),
    ("probe", among("attention"), ("pool",)),
    ("within", always, ("onset_only", "onset_negatives")),
    ("onset_only", on, ("within",)),
    ("onset_only", off, ("onset_negatives",)),
    ("onset_negatives", always, ("within",)),
    ("text_file", always, ("dataset", "text_source")),
    ("dataset", always, ("text_file", "text_source")),
    ("text_source", among("gutenberg"), ("text_file",)),
    ("text_source", among("file"), ("dataset",)),
)


def with_config(parser: ScriptParser, words: list[str]) -> list[str]:
    """['--config', 'quick.yaml', '--layer', '5'] -> the file's flags, then these words; as they are without --config.

    parser: of the script `parser.script`. Raises UsageError where the file is not what that script can take.
    """
    chunks = chunks_of(words)
    places = [value for name, value, _ in chunks if name == "config" and name in actions_of(parser)]
    if len(places) > 1:
        raise UsageError(f"--config is given {len(places)} times; put the flags into one file")
    if not places or not isinstance(places[0], str):
        return words
    path, step = read_config(os.path.expanduser(places[0]), parser)
    switches: dict[str | bool, bool] = {"true": True, "false": False}
    given = {name: switches.get(value, value) for name, value, _ in chunks if name is not None}
    kept, left_out = give_way({key: value for key, value in step.values.items() if key not in given}, given)
    notes = [
        f"note: {shlex.join(as_words({name: step.values[name]}))} of {path}, line {step.lines[name]}, is left out: the "
        f"command line has --{by}"
        for name, by in left_out.items()
        if step.values[name] is not False
    ]
    notes.append(idle_flags_note(path, step, items_of(str(given.get("probe", kept.get("probe", "linear"))))))
    for note in filter(None, notes):
        print(note, flush=True)
    return [*as_words(kept), *words]


def read_config(place: str, parser: ScriptParser) -> tuple[str, Step]:
    """(path of the file, its flags for the parser's script, every one known and of a right value)"""
    path, heading = split_place(place)
    if problem := path_problem(path, "file"):
        raise UsageError(f"--config {in_quotes(place)} {problem}; give a YAML file such as configs/demo.yaml")
    root, flags = read_mapping(path), actions_of(parser)
    if any(
        value.id == "mapping"
        and (spelt(key) not in flags or spelt(key) == HEADING)
        or spelt(key).split()[:1] == [parser.script]
        for key, value in root.value
        if key.id == "scalar"
    ):
        found = sections_of(path, root)
        if parser.script == "train_sae" and heading is None and set(SAE_HEADINGS) & set(found) and "train_sae" not in found:
            step = sae_step(path, found, flags)
        else:
            step = section_step(path, root, found, choose_section(path, heading, parser.script, list(found)), parser)
    elif heading is not None:
        raise UsageError(f"--config {place}: {path} has no sections, so there is no {heading!r}; give the file alone")
    else:
        step = Step(None, parser.script, *flags_of(path, None, root), None)
    if "config" in step.values:
        raise fault(
            path,
            "key 'config': such a file cannot name another; put the flags of both into one",
            step.lines["config"],
            step.name,
        )
    step = check_keys(path, step, flags)
    check_values(path, step, parser)
    return path, step


def section_step(path: str, root: YamlNode, found: Mapping[str, Any], heading: str, parser: ScriptParser) -> Step:
    """The section under this heading. found: as `sections_of` returns."""
    key, node = found[heading]
    flags = actions_of(parser)
    if heading == HEADING:
        return translate(path, key, node, flags)
    refuse_strays(path, root, flags, heading)
    return Step(heading, parser.script, *flags_of(path, heading, node), line_of(key))


def split_place(place: str) -> tuple[str, str | None]:
    """'a.yaml:train_probe current' -> ('a.yaml', 'train_probe current'); what is a file as a whole is one"""
    path, colon, heading = place.rpartition(":")
    if colon and not os.path.exists(place) and os.path.exists(path):
        return path, " ".join(heading.split())
    return place, None


def spelt(key: YamlNode) -> str:
    """The name of a flag as `flags_of` reads it."""
    return key.value.removeprefix("--").replace("-", "_")


def choose_section(path: str | Path, heading: str | None, script: str, headings: Sequence[str]) -> str:
    """The one that is asked for, else the only one of the script."""
    ours = [name for name in headings if name.split()[0] == script or (script, name) == ("train_probe", HEADING)]
    if heading is not None:
        if heading not in headings:
            raise UsageError(f"--config {path}:{heading}: there is no such section; {nearest(heading, headings)}")
        if heading not in ours:
            raise UsageError(f"--config {path}:{heading}: a section of {heading.split()[0]}, not of {script}")
        return heading
    if not ours:
        raise fault(path, f"there is no section {script!r}; the file has {', '.join(headings)}")
    if len(ours) > 1:
        raise fault(
            path, f"{len(ours)} sections are of {script}: {', '.join(ours)}; choose one with --config '{path}:{ours[-1]}'"
        )
    return ours[0]


def refuse_strays(path: str | Path, root: YamlNode, flags: Iterable[str], heading: str) -> None:
    """A flag of the script beside the sections would be taken for granted and have no effect."""
    for key, value in root.value:
        if value.id != "mapping" and spelt(key) in flags:
            raise fault(
                path, f"key {spelt(key)!r} stands outside of the sections; move it into section {heading!r}", line_of(key)
            )


def check_keys(path: str | Path, step: Step, actions: Mapping[str, argparse.Action]) -> Step:
    """The step, its lists joined with commas where the flag takes one word. Raises UsageError for a key that is no flag, one
    that is there under two names, and a switch where a value belongs or the other way round.
    """
    values, spoken = {}, {}
    for key, value in step.values.items():
        if key not in actions:
            raise fault(
                path,
                f"unknown key {key!r}; {nearest(key, list(actions), f'{step.script}.py has')}",
                step.lines[key],
                step.name,
            )
        other = spoken.setdefault(actions[key].dest, key)
        if other != key:
            raise fault(path, f"key {key!r} is another name of {other!r}; delete one", step.lines[key], step.name)
        if actions[key].nargs == 0 and not isinstance(value, bool):
            raise fault(
                path,
                f"key {key!r} is a flag that stands alone; write true or false, unquoted, not {value!r}",
                step.lines[key],
                step.name,
            )
        if actions[key].nargs not in (0, "?") and isinstance(value, bool):
            raise fault(
                path,
                f"key {key!r} takes a value, not {str(value).lower()}; give one, delete the line for the "
                "default, or quote the word if it is meant",
                step.lines[key],
                step.name,
            )
        one_word = actions[key].nargs not in ("+", "*")
        values[key] = ",".join(value) if isinstance(value, tuple) and one_word else value
    return replace(step, values=values)


def check_values(path: str | Path, step: Step, parser: ScriptParser) -> None:
    """Raises UsageError where the parser refuses a value, with the line it stands in."""
    try:
        parser.try_words(as_words(step.values))
    except argparse.ArgumentError as error:
        names = (error.argument_name or "").replace("--", "").split("/")  # "--layers/--layer" has two
        raise fault(
            path, str(error), next((step.lines[name] for name in names if name in step.lines), step.line), step.name
        ) from error


def give_way(values: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[dict, dict[str, str]]:
    """(the values that do not contradict what is given, {flag that does: by which given one})"""
    left_out = {
        loser: flag
        for flag, applies, losers in GIVE_WAY
        if flag in given and applies(given[flag])
        for loser in losers
        if loser in values and loser not in given
    }
    return {key: value for key, value in values.items() if key not in left_out}, left_out
