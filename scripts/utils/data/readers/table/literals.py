"""The methods that extraction expressions may call, and the literal values in their brackets."""

import ast
import re
from typing import Any

COLUMN = "col"
MOST_WHOLE = 2**53  # what a float holds exactly
NAMED_COMPARISONS = {"eq": ast.Eq, "ne": ast.NotEq, "lt": ast.Lt, "le": ast.LtE, "gt": ast.Gt, "ge": ast.GtE}
# What each method takes, in pandas' order, as far as the order agrees.
PATTERN = {"pat": str, "case": bool, "na": bool}
TEXT_METHODS = {
    "contains": {**PATTERN, "regex": bool},
    "match": PATTERN,
    "fullmatch": PATTERN,
    "count": {"pat": str},
    "startswith": {"pat": (str, tuple), "na": bool},
    "endswith": {"pat": (str, tuple), "na": bool},
    "replace": {"pat": str, "repl": str, "regex": bool},
    "slice": {"start": int, "stop": int, "step": int},
    "get": {"i": int},
    "strip": {"to_strip": str},
    "lstrip": {"to_strip": str},
    "rstrip": {"to_strip": str},
    "removeprefix": {"prefix": str},
    "removesuffix": {"suffix": str},
    **{
        name: {}
        for name in (
            "len",
            "lower",
            "upper",
            "title",
            "capitalize",
            "swapcase",
            "casefold",
            "isalpha",
            "isdigit",
            "isnumeric",
            "isdecimal",
            "isalnum",
            "isspace",
            "islower",
            "isupper",
            "istitle",
        )
    },
}
COLUMN_METHODS = {
    "isin": {"values": (list, tuple, set)},
    "between": {"left": (int, float, str), "right": (int, float, str)},
    "fillna": {"value": (str, int, float, bool)},
    "astype": {"dtype": type},
    "abs": {},
    **{name: {"other": (str, int, float, bool)} for name in NAMED_COMPARISONS},
    **{name: {} for name in ("notna", "notnull", "isna", "isnull")},
}
ABOUT_MISSING = {"notna", "notnull", "isna", "isnull", "fillna"}
TYPES = {"int": int, "float": float, "str": str, "bool": bool}
# One character, a class of them, an anchor or a bar at a time: every match takes one try at each place.
PLAIN_PATTERN = re.compile(
    r"""(?: [^\\\[\](){}*+?] | \\[dDwWsSbBnrt] | \\[^A-Za-z0-9]
                                | \[ \^? (?: [^\\\[\]&|~-] | \\[dDwWsS] | \\[^A-Za-z0-9]
                                          | (?<=[A-Za-z0-9])-(?=[A-Za-z0-9]) )+ \] )*""",
    re.VERBOSE,
)


class Refused(Exception):
    """The reason why an expression is not evaluated. Expression turns it into a UserError."""


def literal(node: ast.expr) -> Any:
    """Return a number, a text, True or False, or a list, tuple or set of them. Raises Refused for anything else."""
    match node:
        case ast.Constant(value=bool() | str() as value):
            return value
        case ast.Constant(value=int() | float() as value) if abs(value) <= MOST_WHOLE:
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float())):
            return -literal(node.operand)
        case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
            if any(hasattr(part, "elts") for part in parts):
                raise Refused("a list within a list is not allowed")
            return {ast.List: list, ast.Tuple: tuple, ast.Set: set}[type(node)](literal(part) for part in parts)
        case ast.Constant(value=None):
            raise Refused(f"None is not allowed; ask for missing values with {COLUMN}.isna()")
        case ast.Constant(value=int() | float()):
            raise Refused("a number in it is too large")
        case ast.Constant(value=value):
            raise Refused(f"a {type(value).__name__} is not allowed")
    raise Refused("only literal values are allowed as arguments")


def literal_arguments(call: ast.Call, name: str, methods: dict[str, dict], prefix: str) -> dict:
    """Return the literal arguments of a method call by name. Raises Refused where their number or kinds do not fit."""
    if name not in methods:
        raise Refused(f"the method {prefix}{name} is not allowed (known are {', '.join(sorted(methods))})")
    takes = methods[name]
    if len(call.args) > len(takes) or (len(call.args) > 2 and "na" in takes):  # pandas has flags in the third place
        raise Refused(f"{prefix}{name} takes {', '.join(takes) or 'no arguments'}")
    given = list(zip(takes, call.args, strict=False)) + [(keyword.arg, keyword.value) for keyword in call.keywords]
    result = {}
    for key, node in given:
        if key not in takes or key in result:
            raise Refused(f"{prefix}{name} takes {', '.join(takes) or 'no arguments'}")
        if takes[key] is type and isinstance(node, ast.Name) and node.id in TYPES:
            value = TYPES[node.id]
        else:
            value = TYPES.get(literal(node)) if takes[key] is type else literal(node)
        kinds = takes[key] if isinstance(takes[key], tuple) else (takes[key],)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise Refused(f"{prefix}{name} does not take {ast.unparse(node)[:60]} as {key}")
        result[key] = value
    optional = {"case", "na", "regex", "to_strip", "start", "stop", "step"}
    if missing := [key for key in takes if key not in result and key not in optional]:
        raise Refused(f"{prefix}{name} lacks {', '.join(missing)}")
    return result


def index_or_slice(node: ast.expr) -> int | slice:
    """Read what stands in the brackets of .str[...]: an index, or a slice of literal ends."""
    if isinstance(node, ast.Slice):
        return slice(*(None if part is None else whole(part) for part in (node.lower, node.upper, node.step)))
    return whole(node)


def whole(node: ast.expr) -> int:
    """Read a whole number. Raises Refused for anything else."""
    value = literal(node)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Refused(".str[...] takes whole numbers")
    return value


def check_pattern(pattern: str) -> None:
    """Raise Refused for a pattern that could need backtracking."""
    if not PLAIN_PATTERN.fullmatch(pattern):
        raise Refused(
            f"the pattern {pattern[:60]!r} has groups or repeats, which can take for ever; write alternatives as "
            "a|b, escape signs with a backslash, or take the text as it stands: "
            f"{COLUMN}.str.contains(..., regex=False)"
        )
