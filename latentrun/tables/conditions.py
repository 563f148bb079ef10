"""Conditions on the columns of a table, as people type them: ``model.latent_dim > 2 and model == vae``.

The text is parsed, never run: only comparisons, ``and``, ``or``, ``not``, ``in``, names of columns and plain
values are known, everything else is refused.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Sequence
from typing import Any

import pandas as pd

from latentrun.errors import InputError, nearest

COMPARISONS = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
WORDS = {"null": None, "true": True, "false": False}  # as YAML writes them
ALLOWED = "==, !=, <, <=, >, >=, in, and, or, not, brackets, names of columns, numbers, texts"
LONGEST = 2000  # characters


def select(frame: pd.DataFrame, condition: str) -> pd.Series:
    """Which rows of ``frame`` fulfil the condition, ``(N,)`` bool; InputError where it cannot be read.

    A row that has no value in a column fulfils no comparison with it but ``!=`` and ``not in``. A word that
    is no column stands for itself beside a column that holds it: ``model == vae``.
    """
    try:
        if len(condition) > LONGEST:
            raise ValueError(f"longer than {LONGEST} characters")
        tree = ast.parse(condition.strip(), mode="eval").body
        return _truth(tree, frame)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        why = error.msg if isinstance(error, SyntaxError) else str(error)
        raise InputError(f"where: {condition!r} cannot be read: {why}; allowed: {ALLOWED}") from None


def _truth(node: ast.expr, frame: pd.DataFrame) -> pd.Series:
    match node:
        case ast.BoolOp(op=op, values=values):
            parts = [_truth(value, frame) for value in values]
            table = pd.concat(parts, axis=1)
            return table.all(axis=1) if isinstance(op, ast.And) else table.any(axis=1)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return ~_truth(operand, frame)
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            sides = [left, *comparators]
            links = [_compare(a, op, b, frame) for a, op, b in zip(sides, ops, sides[1:], strict=False)]
            return pd.concat(links, axis=1).all(axis=1)
    raise ValueError(f"{ast.unparse(node)!r} is neither true nor false")


def _compare(left: ast.expr, op: ast.cmpop, right: ast.expr, frame: pd.DataFrame) -> pd.Series:
    columns = _columns(left, right, frame)
    a, b = (
        frame[column] if column else _value(side, frame, opposite)
        for side, column, opposite in zip((left, right), columns, columns[::-1], strict=True)
    )
    if isinstance(op, ast.In | ast.NotIn):
        if not isinstance(b, list):
            raise ValueError("'in' is followed by a list in brackets")
        among = a.isin([value for value in b if value is not None]) | (a.isna() & (None in b))
        return among if isinstance(op, ast.In) else ~among
    if type(op) not in COMPARISONS:
        raise ValueError("'is' is not known; write ==")
    if a is None or b is None:
        column = b if a is None else a
        if not isinstance(op, ast.Eq | ast.NotEq):
            raise ValueError("null is only equal or not equal")
        return column.isna() if isinstance(op, ast.Eq) else column.notna()
    if isinstance(a, list) or isinstance(b, list):
        raise ValueError("a list goes with 'in'")
    return _each(COMPARISONS[type(op)], a, b, frame.index)


def _columns(left: ast.expr, right: ast.expr, frame: pd.DataFrame) -> list[str | None]:
    """The column that each side names, None where it names none; one of them does."""
    names = [_name(side) for side in (left, right)]
    columns = [name if name in frame.columns else None for name in names]
    if columns == [None, None]:
        # A name that Python cannot read stands in quotes: "latents/knn_r2.my factor" > 0.9
        texts = [side.value if isinstance(side, ast.Constant) else None for side in (left, right)]
        columns = [text if text in frame.columns else None for text in texts]
    if columns == [None, None]:
        name = next((name for name in names if name is not None), None)
        if name is None:
            raise ValueError(f"{ast.unparse(left)!r} and {ast.unparse(right)!r} name no column")
        raise _unknown(name, frame)
    return columns


def _each(compare: Any, a: Any, b: Any, index: pd.Index) -> pd.Series:
    """Row by row; values of different kinds, a text and a number, are different and in no order."""
    if not isinstance(a, pd.Series):
        a = pd.Series([a] * len(index), index)
    if not isinstance(b, pd.Series):
        b = pd.Series([b] * len(index), index)

    def holds(x: Any, y: Any) -> bool:
        if pd.isna(x) or pd.isna(y):
            return compare is operator.ne
        try:
            return bool(compare(x, y))
        except TypeError:
            return False

    return pd.Series([holds(x, y) for x, y in zip(a, b, strict=True)], index, dtype=bool)


def _name(node: ast.expr) -> str | None:
    """``model.latent_dim`` or ``reconstruction/error_mean`` as it was written; None for what is no name."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attribute):
            start = _name(value)
            return None if start is None else f"{start}.{attribute}"
        case ast.BinOp(op=ast.Div(), left=left, right=right):
            parts = _name(left), _name(right)
            return None if None in parts else "/".join(parts)
    return None


def _value(node: ast.expr, frame: pd.DataFrame, column: str) -> Any:
    """A plain value that stands beside a column."""
    match node:
        case ast.Constant(value=str() | int() | float() | bool() | None as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
            return [_value(element, frame, column) for element in elements]
    name = _name(node)
    if name is None:
        raise ValueError(f"{ast.unparse(node)!r} is not known")
    if name in WORDS:
        return WORDS[name]
    values = [str(value) for value in frame[column].dropna().unique()]
    if name not in values:
        raise _unknown(name, frame, f" nor a value of {column!r}", values)
    return name


def _unknown(name: str, frame: pd.DataFrame, also: str = "", values: Sequence[str] = ()) -> InputError:
    """``also``: what else it is not; ``values``: what it might have been beside a column."""
    hint = nearest(name, [*frame.columns, *values])
    if not hint:
        hint = "; columns are settings (model.latent_dim) and metrics (diagnostic/metric)"
    return InputError(f"where: {name!r} is no column{also}{hint}")
