"""The words of a command line: a list in one word, the flag that each belongs to, switches that are turned off."""

import argparse
import re
from collections.abc import Mapping, Sequence
from typing import Any

from utils.base.errors import UsageError


def items_of(text: str) -> list[str]:
    """'-4, -1 0' -> ['-4', '-1', '0']: of a list whose values hold no space; an empty one stays, to be refused."""
    return re.split(r"\s*,\s*|\s+", text.strip())


def actions_of(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
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


def as_words(values: Mapping[str, Any]) -> list[str]:
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


def chunks_of(words: Sequence[str]) -> list[tuple[str | None, str | bool, list[str]]]:
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


def settle_switches(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
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
