"""Make the plain-text tables that are printed at the end of a sweep."""

import math
from collections.abc import Sequence

from utils.base.text_table import bounds, share, signed, table
from utils.data.tokenizer import isolated, shown_text
from utils.scores.documents.scoring import DocumentScores
from utils.scores.intervals import no_interval
from utils.scores.search.permutation import holm
from utils.states.sites import layer_name
from utils.sweep.outcome import Probe, Sweep
from utils.sweep.refits.codelength import says_something

MOST_WITHOUT = 3  # questions without intervals
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


READ_SEARCH = "The first p is for the pair that validation chose; who picks among all reads the rest"


def document_table(documents: DocumentScores) -> str:
    """Tabulate the scores of whole documents: the chosen probe and aggregate in every bucket, and the baselines."""
    winner = documents.winner
    layer = winner.name["layer_idx"]
    what = (
        f"{layer if isinstance(layer, str) else f'layer{layer}'} {winner.name['probe']}, seed {winner.name['seed']}, "
        f"{winner.name['aggregate']}"
    )
    rows = [
        [
            "whole documents, a score each",
            "val AUROC",
            "test AUROC",
            "95 % interval",
            "AUPRC",
            "FPR at 95 % TPR",
            "Brier",
            "n",
        ]
    ]
    named = [(f"{what}" + (f", {bucket}" if bucket != "all" else ""), winner, bucket) for bucket in winner.scores["test"]]
    named += [
        (f"({name}" + (f", {found.name['aggregate']}" if found.name["aggregate"] else "") + ")", found, "all")
        for name, found in documents.baselines.items()
        if found
    ]
    for name, found, bucket in named:
        test, val = (found.scores[split].get(bucket, {}) for split in ("test", "val"))
        rows.append(
            [
                name,
                share(val.get("auc", math.nan)),
                share(test["auc"]),
                bounds(test, "auc"),
                share(test["auprc"]),
                share(test["fpr_at_95_tpr"]),
                share(test["brier"]),
                f"{test['n']:,}",
            ]
        )
    best = winner.scores["test"]["all"]
    if not documents.best:
        return table(rows) + documents_searched(documents)
    counted = as_counted(documents.baselines[documents.best].aurocs[1])
    return (
        f"{table(rows)}\ntest AUROC of documents minus {documents.best}, the best baseline on validation with {counted} on "
        f"test: {signed(best, 'minus_baseline')}{documents_searched(documents)}"
    )


def documents_searched(documents: DocumentScores) -> str:
    """Say how the winner stands once all pairs of a probe and an aggregate are reckoned with; "" where that is not known."""
    tried = sum((row["bucket"], row["split"], row.get("baseline", "")) == ("all", "test", "") for row in documents.rows)
    test = documents.winner.scores["test"]["all"]
    if math.isnan(test.get("permutation_p", math.nan)):
        return ""
    return (
        f"\nof {tried:,} pairs of a probe and an aggregate: permutation p {test['permutation_p']:.3f}, as the best of all "
        f"{test['permutation_p_in_sweep']:.3f}; test AUROC with all of them at once {bounds(test, 'auc_band')}. {READ_SEARCH}"
    )


def sweeps_table(sweeps: Sequence[Sweep]) -> str:
    """Tabulate several sweeps, a line for each target and lag.

    A line has the winner on validation, its scores on test (on validation where there is no test), the baseline, and the
    p-values of the winner, of the sweep's maximum, and of that corrected for a pick among all lines.
    """
    searched = all("permutation_p" in sweep.winner.metrics.get("test", ()) for sweep in sweeps)
    of_maximum = [sweep.maximum.metrics["test"]["permutation_p_in_sweep"] for sweep in sweeps] if searched else []
    rows = [
        [
            "target",
            "lag",
            "layer",
            "probe",
            "balanced acc",
            "AUROC",
            "95 % interval",
            "best baseline",
            "its AUROC",
            "AUROC minus it",
            *(["p", "p of maximum", "over all"] if searched else []),
        ]
    ]
    for sweep, *p_values in zip(sweeps, *([of_maximum, holm(of_maximum)] if searched else []), strict=True):
        winner = sweep.winner
        split = "test" if "test" in winner.metrics else "val"
        scores, beside = winner.metrics[split], sweep.baselines[sweep.best][split]
        rows.append(
            [
                isolated(shown_text(sweep.target)),
                str(sweep.lag),
                str(winner.layer),
                winner.kind,
                share(scores["balanced_accuracy"]),
                share(scores["auc"]),
                bounds(scores, "auc"),
                sweep.best,
                as_counted(beside["auc"]),
                signed(scores, "minus_baseline") if "minus_baseline" in scores else "-",
                *map(share, [scores["permutation_p"], *p_values] if searched else []),
            ]
        )
    return "\n".join([table(rows), *([what_is_covered(len(sweeps))] if searched else []), *notes_of_several(sweeps)])


def what_is_covered(questions: int) -> str:
    return (
        "p: permutation p of the probe that validation chose; of maximum: of the best on test among all layers, kinds and\n"
        "seeds of that target and lag (penalties by validation), as bands do. None covers a pick among the\n"
        f"{questions} questions of this table; for that the last column corrects the p of maximum (Holm)"
    )


def notes_of_several(sweeps: Sequence[Sweep]) -> list[str]:
    """Say of how many questions the scores have no intervals, by the reason; and what p-values of shifts ask."""
    split, without = "test" if "test" in sweeps[0].task.examples else "val", {}
    for sweep in sweeps:
        if why := why_none(sweep, split):
            without.setdefault(why, []).append(f"{isolated(shown_text(sweep.target))} at lag {sweep.lag}")
    what = f"no intervals{' and no permutation p' if split == 'test' else ''} in {split}"
    found = [
        f"{what} of {len(names)} of {len(sweeps)} questions ({', '.join(names[:MOST_WITHOUT])}"
        + (", ..." if len(names) > MOST_WITHOUT else "")
        + f"): {why}"
        for why, names in without.items()
    ]
    return [*found, *([SHIFTED] if any(map(has_shifts, sweeps)) else [])]


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
