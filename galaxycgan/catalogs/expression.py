"""Expressions over catalog columns, such as ``8 < log_mass < 9 and photo_z < 0.15``: parsed, never run as code."""

import ast
import operator

import numpy as np

from galaxycgan.catalogs.schema import MISSING_INT
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


class _Evaluator(ast.NodeVisitor):
    """Evaluate numbers, column names, arithmetic, comparisons and and/or/not on arrays; refuse all else."""

    def __init__(self, column, columns):
        self.column, self.columns = column, columns

    def visit_Expression(self, node):
        return self.visit(node.body)

    def visit_Constant(self, node):
        if isinstance(node.value, bool) or not isinstance(node.value, (int, float)):
            raise ValueError(f"{node.value!r} is not a number")
        return np.float64(node.value)  # Python's own integers would compute 9 ** 9 ** 9 to the last digit

    def visit_Name(self, node):
        if node.id not in self.columns:
            raise ValueError(f"no column '{node.id}'; there are: {', '.join(self.columns)}")
        values = np.asarray(self.column(node.id))
        if values.dtype.kind not in "biuf":
            raise ValueError(f"column {node.id} holds no numbers")
        return np.where(values == MISSING_INT, np.nan, values) if values.dtype.kind == "i" else values

    def visit_UnaryOp(self, node):
        value = self.visit(node.operand)
        if isinstance(node.op, ast.Not):
            return ~np.asarray(value, dtype=bool)
        if isinstance(node.op, ast.USub):
            return -value
        raise ValueError(f"'{ast.unparse(node)}' is not understood")

    def visit_BinOp(self, node):
        if type(node.op) not in _ARITHMETIC:
            raise ValueError(f"'{ast.unparse(node)}' is not understood; use 'and', 'or', 'not' between conditions")
        return _ARITHMETIC[type(node.op)](self.visit(node.left), self.visit(node.right))

    def visit_Compare(self, node):
        values = [self.visit(part) for part in [node.left, *node.comparators]]
        result = True
        for operation, left, right in zip(node.ops, values, values[1:], strict=False):
            if type(operation) not in _COMPARE:
                raise ValueError(f"'{ast.unparse(node)}' is not understood")
            known = ~(np.isnan(left) | np.isnan(right))  # of the comparisons only != is true of NaN
            result = result & _COMPARE[type(operation)](left, right) & known
        return result

    def visit_BoolOp(self, node):
        combine = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        return combine.reduce([np.asarray(self.visit(part), dtype=bool) for part in node.values])

    def generic_visit(self, node):
        raise ValueError(f"'{ast.unparse(node)}' is not understood")


def evaluate(text, column, columns, n, option="--target"):
    """Return which rows fulfil a condition.

    Parameters
    ----------
    text : str
        Numbers, column names, ``+ - * / **``, comparisons (also chained), ``and``, ``or``, ``not``, brackets.
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
        NaN fulfils no comparison.

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
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else error
        raise UserError(f"{option} '{text}': {reason}") from None
    result = np.asarray(result)
    if result.dtype != bool or result.shape not in ((), (n,)):
        raise UserError(f"{option} '{text}': is not a condition, such as 8 < log_mass < 9 and photo_z < 0.15")
    return np.broadcast_to(result, n).copy()
