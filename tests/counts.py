#!/usr/bin/env python3
"""Count what keeps the house in order: rooms, namespaces, parameters, types, lengths, shared names. `make counts` runs it.

One line a count, with its bound; below it, what breaks the bound. Exit status 1 where one is broken.
"""

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import house

TYPED = ("base", "data", "states", "scores", "probes", "sae", "saved")  # rooms whose public functions have types
# Names that several files of utils define, each with the reason for keeping it.
REASONS = {
    "FORMAT": "each kind of file on disk has a format of its own, which its loader checks",
    "VERSION": "and a version of that format",
    "Training": "the parameters of a probe's descent, and a training of sparse autoencoders: neither meets the other",
}


def counts(scripts) -> list[tuple[str, int, int, list[str]]]:
    """(what is counted, how many, the most that are allowed, what breaks the bound) of every count."""
    utils = Path(scripts) / "utils"
    functions = [(path, node) for path in house.modules(scripts) for node in house.functions_of(path)]

    def where(path, node):
        return f"{path.relative_to(scripts)}:{node.lineno} {node.name}"

    rooms = [path.name for path in house.rooms(utils) if path.parent == utils]
    many = [
        f"{where(path, node)} has {number}" for path, node in functions if (number := len(house.parameters_of(node))) > 7
    ]
    untyped = [place for room in TYPED for place in house.untyped_functions(scripts, utils / room)]
    lengths = {where(path, node): node.end_lineno - node.lineno + 1 for path, node in functions}
    lines = {str(path.relative_to(scripts)): len(house.lines_of(path)) for path in house.modules(scripts)}
    names = shared_names(utils)
    namespaces = house.namespaces_taken(scripts)
    return [
        ("rooms", len(rooms), 10, rooms),
        ("functions outside flags.py that take a namespace", len(namespaces), 0, namespaces),
        ("functions with more than 7 parameters", len(many), 0, many),
        ("public functions without parameter types", len(untyped), 0, untyped),
        ("lines of the longest function", *longest(lengths, 50)),
        ("lines of the longest file", *longest(lines, 300)),
        ("names that two files of utils define", len(names), 15, [told(*pair) for pair in names.items()]),
        ("of these without a reason", *without_reason(names)),
    ]


def longest(lengths, most) -> tuple[int, int, list[str]]:
    return max(lengths.values(), default=0), most, [f"{name}: {lines}" for name, lines in lengths.items() if lines > most]


def shared_names(utils) -> dict[str, list[str]]:
    """{name: the files of utils that define it}, of the names that more than one defines."""
    found = defaultdict(list)
    for path in house.modules(utils):
        for name in house.defined_names(path):
            found[name].append(str(path.relative_to(utils)))
    return {name: files for name, files in sorted(found.items()) if len(files) > 1}


def without_reason(names) -> tuple[int, int, list[str]]:
    """Shared names that REASONS lacks: (how many, the most that are allowed, what to do about each)."""
    missing = [f"{name}: rename one, merge them, or give a reason in REASONS" for name in names if name not in REASONS]
    return len(missing), 0, missing


def told(name, files) -> str:
    return f"{name}: {REASONS.get(name, 'NO REASON')} ({', '.join(files)})"


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--scripts", type=Path, default=Path(__file__).resolve().parents[1] / "scripts", help="folder of the sources"
    )
    scripts = parser.parse_args(argv).scripts
    broken = 0
    for title, number, most, places in counts(scripts):
        broken += number > most
        print(f"{title:<50}{number:>4}   at most {most}{'   BROKEN' if number > most else ''}")
        if number > most or title.startswith("names"):
            print("".join(f"    {place}\n" for place in places), end="")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
