"""The `probe:` section of a span probe's configuration -> flags of train_probe.py; other sections of such a file are left
alone.

    probe:
      layers_to_probe: [16]        --layer_sweep 16
      l2_grid: [0, 1e-3]           --l2_grid 0,1e-3 --probe logistic, since a penalty is searched for that kind
      batch_size: 256              --probe_batch_size 256
      activation_site: resid_post  nothing: it is what is read

Flags of train_probe.py may stand there under their own names, but for `batch_size`, which is the probe's.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from utils.base.cli.yaml_file import Step, YamlNode, fault, flags_of, line_of, nearest

HEADING = "probe"
RENAMED = {
    "layers_to_probe": "layer_sweep",
    "batch_size": "probe_batch_size",
    "doc_batch_size": "batch_size",
    "num_epochs": "epochs",
    "model": "model_name",
}
ONE_VALUE = {
    "activation_site": ("resid_post", "hidden states are read from the residual stream after each block"),
    "feature_dtype": ("float32", "hidden states are kept in float32"),
}
MAY_BE_EMPTY = (
    "max_train_docs",
    "max_val_docs",
    "max_train_tokens",
    "max_val_tokens",
    "negatives_per_doc",
    "model",
    "tokenizer",
)
SOLVED_KINDS = {"logistic", "mass_mean", "mass_mean_tilted", "attention_features"}  # kinds that no epochs are trained for
OF_TRAINING = ("epochs", "learning_rate", "probe_batch_size")


def translate(path: str | Path, key: YamlNode, node: YamlNode, flags: Iterable[str]) -> Step:
    """The section under the heading `key` as a step of train_probe. flags: the names of that script's flags."""
    values, lines = flags_of(path, HEADING, node, MAY_BE_EMPTY)
    values = honoured(path, values, lines)
    known = {**{name: name for name in flags}, **RENAMED}
    step = Step(HEADING, "train_probe", {}, {}, line_of(key))
    for name, value in values.items():
        if name not in known:
            raise fault(
                path,
                f"unknown key {name!r}; {nearest(name, [*known, *ONE_VALUE], 'the section takes')}",
                lines[name],
                HEADING,
            )
        flag = known[name]
        if flag in step.values:
            raise fault(
                path,
                f"key {name!r} is --{flag}, which line {step.lines[flag]} gives already; delete one",
                lines[name],
                HEADING,
            )
        step.values[flag], step.lines[flag] = value, lines[name]
    if "l2_grid" in step.values and "probe" not in step.values:
        step.values["probe"], step.lines["probe"] = "logistic", step.lines["l2_grid"]
    if "output_dir" in step.values and "results_dir" not in step.values:
        step.values["results_dir"], step.lines["results_dir"] = step.values["output_dir"], step.lines["output_dir"]
    return step


def honoured(path: str | Path, values: Mapping[str, Any], lines: Mapping[str, int]) -> dict:
    """The values without those keys that can say one thing only; raises UsageError where they say another."""
    for name, (only, why) in ONE_VALUE.items():
        if values.get(name, only) != only:
            raise fault(
                path,
                f"{name} {values[name]!r} is not supported, only {only}: {why}; write that or delete the line",
                lines[name],
                HEADING,
            )
    tokenizer = values.get("tokenizer")
    if tokenizer is not None and tokenizer != values.get("model", values.get("model_name")):
        raise fault(
            path,
            f"tokenizer {tokenizer!r} is not the section's model; a model is run with its own tokenizer only: "
            "write the same name for both or delete the line",
            lines["tokenizer"],
            HEADING,
        )
    return {name: value for name, value in values.items() if name not in (*ONE_VALUE, "tokenizer")}


def idle_flags_note(path: str | Path, step: Step, kinds: Sequence[str]) -> str:
    """What is said where the section has settings of training for kinds of probe that are solved; else empty."""
    idle = [f"--{flag} {step.values[flag]}" for flag in OF_TRAINING if flag in step.values]
    if step.name != HEADING or not idle or not set(kinds) <= SOLVED_KINDS:
        return ""
    return (
        f"note: {', '.join(idle)} of {path} train nothing, as --probe {','.join(kinds)} is solved to its optimum; "
        "--probe linear is trained in epochs, without l2_grid"
    )
