"""JavaScript modules -> the one script of a page, which needs no file beside it."""

import re
from collections.abc import Iterator
from pathlib import Path

NAMES = r"\{\s*\w+(?:,\s*\w+)*\s*\}"  # under their own names only
IMPORTED = re.compile(rf'^import (?:({NAMES}) from )?"([^"]+)";\n', re.MULTILINE)
EXPORTED = re.compile(r"^export (?=(?:async function\*?|function\*?|class|const|let) (\w+))", re.MULTILINE)


def bundled(entry: Path) -> str:
    """Put a module and all that it imports into one script, each once, after what it imports itself.

    Each becomes a function of its own that returns what it exports, so names within it are its own. Raise ValueError for an
    import or export that is not understood, and for imports in a circle.
    """
    number: dict[Path, int] = {}
    parts = []
    for path, source in ordered(entry.resolve(), (), set()):
        exports = ", ".join(EXPORTED.findall(source))

        def bound(found: re.Match, folder: Path = path.parent) -> str:
            return f"const {found[1]} = module{number[(folder / found[2]).resolve()]};\n" if found[1] else ""

        text = EXPORTED.sub("", IMPORTED.sub(bound, source))
        if left := re.search(r"^(?:import|export)\b.*", text, re.MULTILINE):
            raise ValueError(f"{path}: {left[0]!r} is an import or export that is not understood")
        number[path] = len(number)
        parts.append(f"const module{number[path]} = (() => {{\n{text.strip()}\nreturn {{{exports}}};\n}})();\n")
    return '"use strict";\n(() => {\n' + "\n".join(parts) + "})();\n"


def ordered(path: Path, above: tuple[Path, ...], done: set[Path]) -> Iterator[tuple[Path, str]]:
    """Yield the files that a module needs, itself last: (path, source)."""
    if path in above:
        raise ValueError(f"{path} imports itself through {above[-1]}")
    if path in done:
        return
    source = path.read_text(encoding="utf-8")
    for _, name in IMPORTED.findall(source):
        yield from ordered((path.parent / name).resolve(), (*above, path), done)
    done.add(path)
    yield path, source
