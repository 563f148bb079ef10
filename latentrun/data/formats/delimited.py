"""Texts of separated values, as CSV files hold them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO

import pandas as pd

SEPARATORS = ",;\t|"
COMMAS = r"[+-]?(\d+(,\d*)?|,\d+)([eE][+-]?\d+)?"  # a number that may have a decimal comma
THOUSANDS = r"[+-]?[1-9]\d{0,2},\d{3}"
MOSTLY = 0.9  # of the cells: what is left is a mistake, which is said where kinds are inferred


def cells(text: str, separator: str, missing_values: Sequence[str]) -> tuple[pd.DataFrame, list[int]]:
    """The cells under the names in the first line, as texts without outer spaces, NaN where one is missing;
    and the line where each row ends.

    ``separator``: a character, or ``auto`` for the one of , ; tab | that occurs most in the first line. Blank
    lines do not count. A column without a name (row names written by R or pandas) is called ``column 1``.
    Where no comma separates, decimal commas become points (see :func:`with_points`).
    ValueError in one line for a text that is no such table.
    """
    lines = StringIO(text, newline="")
    if separator == "auto":
        separator = max(SEPARATORS, key=lines.readline().count)
        lines.seek(0)
    reader = csv.reader(lines, delimiter=separator, strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num} cannot be read: {error}") from None
    if not rows:
        raise ValueError("the file is empty")
    (_, header), *rows = rows
    names = [" ".join(name.split()) or f"column {i + 1}" for i, name in enumerate(header)]
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise ValueError(f"two columns are called {twice!r}")
    if not rows:
        raise ValueError(f"{len(names)} columns are named, but no row follows")
    ragged = next(((line, row) for line, row in rows if len(row) != len(names)), None)
    if ragged is not None:
        raise ValueError(
            f"line {ragged[0]} has {len(ragged[1])} values; the first line names {len(names)} columns"
        )
    frame = pd.DataFrame([row for _, row in rows], columns=names, dtype=object).apply(
        lambda column: column.str.strip()
    )
    frame = frame.mask(frame.isin(list(missing_values)))
    return frame if separator == "," else frame.apply(with_points), [line for line, _ in rows]


def with_points(column: pd.Series) -> pd.Series:
    """Numbers with decimal commas, as large parts of the world write them, with points; a column where they
    are not nearly all stays as it is. ValueError where the commas may as well part thousands.

    >>> with_points(pd.Series(["1,5", "2"])).tolist(), with_points(pd.Series(["a,b", "2"])).tolist()
    (['1.5', '2'], ['a,b', '2'])
    """
    present = column.dropna()
    fits = present.str.fullmatch(COMMAS)
    decimals = present[fits & present.str.contains(",")]
    if fits.sum() < MOSTLY * len(present) or not len(decimals):
        return column
    if decimals.str.fullmatch(THOUSANDS).all():
        raise ValueError(
            f"column {column.name!r}: {decimals.iloc[0]!r} has a decimal comma, or one between thousands; "
            "write points, or no commas"
        )
    return column.where(~column.index.isin(present.index[fits]), column.str.replace(",", "."))
