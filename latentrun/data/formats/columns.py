"""Columns of tables: from texts to codes, from codes to encoded rows, and back.

The *code* of a cell is its number in a real column and the place of its level or category, from 0, in the
others; NaN where it is missing. How codes are encoded: :class:`~latentrun.types.Column`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import floor, log10

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.types import Column

NAMED = 10  # so many levels or categories are named in a text


# ---------------------------------------------------------------- texts and codes
def numbers(texts: pd.Series) -> pd.Series:
    """The numbers that texts stand for, float64; NaN for what is none."""
    return pd.to_numeric(texts, errors="coerce").astype(float)


def plain(value: float) -> str:
    """A number as a level is written: ``3``, ``2.5``."""
    return f"{value:.15g}"


def numeric(texts: pd.Series) -> bool:
    """Whether every text that is not missing is a number."""
    return bool(numbers(texts).notna().eq(texts.notna()).all())


def inferred(texts: pd.Series, max_levels: int) -> str:
    """``categorical`` for texts, ``ordinal`` for at most ``max_levels`` different whole numbers, else
    ``real``."""
    if not numeric(texts):
        return "categorical"
    different = numbers(texts).dropna().unique()
    whole = np.all(np.isfinite(different) & (different == np.round(different)))
    return "ordinal" if len(different) <= max_levels and whole else "real"


def in_order(texts: pd.Series) -> tuple[str, ...]:
    """The different texts: by number where all are numbers, else by alphabet."""
    different = pd.Series(texts.dropna().unique(), dtype=object)
    return tuple(different.sort_values(key=numbers if numeric(different) else None, kind="stable"))


def levels(texts: pd.Series) -> tuple[str, ...]:
    """The different numbers among texts, in order."""
    return tuple(plain(value) for value in np.sort(numbers(texts).dropna().unique()))


def codes(texts: pd.Series, column: Column) -> pd.Series:
    """The codes of texts, float64; NaN for missing ones and for those that the column does not know."""
    if column.kind == "real":
        return numbers(texts)
    place = {text: float(i) for i, text in enumerate(column.categories)}
    if column.kind == "ordinal":  # 2 and 2.0 are one level
        different = pd.Series(texts.dropna().unique(), dtype=object)
        levels = zip(different, map(plain, numbers(different)), strict=True)
        place |= {text: place[level] for text, level in levels if level in place}
    return texts.map(place).astype(float)


def values(codes: np.ndarray, column: Column) -> np.ndarray:
    """What codes stand for, in the source's own terms: numbers where a column holds numbers, else texts."""
    if column.kind == "real":
        return codes
    names = pd.Series(column.categories, dtype=object)
    if column.kind == "ordinal" and numeric(names):
        names = numbers(names)
    return names.to_numpy()[codes.astype(np.int64)]


# ---------------------------------------------------------------- codes and encoded rows
def placed(columns: Sequence[Column], training: np.ndarray) -> tuple[Column, ...]:
    """The columns with their place in an encoded row, and mean and scale of the codes ``training (N, C)``."""
    located: list[Column] = []
    start = 0
    for column, code in zip(columns, training.T, strict=True):
        if column.kind == "categorical":
            column = replace(column, start=start, width=len(column.categories))
        else:
            # A column that does not vary in the training rows keeps its units.
            mean, scale = float(code.mean()), float(code.std()) or 1.0
            column = replace(column, start=start, mean=mean, scale=scale)
        located.append(column)
        start += column.width
    return tuple(located)


def encode(codes: np.ndarray, columns: Sequence[Column]) -> Tensor:
    """Codes ``(N, C)`` without NaN to encoded rows ``(N, D)`` float32."""
    x = np.zeros((len(codes), sum(column.width for column in columns)))
    for column, code in zip(columns, codes.T, strict=True):
        if column.kind == "categorical":
            x[np.arange(len(x)), column.start + code.astype(np.int64)] = 1
        else:
            x[:, column.start] = (code - column.mean) / column.scale
    return torch.from_numpy(x).float()


def decode(x: Tensor, columns: Sequence[Column]) -> np.ndarray:
    """Encoded rows ``(N, D)`` to codes ``(N, C)``: the number, the nearest level, the category of largest
    value."""
    rows = x.cpu().double().numpy()
    codes = np.empty((len(rows), len(columns)))
    for column, code in zip(columns, codes.T, strict=True):
        part = rows[:, column.start : column.start + column.width]
        if column.kind == "categorical":
            code[:] = part.argmax(1)
            continue
        code[:] = part[:, 0] * column.scale + column.mean
        if column.kind == "ordinal":
            code[:] = code.round().clip(0, len(column.categories) - 1)
        else:  # to the digits that float32 holds, and no negative zero
            code[:] = code.round(6 - floor(log10(column.scale))) + 0.0
    return codes


def courses(x: Tensor, columns: Sequence[Column]) -> tuple[np.ndarray, pd.DataFrame]:
    """What columns do along P paths of T encoded points ``x (P, T, D)``.

    Values ``(P, C, T)`` in standard deviations of real and ordinal columns; of categorical ones the
    probability of the category that moves most, where a probability of 1 counts 2. And a table of P C rows:
    ``column`` (with that category), ``from``, ``to`` (first and last value as text), ``change`` (the range of
    the values).
    """
    course = np.empty((len(x), len(columns), x.shape[1]))
    names, ends = np.empty(course.shape[:2], dtype=object), np.empty((2, *course.shape[:2]), dtype=object)
    codes = np.stack([decode(x[:, at], columns) for at in (0, -1)])
    for i, column in enumerate(columns):
        part = x[..., column.start : column.start + column.width].cpu().numpy()
        if column.kind == "categorical":
            most = np.ptp(part, axis=1).argmax(1)
            part = np.take_along_axis(part, most[:, None, None], 2)
            names[:, i] = [f"{column.name} = {column.categories[which]}" for which in most]
            ends[:, :, i] = [[f"{p:.0%}" for p in part[:, at, 0]] for at in (0, -1)]
            part = 2 * part
        else:
            names[:, i], ends[:, :, i] = column.name, [texts(code, column) for code in codes[..., i]]
        course[:, i] = part[..., 0]
    table = {
        "column": names.ravel(),
        "from": ends[0].ravel(),
        "to": ends[1].ravel(),
        "change": np.ptp(course, axis=2).ravel(),
    }
    return course, pd.DataFrame(table)


# ---------------------------------------------------------------- words
def texts(code: np.ndarray, column: Column) -> list[str]:
    """What codes of a real or ordinal column stand for, to the digits that its scale makes worth reading."""
    if column.kind == "ordinal":
        return [column.categories[int(level)] for level in code]
    digits = max(0, 1 - floor(log10(column.scale)))
    return [f"{value:.{digits}f}" for value in code]


def counted(column: Column) -> str:
    """``3 levels (small, medium, large)``."""
    shown = ", ".join(column.categories[:NAMED]) + (", …" if len(column.categories) > NAMED else "")
    return f"{len(column.categories)} {'levels' if column.kind == 'ordinal' else 'categories'} ({shown})"


def shape(column: Column, code: pd.Series) -> str:
    """A column with its range, levels or categories."""
    if column.kind == "real":
        return f"{column.name} {code.min():g} to {code.max():g}"
    if column.kind == "ordinal":
        low, high, count = column.categories[0], column.categories[-1], len(column.categories)
        return f"{column.name} {low} to {high} in {count} levels"
    if len(column.categories) > 4:
        return f"{column.name} ({len(column.categories)} categories)"
    return f"{column.name} ({' | '.join(column.categories)})"


def inventory(columns: Sequence[Column], codes: pd.DataFrame) -> list[str]:
    """A sentence for each kind of column, with ranges, levels and categories."""
    notes = []
    for kind in ("real", "ordinal", "categorical"):
        shown = [shape(column, codes[column.name]) for column in columns if column.kind == kind]
        if shown:
            notes.append(f"{len(shown)} {kind} column{'s' * (len(shown) > 1)}: {'; '.join(shown)}.")
    return notes


def listed(values: Mapping[str, object] | pd.Series) -> str:
    """``price 3, rooms 1`` of the first few."""
    items = [f"{name} {value}" for name, value in values.items()]
    return ", ".join(items[:NAMED]) + (f" and {len(items) - NAMED} more" if len(items) > NAMED else "")
