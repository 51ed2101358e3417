"""Flags of a script from a YAML file (--config), and the one check of such flags, which an experiment's sections share.

A file holds flags (`layer: 5`), or sections headed by scripts, of which the script's own is taken, or for train_probe.py a
`probe:` section (see span_probe_section.py). The command line wins, also over a flag of the file that contradicts it.
"""

import argparse
import os
import re
import shlex
from dataclasses import replace

from utils.base.cli.span_probe_section import HEADING, idle_flags_note, translate
from utils.base.cli.yaml_file import Step, fault, flags_of, line_of, nearest, read_mapping, sections_of
from utils.base.errors import UsageError


def always(_):
    return True


def on(value):
    return value is True


def off(value):
    return value is False


def lacks(*kinds):
    return lambda value: not set(kinds) & set(items_of(str(value)))


def among(kind):
    return lambda value: kind in items_of(str(value))


def items_of(text) -> list[str]:
    """'-4, -1 0' -> ['-4', '-1', '0']: of a list whose values hold no space; an empty one stays, to be refused."""
    return re.split(r"\s*,\s*|\s+", text.strip())


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


def with_config(parser, words) -> list[str]:
    """['--config', 'quick.yaml', '--layer', '5'] -> the file's flags, then these words; as they are without --config.

    parser: of the script `parser.script`. Raises UsageError where the file is not what that script can take.
    """
    chunks = chunks_of(words)
    places = [value for name, value, _ in chunks if name == "config" and name in actions_of(parser)]
    if len(places) > 1:
        raise UsageError(f"--config is given {len(places)} times; put the flags into one file")
    if not places or places[0] is True:
        return words
    path, step = read_config(os.path.expanduser(places[0]), parser)
    given = {name: {"true": True, "false": False}.get(value, value) for name, value, _ in chunks}
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


def read_config(place, parser) -> tuple[str, Step]:
    """(path of the file, its flags for the parser's script, every one known and of a right value)"""
    path, heading = split_place(place)
    root, flags = read_mapping(path), actions_of(parser)
    if any(
        value.id == "mapping"
        and (spelt(key) not in flags or spelt(key) == HEADING)
        or spelt(key).split()[:1] == [parser.script]
        for key, value in root.value
        if key.id == "scalar"
    ):
        found = sections_of(path, root)
        heading = choose_section(path, heading, parser.script, list(found))
        key, node = found[heading]
        if heading == HEADING:
            step = translate(path, key, node, flags)
        else:
            refuse_strays(path, root, flags, heading)
            step = Step(heading, parser.script, *flags_of(path, heading, node), line_of(key))
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


def split_place(place) -> tuple[str, str | None]:
    """'a.yaml:train_probe current' -> ('a.yaml', 'train_probe current'); what is a file as a whole is one"""
    path, colon, heading = place.rpartition(":")
    if colon and not os.path.exists(place) and os.path.exists(path):
        return path, " ".join(heading.split())
    return place, None


def spelt(key) -> str:
    """The name of a flag as `flags_of` reads it."""
    return key.value.removeprefix("--").replace("-", "_")


def choose_section(path, heading, script, headings) -> str:
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


def refuse_strays(path, root, flags, heading):
    """A flag of the script beside the sections would be taken for granted and have no effect."""
    for key, value in root.value:
        if value.id != "mapping" and spelt(key) in flags:
            raise fault(
                path, f"key {spelt(key)!r} stands outside of the sections; move it into section {heading!r}", line_of(key)
            )


def actions_of(parser) -> dict[str, argparse.Action]:
    """{flag without dashes: what argparse knows of it}, --config last, without --help."""
    found = {
        option[2:]: action
        for action in parser._actions
        for option in action.option_strings
        if option.startswith("--") and option != "--help"
    }
    return {
        **{name: action for name, action in found.items() if name != "config"},
        **({"config": found["config"]} if "config" in found else {}),
    }


def check_keys(path, step, actions) -> Step:
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
        one_word = isinstance(value, tuple) and actions[key].nargs not in ("+", "*")
        values[key] = ",".join(value) if one_word else value
    return replace(step, values=values)


def check_values(path, step, parser):
    """Raises UsageError where the parser refuses a value, with the line it stands in."""
    try:
        parser.try_words(as_words(step.values))
    except argparse.ArgumentError as error:
        names = (error.argument_name or "").replace("--", "").split("/")  # "--layers/--layer" has two
        raise fault(
            path, str(error), next((step.lines[name] for name in names if name in step.lines), step.line), step.name
        ) from error


def give_way(values, given) -> tuple[dict, dict[str, str]]:
    """(the values that do not contradict what is given, {flag that does: by which given one})"""
    left_out = {
        loser: flag
        for flag, applies, losers in GIVE_WAY
        if flag in given and applies(given[flag])
        for loser in losers
        if loser in values and loser not in given
    }
    return {key: value for key, value in values.items() if key not in left_out}, left_out


def as_words(values) -> list[str]:
    """{'layer': '5', 'lags': '-4,-1', 'no_wandb': True} -> ['--layer', '5', '--lags=-4,-1', '--no_wandb'];
    {'data': ('a', 'b')} -> ['--data', 'a', 'b']

    False is left out, but for a step that names a --config, where it may have to turn something off.
    """
    words = []
    for key, value in values.items():
        if isinstance(value, bool):
            words += [f"--{key}"] if value else [f"--{key}=false"] if "config" in values else []
        elif isinstance(value, tuple):
            words += [f"--{key}", *value]
        else:
            words += [f"--{key}={value}"] if value.startswith("-") else [f"--{key}", value]
    return words


def chunks_of(words) -> list[tuple[str | None, str | bool, list[str]]]:
    """['--layer', '5', '--no_wandb'] -> [('layer', '5', ['--layer', '5']), ('no_wandb', True, ['--no_wandb'])]; None for
    words before the first flag.
    """
    chunks = []
    for word in words:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            chunks.append((name, value if equals else True, [word]))
        elif chunks:
            name, value, before = chunks.pop()
            chunks.append((name, word if value is True else value, [*before, word]))
        else:
            chunks.append((None, True, [word]))
    return chunks


def settle_switches(parser, words) -> list[str]:
    """['--no_wandb', '--layer', '5', '--no_wandb=false'] -> ['--layer', '5']

    Of flags that can stand alone `=true` is dropped, and `=false` takes back what was said before.
    """
    actions, kept = actions_of(parser), []
    for name, value, chunk in chunks_of(words):
        alone = actions[name].nargs if name in actions else None
        text = chunk[0].partition("=")[2].lower()
        if "=" not in chunk[0] or alone not in (0, "?") or alone == "?" and text not in ("true", "false"):
            kept.append((name, alone, chunk))
        elif text not in ("true", "false"):
            raise UsageError(f"--{name} stands alone, or is --{name}=true or --{name}=false, not --{name}={value}")
        elif text == "true":
            kept.append((name, alone, [f"--{name}", *chunk[1:]]))
        else:
            kept = [(other, kind, rest if other != name else rest[1:] if kind == 0 else []) for other, kind, rest in kept]
            kept.append((None, None, chunk[1:]))
    return [word for _, _, chunk in kept for word in chunk]
