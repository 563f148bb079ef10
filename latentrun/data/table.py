"""Tables: rows of real, ordinal and categorical columns, read from a CSV file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Between, Ge
from latentrun.data.base import Dataset, Description, divide, partition
from latentrun.data.formats.columns import (
    codes,
    encode,
    in_order,
    inferred,
    inventory,
    known,
    levels,
    numbers,
    numeric,
    placed,
    plain,
    said,
    shape,
    values,
)
from latentrun.data.formats.delimited import cells
from latentrun.errors import InputError, nearest, unknown
from latentrun.types import Column, Factor, Split

MISSING = "missing"  # the category of missing texts
ODD = 0.1  # at most such a share of other texts among numbers is taken for a mistake


@dataclass(frozen=True)
class Content:
    """What a file amounts to: the columns of x, those beside x (factors and label), all cells as codes
    without NaN (rows by their number in the file), what fills missing cells, and how all that was found."""

    columns: tuple[Column, ...]
    beside: tuple[Column, ...]
    codes: pd.DataFrame
    filling: Mapping[str, float]
    notes: tuple[str, ...] = ()


class Table(Dataset):
    """Rows of a CSV file, each column encoded as :class:`~latentrun.types.Column` says, one after the other:
    ``(N, D)``.

    ``columns`` declares kinds by name: real, ordinal (numbers, or the list of levels in order), categorical.
    Those of other columns are inferred, or with ``infer=False`` left out: texts are categorical; whole
    numbers of at most ``max_levels`` different values ordinal; other numbers real. Left out as well:
    constants, texts that differ in every row, counters of rows. ``factors``, ``label``: columns taken out of
    x. ``missing``: what becomes of cells that hold one of ``missing_values``. Levels and categories are those
    of the whole file, mean, scale and median those of the training rows. ``index``: the row in the file, from
    0. ``notes`` show what was made of every column.

    Raises InputError, with the line and the column where there is one, for a file that cannot be read as such
    a table.
    """

    def __init__(
        self,
        file: str,
        separator: str,
        missing_values: list[str],
        columns: dict[str, Literal["real", "ordinal", "categorical"] | list[str | int | float]] | None,
        infer: bool,
        max_levels: Annotated[int, Ge(2)],
        max_categories: Annotated[int, Ge(2)],
        drop: list[str],
        factors: list[str],
        label: str | None,
        missing: Literal["refuse", "rows", "columns", "fill"],
        val_fraction: Annotated[float, Between(0, 1, open_=True)],
        test_fraction: Annotated[float, Between(0, 1, open_=True)],
        seed: Annotated[int, Ge(0)],
    ):
        if separator != "auto" and len(separator) != 1:
            raise InputError(f"data.separator: {separator!r} is not allowed; allowed: auto or one character")
        self.path = located(file)
        self.texts, self.lines = read(self.path, separator, missing_values)
        self.declared, self.infer, self.max_levels, self.max_categories = (
            columns or {},
            infer,
            max_levels,
            max_categories,
        )
        self.aside = list(dict.fromkeys([*factors, *([label] if label else [])]))
        self.wanted_label, self.missing, self.dropped = label, missing, drop
        self.fractions, self.seed = (val_fraction, test_fraction), seed
        named = {
            "columns": self.declared,
            "drop": drop,
            "factors": factors,
            "label": [label] if label else [],
        }
        for key, names in named.items():
            for name in names:
                if name not in self.texts:
                    raise unknown(f"column in data.{key}", name, self.texts.columns)
                if name in drop and key != "drop":
                    raise InputError(f"data.drop: column {name!r} is also named in data.{key}")

    # ---------------------------------------------------------------- what the protocol asks for
    columns = property(lambda self: self._content.columns)
    notes = property(lambda self: self._content.notes)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (sum(column.width for column in self.columns),)

    @property
    def value_range(self) -> tuple[float, float]:
        low, high = self._x.min().item(), self._x.max().item()
        return low - 0.05 * (high - low), high + 0.05 * (high - low)

    @property
    def label(self) -> str | None:
        return (
            self.wanted_label
            if self.wanted_label in {column.name for column in self._content.beside}
            else None
        )

    @cached_property
    def factors(self) -> tuple[Factor, ...]:
        found = []
        for column, y in zip(self._content.beside, self._y.T, strict=True):
            top = len(column.categories) - 1.0
            low, high = (0.0, top) if column.kind == "categorical" else (float(y.min()), float(y.max()))
            found.append(Factor(column.name, column.kind, low, high, categories=column.categories))
        return tuple(found)

    @cached_property
    def _x(self) -> Tensor:
        return encode(self._of(self.columns), self.columns)

    @cached_property
    def _y(self) -> np.ndarray:
        """Factors ``(N, F)``: numbers as they are in the file, places of other levels and categories."""
        beside = self._content.beside
        ordered = [column.kind == "ordinal" and numeric(pd.Series(column.categories)) for column in beside]
        found = [
            values(code, c) if o else code
            for code, c, o in zip(self._of(beside).T, beside, ordered, strict=True)
        ]
        return np.stack(found, 1) if found else np.zeros((len(self._content.codes), 0))

    def _of(self, columns: Sequence[Column]) -> np.ndarray:
        return self._content.codes[[column.name for column in columns]].to_numpy()

    def _load(self) -> dict[str, Split]:
        content = self._content
        labels = None if self.label is None else torch.tensor(content.codes[self.label].to_numpy()).long()
        index = torch.tensor(content.codes.index.to_numpy())
        whole = Split(self._x, torch.tensor(self._y).float(), labels, index)
        return divide(whole, *self.fractions, self.seed)

    def describe(self) -> Description:
        """With what other files are aligned by: the columns beside x, and what fills missing cells."""
        return replace(super().describe(), beside=self._content.beside, filling=dict(self._content.filling))

    def align(self, reference: Dataset) -> None:
        """Take over the columns of the table ``reference``, and those of its factors that this file has.

        Missing cells are refused, left out by row, or filled as in the reference. InputError for columns that
        are not there and for levels and categories that the reference does not know.
        """
        theirs = reference.describe()
        if not theirs.columns:
            raise InputError(
                f"data: a table cannot be aligned to {theirs.kind}, which the model was trained on"
            )
        for column in theirs.columns:
            if column.name not in self.texts:
                guess = nearest(column.name, self.texts.columns)
                raise InputError(
                    f"data.file: {self.path.name!r} has no column {column.name!r}, which the model "
                    f"was trained on{guess}"
                )
        beside = tuple(column for column in theirs.beside if column.name in self.texts)
        every = (*theirs.columns, *beside)
        texts = self._without_missing(self.texts[[column.name for column in every]], asked=True)
        coded = pd.DataFrame(
            {column.name: self._codes(texts[column.name], column) for column in every}, index=texts.index
        )
        filled = self._filled(coded, theirs.filling)
        for name in ("_x", "_y", "factors", "_splits"):
            self.__dict__.pop(name, None)
        self.wanted_label = theirs.label
        self._content = Content(theirs.columns, beside, filled, theirs.filling)

    # ---------------------------------------------------------------- from texts to content
    @cached_property
    def _content(self) -> Content:
        """The file by itself: kinds, then codes, then what the training rows say of them."""
        candidates = self.texts.drop(columns=self.dropped)
        asked = {*self.declared, *self.aside}
        left_out = {name: "it is not declared" for name in candidates if not self.infer and name not in asked}
        left_out |= {
            name: "it has no values"
            for name in candidates
            if name not in asked and candidates[name].isna().all()
        }
        texts = self._without_missing(candidates.drop(columns=list(left_out)))
        left_out |= {name: "it has missing values" for name in candidates if name not in {*left_out, *texts}}
        found = {}
        for name in texts:
            self._refuse_odd(texts[name])
            useless = None if name in asked else self._useless(texts[name])
            if useless:
                left_out[name] = useless
            else:
                found[name] = self._column(texts[name])
        coded = pd.DataFrame(
            {name: self._codes(texts[name], column) for name, column in found.items()}, index=texts.index
        )
        chosen = [column for name, column in found.items() if name not in self.aside]
        if not chosen:
            raise InputError(f"data.file: {self.path.name!r} leaves no column for x ({said(left_out)})")

        training, val, test = (rows.numpy() for rows in partition(len(coded), self.fractions, self.seed))
        if not len(training) or not len(val) or not len(test):
            raise InputError(
                f"data.file: {self.path.name!r} has {len(coded)} complete rows, too few for a "
                "training, validation and test split"
            )
        # Of an even number of levels the lower one in the middle: the median must be a level.
        numbered = [name for name, column in found.items() if column.kind != "categorical"]
        filling = {
            name: float(coded[name].iloc[training].quantile(interpolation="lower")) for name in numbered
        }
        filled = self._filled(coded, filling)
        columns = placed(chosen, filled[[column.name for column in chosen]].iloc[training].to_numpy())
        beside = tuple(found[name] for name in self.aside)
        return Content(columns, beside, filled, filling, self._notes(columns, beside, coded, left_out))

    def _without_missing(self, texts: pd.DataFrame, asked: bool = False) -> pd.DataFrame:
        """The cells that ``missing`` keeps; with ``asked`` no column may be left out."""
        counts = texts.isna().sum()
        counts = counts[counts > 0]
        if self.missing == "rows":
            kept = texts.dropna()
            if len(texts) and not len(kept):
                raise InputError(
                    f"data.missing: every row of {self.path.name!r} has a missing value "
                    f"({said(counts)}); use fill or columns"
                )
            return kept
        named = [name for name in counts.index if asked or name in {*self.declared, *self.aside}]
        if self.missing == "columns" and not named:
            return texts.drop(columns=counts.index)
        if len(counts) and self.missing != "fill":
            allowed = "rows or fill" if self.missing == "columns" else "rows, columns or fill"
            raise InputError(
                f"data.missing: {self.path.name!r} has missing values ({said(counts)}); "
                f"data.missing={allowed} takes them away"
            )
        return texts

    def _filled(self, coded: pd.DataFrame, filling: Mapping[str, float]) -> pd.DataFrame:
        filled = coded.fillna(filling)
        short = filled.columns[filled.isna().any()]
        if len(short):
            raise InputError(
                f"data.missing: column {short[0]!r} has missing values, and no training row says how "
                "to fill them"
            )
        return filled

    def _refuse_odd(self, texts: pd.Series) -> None:
        """A few texts among many numbers are mistakes, not categories, unless the column is declared."""
        found = texts.dropna()
        odd = found[numbers(found).isna()]
        if (
            texts.name in self.declared
            or texts.name == self.wanted_label
            or found.nunique() <= self.max_levels
        ):
            return
        if 0 < len(odd) <= ODD * len(found):
            raise InputError(
                f"data.file: {self.path.name!r} line {self.lines[odd.index[0]]}, column "
                f"{texts.name!r}: {odd.iloc[0]!r} among numbers; "
                "add it to data.missing_values, or declare the column in data.columns"
            )

    def _useless(self, texts: pd.Series) -> str | None:
        """Why a column that nobody asked for says nothing."""
        found = texts.fillna(MISSING) if self.missing == "fill" and not numeric(texts) else texts.dropna()
        if found.nunique() == 1:
            return f"it is always {found.iloc[0]!r}"
        if len(found) < len(texts) or found.nunique() < len(texts):
            return None
        if not numeric(texts):
            return "its texts differ in every row"
        return "it counts the rows" if (numbers(texts).diff().iloc[1:] == 1).all() else None

    def _column(self, texts: pd.Series) -> Column:
        """Kind and categories of a column, as declared or inferred."""
        name = str(texts.name)
        kind, label = self.declared.get(name), name == self.wanted_label
        if isinstance(kind, list):
            categories = tuple(plain(level) if isinstance(level, int | float) else level for level in kind)
            if len(set(categories)) < len(categories):
                raise InputError(f"data.columns.{name}: {kind!r} names a level twice")
            return Column(name, "categorical" if label else "ordinal", 0, categories=categories)
        kind = "categorical" if label else kind or inferred(texts, self.max_levels)
        if kind == "real":
            return Column(name, "real", 0)
        if kind == "ordinal" and not numeric(texts):
            raise InputError(
                f"data.columns.{name}: levels that are no numbers need an order: "
                f"'data.columns={{{name}: [low, high]}}'"
            )
        named = texts.fillna(MISSING) if self.missing == "fill" else texts
        column = Column(name, kind, 0, categories=levels(texts) if kind == "ordinal" else in_order(named))
        if len(column.categories) > self.max_categories:
            raise InputError(
                f"data.max_categories: column {name!r} has {known(column)}, more than {self.max_categories}: "
                f"raise it, or leave the column out with 'data.drop=[{name}]'"
            )
        return column

    def _codes(self, texts: pd.Series, column: Column) -> pd.Series:
        """The codes of a column; NaN only where a cell is missing."""
        if column.kind == "categorical" and MISSING in column.categories:
            texts = texts.fillna(MISSING)
        found = codes(texts, column)
        wrong = texts.notna() & ~np.isfinite(found)
        if wrong.any():
            row, text = wrong.idxmax(), texts[wrong].iloc[0]
            wanted = (
                "no finite number"
                if column.kind == "real"
                else f"none of its {known(column)}{nearest(text, column.categories)}"
            )
            raise InputError(
                f"data.file: {self.path.name!r} line {self.lines[row]}, column {column.name!r}: "
                f"{text!r} is {wanted}"
            )
        return found

    def _notes(self, columns, beside, coded: pd.DataFrame, left_out: Mapping[str, str]) -> tuple[str, ...]:
        """Every column with its kind, levels or range, and missing cells."""
        notes = inventory(columns, coded)
        if beside:
            notes.append(f"Beside x: {'; '.join(f'{shape(c, coded[c.name])}, {c.kind}' for c in beside)}.")
        guessed = [
            c.name for c in (*columns, *beside) if c.name not in self.declared and c.name != self.wanted_label
        ]
        if guessed:
            which = (
                "All kinds"
                if len(guessed) == len(columns) + len(beside)
                else f"The kinds of {', '.join(guessed)}"
            )
            notes.append(f"{which} are inferred; data.columns declares others.")
        if left_out:
            notes.append(f"Left out: {'; '.join(f'{name} ({why})' for name, why in left_out.items())}.")
        counts = self.texts[list(coded)].isna().sum()
        counts = counts[counts > 0]
        done = {
            "rows": f"left out with their rows ({len(self.texts) - len(coded)} of {len(self.texts)})",
            "fill": "filled",
        }
        if len(counts):
            notes.append(
                f"Missing cells, {done[self.missing]}: "
                f"{', '.join(f'{name} {n}' for name, n in counts.items())}."
            )
        return tuple(notes)


# ---------------------------------------------------------------- files
def located(file: str) -> Path:
    """The path of a file that is there."""
    path = Path(file).expanduser()
    if path.is_file():
        return path
    if not path.parent.is_dir():
        raise InputError(f"data.file: there is no folder {str(path.parent)!r}")
    if path.is_dir():
        raise InputError(f"data.file: {file!r} is a folder; a CSV file is needed")
    raise InputError(
        "data.file: there is no file "
        f"{file!r}{nearest(path.name, [found.name for found in path.parent.iterdir()])}"
    )


def read(path: Path, separator: str, missing_values: Sequence[str]) -> tuple[pd.DataFrame, list[int]]:
    """The cells of a CSV file in UTF-8 and the line where each row ends (see
    :func:`~latentrun.data.formats.delimited.cells`)."""
    try:
        return cells(path.read_bytes().decode("utf-8-sig"), separator, missing_values)
    except UnicodeDecodeError as error:
        raise InputError(
            f"data.file: {str(path)!r} is not a text in UTF-8 (byte {error.start}); save it as CSV in UTF-8"
        ) from None
    except OSError as error:
        raise InputError(f"data.file: {str(path)!r} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"data.file: {str(path)!r}: {error}") from None
