"""What a file says of its autoencoder: ours lies whole under a key of its own, in the JSON of whichever tool."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.base.cli.parser import LARGEST_INTEGER
from utils.base.errors import UserError
from utils.sae.files.checked import SAE_REMEDY, value_shown
from utils.states.sites import ATTENTION, is_layer

OURS, ABOUT_VERSION = "probe_sae", 1
LONGEST_TEXT = 4096  # characters, as of a path
IDENTIFIERS = ("architecture", "model_name", "model_fingerprint", "tokenizer_fingerprint", "hook_name")
OF_TEXTS = ("dataset", "dataset_config", "text_column", "language", "special_tokens")  # as the flags were given
AMOUNTS = ("context_size", "max_texts")


def ours_of(about: Mapping[str, Any]) -> dict[str, Any]:
    """Give what is added to another tool's JSON."""
    return {OURS: {"version": ABOUT_VERSION, "about": dict(about)}}


def ours_in(path: Path, holder: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read it again; None where another tool wrote the file."""
    if OURS not in holder:
        return None
    found = holder[OURS]
    if not isinstance(found, dict) or not isinstance(found.get("about"), dict):
        raise UserError(f"{path}: its {OURS} is {value_shown(found)}; {SAE_REMEDY}")
    if found.get("version") != ABOUT_VERSION:
        version = value_shown(found.get("version"))
        raise UserError(f"{path}: its {OURS} has version {version}, this suite reads version {ABOUT_VERSION}; {SAE_REMEDY}")
    return sound_about(path, found["about"])


def sound_about(path: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Give back what is said of an autoencoder. Raise UserError where others could not use it."""
    layer = about.get("layer")
    if layer is not None and (not is_layer(layer) or layer == ATTENTION):
        raise UserError(f"{path}: its layer is {value_shown(layer)}; {SAE_REMEDY}")
    for name in (*IDENTIFIERS, *OF_TEXTS, *AMOUNTS):
        value = about.get(name)
        if value is not None and not (is_amount(value) if name in AMOUNTS else is_text(value, name in IDENTIFIERS)):
            raise UserError(f"{path}: its {name} is {value_shown(value)}; {SAE_REMEDY}")
    return about


def is_text(value: object, on_one_line: bool) -> bool:
    """Say whether it is a text of some length; on_one_line: with nothing that would split an error message."""
    return isinstance(value, str) and len(value) <= LONGEST_TEXT and (value.isprintable() or not on_one_line)


def is_amount(value: object) -> bool:
    """Say whether it is a number of things: True is none."""
    return type(value) is int and 0 < value <= LARGEST_INTEGER
