"""By which score on validation layers and kinds of probe are chosen: one rule for everything that names a best one."""


def score_to_choose_by(task: str) -> str:
    """Name the score: balanced accuracy for next-token data, whose classes are balanced; AUROC for annotated files.

    Annotated files may hold few positives, so that a threshold on validation, and balanced accuracy with it, jumps.
    """
    return "balanced_accuracy" if task == "token" else "auc"
