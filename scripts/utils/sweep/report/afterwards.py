"""Print what is computed once sweeps are finished: directions and codelengths."""

from collections.abc import Sequence

from utils.states.sites import layer_name
from utils.sweep.outcome import Sweep
from utils.sweep.refits.codelength import says_something


def direction_line(name: str, entry: dict, token: int | None) -> str | None:
    """Say where the target token ranks in one direction; None where nothing is known."""
    found = [
        f"rank {entry[which]['target_rank']:,} of {entry[which]['vocabulary']:,} by its {which}"
        for which in ("filter", "pattern")
        if entry[which] and entry[which]["target_rank"]
    ]
    return f"direction of {name}: the target (token {token}) has {' and '.join(found)}" if found else None


def codelength_line(sweep: Sweep, rows: Sequence[dict]) -> str:
    """Say what the labels of one question cost given the layer that needs the fewest bits, beside what their share costs.

    rows: of codelength.csv, one for each layer.
    """
    question = f"{sweep.target!r} at lag {sweep.lag}"
    if rows[0]["bits"] == "":
        return (
            f"{question}: none, since more than half of its {rows[0]['n']:,} labels are sent before both classes have come"
        )
    least = min(rows, key=lambda row: row["bits"])
    bits, by_share = least["bits"], least["bits_by_share"]
    found = (
        f"{question}: {bits:,.1f} at {layer_name(least['layer'])} for {least['n']:,} labels, {by_share:,.1f} by their share"
    )
    return found + ("" if says_something(bits, by_share, len(rows)) else ", so it says nothing about the label")
