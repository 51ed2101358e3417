"""Print many sweeps in one table: the probe that validation chose for each target and lag."""

from collections.abc import Sequence

from utils.base.text_table import bounds, share, signed, table
from utils.data.tokenizer import isolated, shown_text
from utils.scores.search.permutation import holm
from utils.sweep.outcome import Sweep
from utils.sweep.report.one import SHIFTED, as_counted, has_shifts, why_none

MOST_WITHOUT = 3  # questions without intervals


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
