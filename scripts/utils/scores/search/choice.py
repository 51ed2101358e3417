"""Name the score on validation by which layers and kinds of probe are chosen; everything that names a best one asks here."""


def score_to_choose_by(task: str) -> str:
    """Name the score: balanced accuracy for next-token data, whose classes are balanced; AUROC for annotated files.

    Annotated files may hold few positives; then the threshold chosen on validation jumps, and balanced accuracy with it.
    """
    return "balanced_accuracy" if task == "token" else "auc"
