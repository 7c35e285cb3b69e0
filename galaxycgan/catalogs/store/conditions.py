"""Expressions over catalog columns, such as ``8 < log_mass < 9 and photo_z < 0.15``: parsed, never run as code."""

import ast
import functools
import operator

import numpy as np

from galaxycgan.catalogs.schema.columns import MISSING_INT
from galaxycgan.errors import UserError

_COMPARE = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip
_ARITHMETIC = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}  # fmt: skip
_LONGEST = 1000
#: dtype kinds of what may stand in an expression: flags, integers, floats, text.
_KINDS = {"b": "b", "i": "i", "u": "i", "f": "f", "U": "U"}


class _Evaluator(ast.NodeVisitor):
    """Evaluate numbers, text, column names, arithmetic, comparisons and and/or/not on arrays; refuse all else."""

    def __init__(self, column, columns):
        self.column, self.columns = column, columns

    def visit_Expression(self, node):
        return self.visit(node.body)

    def visit_Constant(self, node):
        value = node.value
        if isinstance(value, str):
            return np.str_(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{value!r} is neither a number nor text")
        # Ids exceed what a float can hold. Python's own integers would compute 9 ** 9 ** 9 to the last digit.
        return np.int64(value) if isinstance(value, int) and abs(value) < 2**63 else np.float64(value)

    def visit_Name(self, node):
        if node.id not in self.columns:
            raise ValueError(f"no column '{node.id}'; there are: {', '.join(self.columns)}")
        values = np.asanyarray(self.column(node.id))  # flags may be masked
        kind = _KINDS.get(values.dtype.kind)
        if kind is None:
            raise ValueError(f"column {node.id} holds neither numbers nor text")
        return values.astype(np.int64) if kind == "i" else values

    def visit_UnaryOp(self, node):
        value = self.visit(node.operand)
        if isinstance(node.op, ast.Not):
            return ~_condition(value, node.operand)
        if isinstance(node.op, ast.USub):
            return -value if value.dtype.kind == "i" else -_float(value)
        raise ValueError(f"'{ast.unparse(node)}' is not understood")

    def visit_BinOp(self, node):
        if type(node.op) not in _ARITHMETIC:
            raise ValueError(f"'{ast.unparse(node)}' is not understood; use 'and', 'or', 'not' between conditions")
        return _ARITHMETIC[type(node.op)](_float(self.visit(node.left)), _float(self.visit(node.right)))

    def visit_Compare(self, node):
        values = [self.visit(part) for part in [node.left, *node.comparators]]
        result = True
        for operation, left, right in zip(node.ops, values, values[1:], strict=False):
            if type(operation) not in _COMPARE:
                raise ValueError(f"'{ast.unparse(node)}' is not understood")
            result = result & _compare(_COMPARE[type(operation)], left, right)
        return np.asarray(result)

    def visit_BoolOp(self, node):
        parts = [_condition(self.visit(part), part) for part in node.values]
        # A missing flag may be either: the whole is known where that makes no difference (Kleene's logic).
        true = [np.ma.filled(part, False) for part in parts]
        false = [np.ma.filled(~part, False) for part in parts]
        if isinstance(node.op, ast.And):
            yes, no = functools.reduce(operator.and_, true), functools.reduce(operator.or_, false)
        else:
            yes, no = functools.reduce(operator.or_, true), functools.reduce(operator.and_, false)
        return np.ma.MaskedArray(yes, mask=~(yes | no))

    def generic_visit(self, node):
        raise ValueError(f"'{ast.unparse(node)}' is not understood")


def _condition(value, node):
    """Return what stands beside and, or, not, which must be true or false."""
    if value.dtype != bool:
        raise ValueError(f"'{ast.unparse(node)}' is no condition")
    return value


def _float(value):
    """Return numbers as float64, missing integers as NaN."""
    if value.dtype.kind == "U":
        raise ValueError("text is no number")
    numbers = np.ma.filled(value.astype(np.float64), np.nan)
    return np.where(value == MISSING_INT, np.nan, numbers) if value.dtype.kind == "i" else numbers


def _compare(operation, left, right):
    """Compare numbers with numbers, text with text; a missing value fulfils no comparison, not even ``!=``."""
    kinds = {left.dtype.kind, right.dtype.kind}
    if "U" in kinds:
        if kinds != {"U"}:
            raise ValueError("text and number are compared")
        return operation(left, right) & (left != "") & (right != "")
    if kinds <= {"i", "b"}:  # as integers: ids differ by less than a float can tell
        left, right = (np.ma.filled(side.astype(np.int64), MISSING_INT) for side in (left, right))
        return operation(left, right) & (left != MISSING_INT) & (right != MISSING_INT)
    left, right = _float(left), _float(right)
    return operation(left, right) & ~(np.isnan(left) | np.isnan(right))


def evaluate(text, column, columns, n, option="--target"):
    """Return which rows fulfil a condition.

    Parameters
    ----------
    text : str
        Numbers, text in quotes, column names, ``+ - * / **``, comparisons (also chained), ``and``, ``or``, ``not``,
        brackets. Integers are compared as integers, to the last digit.
    column : callable
        Returns the array [n] of a name.
    columns : sequence of str
        Legal names.
    n : int
        Number of rows.
    option : str
        Named in errors.

    Returns
    -------
    bool array [n]
        A missing value (NaN, blank integer or text) fulfils no comparison; a missing flag is neither true nor false.

    Raises
    ------
    UserError
        Where the text is not a condition over these columns.
    """
    try:
        if len(text) > _LONGEST:
            raise ValueError(f"longer than {_LONGEST} characters")
        with np.errstate(all="ignore"):
            result = _Evaluator(column, columns).visit(ast.parse(text.strip(), mode="eval"))
    except (SyntaxError, ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else error
        raise UserError(f"{option} '{text}': {reason}") from None
    result = np.ma.filled(result, False)
    if result.dtype != bool or result.shape not in ((), (n,)):
        raise UserError(f"{option} '{text}': is not a condition, such as 8 < log_mass < 9 and photo_z < 0.15")
    return np.broadcast_to(result, n).copy()


def incomplete(text, column, n):
    """Return which rows lack a value (NaN, blank integer, flag or text) in a column that an expression names: bool [n].

    Parameters
    ----------
    text : str
        Legal for `evaluate`.
    column : callable
        Returns the array [n] of a name.
    n : int
    """
    found = np.zeros(n, dtype=bool)
    named = {node.id: node for node in ast.walk(ast.parse(text.strip(), mode="eval")) if isinstance(node, ast.Name)}
    for node in named.values():
        values = _Evaluator(column, named).visit(node)
        found |= values == "" if values.dtype.kind == "U" else np.isnan(_float(values))
    return found


def matches_target(target, columns, labels, flags=()):
    """Return which rows of labels [n, label] fulfil a target over these columns: bool [n].

    The columns in `flags` hold 1 for true and 0 for false.

    Raises
    ------
    UserError
        As `evaluate`.
    """
    values = {name: column == 1 if name in flags else column for name, column in zip(columns, labels.T, strict=True)}
    return evaluate(target, values.__getitem__, columns, len(labels))
