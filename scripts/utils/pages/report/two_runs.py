"""Put two runs side by side: rows of one target, lag, kind and layer, paired where the examples are the same."""

import re
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from utils.base.paths import short_path
from utils.base.text_table import how_many
from utils.pages.charts.cells import SCORE_LABELS, known, layer_in_words, mean
from utils.pages.charts.pages import run_line
from utils.pages.charts.results import Results, read_results
from utils.pages.charts.words import DASH, interval_text, kind_name, lag_label, number_text, quoted, signed_text
from utils.pages.report.chosen import INTERVAL
from utils.pages.report.tables import Cell, Column, Head, ReportTable, numbers, table_of, word
from utils.saved.group_scores import GROUP_SCORES, Block
from utils.scores.differences import DIFFERENCES_OF

NOT_COMPARED = {  # flags of where and how fast, and what follows from others
    *("config", "output_dir", "results_dir", "export", "overwrite", "cache_dir", "memory_gb", "device", "batch_size"),
    *("no_wandb", "wandb_project", "wandb_group", "layers", "kinds", "seeds"),
    *("pos_weight_cap_given", "sequence_task", "usual_pos_weight_cap"),
}
PATH = re.compile(r"[^\s,;'\"={}()\[\]]*[/\\][^\s,;'\"={}()\[\]]*")
Cells = tuple[str, str, int]  # target, kind and lag


@dataclass(frozen=True)
class ComparedRun:
    """A run that is compared.

    name: its folder; blocks: {(target, lag, layer, kind, seed): (block, row)} of the shown split.
    """

    name: str
    results: Results
    blocks: dict[tuple, tuple[Block, int]]

    @classmethod
    def of(cls, name: str, results: Results) -> "ComparedRun":
        """Take the run of these results, by this name."""
        blocks = {
            (block.about["target"], block.about["lag"], *key): (block, row)
            for block in results.blocks
            for key, row in block.rows.items()
        }
        return cls(name, results, blocks)

    def block(self, key: Cells, layer: str, seed: int) -> tuple[Block, int] | None:
        target, probe, lag = key
        return self.blocks.get((target, lag, layer, probe, seed))


@dataclass(frozen=True)
class Pair:
    """A row of both runs. chosen: each run's own choice of a layer on validation, rather than the same layer."""

    key: Cells
    layers: tuple[str, str]
    chosen: bool = False


def two_runs(results: Results, other: str) -> dict:
    """Compare a run with that of another folder: what the page shows. Raise UserError for tables that cannot be read."""
    name = short_path(other)
    same = name in ("", short_path(results.folder))
    theirs = read_results(other, results.split, results.metric, "--compare")
    ours, theirs = ComparedRun.of("this run", results), ComparedRun.of("the other run" if same else name, theirs)
    pairs = pairs_of(ours.results, theirs.results)
    rows = [compared_row(pair, ours, theirs) for pair in pairs]
    return {
        "name": theirs.name,
        "about": run_line(theirs.results),
        "unlike": unlike(ours, theirs),
        "text": summary_text(rows, ours, theirs),
        "tables": tables_of_pairs(rows, ours, theirs),
    }


def pairs_of(ours: Results, theirs: Results) -> list[Pair]:
    """Match the rows: of each question and kind what each run chose, then every layer that both have."""
    pairs = []
    for key, layers in ours.cells.items():
        if key not in theirs.cells:
            continue
        both = None
        if key in ours.chosen and key in theirs.chosen:
            both = ours.chosen[key], theirs.chosen[key]
            pairs.append(Pair(key, both, True))
        same = [Pair(key, (layer, layer)) for layer in layers if layer in theirs.cells[key]]
        pairs += [pair for pair in same if pair.layers != both]
    place = {(target, probe, lag): at for at, (target, probe, lag, _) in enumerate(ours.best_first)}
    return sorted(pairs, key=lambda pair: (not pair.chosen, place.get(pair.key, len(place))))


def compared_row(pair: Pair, ours: ComparedRun, theirs: ComparedRun) -> dict:
    """Compare one pair: both scores, and their paired difference or why there is none. All are over the same seeds."""
    (target, probe, lag), column = pair.key, f"{ours.results.split}_{ours.results.metric}"
    seeds = pairs_of_seeds(pair, ours, theirs)
    sides = [
        [row for row in run.results.rows(*pair.key, layer) if row["seed"] in asked]
        for run, layer, asked in zip((ours, theirs), pair.layers, zip(*seeds, strict=True), strict=True)
    ]
    found, why = difference_of(pair, seeds, ours, theirs)
    layers = [layer_in_words(layer) for layer in pair.layers]
    return {
        "target": quoted(target),
        "probe": kind_name(probe),
        "where": layers[0] if layers[0] == layers[1] else " against ".join(layers),
        "lag": f"lag {lag_label(lag)}",
        "seeds": seeds_text_of(pair, seeds, ours, theirs),
        "chosen": pair.chosen,
        **{f"score{at}": number_text(mean(rows, column)) for at, rows in enumerate(sides)},
        **{f"interval{at}": interval_text(rows, column) for at, rows in enumerate(sides)},
        "difference": DASH if found is None else signed_text(found.value),
        "inside": "" if found is None or not known(found.low) else f"{signed_text(found.low)} to {signed_text(found.high)}",
        "why": why,
        "verdict": "" if found is None else found.verdict,
    }


@dataclass(frozen=True)
class Difference:
    """The mean difference of pairs of seeds, the widest of their intervals, NaN for none, and whether no group tells them
    apart.
    """

    value: float
    low: float
    high: float
    alike: bool

    @property
    def verdict(self) -> str:
        if known(self.low):
            return "better" if self.low > 0 else "worse" if self.high < 0 else "not shown"
        return "alike" if self.alike else "without an interval"


def difference_of(
    pair: Pair, seeds: list[tuple[int, int]], ours: ComparedRun, theirs: ComparedRun
) -> tuple[Difference | None, str]:
    """Compute the paired difference of a pair over these pairs of seeds; or say why there is none, else ""."""
    metric, found, alike = ours.results.metric, [], True
    if metric not in DIFFERENCES_OF:
        named = " or ".join(f"--metric {name}" for name in DIFFERENCES_OF)
        return None, f"there is no paired interval of {SCORE_LABELS[metric]}: give {named}"
    for asked in seeds:
        sides = zip((ours, theirs), pair.layers, asked, strict=True)
        both = [run.block(pair.key, layer, seed) for run, layer, seed in sides]
        for run, block in zip((ours, theirs), both, strict=True):
            if block is None:
                return None, f"{run.name} keeps no {GROUP_SCORES} of it: run its train_probe.py again"
        (one, row), (other, other_row) = both
        if one.about["examples"] != other.about["examples"]:
            return None, other_examples(one, other)
        scores, beside = one.scores(metric)[[row]], other.scores(metric)[[other_row]]
        found.append(np.concatenate(scores.minus(beside)))
        alike = alike and scores.is_like(beside)
    differences, lows, highs = np.array(found).T
    return Difference(float(differences.mean()), float(lows.min()), float(highs.max()), alike), ""


def seeds_at(pair: Pair, ours: ComparedRun, theirs: ComparedRun) -> list[list[int]]:
    """List the seeds that each side has."""
    sides = zip((ours, theirs), pair.layers, strict=True)
    return [[row["seed"] for row in run.results.rows(*pair.key, layer)] for run, layer in sides]


def pairs_of_seeds(pair: Pair, ours: ComparedRun, theirs: ComparedRun) -> list[tuple[int, int]]:
    """Pair the seeds that both runs have; where they share none, the first with the first, and so on."""
    one, other = seeds_at(pair, ours, theirs)
    return [(seed, seed) for seed in one if seed in other] or list(zip(one, other, strict=False))


def seeds_text_of(pair: Pair, seeds: list[tuple[int, int]], ours: ComparedRun, theirs: ComparedRun) -> str:
    """Say which seeds are compared, where one of the runs has others too."""
    sides = [list(side) for side in zip(*seeds, strict=True)]
    if sides == seeds_at(pair, ours, theirs) and sides[0] == sides[1]:
        return ""
    one, other = (", ".join(map(str, side)) for side in sides)
    return f"seed {one}" if one == other else f"seed {one} against {other}"


def other_examples(one: Block, other: Block) -> str:
    """Say how the examples of two runs differ."""
    if one.about["n"] != other.about["n"]:
        return f"they are scored on other examples: {one.about['n']:,} here, {other.about['n']:,} there"
    return "they are scored on other examples: texts, labels or groups differ"


def unlike(ours: ComparedRun, theirs: ComparedRun) -> list[dict]:
    """List what the last calls of the two runs were told differently: model, data and flags."""
    found = []
    for run in (ours, theirs):
        record = run.results.record
        arguments = record.get("arguments") or {}
        flags = {f"--{name}": arguments[name] for name in arguments if name not in NOT_COMPARED}
        fingerprints = {name: record.get(name) for name in ("model_fingerprint", "dataset_fingerprint")}
        found.append({"model": run.results.model, **fingerprints, **flags})
    names = list(dict.fromkeys(name for values in found for name in values))
    texts = {name: [flag_text(values.get(name)) for values in found] for name in names}
    return [{"name": name, "ours": one, "theirs": other} for name, (one, other) in texts.items() if one != other]


def flag_text(value: object) -> str:
    """Write the value of a flag, of each path in it the last two parts."""
    if isinstance(value, list):
        return ", ".join(map(flag_text, value))
    return "not given" if value is None else PATH.sub(lambda found: short_path(found[0].replace("\\", "/")), str(value))


def summary_text(rows: list[dict], ours: ComparedRun, theirs: ComparedRun) -> str:
    """Say how many rows are matched, and how many of them differ."""
    alone = [
        f"{len(set(one.results.cells) - set(other.results.cells))} of {one.name}"
        for one, other in ((ours, theirs), (theirs, ours))
        if set(one.results.cells) - set(other.results.cells)
    ]
    left = f" Only one run has these questions and kinds: {', '.join(alone)}." if alone else ""
    if not rows:
        return f"Not comparable, because no target, lag and kind of probe is in both runs.{left}"
    counts = Counter(row["verdict"] for row in rows if row["verdict"])
    compared, why = counts.total(), list(dict.fromkeys(row["why"] for row in rows if row["why"]))
    if not compared and why:
        return f"Not comparable, because {'; and '.join(why)}.{left}"
    better = "rank better" if ours.results.metric == "auc" else "are better"
    tested = counts["better"] + counts["worse"] + counts["not shown"]
    parts = {
        f"{counts['better']} of this run {better} than those of {theirs.name}, {counts['worse']} worse": tested,
        f"{counts['not shown']} are not shown to differ": tested,
        f"{counts['alike']} score alike in every group": counts["alike"],
        f"{counts['without an interval']} have no interval": counts["without an interval"],
    }
    said = "; ".join(part for part, there in parts.items() if there)
    text = f"Of {how_many(compared, 'pair')} of probes on the same examples, {said}."
    many = f" Of so many intervals about {max(1, round(0.05 * tested))} would leave out 0 by chance." if tested >= 10 else ""
    rest = f" {sum(bool(row['why']) for row in rows)} are not comparable, because {'; and '.join(why)}." if why else ""
    return text + many + rest + left


def tables_of_pairs(rows: list[dict], ours: ComparedRun, theirs: ComparedRun) -> list[ReportTable]:
    """Tabulate what each run chose, and, folded, every layer that both have."""
    metric, split = SCORE_LABELS[ours.results.metric], ours.results.split
    how = "Paired over the groups of texts that both are scored on; of several seeds their mean, and the widest interval."
    scores = [Head(f"{run.name}: {split} {metric}", below=(INTERVAL,)) for run in (ours, theirs)]
    columns: list[Column] = [
        word("target", "target"),
        (Head("probe", "", ("layer, lag",), word=True), probe_cell),
        (Head("difference", how, (INTERVAL,)), difference_cell),
        *(numbers(head, f"score{at}", f"interval{at}") for at, head in enumerate(scores)),
    ]
    chosen, same = ([row for row in rows if row["chosen"] == wanted] for wanted in (True, False))
    titles = ("What each run chose", "the layer that each chose on validation, of one target, lag and kind")
    others = ("Layer by layer", "the same layer of both runs, where it is not what both chose")
    tables = [table_of("two_choices", titles, columns, chosen), table_of("two_runs", others, columns, same)]
    return [replace(table, folded=table.name == "two_runs") for table in tables if table.rows]


def probe_cell(row: dict) -> Cell:
    return Cell(row["probe"], tuple(filter(None, (row["where"], row["lag"], row["seeds"]))))


def difference_cell(row: dict) -> Cell:
    because = f"not comparable, because {row['why']}" if row["why"] else ""
    alike = "alike in every group" if row["verdict"] == "alike" else "without an interval"
    small = row["inside"] or because or alike
    return Cell(row["difference"], (small,), "above" if row["verdict"] == "better" else "")
