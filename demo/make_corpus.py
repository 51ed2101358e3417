#!/usr/bin/env python3
"""Write text that every machine with Python has as JSONL: the standard library's docstrings, and Python's help topics.

Each top-level module is one line, {"id": "asyncio", "text": ...}, so that a split by document never divides a package.
"""

import json
import sys
import sysconfig
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from docstrings import docstrings_of, paragraphs, shingles  # noqa: E402
from utils.base.cli.parser import Parser, run, whole_number  # noqa: E402
from utils.base.errors import UserError  # noqa: E402
from utils.base.files import atomic_write  # noqa: E402

LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "ensurepip", "turtledemo"}


def parse(argv):
    parser = Parser(__file__, __doc__, epilog="next: python scripts/run_experiment.py configs/demo.yaml")
    parser.add_argument("--output", default="data/demo/python_docs.jsonl", help="JSONL file to write")
    parser.add_argument("--min_characters", type=whole_number(1), default=2000, help="modules with less text are left out")
    return parser.parse_args(argv)


def main(argv=None):
    arguments = parse(argv)
    texts = without_repeats({**modules(Path(sysconfig.get_path("stdlib"))), **help_topics()})
    rows = [{"id": name, "text": text} for name, text in sorted(texts.items()) if len(text) >= arguments.min_characters]
    if not rows:
        raise UserError(f"this Python ({sys.executable}) carries no docstrings; use one with its standard library as source")
    with atomic_write(arguments.output) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False).encode("utf-8") + b"\n")
    print(
        f"wrote {arguments.output}: {len(rows)} texts, {sum(len(row['text']) for row in rows):,} characters, from the "
        f"documentation inside Python {sys.version.split()[0]}"
    )
    return 0


def modules(library) -> dict[str, list[str]]:
    """Collect {top-level module: the paragraphs of its docstrings}."""
    found = {}
    for path in sorted(library.rglob("*.py")):
        parts = path.relative_to(library).parts
        if LEFT_OUT & set(parts):
            continue
        blocks = [block for text in docstrings_of(path) for block in paragraphs(text)]
        found.setdefault(parts[0].removesuffix(".py"), []).extend(blocks)
    return found


def help_topics() -> dict[str, list[str]]:
    """Collect what help("for") and its like show: chapters of the language reference, which Python ships as text."""
    from pydoc_data.topics import topics

    return {f"help {name}": paragraphs(text) for name, text in topics.items()}


def without_repeats(texts) -> dict[str, str]:
    """Remove paragraphs that share a phrase with an earlier one, such as methods of sister classes or quoted chapters.

    A phrase that stood on both sides of a split would make the test worthless.
    """
    seen, result = set(), {}
    for name, blocks in texts.items():
        kept = []
        for block in blocks:
            phrases = shingles(block) or {block}
            if seen.isdisjoint(phrases):
                kept.append(block)
            seen |= phrases
        result[name] = "\n\n".join(kept)
    return result


if __name__ == "__main__":
    run(main)
