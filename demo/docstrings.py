"""The prose in Python source: docstrings as the parser finds them, never by importing the code that holds them."""

import ast
import re
import warnings
from pathlib import Path

RULE = re.compile(r"\s*[-=+|~^*#_]{3,}[-=+|~^*#_\s]*")  # a line that underlines a heading or frames a table
SHARED_WORDS = 8  # in a row: as many as chance does not repeat
WRAPPED = 40  # characters: a line at least this long was wrapped, so the next one goes on in the same sentence


def docstrings_of(path) -> list[str]:
    """Every docstring of one file in its order, indentation removed; none of a file that does not parse."""
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
    """The paragraphs of a text without interpreter sessions and tables, wrapped lines joined: one sentence, one line.

    A word at the start of a wrapped line stands after a line break instead of a space, so it would be another token
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
    """Hashes of every SHARED_WORDS words in a row: texts that share one share a phrase."""
    words = re.findall(r"\w+", text.lower())
    return {hash(tuple(words[i : i + SHARED_WORDS])) for i in range(len(words) - SHARED_WORDS + 1)}


def indent(line) -> int:
    return len(line) - len(line.lstrip())
