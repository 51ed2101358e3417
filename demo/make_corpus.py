#!/usr/bin/env python3
"""Text that every machine with Python has -> JSONL: the standard library's docstrings, and Python's help topics.

One line a module of the top level, {"id": "asyncio", "text": ...}, so that a split by document never parts a package.
"""

import json
import sys
import sysconfig
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from docstrings import docstrings_of, paragraphs  # noqa: E402
from utils.command_line import Parser, run, whole_number  # noqa: E402
from utils.errors import UserError  # noqa: E402
from utils.files import atomic_write  # noqa: E402

LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "ensurepip", "turtledemo"}


def parse(argv):
    parser = Parser(__doc__, epilog="next: python scripts/run_experiment.py configs/demo.yaml")
    parser.add_argument("--output", default="data/demo/python_docs.jsonl", help="JSONL file to write")
    parser.add_argument("--min_characters", type=whole_number(1), default=2000, help="modules with less text are left out")
    return parser.parse_args(argv)


def main(argv=None):
    arguments = parse(argv)
    texts = {**modules(Path(sysconfig.get_path("stdlib"))), **help_topics()}
    rows = [{"id": name, "text": text} for name, text in sorted(texts.items()) if len(text) >= arguments.min_characters]
    if not rows:
        raise UserError(f"this Python ({sys.executable}) carries no docstrings; use one with its standard library as source")
    with atomic_write(arguments.output) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False).encode("utf-8") + b"\n")
    print(f"wrote {arguments.output}: {len(rows)} texts, {sum(len(row['text']) for row in rows):,} characters, from the "
          f"documentation inside Python {sys.version.split()[0]}")
    return 0


def modules(library) -> dict[str, str]:
    """{top-level module: its docstrings as text}, each paragraph once in the whole library."""
    found, seen = {}, set()
    for path in sorted(library.rglob("*.py")):
        parts = path.relative_to(library).parts
        if LEFT_OUT & set(parts):
            continue
        blocks = [block for text in docstrings_of(path) for block in paragraphs(text)]
        new = [block for block in dict.fromkeys(blocks) if block not in seen]
        seen.update(new)
        found.setdefault(parts[0].removesuffix(".py"), []).extend(new)
    return {name: "\n\n".join(blocks) for name, blocks in found.items()}


def help_topics() -> dict[str, str]:
    """What help("for") and its like show: chapters of the language reference, which Python ships as text."""
    from pydoc_data.topics import topics

    return {f"help {name}": "\n\n".join(paragraphs(text)) for name, text in topics.items()}


if __name__ == "__main__":
    run(main)
