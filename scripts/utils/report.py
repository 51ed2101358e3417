"""The table at the end of a sweep, for eyes."""

import math


def table(rows) -> str:
    """rows: of strings, the first the heading; the first column to the left, all others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) if column == 0 else cell.rjust(width)
                               for column, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
                     for row in rows)


def sweep_table(entries, split) -> str:
    """entries: (name, scores or None) of probes and baselines, in order; None: not computed."""
    heading = ["", "balanced acc", "95 % interval", "pos acc", "neg acc", "AUROC", "TP", "FP", "TN", "FN"]
    rows = [[split, *heading[1:]]]
    for name, scores in entries:
        if scores is None:
            rows.append([name, "not computed", *[""] * 8])
            continue
        rows.append([name, share(scores["balanced_accuracy"]), bounds(scores), share(scores["pos_accuracy"]),
                     share(scores["neg_accuracy"]), share(scores["auc"]),
                     *(f"{scores[name]:,}" for name in ("tp", "fp", "tn", "fn"))])
    return table(rows)


def share(value) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def bounds(scores) -> str:
    low, high = scores["balanced_accuracy_low"], scores["balanced_accuracy_high"]
    return "-" if math.isnan(low) else f"{low:.3f} to {high:.3f}"


def one_sided(name, scores) -> str | None:
    """A warning for a probe that always gives one answer, with its figure."""
    said = scores["tp"] + scores["fp"]
    total = said + scores["tn"] + scores["fn"]
    if 0 < said < total:
        return None
    return (f"warning: {name} answers {'positive' if said else 'negative'} for all {total:,} examples (positives "
            f"{scores['pos_accuracy']:.1%} right, negatives {scores['neg_accuracy']:.1%}): it has learnt nothing usable")
