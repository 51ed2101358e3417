"""JavaScript modules -> the one script of a page, which needs no file beside it."""

import re
from collections.abc import Iterator
from pathlib import Path

OWN_NAMES = r"\{\s*\w+(?:,\s*\w+)*\s*\}"  # under their own names only
IMPORTED = re.compile(rf'^import (?:({OWN_NAMES}) from )?"([^"]+)";\n', re.MULTILINE)
EXPORTED = re.compile(r"^export (?=(?:async function\*?|function\*?|class|const) (\w+))", re.MULTILINE)


def bundled(entry: Path) -> str:
    """Put a module and all that it imports into one script, each once, after what it imports itself.

    Each becomes a function of its own that returns what it exports, so names within it are its own. An export names one
    thing that stays what it is: a constant, a function or a class. Raise ValueError for an import or export that is not
    understood, and for imports in a circle.
    """
    exports: dict[Path, list[str]] = {}
    parts = []
    for path, source in ordered(entry.resolve(), (), set()):

        def bound(found: re.Match, path: Path = path) -> str:
            if not found[1]:
                return ""
            other = (path.parent / found[2]).resolve()
            if missing := set(re.findall(r"\w+", found[1])) - set(exports[other]):
                raise ValueError(f"{path} imports {', '.join(sorted(missing))}, which no line of {other} exports first")
            return f"const {found[1]} = module{list(exports).index(other)};\n"

        text = EXPORTED.sub("", IMPORTED.sub(bound, source))
        if left := re.search(r"^(?:import|export)\b.*", text, re.MULTILINE):
            raise ValueError(f"{path}: {left[0]!r} is an import or export that is not understood")
        exports[path] = EXPORTED.findall(source)
        returned = ", ".join(exports[path])
        parts.append(f"const module{len(parts)} = (() => {{\n{text.strip()}\nreturn {{{returned}}};\n}})();\n")
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
