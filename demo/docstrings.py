"""Read the prose in Python source: docstrings, as the parser finds them. The code that holds them is never imported."""

import ast
import re
import warnings
from pathlib import Path

RULE = re.compile(r"\s*[-=+|~^*#_]{3,}[-=+|~^*#_\s]*")  # a line that underlines a heading or frames a table
SHARED_WORDS = 8  # in a row: too many to be repeated by chance
WRAPPED = 40  # characters: a line at least this long was wrapped, so the next line continues its sentence


def docstrings_of(path) -> list[str]:
    """Return every docstring of a file, in order and without indentation; an empty list if the file does not parse."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's strings
            tree = ast.parse(Path(path).read_bytes())
    except (SyntaxError, ValueError, RecursionError):  # a template, another version's syntax, null bytes
        return []
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, holders)]
    return [text for text in found if text]


def paragraphs(text) -> list[str]:
    """Split a text into paragraphs without interpreter sessions and tables, and join wrapped lines.

    Otherwise a word at the start of a wrapped line would follow a line break instead of a space, and be another token
    than in running text.
    """
    found = []
    for block in re.split(r"\n\s*\n", text):
        lines = [line.rstrip() for line in block.strip("\n").splitlines()]
        if not lines or any(RULE.fullmatch(line) or line.lstrip().startswith((">>>", "...")) for line in lines):
            continue
        joined = [lines[0]]
        for before, line in zip(lines, lines[1:], strict=False):
            if indent(line) == indent(before) and len(before.strip()) >= WRAPPED:
                joined[-1] += " " + line.strip()
            else:
                joined.append(line)
        found.append("\n".join(joined))
    return [block for block in found if block.strip()]


def shingles(text) -> set[int]:
    """Hash every run of SHARED_WORDS words. Two texts with a hash in common share a phrase."""
    words = re.findall(r"\w+", text.lower())
    return {hash(tuple(words[i : i + SHARED_WORDS])) for i in range(len(words) - SHARED_WORDS + 1)}


def indent(line) -> int:
    return len(line) - len(line.lstrip())
