"""Print probes on latents beside the dense probe and all baselines, and say what is shown of their difference."""

import math
from collections.abc import Sequence

from utils.base.text_table import bounds, share, signed, table
from utils.states.positions import lag_name
from utils.states.sites import layer_name
from utils.sweep.outcome import Sweep, is_so
from utils.sweep.refits.latents.compared import LayerOfLatents
from utils.sweep.refits.latents.counts import CountedProbe
from utils.sweep.report.one import SHIFTED, as_counted

MOST_NAMED_HERE = 8  # latents that are printed; the table names more
COUNTS_HEADING = ("", "val AUROC", "of dimensions", "test AUROC", "95 % interval", "minus dense probe", "minus baseline")


def latents_report(sweep: Sweep, layers: Sequence[LayerOfLatents], named: Sequence[Sequence[dict]]) -> str:
    """Show one question: a line for each layer where there are several, the best layer's counts, what follows, and names.

    named: of each layer, the latents of the probe that validation chose, the best first.
    """
    if not layers:
        return f"\n{sweep.target!r}, lag {sweep.lag}: no latent is active on train, so none is probed"
    best, latents = max(zip(layers, named, strict=True), key=lambda found: found[0].best.on_validation)
    split = "test" if "test" in sweep.task.examples else "val"
    parts = [f"\n{sweep.target!r}, lag {sweep.lag} ({lag_name(sweep.lag)}): probes on latents"]
    if len(layers) > 1:
        parts.append(layers_table(sweep, layers))
    parts += [counts_table(sweep, best), *conclusions(best, sweep, split), *map(name_line, latents[:MOST_NAMED_HERE])]
    return "\n".join(parts)


def layers_table(sweep: Sweep, layers: Sequence[LayerOfLatents]) -> str:
    """Tabulate the probe of each layer whose count validation chose."""
    rows = [[layer_name(layer.sae.layer), str(layer.best.count), *cells(layer.best.probe.metrics)] for layer in layers]
    heading = ["", "latents", "val AUROC", *COUNTS_HEADING[3:-1], f"minus {sweep.best}"]
    return table([heading, *rows])


def counts_table(sweep: Sweep, layer: LayerOfLatents) -> str:
    """Tabulate all counts of one layer's latents and of its dimensions, the dense probe and the baselines."""
    of_dimensions = {found.count: share(found.probe.metrics["val"]["auc"]) for found in layer.dimensions}
    rows = [[f"latents of {layer_name(layer.sae.layer)}", *COUNTS_HEADING[1:-1], f"minus {sweep.best}"]]
    for found in layer.latents:
        first, *others = cells(found.probe.metrics)
        rows.append([count_name(found), first, of_dimensions.get(found.count, ""), *others])
    for found in layer.dimensions:
        if found.chosen:
            first, *others = cells(found.probe.metrics)
            rows.append([count_name(found), first, first, *others])
    first, *others = cells(layer.dense.metrics)
    rows.append(["dense probe", first, "", *others])
    for name, by_split in sweep.baselines.items():
        if by_split is None:
            rows.append([f"({name})", "not computed", *[""] * 5])
            continue
        test = by_split.get("test")
        scores = [share(test["auc"]), bounds(test, "auc")] if test else ["", ""]
        rows.append([f"({name})", share(by_split["val"]["auc"]), "", *scores, "", ""])
    return table(rows)


def count_name(found: CountedProbe) -> str:
    noun = found.features if found.count > 1 else found.features.removesuffix("s")
    return f"{found.count:,} {noun}{' *' if found.chosen else ''}"


def cells(metrics: dict) -> list[str]:
    """Give AUROC on validation; of what is scored on test also that with its interval, and the differences there."""
    test = metrics.get("test")
    if test is None:
        return [share(metrics["val"]["auc"]), *[""] * 4]
    return [
        share(metrics["val"]["auc"]),
        share(test["auc"]),
        bounds(test, "auc"),
        *(signed(test, name) if name in test else "" for name in ("minus_dense", "minus_baseline")),
    ]


def conclusions(layer: LayerOfLatents, sweep: Sweep, split: str) -> list[str]:
    """Say what validation chose, and on test whether it ranks better or worse than what it is compared with.

    Only a difference whose interval lies above 0 is called better.
    """
    best, screened = layer.best, layer.screened
    lines = [
        "* validation chose this number; test is scored for it alone. Of dimensions: as many of the states' own, chosen by "
        f"the same rule. Of all {layer.sae.autoencoder.latents:,} latents {len(screened.order):,} are ever active on train"
    ]
    if unsolved := [found for found in layer.latents if is_so(found.probe.notes, "unsolved")]:
        lines.append(
            f"warning: the fits of {', '.join(map(count_name, unsolved))} did not reach the tolerance of their gradient; "
            "see sae_probes.csv"
        )
    if split != "test":
        return [*lines, "no test data, so nothing is said of how it compares with others"]
    test = best.probe.metrics["test"]
    counted = as_counted(sweep.baselines[sweep.best]["test"]["auc"])
    name = f"{count_name(best).removesuffix(' *')} of {layer_name(layer.sae.layer)}"
    lines.append(
        f"{name}: on test {verdict(test, 'minus_dense')} the dense probe of that layer, "
        f"{verdict(test, 'minus_baseline')} {sweep.best} (AUROC {counted})"
    )
    if not math.isnan(test["permutation_p"]):
        lines.append(
            f"permutation p {test['permutation_p']:.3f}, {test['permutation_p_in_sweep']:.3f} among all "
            f"{test['probes_together']} probes of this target and lag, those on latents and dimensions with them"
        )
        lines += [SHIFTED] if sweep.shifted else []
    return lines


def verdict(scores: dict, name: str) -> str:
    """Say what is shown of a difference: 'better than', 'worse than', or that nothing is."""
    low, high = scores[f"{name}_low"], scores[f"{name}_high"]
    if math.isnan(low):
        return "not compared (no interval) with"
    return "better than" if low > 0 else "worse than" if high < 0 else "not shown to differ from"


def name_line(latent: dict) -> str:
    """Name one latent of the probe."""
    reads = ", ".join(f"{text!r} {count}" for text, count in latent["reads"])
    promotes = f"; promotes {', '.join(repr(text) for text, _ in latent['promotes'])}" if latent["promotes"] else ""
    return (
        f"  latent {latent['latent']}: difference {latent['mean_difference']:+.3f}, active at "
        f"{latent['density_positives']:.1%} of positives and {latent['density_negatives']:.1%} of negatives; "
        f"reads {reads}{promotes}"
    )
