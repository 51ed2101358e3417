"""Make the plain-text tables that are printed at the end of a sweep."""

import math
from collections.abc import Sequence

from utils.base.text_table import bounds, share, signed, table
from utils.data.tokenizer import isolated, shown_text
from utils.scores.documents.scoring import DocumentScores
from utils.scores.intervals import no_interval
from utils.sweep.outcome import Sweep


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
    """Say why the scores of a split have no intervals; "" where they have."""
    examples = sweep.task.examples[split]
    why = no_interval(examples.labels, examples.groups)
    return f"no intervals in {split}: {why}" if why else ""


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
    minus = (
        f"\ntest AUROC of documents minus {documents.best}, the best baseline on validation: "
        f"{signed(best, 'minus_baseline')}"
        if documents.best
        else ""
    )
    return table(rows) + minus + documents_searched(documents)


def documents_searched(documents: DocumentScores) -> str:
    """Say how the winner stands once all pairs of a probe and an aggregate are reckoned with; "" where that is not known."""
    tried = sum((row["bucket"], row["split"], row.get("baseline", "")) == ("all", "test", "") for row in documents.rows)
    test = documents.winner.scores["test"]["all"]
    if math.isnan(test.get("permutation_p", math.nan)):
        return ""
    return (
        f"\nof {tried:,} pairs of a probe and an aggregate: permutation p {test['permutation_p']:.3f}, as the best of all "
        f"{test['permutation_p_in_sweep']:.3f}; test AUROC within {bounds(test, 'auc_band')} together. {READ_SEARCH}"
    )


def sweeps_table(sweeps: Sequence[Sweep]) -> str:
    """Tabulate several sweeps, a line for each target and lag.

    A line has the winner on validation, its scores on test (on validation where there is no test), and the baseline.
    """
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
        ]
    ]
    for sweep in sweeps:
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
                share(beside["auc"]),
                signed(scores, "minus_baseline") if "minus_baseline" in scores else "-",
            ]
        )
    return table(rows)


def one_sided(name: str, scores: dict) -> str | None:
    """Warn of a probe that always gives one answer, with its figures; None for others."""
    said = scores["tp"] + scores["fp"]
    total = said + scores["tn"] + scores["fn"]
    if 0 < said < total:
        return None
    return (
        f"warning: {name} answers {'positive' if said else 'negative'} for all {total:,} examples (positives "
        f"{scores['pos_accuracy']:.1%} right, negatives {scores['neg_accuracy']:.1%}): it has learnt nothing usable"
    )


def gap(sweep: Sweep) -> str:
    """Say what validation chose, and how much worse it is on test: the optimism of choosing."""
    winner, others, by = sweep.winner, sweep.others, sweep.chosen_by
    name = (
        f"{winner.layer if isinstance(winner.layer, str) else f'layer{winner.layer}'}"
        + ("" if winner.kind == "linear" else f" {winner.kind}")
        + (f", seed {winner.seed}" if others else "")
    )
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
        text += f"; test AUROC minus {sweep.best}, the best baseline on validation: {signed(test, 'minus_baseline')}"
    if "minus_random_weights" in test:
        text += f"; minus random weights: {signed(test, 'minus_random_weights')}"
    if "selectivity" in test:
        text += f"; selectivity {test['selectivity']:.3f} (random labels {test['control']:.3f})"
    return text + search_text(test, len(sweep.chosen))


def search_text(test: dict, probes: int) -> str:
    """Say how the winner stands once all probes of the sweep are reckoned with; "" where nothing is known of it."""
    if math.isnan(test.get("permutation_p", math.nan)):
        return ""
    return (
        f"; permutation p {test['permutation_p']:.3f}, as the best of {probes} {test['permutation_p_in_sweep']:.3f}; "
        f"test AUROC within {bounds(test, 'auc_band')} together with all of them"
    )


def direction_line(name: str, entry: dict, token: int | None) -> str | None:
    """Say where the target token ranks in one direction; None where nothing is known."""
    found = [
        f"rank {entry[which]['target_rank']:,} of {entry[which]['vocabulary']:,} by its {which}"
        for which in ("filter", "pattern")
        if entry[which] and entry[which]["target_rank"]
    ]
    return f"direction of {name}: the target (token {token}) has {' and '.join(found)}" if found else None
