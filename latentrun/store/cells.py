"""Texts in the cells of a CSV file: a spreadsheet that opens it must not take one for a formula."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

# What a spreadsheet evaluates begins so; quotes before it are those of a text that has been through here.
FORMULA = re.compile(r"'*[=+\-@\t]")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)")


def inert(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a quote before every text, names of columns too, that a spreadsheet would evaluate.

    Numbers, also those that are texts, stay as they are; what UTF-8 or CSV does not know is written out."""
    return _changed(table, _quoted)


def original(table: pd.DataFrame) -> pd.DataFrame:
    """The table that :func:`inert` was given, but for what is written out."""
    return _changed(table, _unquoted)


def _quoted(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = value if value.isascii() else value.encode("utf-8", "backslashreplace").decode("utf-8")
    text = text.replace("\r", "\\r")
    return f"'{text}" if FORMULA.match(text) and not NUMBER.fullmatch(text) else text


def _unquoted(value: Any) -> Any:
    quoted = isinstance(value, str) and value.startswith("'") and FORMULA.match(value)
    return value[1:] if quoted else value


def _changed(table: pd.DataFrame, change: Callable[[Any], Any]) -> pd.DataFrame:
    import pandas as pd

    changed = table.rename(columns=change)
    for place, kind in enumerate(table.dtypes):
        if pd.api.types.is_numeric_dtype(kind):
            continue
        before = list(table.iloc[:, place])
        values = [change(value) for value in before]
        if any(new is not old for new, old in zip(values, before, strict=True)):
            fits = object if isinstance(kind, pd.CategoricalDtype) else kind
            changed.isetitem(place, pd.Series(values, index=table.index, dtype=fits))
    return changed
