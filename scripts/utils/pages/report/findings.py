"""Say what was asked and what was found: of each target the probe that validation chose, beside its best baseline."""

from utils.data.tokenizer import isolated
from utils.pages.charts.cells import SCORE_LABELS, known, layer_in_words, layer_order
from utils.pages.charts.results import Results
from utils.pages.charts.words import DASH, interval_text, kind_name, lag_label, number_text, quoted, signed_text, span
from utils.pages.report.chosen import INTERVAL, hows_of
from utils.pages.report.doubts import Result, doubts_of, not_checked
from utils.pages.report.latents import latents_found
from utils.pages.report.tables import Cell, Column, Head, ReportTable, numbers, table_of, word


def best_results(results: Results) -> list[Result]:
    """Choose for each target the kind and lag that did best on validation; the best target first."""
    best: dict[str, Result] = {}
    for one in results.best_first:
        best.setdefault(one[0], Result(results, *one))
    return list(best.values())


def asked_text(results: Results) -> str:
    """Write what was asked, in a sentence: what is predicted, from which states, on how much data."""
    targets = [isolated(quoted(target)) for target in results.targets]
    what = targets[0] if len(targets) == 1 else f"{len(targets)} targets"
    lags = sorted({lag for _, _, lag in results.cells})
    at = (
        f"lag {lag_label(lags[0])}"
        if len(lags) == 1
        else f"{len(lags)} lags from {lag_label(lags[0])} to {lag_label(lags[-1])}"
    )
    layers = sorted({layer for layers in results.cells.values() for layer in layers}, key=layer_order)
    where = layer_in_words(layers[0]) if len(layers) == 1 else f"{len(layers)} layers"
    kinds = " and ".join(", ".join(kind_name(kind) for kind in results.kinds).rsplit(", ", 1))
    examples = [row[f"n_{results.split}"] for row in results.all_rows() if known(row.get(f"n_{results.split}"))]
    groups = [count for (_, _, split), count in results.groups.items() if split == results.split]
    counts = [
        f"{span(found)} {unit}{'' if found and max(found) == 1 else 's'}"
        for unit, found in ((f"{results.split} example", examples), ("group", groups))
        if found
    ]
    return f"Can {kinds} probes on {where} of {results.model} tell {what}, at {at}?" + (
        f" Scores are of {' from '.join(counts)}." if counts else ""
    )


def found_text(result: Result) -> str:
    """Write what was found for a target, in a sentence with its figures."""
    results, metric = result.results, SCORE_LABELS[result.results.metric]
    inside = interval_text(result.rows, f"{results.split}_{results.metric}")
    text = (
        f"{kind_name(result.probe).capitalize()} probe at {layer_in_words(result.layer)}, lag {lag_label(result.lag)}: "
        f"{results.split} {metric} {number_text(result.score)}" + (f" ({inside})" if inside else "")
    )
    name = result.baseline
    if name is None:
        return f"{text}; there is no baseline beside it."
    beside = number_text(result.of_baseline(name, results.metric))
    return f"{text}. The best baseline, “{name}”, has {beside}; {verdict_of(result)}.{others_text(result)}"


def others_text(result: Result) -> str:
    """Write how the probe stands to random labels and to the model with random weights, where these were tried."""
    selectivity, ahead = result.mean("selectivity"), result.mean("minus_random_weights")
    inside = interval_text(result.rows, f"{result.results.split}_minus_random_weights")
    control = f" Random labels cost it {number_text(selectivity)} of balanced accuracy." if known(selectivity) else ""
    random = f" Random weights of the model cost it {number_text(ahead)} of AUROC" if known(ahead) else ""
    return control + (random + (f" ({inside})." if inside else ".") if random else "")


def verdict_of(result: Result) -> str:
    """Say in words whether the probe beats its best baseline."""
    (low, high), ahead = result.interval("minus_baseline"), result.ahead
    figures = f"AUROC {signed_text(ahead)}" + (f" ({signed_text(low)} to {signed_text(high)})" if known(low) else "")
    if not known(ahead):
        return "the two cannot be compared"
    if not known(low):
        return f"the probe ranks {'better' if ahead > 0 else 'no better'}, without an interval: {figures}"
    verdict = "better" if low > 0 else "worse" if high < 0 else "neither better nor worse, as far as these data show"
    return f"the probe ranks {verdict}: {figures}"


def finding(result: Result) -> dict:
    """Give what the report shows of a target, as plain data."""
    results, name = result.results, result.baseline
    latents, of_latents = latents_found(results, result.target)
    doubts = [*doubts_of(result), *of_latents]
    low, high = result.interval("minus_baseline")
    return {
        "target": quoted(result.target),
        "probe": kind_name(result.probe),
        "layer": layer_in_words(result.layer),
        "lag": lag_label(result.lag),
        "score": number_text(result.score),
        "interval": interval_text(result.rows, f"{results.split}_{results.metric}"),
        "baseline": name or "",
        "baseline_score": number_text(result.of_baseline(name, results.metric)),
        "ahead": signed_text(result.ahead),
        "selectivity": signed_text(result.mean("selectivity")),
        "ahead_of_random": signed_text(result.mean("minus_random_weights")),
        "ahead_of_random_interval": interval_text(result.rows, f"{results.split}_minus_random_weights", signed_text),
        "ahead_interval": interval_text(result.rows, f"{results.split}_minus_baseline", signed_text),
        "verdict": "better" if low > 0 else "worse" if high < 0 else "not shown",
        "text": found_text(result),
        "latents": latents,
        "doubts": [vars(doubt) for doubt in doubts],
        "reasons": ", ".join(dict.fromkeys(doubt.name for doubt in doubts)) or "nothing found",
    }


def findings_of(results: Results, best: list[Result]) -> dict:
    """Gather what the report begins with: what was asked, what was found, and what would make one doubt it.

    best: what `best_results` gives.
    """
    found = [finding(result) for result in best]
    grouped: dict[str, list[dict]] = {}
    for one in found:
        for doubt in one["doubts"]:
            grouped.setdefault(doubt["name"], []).append({"target": one["target"], "text": doubt["text"]})
    return {
        "asked": asked_text(results),
        "found": found,
        "doubts": [{"name": name, "of": of} for name, of in sorted(grouped.items(), key=lambda item: -len(item[1]))],
        "not_checked": not_checked(results, best),
        "found_table": found_table(results, found),
    }


def found_table(results: Results, found: list[dict]) -> ReportTable:
    """Tabulate what was found, a row for each target, best on validation first."""
    metric, split, hows = SCORE_LABELS[results.metric], results.split, hows_of(results)
    of_random = Head("AUROC minus random weights’", hows["random"], (INTERVAL,))
    columns: list[Column | None] = [
        word("target", "target"),
        (Head("probe", hows["probe"], word=True), lambda one: Cell(f"{one['probe']}, {one['layer']}, lag {one['lag']}")),
        numbers(Head(f"{split} {metric}", hows["score"], (INTERVAL,)), "score", "interval", look="strong"),
        (Head("best baseline", hows["baseline"], (f"{split} {metric}",), word=True), beside_cell),
        (Head("AUROC minus baseline’s", hows["minus"], (INTERVAL,)), ahead_cell),
        numbers(Head("selectivity", hows["selectivity"]), "selectivity") if any_known(found, "selectivity") else None,
        numbers(of_random, "ahead_of_random", "ahead_of_random_interval") if any_known(found, "ahead_of_random") else None,
        word("what speaks against it", "reasons", hows["doubts"]),
    ]
    each = "of each target the" if len(found) > 1 else "the"
    about = f"{each} layer, kind and lag that did best on validation" + (
        "; the best target there first" if found[1:] else ""
    )
    return table_of("found", ("What was found", about), filter(None, columns), found)


def any_known(found: list[dict], name: str) -> bool:
    return any(one[name] != DASH for one in found)


def beside_cell(one: dict) -> Cell:
    return Cell(one["baseline"] or DASH, (one["baseline_score"],) if one["baseline"] else ())


def ahead_cell(one: dict) -> Cell:
    return Cell(one["ahead"], tuple(filter(None, (one["ahead_interval"],))), "above" if one["verdict"] == "better" else "")
