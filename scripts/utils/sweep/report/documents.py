"""Print the scores of whole documents."""

import math

from utils.base.text_table import bounds, share, signed, table
from utils.scores.documents.scoring import DocumentScores
from utils.sweep.report.one import as_counted

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
    p, in_sweep = test["permutation_p"], test["permutation_p_in_sweep"]
    return (
        f"\nof {tried:,} pairs of a probe and an aggregate: permutation p {p:.3f}, as the best of all {in_sweep:.3f}; test "
        f"AUROC with all of them at once {bounds(test, 'auc_band')}. {READ_SEARCH}"
    )
