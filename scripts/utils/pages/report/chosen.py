"""Tabulate the layer that validation chose, of each target, lag and kind of probe."""

from utils.pages.charts.cells import SCORE_LABELS, known, mean, seed_of_validation, values
from utils.pages.charts.results import Results, questions_of
from utils.pages.charts.words import (
    DASH,
    detectable_text,
    interval_text,
    kind_name,
    lag_label,
    no_interval_text,
    number_text,
    positives,
    quoted,
    seed_name,
    signed_text,
    span,
)
from utils.pages.report.doubts import Result
from utils.pages.report.tables import Cell, Column, Head, ReportTable, numbers, table_of, word
from utils.saved.columns import BASELINES, SUMMARY

OPTIONAL = ("best", "minus", "detectable", "selectivity", "auc", "p", "without", "refitted")
INTERVAL = "95 % interval"


def hows_of(results: Results) -> dict[str, str]:
    """Say how each number was computed, for whoever opens the head of its column."""
    split, metric = results.split, SCORE_LABELS[results.metric]
    return {
        "score": f"{metric} on {split}, the mean over the seeds, with its 95 % interval over groups ({SUMMARY}: "
        f"{split}_{results.metric}). Its threshold was chosen on validation.",
        "validation": "The mean over the seeds on validation, by which the layer was chosen.",
        "auc": f"The area under the ROC curve on {split}, ties counted half ({SUMMARY}: {split}_auc).",
        "baseline": f"The baseline with the best AUROC on validation ({BASELINES}). It needs no hidden states, or those of "
        "an untrained model.",
        "minus": "AUROC minus that of the best baseline on the same examples, minus 0.5 where that is below 0.5; the "
        f"interval is of the paired difference over groups ({SUMMARY}: {split}_minus_baseline).",
        "p": "The share of shuffled labels with which the same logits reach such an AUROC "
        f"({SUMMARY}: {split}_permutation_p, {split}_permutation_p_in_sweep).",
        "selectivity": "Balanced accuracy minus that of the same probe trained on random labels "
        f"({SUMMARY}: {split}_selectivity).",
        "random": "AUROC minus that of the same probe on the same model with random weights, paired over groups "
        f"({SUMMARY}: {split}_minus_random_weights).",
        "optimism": "By how much the score that was picked as the best flatters.",
        "lag": "The state is read so many tokens after the labelled token, before it where the lag is negative.",
        "probe": f"The kind, layer and lag with the best {metric} on validation.",
        "doubts": "The checks and their figures stand below.",
    }


def chosen_table(results: Results) -> ReportTable | None:
    """Tabulate the chosen probes, best on validation first; None where nothing was chosen."""
    rows = [chosen_row(Result(results, *one)) for one in results.best_first]
    shown = {name for name in OPTIONAL if any(row[name] not in ("", DASH) for row in rows)}
    about = "of each target, lag and kind the layer that validation chose; best on validation first"
    notes = [choice_note(results, rows, shown), search_note(results, rows) if "p" in shown else ""]
    return table_of("chosen", ("Chosen probes", about), columns_of(results, shown), rows, notes) if rows else None


def columns_of(results: Results, shown: set[str]) -> list[Column]:
    """List the columns that this run has numbers for."""
    metric, split, hows, questions = SCORE_LABELS[results.metric], results.split, hows_of(results), questions_of(results)
    band = ("with all probes at once",) if "p" in shown else ()
    own = (INTERVAL, *(() if "auc" in shown else band))
    picks = ("as the best of its target and lag", *([f"as the best of {questions} such"] if questions > 1 else []))
    gap = "validation − test" if split != "val" else "train − validation"
    columns = {
        "probe": word("probe", "probe"),
        "target": word("target", "target"),
        "lag": numbers(Head("lag", hows["lag"]), "lag"),
        "layer": numbers(Head("layer"), "layer"),
        "validation": numbers(Head(f"validation {metric}", hows["validation"]), "validation"),
        "score": numbers(Head(f"{split} {metric}", hows["score"], own), "score", *score_lines(shown), look="strong"),
        "auc": numbers(Head(f"{split} AUROC", hows["auc"], (INTERVAL, *band)), "auc", "auc_interval", "band"),
        "best": (Head("best baseline", hows["baseline"], (f"{split} {metric}",), word=True), best_cell),
        "minus": (Head("AUROC minus baseline’s", hows["minus"], (INTERVAL,)), minus_cell),
        "p": numbers(Head("permutation p", hows["p"], picks), "p", "p_in_sweep", "p_of_all"),
        "selectivity": numbers(Head("selectivity", hows["selectivity"]), "selectivity"),
        "optimism": numbers(Head("optimism", hows["optimism"], (gap,)), "gap"),
        "n": numbers(Head("n", "Examples of the split, and how many are positive.", ("positives",)), "n", "positives"),
        "seeds": numbers(Head("seeds", "The seeds, and the penalty that validation chose.", ("l2",)), "seeds", "l2"),
    }
    left = {name for name in OPTIONAL if name not in shown} | ({"validation"} if split == "val" else set())
    return [column for name, column in columns.items() if name not in left]


def score_lines(shown: set[str]) -> tuple[str, ...]:
    """Name what stands below the score by which was chosen."""
    return ("interval", "without", "refits", *(() if "auc" in shown else ("band",)))


def best_cell(row: dict) -> Cell:
    counted = f"its AUROC {row['counted']} counts as 0.5" if row["counted"] else ""
    other = f"AUROC {row['best_auc']}" if row["best_auc"] else ""
    small = (row["best_score"] if row["best"] else "", counted or other)
    return Cell(row["best"] or DASH, tuple(text for text in small if text not in ("", DASH)))


def minus_cell(row: dict) -> Cell:
    refits = f"refits: {row['minus_refitted']}" if row["minus_refitted"] else ""
    small = tuple(filter(None, (row["minus_interval"], refits, row["detectable"])))
    return Cell(row["minus"], small, "above" if row["above"] else "")


def chosen_row(result: Result) -> dict:
    results, rows, split = result.results, result.rows, result.results.split
    validation, score = mean(rows, f"val_{results.metric}"), result.score
    best, baseline = result.baseline, result.rows_of_baseline(result.baseline)
    beside, low = mean(baseline, "auc"), result.interval("minus_baseline")[0]
    found, seed = values(rows, f"{split}_{results.metric}"), seed_of_validation(rows, results.metric)
    interval, refitted = (interval_text(rows, f"{split}_{results.metric}{end}") for end in ("", "_refit"))
    return {
        "target": quoted(result.target),
        "probe": kind_name(result.probe),
        "lag": lag_label(result.lag),
        "layer": result.layer,
        "validation": number_text(validation),
        "score": number_text(score),
        "interval": interval,
        "refitted": refitted,
        "refits": f"refits: {refitted}" if refitted else "",
        "without": "" if interval else no_interval_text(result.groups),
        "auc": number_text(mean(rows, f"{split}_auc")) if results.metric != "auc" else "",
        "auc_interval": interval_text(rows, f"{split}_auc"),
        "best": best or "",
        "best_score": number_text(mean(baseline, results.metric)),
        "best_auc": number_text(beside) if results.metric != "auc" and known(beside) else "",
        "minus": signed_text(result.ahead),
        "minus_interval": interval_text(rows, f"{split}_minus_baseline", signed_text),
        "minus_refitted": interval_text(rows, f"{split}_minus_baseline_refit", signed_text),
        "counted": number_text(beside) if beside < 0.5 else "",
        "detectable": detectable_text(rows, split),
        "p": number_text(seed.get(f"{split}_permutation_p")),
        "p_in_sweep": number_text(result.p_in_sweep),
        "p_of_all": number_text(result.p_of_all) if known(result.p_of_all) and questions_of(results) > 1 else "",
        "band": interval_text(rows, f"{split}_auc_band"),
        "above": bool(known(low) and low > 0),
        "selectivity": signed_text(mean(rows, f"{split}_selectivity")),
        "gap": signed_text((validation if split != "val" else mean(rows, f"train_{results.metric}")) - score),
        "n": span(values(rows, f"n_{split}")),
        "positives": span(positives(rows, split)),
        "seeds": seeds_text(rows, found),
        "l2": span([row["l2"] for row in rows if known(row["l2"])], "{:g}".format),
    }


def seeds_text(rows: list[dict], found: list[float]) -> str:
    """Write which seed a cell is of, or how far apart several are. found: the scores that are known."""
    missing = f", {len(rows) - len(found)} without a score" if len(found) < len(rows) else ""
    if len(found) > 1:
        return f"{len(found)} seeds: {number_text(min(found))} to {number_text(max(found))}{missing}"
    only = next((row for row in rows if found and found[0] in row.values()), rows[0])
    return f"seed {seed_name(only)}{missing}"


def choice_note(results: Results, rows: list[dict], shown: set[str]) -> str:
    """Say how the layers were chosen, and what the columns mean that are there."""
    metric = SCORE_LABELS[results.metric]
    refits = "Refits: the interval with what another training sample would change of the probe added"
    parts = {
        f"The layer was chosen on validation, by mean {metric} over the seeds, the penalty there by AUROC; the order is "
        "that of validation too.": True,
        "So the layer may be another than that of the single best probe, which a run names. Scores are means over the "
        "seeds; an interval runs from the lowest end of any seed's to the highest.": any(
            "seeds" in row["seeds"] for row in rows
        ),
        "The best baseline was picked on validation; a bold difference has an interval above 0.": "minus" in shown,
        "Where the interval holds 0: the smallest true difference that four of five such samples would show, where there is "
        "one up to an AUROC of 1.": "detectable" in shown,
        "An interval or a p needs 3 groups that hold each class and, where they differ in size, as many as 2.5 equal "
        "ones.": "without" in shown,
        f"{refits}; what would show leaves that out.": "refitted" in shown and "detectable" in shown,
        f"{refits}.": "refitted" in shown and "detectable" not in shown,
        "Selectivity: how much better than on random control labels.": "selectivity" in shown,
        "Optimism: by how much the score that was picked flatters.": results.split == "test",
    }
    return " ".join(text for text, wanted in parts.items() if wanted)


def search_note(results: Results, rows: list[dict]) -> str:
    """Say what the columns of a search cover."""
    questions = questions_of(results)
    seed = " (p for the seed that did best there)" if any("seeds" in row["seeds"] for row in rows) else ""
    return (
        f"The first p and the interval are for the probe that validation chose{seed}. The p beneath it and the wider "
        "interval cover all layers, kinds and seeds of one target and lag, each at the penalty that validation chose: who "
        "picks a layer or kind reads these. "
        + (
            f"They cover no pick among the {questions} questions (a target and a lag each) of this table; for that the last "
            f"p is {questions} times the one above it (Bonferroni). "
            if questions > 1
            else ""
        )
        + "Labels of tokens are shifted within their documents: p asks whether a probe finds the place in these documents, "
        "and says nothing of new ones."
    )
