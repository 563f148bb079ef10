"""A table as its file has it, and what a user says of its columns: kinds, missing cells, codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from latentrun.data.formats.columns import (
    codes,
    counted,
    in_order,
    inferred,
    levels,
    listed,
    numbers,
    numeric,
    plain,
)
from latentrun.data.formats.delimited import cells
from latentrun.errors import InputError, nearest
from latentrun.system.door import Guarded
from latentrun.system.plain import open_plain
from latentrun.types import Column

MISSING = "missing"  # the category of missing texts
ODD = 0.1  # at most such a share of other texts among numbers is taken for a mistake


@dataclass(frozen=True)
class Rules:
    """What a user says of the columns of a file, under the names of the keys of `data`: ``columns`` (kind, or
    levels in order, by name), ``max_levels``, ``max_categories``, ``label``, what becomes of ``missing``
    cells; ``named``: the columns that are declared, factors or label, and so may not be left out."""

    columns: Mapping[str, str | list[str | int | float]]
    max_levels: int
    max_categories: int
    label: str | None
    missing: Literal["refuse", "rows", "columns", "fill"]
    named: frozenset[str]


@dataclass(frozen=True)
class Sheet:
    """The cells of a file: ``texts``, a row each, NaN where one is missing; ``lines``: where each row ends;
    ``name`` of the file; ``rules`` for its columns."""

    name: str
    texts: pd.DataFrame
    lines: list[int]
    rules: Rules

    def without_missing(self, texts: pd.DataFrame, keep_columns: bool = False) -> pd.DataFrame:
        """The cells that the rule for missing ones keeps; with ``keep_columns`` no column may be left out."""
        missing, counts = self.rules.missing, texts.isna().sum()
        counts = counts[counts > 0]
        if missing == "rows":
            complete = texts.dropna()
            if len(texts) and not len(complete):
                raise InputError(
                    f"data.missing: every row of {self.name!r} has a missing value ({listed(counts)}); use "
                    "fill or columns"
                )
            return complete
        needed = [name for name in counts.index if keep_columns or name in self.rules.named]
        if missing == "columns" and not needed:
            return texts.drop(columns=counts.index)
        if len(counts) and missing != "fill":
            allowed = "rows or fill" if missing == "columns" else "rows, columns or fill"
            raise InputError(
                f"data.missing: {self.name!r} has missing values ({listed(counts)}); data.missing={allowed} "
                "takes them away"
            )
        return texts

    def refuse_odd(self, texts: pd.Series) -> None:
        """A few texts among many numbers are mistakes, not categories, unless the column is declared."""
        present = texts.dropna()
        odd = present[numbers(present).isna()]
        is_declared = texts.name in self.rules.columns or texts.name == self.rules.label
        if is_declared or present.nunique() <= self.rules.max_levels:
            return
        if 0 < len(odd) <= ODD * len(present):
            raise InputError(
                f"data.file: {self.name!r} line {self.lines[odd.index[0]]}, column {texts.name!r}: "
                f"{odd.iloc[0]!r} among numbers; add it to data.missing_values, or declare the column in "
                "data.columns"
            )

    def useless(self, texts: pd.Series) -> str | None:
        """Why a column says nothing, or None."""
        as_category = self.rules.missing == "fill" and not numeric(texts)
        present = texts.fillna(MISSING) if as_category else texts.dropna()
        if present.nunique() == 1:
            return f"it is always {present.iloc[0]!r}"
        if len(present) < len(texts) or present.nunique() < len(texts):
            return None
        if not numeric(texts):
            return "its texts differ in every row"
        return "it counts the rows" if (numbers(texts).diff().iloc[1:] == 1).all() else None

    def column(self, texts: pd.Series) -> Column:
        """Kind and categories of a column, as declared or inferred."""
        name, rules = str(texts.name), self.rules
        kind, is_label = rules.columns.get(name), name == rules.label
        if isinstance(kind, list):
            categories = tuple(plain(level) if isinstance(level, int | float) else level for level in kind)
            if len(set(categories)) < len(categories):
                raise InputError(f"data.columns.{name}: {kind!r} names a level twice")
            return Column(name, "categorical" if is_label else "ordinal", 0, categories=categories)
        if is_label and kind is None:
            self._require_classes(texts)
        kind = "categorical" if is_label else kind or inferred(texts, rules.max_levels)
        if kind == "real":
            return Column(name, "real", 0)
        if kind == "ordinal" and not numeric(texts):
            raise InputError(
                f"data.columns.{name}: levels that are no numbers need an order: "
                f"'data.columns={{{name}: [low, high]}}'"
            )
        if kind == "ordinal":
            column = Column(name, "ordinal", 0, categories=levels(texts))
        else:
            present = texts.fillna(MISSING) if rules.missing == "fill" else texts
            column = Column(name, "categorical", 0, categories=in_order(present))
        if len(column.categories) > rules.max_categories:
            raise InputError(
                f"data.max_categories: column {name!r} has {counted(column)}, more than "
                f"{rules.max_categories}: raise it, or leave the column out with 'data.drop=[{name}]'"
            )
        return column

    def _require_classes(self, texts: pd.Series) -> None:
        """InputError where a label that nobody declares is a column of real numbers."""
        values = numbers(texts).dropna() if numeric(texts) else pd.Series(dtype=float)
        if (values % 1 != 0).any():
            shown = ", ".join(map(plain, values.unique()[:3]))
            raise InputError(
                f"data.label: column {texts.name!r} holds real numbers ({shown}, ...), no classes: "
                f"'data.factors=[{texts.name}]' keeps them out of x too"
            )

    def codes(self, texts: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
        """The codes of columns; NaN only where a cell is missing."""
        by_name = {column.name: self._codes(texts[column.name], column) for column in columns}
        return pd.DataFrame(by_name, index=texts.index)

    def _codes(self, texts: pd.Series, column: Column) -> pd.Series:
        if column.kind == "categorical" and MISSING in column.categories:
            texts = texts.fillna(MISSING)
        code = codes(texts, column)
        wrong = texts.notna() & ~np.isfinite(code)
        if wrong.any():
            row, text = wrong.idxmax(), texts[wrong].iloc[0]
            why = "no finite number"
            if column.kind != "real":
                why = f"none of its {counted(column)}{nearest(text, column.categories)}"
            raise InputError(
                f"data.file: {self.name!r} line {self.lines[row]}, column {column.name!r}: {text!r} is {why}"
            )
        return code


# ---------------------------------------------------------------- files
def located(file: str) -> Path:
    """The path of a file that is there; InputError with the nearest name where it is not."""
    path = Path(file).expanduser()
    if path.is_dir():
        raise InputError(f"data.file: {file!r} is a folder; a CSV file is needed")
    if path.exists():
        return path
    if not path.parent.is_dir():
        raise InputError(f"data.file: there is no folder {str(path.parent)!r}")
    names = [item.name for item in Guarded(path.parent).items()]
    raise InputError(f"data.file: there is no file {file!r}{nearest(path.name, names)}")


def read(path: Path, separator: str, missing_values: Sequence[str]) -> tuple[pd.DataFrame, list[int]]:
    """The cells of a CSV file in UTF-8 and the line where each row ends (see
    :func:`~latentrun.data.formats.delimited.cells`); InputError where it cannot be read."""
    try:
        with open_plain(path) as content:
            return cells(content.read().decode("utf-8-sig"), separator, missing_values)
    except InputError as error:
        raise InputError(f"data.file: {error}") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"data.file: {str(path)!r} is not a text in UTF-8 (byte {error.start}); save it as CSV in UTF-8"
        ) from None
    except OSError as error:
        raise InputError(f"data.file: {str(path)!r} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"data.file: {str(path)!r}: {error}") from None
