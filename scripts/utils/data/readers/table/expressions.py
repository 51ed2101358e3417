"""Evaluate expressions over one column, such as `col == 1` or `col.str.contains("China")`, without running any code.

The text is parsed into a syntax tree and the tree is walked; whatever the walk does not know is an error that shows the
expression. It knows `col`; numbers, texts, True, False; comparisons, also chained; & | ^ ~ and or not, element by element;
+ - * / // %; `.str` methods and a few of the column's own (literals.py) with literal arguments;
`.str[0]`, `.str[:10]`. Patterns of contains, match, fullmatch and count mean what they mean in pandas as long as they need
no backtracking: letters, classes, anchors and top-level alternatives, no groups, no repeats.
"""

import ast
import operator
import re
import warnings
from typing import Any, TypeAlias

import pandas as pd
from pandas.api.types import infer_dtype, is_bool_dtype, is_numeric_dtype

from utils.base.errors import UserError
from utils.data.readers.table.literals import (
    ABOUT_MISSING,
    COLUMN,
    COLUMN_METHODS,
    NAMED_COMPARISONS,
    TEXT_METHODS,
    Refused,
    check_pattern,
    index_or_slice,
    literal,
    literal_arguments,
)

LONGEST_EXPRESSION = 1000  # of an expression: the longest in use are shorter than 100
MOST_NODES, MOST_DEPTH = 300, 30  # of its syntax tree
GROWTH = 10  # an expression may make texts this many times as long as the column's, and
SPARE_CHARACTERS = 1_000_000  # this many more
Value: TypeAlias = Any  # a Series, or a number, text or truth value: what `kind` tells apart
NUMBER_TYPES, TRUTHS, TEXT, MIXED = "numbers", "truth values", "text", "values of several kinds"
COMPARISONS = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
ARITHMETIC = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
LOGIC = {
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.And: operator.and_,
    ast.Or: operator.or_,
}


class Expression:
    """One expression, checked as far as that is possible without its column.

        Expression('col.str.contains("China")').of(pd.Series(["in China", "in Peru"])) -> [True, False]

    where: what the error messages begin with, such as the file and the line. Raises UserError, which shows the expression.
    """

    def __init__(self, text: str, where: str = "expression"):
        self.text, self.where = str(text).strip(), where
        self.tree = self._parse()
        nodes = list(ast.walk(self.tree))
        named = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        self.uses_missing = bool(named & ABOUT_MISSING)
        self.texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        self.reads_text = bool(self.texts) or "str" in named

    def of(self, column: pd.Series) -> pd.Series:
        """Evaluate it for every row of `column`: a Series of truth values, numbers or texts with the same index."""
        column = column.infer_objects()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                value = Walk(column).value(self.tree)
        except Refused as error:
            raise self._error(str(error)) from None
        except (TypeError, ValueError, AttributeError, ArithmeticError, LookupError, NotImplementedError, re.error) as error:
            raise self._error(f"it does not fit its column: {error}") from error
        if not isinstance(value, pd.Series):
            raise self._error(f"its value does not depend on {COLUMN}")
        return value

    def _parse(self) -> ast.expr:
        if len(self.text) > LONGEST_EXPRESSION:
            raise self._error(f"it is {len(self.text):,} characters long, at most {LONGEST_EXPRESSION:,} are read")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(self.text, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            reason = getattr(error, "msg", None) or error or "nested too deeply"
            raise self._error(f"it cannot be parsed: {reason}") from None
        nodes = 0
        level: list[ast.AST] = [tree]
        for _ in range(MOST_DEPTH):
            nodes += len(level)
            level = [child for node in level for child in ast.iter_child_nodes(node)]
        if level or nodes > MOST_NODES:
            raise self._error("it is nested too deeply" if level else "it has too many parts")
        return tree

    def _error(self, reason) -> UserError:
        short = self.text if len(self.text) <= 80 else f"{self.text[:77]}..."
        return UserError(
            f'{self.where}: {reason}: {short!r}; write an expression such as {COLUMN} == 1 or {COLUMN}.str.contains("word")'
        )


class Walk:
    """Evaluates a syntax tree over one column: a Series, or a number, text or truth value where `col` is not in it."""

    def __init__(self, column: pd.Series):
        self.column = column
        self.most_text = SPARE_CHARACTERS + GROWTH * characters(column, len(column))

    def value(self, node: ast.expr) -> Value:
        match node:
            case ast.Name(id=name) if name == COLUMN:
                return self.column
            case ast.Constant():
                return literal(node)
            case ast.Compare():
                return self.comparison(node)
            case ast.BoolOp(op=sign, values=parts):
                return self.logic(sign, [self.value(part) for part in parts])
            case ast.BinOp(left=left, op=sign, right=right) if type(sign) in LOGIC:
                return self.logic(sign, [self.value(left), self.value(right)])
            case ast.BinOp(left=left, op=sign, right=right):
                return self.arithmetic(sign, self.value(left), self.value(right))
            case ast.UnaryOp(op=sign, operand=operand):
                return self.sign(sign, self.value(operand))
            case ast.Call(func=ast.Attribute(value=ast.Attribute(value=owner, attr="str"), attr=name)):
                return self.text_method(self.text_of(owner), name, literal_arguments(node, name, TEXT_METHODS, ".str."))
            case ast.Call(func=ast.Attribute(value=owner, attr=name)):
                given = literal_arguments(node, name, COLUMN_METHODS, ".")
                return self.column_method(self.series_of(owner), name, given)
            case ast.Subscript(value=ast.Attribute(value=owner, attr="str"), slice=part):
                return self.text_of(owner).str[index_or_slice(part)]
            case ast.Name(id=name):
                raise Refused(f"{name!r} is not known, only {COLUMN} is (a text stands in quotation marks)")
            case ast.Attribute(attr=name):
                raise Refused(f"the attribute {name!r} is not allowed")
        raise Refused(f"{type(node).__name__} is not allowed")

    def series_of(self, node: ast.expr) -> pd.Series:
        value = self.value(node)
        if not isinstance(value, pd.Series):
            raise Refused("methods are for the column only")
        return value

    def text_of(self, node: ast.expr) -> pd.Series:
        value = self.series_of(node)
        if kind(value) not in (TEXT, MIXED):
            raise Refused(f".str is for text, this holds {kind(value)}")
        return value

    def comparison(self, node: ast.Compare) -> Value:
        if unknown := [sign for sign in node.ops if type(sign) not in COMPARISONS]:
            raise Refused(f"{type(unknown[0]).__name__} is not allowed; to look a value up write {COLUMN}.isin([...])")
        operands = [self.value(part) for part in (node.left, *node.comparators)]
        return self.logic(
            ast.And(),
            [compare_values(sign, left, right) for sign, left, right in zip(node.ops, operands, operands[1:], strict=False)],
        )

    def logic(self, sign: ast.boolop | ast.operator, values: list[Value]) -> Value:
        for value in values:
            if kind(value) != TRUTHS:
                raise Refused(
                    f"& | ^ and or not join truth values, one side holds {kind(value)} (write brackets around comparisons)"
                )
        result = values[0]
        for value in values[1:]:
            result = LOGIC[type(sign)](result, value)
        return result

    def sign(self, sign: ast.unaryop, value: Value) -> Value:
        if isinstance(sign, (ast.Not, ast.Invert)):
            if kind(value) != TRUTHS:
                raise Refused(f"~ and not are for truth values, this holds {kind(value)}")
            return ~value if isinstance(value, pd.Series) else not value
        if kind(value) != NUMBER_TYPES:
            raise Refused(f"a sign is for numbers, this holds {kind(value)}")
        return -value if isinstance(sign, ast.USub) else value

    def arithmetic(self, sign: ast.operator, left: Value, right: Value) -> Value:
        if type(sign) not in ARITHMETIC:
            raise Refused(f"the operator {type(sign).__name__} is not allowed")
        kinds = {kind(left), kind(right)}
        if kinds == {TEXT} and isinstance(sign, ast.Add):
            self.check_growth(characters(left, len(self.column)) + characters(right, len(self.column)))
        elif not kinds <= {NUMBER_TYPES, TRUTHS}:
            raise Refused(f"{type(sign).__name__} of {kind(left)} and {kind(right)} is not allowed")
        return ARITHMETIC[type(sign)](left, right)

    def text_method(self, series: pd.Series, name: str, given: dict) -> pd.Series:
        if name in ("contains", "match", "fullmatch", "count") and given.get("regex", True):
            check_pattern(given["pat"])
        if name == "replace":
            if given.get("regex"):
                raise Refused("replace takes literal text, no pattern")
            hits = int(series.str.count(re.escape(given["pat"])).sum())
            self.check_growth(characters(series, len(series)) + hits * max(0, len(given["repl"]) - len(given["pat"])))
            given["regex"] = False
        if "na" in TEXT_METHODS[name]:
            given.setdefault("na", False)
        return getattr(series.str, name)(**given)

    def column_method(self, series: pd.Series, name: str, given: dict) -> Value:
        if name in NAMED_COMPARISONS:
            return compare_values(NAMED_COMPARISONS[name](), series, given["other"])
        if name == "between":
            return compare_values(ast.GtE(), series, given["left"]) & compare_values(ast.LtE(), series, given["right"])
        if name == "isin":
            given["values"] = list(given["values"])
        return getattr(series, name)(**given)

    def check_growth(self, size: int) -> None:
        if size > self.most_text:
            raise Refused(f"it would make {size:,} characters of text")


def compare_values(sign: ast.cmpop, left: Value, right: Value) -> Value:
    """Compare two values, element by element. Raises Refused for a text and a number, which have no order."""
    kinds = [kind(left), kind(right)]
    if MIXED not in kinds and (kinds[0] == TEXT) != (kinds[1] == TEXT):
        raise Refused(f"{kinds[0]} and {kinds[1]} are never equal, and have no order")
    return COMPARISONS[type(sign)](left, right)


def kind(value: Value) -> str:
    """Say what a value holds: NUMBER_TYPES, TRUTHS, TEXT or MIXED."""
    if isinstance(value, pd.Series):
        if is_bool_dtype(value):
            return TRUTHS
        if is_numeric_dtype(value):
            return NUMBER_TYPES
        return TEXT if infer_dtype(value, skipna=True) in ("string", "empty") else MIXED
    return TRUTHS if isinstance(value, bool) else NUMBER_TYPES if isinstance(value, (int, float)) else TEXT


def characters(value: pd.Series | str, rows: int) -> int:
    """Count the characters of all texts of a column, or of one text that stands in every row."""
    if not isinstance(value, pd.Series):
        return rows * len(value)
    return int(value.str.len().sum()) if kind(value) == TEXT else 0
