"""Register the kinds of probe: one row per kind, with what the rest of the suite must know of it. Imports nothing heavy.

A new kind needs a file of its own, a row here, and a line in TRAINERS or SOLVERS of sweep/fits.py. If its tensors are not
one weight and one bias, it also has a `format` of its own, and a line in LOGITS of saved/saved_probes.py.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, nan
from typing import Literal


@dataclass(frozen=True)
class Kind:
    """The facts that hold for every probe of one kind.

    name: as in --probe, in tables and in file names.
    reads: the states of one position (pooled or not), the states of a whole sequence, or attention rows.
    descends: whether AdamW trains it for some epochs, on minibatches; else it is solved, exactly or in closed form.
    penalised: whether it is solved for each penalty of --l2_grid.
    on_a_page: whether it is one weight and one bias on states, which a page can show.
    format: of its file.
    scale: what the logits are log-odds of: the classes as they counted in "training", classes of "equal" frequency, or None
        where the logits have no scale and only rank.
    """

    name: str
    reads: Literal["states", "sequences", "attention rows"] = "states"
    descends: bool = False
    penalised: bool = False
    on_a_page: bool = False
    format: str = "linear-probe"
    scale: Literal["training", "equal"] | None = "training"


BY_NAME: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("linear", descends=True, on_a_page=True),
        Kind("logistic", penalised=True, on_a_page=True),
        Kind("mass_mean", on_a_page=True, scale=None),
        Kind("mass_mean_tilted", on_a_page=True, scale="equal"),
        Kind("mlp", descends=True, format="mlp-probe"),
        Kind("attention", reads="sequences", descends=True, format="attention-probe"),
        Kind("attention_features", reads="attention rows", penalised=True, format="attention-features-probe"),
    )
}

KINDS = tuple(BY_NAME)  # in the order of tables

PAGE_KINDS = tuple(kind.name for kind in BY_NAME.values() if kind.on_a_page)

PENALISED = {kind.name for kind in BY_NAME.values() if kind.penalised}

FORMATS = tuple(dict.fromkeys(kind.format for kind in BY_NAME.values()))


def any_reads(kinds: Iterable[str], what: str) -> bool:
    """Say whether any of these kinds reads "states", "sequences" or "attention rows"."""
    return any(BY_NAME[kind].reads == what for kind in kinds)


def trained_share(
    kind: str, positives: float, negatives: float, weighted: bool, pos_weight_cap: float | None = None
) -> float:
    """Compute the share of positives, as they counted in training, that the logits of a probe assume.

    positives, negatives: training examples of each class.
    weighted: whether positives weighed more the fewer they were, at most pos_weight_cap times a negative (None: no cap).

    NaN where the logits have no scale, or where there were no examples.
    """
    scale = BY_NAME[kind].scale
    if scale != "training":
        return 0.5 if scale == "equal" else nan
    if weighted and positives:
        positives *= min(negatives / positives, pos_weight_cap or inf)
    return positives / (positives + negatives) if positives + negatives else nan
