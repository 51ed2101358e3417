"""Print what a run found: the tables of each sweep, then one line a sweep."""

import sys
from collections.abc import Sequence

from utils.states.positions import lag_name
from utils.states.sites import layer_name
from utils.sweep.outcome import Sweep
from utils.sweep.report.documents import document_table
from utils.sweep.report.one import gap, interval_note, one_sided, sweep_table
from utils.sweep.report.several import sweeps_table

MOST_TABLES = 8  # targets and lags: of more, one line each is shown; the tables hold everything


def show_sweeps(sweeps: Sequence[Sweep]):
    """Print each sweep, where they are few, and all of them together."""
    for found in sweeps if len(sweeps) <= MOST_TABLES else ():
        show(found)
    if len(sweeps) > 1:
        show_together(sweeps)


def show(sweep: Sweep):
    """Print the tables of one lag: every layer where there is one probe a layer, else the best layer of each kind."""
    what = "sequences are positive" if sweep.of_sequences else "tokens are the target"
    print(
        f"\n{sweep.target!r}, lag {sweep.lag} ({lag_name(sweep.lag)}); {sweep.prevalence:.2%} of all {what}; "
        "thresholds from validation, intervals over groups"
    )
    probes = sweep.shown
    kinds = len({probe.kind for probe in sweep.chosen}) > 1
    names = [layer_name(probe.layer) + (f" {probe.kind}" if kinds else "") for probe in probes]
    for split in [name for name in ("val", "test") if name in probes[0].metrics]:
        entries = [(name, probe.metrics[split]) for name, probe in zip(names, probes, strict=True)]
        entries += [(f"({name})", by_split and by_split[split]) for name, by_split in sweep.baselines.items()]
        print(f"\n{sweep_table(entries, split)}")
        if note := interval_note(sweep, split):
            print(note)
    print()
    for name, probe in zip(names, probes, strict=True):
        for split in ("val", "test"):
            if split in probe.metrics and (warning := one_sided(f"{name} on {split}", probe.metrics[split])):
                print(warning, file=sys.stderr)
    for line in (*sweep.warnings, gap(sweep)):
        print(line)
    if sweep.documents:
        print(f"\n{document_table(sweep.documents)}")
        for line in sweep.documents.warnings:
            print(line)


def show_together(sweeps: Sequence[Sweep]):
    """Print one line a question: its winner on validation, beside the best baseline there."""
    print(f"\nthe probe that validation chose for each target and lag\n{sweeps_table(sweeps)}")
    if len(sweeps) > MOST_TABLES:
        for sweep in sweeps:
            for line in (*sweep.warnings, *(sweep.documents.warnings if sweep.documents else ())):
                print(f"{sweep.target!r}, lag {sweep.lag}: {line}")
