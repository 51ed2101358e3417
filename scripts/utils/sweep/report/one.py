"""Print one sweep: its scores, what validation chose, and what is known of it as a search."""

import math
from collections.abc import Sequence

from utils.base.text_table import bounds, share, signed, table
from utils.scores.intervals import no_interval
from utils.sweep.outcome import Probe, Sweep

SHIFTED = (
    "p is of labels shifted within their documents: it asks whether a probe finds the place in these documents, and says "
    "nothing of new ones"
)


def sweep_table(entries: Sequence[tuple[str, dict | None]], split: str) -> str:
    """Tabulate the scores of one split.

    entries: (name, scores, or None where not computed) of probes and baselines, in order.
    """
    heading = ["", "balanced acc", "95 % interval", "pos acc", "neg acc", "AUROC", "TP", "FP", "TN", "FN"]
    rows = [[split, *heading[1:]]]
    for name, scores in entries:
        if scores is None:
            rows.append([name, "not computed", *[""] * 8])
            continue
        rows.append(
            [
                name,
                share(scores["balanced_accuracy"]),
                bounds(scores),
                share(scores["pos_accuracy"]),
                share(scores["neg_accuracy"]),
                share(scores["auc"]),
                *(f"{scores[name]:,}" for name in ("tp", "fp", "tn", "fn")),
            ]
        )
    return table(rows)


def interval_note(sweep: Sweep, split: str) -> str:
    """Say why the scores of a split have no intervals, and no p-values; "" where they have."""
    why = why_none(sweep, split)
    return f"no intervals{' and no permutation p' if split == 'test' else ''} in {split}: {why}" if why else ""


def why_none(sweep: Sweep, split: str) -> str:
    examples = sweep.task.examples[split]
    return no_interval(examples.labels, examples.groups)


def as_counted(auc: float) -> str:
    """Write the AUROC of what a probe is compared with: '0.453 (counts as 0.5)'."""
    return share(auc) + (" (counts as 0.5)" if auc < 0.5 else "")


def has_shifts(sweep: Sweep) -> bool:
    """Say whether there are p-values, of labels that were shifted."""
    return sweep.shifted and not math.isnan(sweep.winner.metrics["test"]["permutation_p"])


def one_sided(name: str, scores: dict) -> str | None:
    """Warn of a probe that always gives one answer, with its figures; None for others."""
    said = scores["tp"] + scores["fp"]
    total = said + scores["tn"] + scores["fn"]
    if 0 < said < total:
        return None
    return (
        f"warning: {name} answers {'positive' if said else 'negative'} for all {total:,} examples at the threshold from "
        f"validation (positives {scores['pos_accuracy']:.1%} right, negatives {scores['neg_accuracy']:.1%}); how it ranks "
        f"them is another matter: its AUROC is {share(scores['auc'])}"
    )


def gap(sweep: Sweep) -> str:
    """Say what validation chose, and how much worse it is on test: the optimism of choosing."""
    winner, others, by = sweep.winner, sweep.others, sweep.chosen_by
    name = name_in_sweep(winner, others)
    on_val = winner.metrics["val"][by]
    text = f"best on validation: {name}, {'AUROC' if by == 'auc' else 'balanced accuracy'} {on_val:.3f}"
    if "test" not in winner.metrics:
        return text
    test = winner.metrics["test"]
    text += f" (test {test[by]:.3f}, optimism gap {on_val - test[by]:+.3f})"
    if others:
        found = [probe.metrics["test"][by] for probe in (winner, *others)]
        text += f"; test over its {len(found)} seeds {min(found):.3f} to {max(found):.3f}"
    if "minus_baseline" in test:
        counted = as_counted(sweep.baselines[sweep.best]["test"]["auc"])
        difference = signed(test, "minus_baseline")
        text += f"; test AUROC minus {sweep.best}, the best baseline on validation with {counted} on test: {difference}"
    if "minus_random_weights" in test:
        counted = as_counted(sweep.twin.metrics["test"]["auc"])
        text += f"; minus random weights with {counted}: {signed(test, 'minus_random_weights')}"
    if "selectivity" in test:
        text += f"; selectivity {test['selectivity']:.3f} (random labels {test['control']:.3f})"
    return "\n".join(filter(None, (text + refit_text(test), search_text(sweep))))


def name_in_sweep(probe: Probe, others: Sequence[Probe]) -> str:
    """Name a probe within its sweep. others: those of other seeds."""
    return (
        f"{probe.layer if isinstance(probe.layer, str) else f'layer{probe.layer}'}"
        + ("" if probe.kind == "linear" else f" {probe.kind}")
        + (f", seed {probe.seed}" if others else "")
    )


def search_text(sweep: Sweep) -> str:
    """Say how the winner stands once all probes of the sweep are reckoned with; "" where nothing is known of it."""
    test, count = sweep.winner.metrics["test"], len(sweep.chosen)
    if math.isnan(test.get("permutation_p", math.nan)):
        return ""
    text = f"permutation p of this probe {test['permutation_p']:.3f}"
    if count > 1:
        best = sweep.maximum
        name = "this probe" if best is sweep.winner else name_in_sweep(best, sweep.others)
        text += (
            f", of the maximum of the sweep {best.metrics['test']['permutation_p_in_sweep']:.3f} ({name}; "
            f"of {count} probes: all layers, kinds and seeds of this target and lag)"
        )
        if not math.isnan(test["auc_band_low"]):
            text += f"; test AUROC with all of them at once {bounds(test, 'auc_band')}"
    return text + (f"\n{SHIFTED}" if has_shifts(sweep) else "")


def refit_text(test: dict) -> str:
    """Say how the winner stands once another training sample is reckoned with; "" without refits of its kind."""
    if math.isnan(test.get("auc_refit_deviation", math.nan)):
        return ""
    low, high = test["minus_baseline_refit_low"], test["minus_baseline_refit_high"]
    difference = "" if math.isnan(low) else f", minus the baseline {low:+.3f} to {high:+.3f}"
    return (
        f"; with other training samples too, test AUROC {bounds(test, 'auc_refit')}{difference} (refits deviate by "
        f"{test['auc_refit_deviation']:.3f})"
    )
