"""JavaScript modules -> the one script of a page, which needs no file beside it."""

import re
from collections.abc import Iterator
from pathlib import Path

IMPORTED_NAMES = r"\{\s*\w+(?:,\s*\w+)*\s*\}"  # no `as`: the one scope has the names as they are
IMPORTED = re.compile(rf'^import (?:{IMPORTED_NAMES} from )?"([^"]+)";\n', re.MULTILINE)
EXPORTED = re.compile(r"^export (?=(?:async function|function|class|const|let) )", re.MULTILINE)
TOP_LEVEL = re.compile(r"^(?:async function|function|class|const|let) (\w+)", re.MULTILINE)


def bundled(entry: Path) -> str:
    """Put a module and all that it imports into one script, each once, after what it imports itself.

    Modules share one scope then, so no two may have a top-level name in common: ValueError, as for imports in a circle.
    """
    owner: dict[str, Path] = {}
    parts = []
    for path, source in ordered(entry.resolve(), (), set()):
        text = EXPORTED.sub("", IMPORTED.sub("", source))
        if left := re.search(r"^(?:import|export)\b.*", text, re.MULTILINE):
            raise ValueError(f"{path}: {left[0]!r} is an import or export that is not understood")
        for name in TOP_LEVEL.findall(text):
            if name in owner:
                raise ValueError(f"{path} and {owner[name]} both define {name}")
            owner[name] = path
        parts.append(text.strip("\n"))
    return '"use strict";\n(() => {\n' + "\n\n".join(parts) + "\n})();\n"


def ordered(path: Path, above: tuple[Path, ...], done: set[Path]) -> Iterator[tuple[Path, str]]:
    """Yield the files that a module needs, itself last: (path, source)."""
    if path in above:
        raise ValueError(f"{path} imports itself through {above[-1]}")
    if path in done:
        return
    source = path.read_text(encoding="utf-8")
    for name in IMPORTED.findall(source):
        yield from ordered((path.parent / name).resolve(), (*above, path), done)
    done.add(path)
    yield path, source
