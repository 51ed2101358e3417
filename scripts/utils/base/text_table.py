"""Plain-text tables, and how scores, numbers of things and sizes are written."""

import math
from collections.abc import Mapping, Sequence


def table(rows: Sequence[Sequence[str]]) -> str:
    """rows: of strings, the first the heading; the first column to the left, all others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def how_many(number: int, unit: str) -> str:
    """Count in words: '1 layer', '12,000 layers'."""
    return f"{number:,} {unit}{'' if number == 1 else 's'}"


def gigabytes(number: float) -> str:
    """Write a number of bytes: '12.3 GB'; below 0.1 GB with two digits, '0.0012 GB'."""
    size = number / 1e9
    return f"{size:,.1f} GB" if size >= 0.1 or not size else f"{size:.2g} GB"


def share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def bounds(scores: Mapping[str, float], name: str = "balanced_accuracy") -> str:
    low, high = scores[f"{name}_low"], scores[f"{name}_high"]
    return "-" if math.isnan(low) else f"{low:.3f} to {high:.3f}"


def signed(scores: Mapping[str, float], name: str) -> str:
    """Write a difference in AUROC: '+0.112 (+0.097 to +0.127)'; where it holds 0 also what would have shown.

    '... to +0.027; 0.021 would show)', or '... to +0.060; none could be shown, 0.020 is left up to 1)'
    """
    low, high, shown = (scores.get(f"{name}_{end}", math.nan) for end in ("low", "high", "detectable"))
    would = "" if math.isnan(shown) else f"; {shown:.3f} would show"
    if math.isinf(shown):
        would = f"; none could be shown, {1 - (scores['auc'] - scores[name]):.3f} is left up to 1"
    ends = "" if math.isnan(low) else f" ({low:+z.3f} to {high:+z.3f}{would})"
    return f"{scores[name]:+z.3f}{ends}"
