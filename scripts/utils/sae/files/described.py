"""What a file says of its autoencoder: ours lies whole under a key of its own, in the JSON of whichever tool."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.base.errors import UserError
from utils.sae.files.checked import SAE_REMEDY, value_shown
from utils.states.sites import ATTENTION, is_layer

OURS, ABOUT_VERSION = "probe_sae", 1
LARGEST_AMOUNT = 2**31 - 1  # of tokens or texts
LONGEST_TEXT = 4096  # characters, as of a path
TEXTS = (
    "architecture",
    "model_name",
    "model_fingerprint",
    "tokenizer_fingerprint",
    "hook_name",
    "dataset",
    "dataset_config",
    "text_column",
    "language",
    "special_tokens",
)
AMOUNTS = ("context_size", "max_texts")  # whole numbers above 0


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
    for names, is_sound in ((TEXTS, is_text), (AMOUNTS, is_count)):
        for name in names:
            value = about.get(name)
            if value is not None and not is_sound(value):
                raise UserError(f"{path}: its {name} is {value_shown(value)}; {SAE_REMEDY}")
    return about


def is_text(value: object) -> bool:
    """Say whether this is a name or a path; a line break would split an error."""
    return isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT and value.isprintable()


def is_count(value: object) -> bool:
    """Say whether this is a whole number above 0 that a count can be."""
    return type(value) is int and 0 < value <= LARGEST_AMOUNT
