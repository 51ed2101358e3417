"""The `sae:` and `sae_training:` sections of a configuration of sparse autoencoders -> flags of train_sae.py; other sections
of such a file are left alone.

    sae:
      d_hidden: 4096             --d_hidden 4096
      lambda_sparse: 0.01        nothing: the number of active latents is set, not a penalty on it
    sae_training:
      target_sparsity_min: 50    --target_l0 75, the middle
      target_sparsity_max: 100
      weight_decay: 0.0          nothing: there is none

Flags of train_sae.py may stand there under their own names.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from utils.base.cli.yaml_file import Step, YamlNode, fault, flags_of, line_of, nearest

SAE_HEADINGS = ("sae", "sae_training")
WITHOUT_MEANING = {  # keys that move nothing here, each with the reason
    "d_model": "the model says its own hidden size",
    "threshold": "each latent learns its own",
    "lambda_sparse": "the number of active latents is set, by target_l0, not a penalty on it",
    "target_recon_loss": "the table of published targets holds it",
}
HELD_FIXED = {"weight_decay": "0.0", "gradient_clip": "1.0"}  # the only value that can be had
RANGE_OF_ACTIVE = ("target_sparsity_min", "target_sparsity_max")


def sae_step(path: str | Path, found: Mapping[str, tuple[YamlNode, YamlNode]], flags: Iterable[str]) -> Step:
    """Make one step of train_sae of the sections in `found`: {heading: (its node, the node under it)}.

    flags: the names of that script's flags. Print which keys have no meaning here.
    """
    headings = [heading for heading in SAE_HEADINGS if heading in found]
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for heading in headings:
        own, where = flags_of(path, heading, found[heading][1])
        for name in own:
            if name in values:
                raise fault(path, f"key {name!r} stands in line {lines[name]} already; delete one", where[name], heading)
        values, lines = {**values, **own}, {**lines, **where}
    left_out = [name for name in WITHOUT_MEANING if values.pop(name, None) is not None]
    for name in left_out:
        print(f"note: {name} of {path}, line {lines[name]}, has no meaning here: {WITHOUT_MEANING[name]}", flush=True)
    for name, only in HELD_FIXED.items():
        if not same_number(values.pop(name, only), only):
            raise fault(path, f"{name} is always {only} here; write that or delete the line", lines[name], headings[-1])
    values, lines = with_target(path, values, lines)
    unknown = [name for name in values if name not in flags]
    if unknown:
        known = [*flags, *WITHOUT_MEANING, *HELD_FIXED, *RANGE_OF_ACTIVE]
        raise fault(
            path, f"unknown key {unknown[0]!r}; {nearest(unknown[0], known, 'the sections take')}", lines[unknown[0]]
        )
    return Step(headings[0], "train_sae", values, lines, line_of(found[headings[0]][0]))


def with_target(path: str | Path, values: dict[str, Any], lines: dict[str, int]) -> tuple[dict[str, Any], dict[str, int]]:
    """Put --target_l0, the middle of the range that is asked for, in the place of its ends."""
    ends = [values[name] for name in RANGE_OF_ACTIVE if name in values]
    if not ends:
        return values, lines
    first = next(name for name in RANGE_OF_ACTIVE if name in values)
    try:
        middle = sum(map(float, ends)) / len(ends)
    except (TypeError, ValueError):
        raise fault(
            path, f"{' and '.join(RANGE_OF_ACTIVE)} are numbers of active latents, not {ends}", lines[first]
        ) from None
    if float(ends[0]) > float(ends[-1]):
        low, high = RANGE_OF_ACTIVE
        raise fault(path, f"{low} {ends[0]} is above {high} {ends[-1]}; swap them", lines[first])
    rest = {name: value for name, value in values.items() if name not in RANGE_OF_ACTIVE}
    return {"target_l0": f"{middle:g}", **rest}, {"target_l0": lines[first], **lines}


def same_number(one: object, other: str) -> bool:
    """Say whether two texts are the same number: "0" and "0.0"."""
    try:
        return float(str(one)) == float(other)
    except ValueError:
        return False
