"""Tables: rows of real, ordinal and categorical columns, read from a CSV file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Between, Count, Ge, Printable
from latentrun.data.base import Dataset, Description, Tabular, divide, partition
from latentrun.data.formats.columns import encode, inventory, listed, numeric, placed, shape, values
from latentrun.data.formats.sheet import Rules, Sheet, located, read
from latentrun.errors import InputError, nearest, unknown
from latentrun.types import Column, Factor, Split


@dataclass(frozen=True)
class Content:
    """What a file amounts to: the columns of x, those beside x (factors and label), all cells as codes
    without NaN (rows by their number in the file), what fills missing cells, and how all that was found."""

    columns: tuple[Column, ...]
    beside: tuple[Column, ...]
    codes: pd.DataFrame
    filling: Mapping[str, float]
    notes: tuple[str, ...] = ()

    def of(self, columns: Sequence[Column]) -> np.ndarray:
        """The codes ``(N, C)`` of columns."""
        return self.codes[[column.name for column in columns]].to_numpy()


class Table(Tabular):
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
        file: Annotated[str, Printable()],
        separator: str,
        missing_values: list[str],
        columns: dict[str, Literal["real", "ordinal", "categorical"] | list[str | int | float]] | None,
        infer: bool,
        max_levels: Annotated[int, Count(2, 100_000)],
        max_categories: Annotated[int, Count(2, 100_000)],
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
        path = located(file)
        texts, lines = read(path, separator, missing_values)
        declared = columns or {}
        self.aside = list(dict.fromkeys([*factors, *([label] if label else [])]))
        named = frozenset({*declared, *self.aside})
        rules = Rules(declared, max_levels, max_categories, label, missing, named)
        self.sheet = Sheet(path.name, texts, lines, rules)
        self.infer, self.label_column, self.dropped = infer, label, drop
        self.fractions, self.seed = (val_fraction, test_fraction), seed
        keys = {"columns": [*declared], "drop": drop, "factors": factors, "label": [label] if label else []}
        for key, names in keys.items():
            for name in names:
                if name not in texts:
                    raise unknown(f"column in data.{key}", name, texts.columns)
                if name in drop and key != "drop":
                    raise InputError(f"data.drop: column {name!r} is also named in data.{key}")

    # ---------------------------------------------------------------- what the protocol asks for
    # Computed when they are first read, where Dataset declares plain attributes.
    @property
    def columns(self) -> tuple[Column, ...]:  # pyrefly: ignore[bad-override]
        return self._content.columns

    @property
    def notes(self) -> tuple[str, ...]:  # pyrefly: ignore[bad-override]
        return self._content.notes

    @property
    def label(self) -> str | None:  # pyrefly: ignore[bad-override]
        names = {column.name for column in self._content.beside}
        return self.label_column if self.label_column in names else None

    @cached_property
    def factors(self) -> tuple[Factor, ...]:  # pyrefly: ignore[bad-override]
        factors = []
        for column, y in zip(self._content.beside, self._y.T, strict=True):
            top = len(column.categories) - 1.0
            low, high = (0.0, top) if column.kind == "categorical" else (float(y.min()), float(y.max()))
            factors.append(Factor(column.name, column.kind, low, high, categories=column.categories))
        return tuple(factors)

    @cached_property
    def _x(self) -> Tensor:  # pyrefly: ignore[bad-override]
        return encode(self._content.of(self.columns), self.columns)

    @cached_property
    def _y(self) -> np.ndarray:
        """Factors ``(N, F)``: numbers as they are in the file, places of other levels and categories."""
        beside = self._content.beside
        y = np.zeros((len(self._content.codes), len(beside)))
        for i, (column, code) in enumerate(zip(beside, self._content.of(beside).T, strict=True)):
            is_number = column.kind == "ordinal" and numeric(pd.Series(column.categories))
            y[:, i] = values(code, column) if is_number else code
        return y

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
        described, names = reference.describe(), self.sheet.texts.columns
        if not described.columns:
            raise InputError(
                f"data: a table cannot be aligned to {described.kind}, which the model was trained on"
            )
        for column in described.columns:
            if column.name not in names:
                raise InputError(
                    f"data.file: {self.sheet.name!r} has no column {column.name!r}, which the model was "
                    f"trained on{nearest(column.name, names)}"
                )
        beside = tuple(column for column in described.beside if column.name in names)
        every = (*described.columns, *beside)
        texts = self.sheet.texts[[column.name for column in every]]
        coded = self.sheet.codes(self.sheet.without_missing(texts, keep_columns=True), every)
        filled = _filled(coded, described.filling)
        for name in ("_x", "_y", "factors", "_splits"):
            self.__dict__.pop(name, None)
        self.label_column = described.label
        self._content = Content(described.columns, beside, filled, described.filling)

    # ---------------------------------------------------------------- from texts to content
    @cached_property
    def _content(self) -> Content:
        """The file by itself: kinds, then codes, then what the training rows say of them."""
        texts, by_name, left_out = self._kinds()
        of_x = [column for name, column in by_name.items() if name not in self.aside]
        if not of_x:
            raise InputError(f"data.file: {self.sheet.name!r} leaves no column for x ({listed(left_out)})")
        coded = self.sheet.codes(texts, tuple(by_name.values()))
        training, val, test = (rows.numpy() for rows in partition(len(coded), self.fractions, self.seed))
        if not len(training) or not len(val) or not len(test):
            raise InputError(
                f"data.file: {self.sheet.name!r} has {len(coded)} complete rows, too few for a training, "
                "validation and test split"
            )
        # Of an even number of levels the lower one in the middle: the median must be a level.
        numbered = [name for name, column in by_name.items() if column.kind != "categorical"]
        trained = coded.iloc[training]
        filling = {name: float(trained[name].quantile(interpolation="lower")) for name in numbered}
        filled = _filled(coded, filling)
        columns = placed(of_x, filled[[column.name for column in of_x]].iloc[training].to_numpy())
        beside = tuple(by_name[name] for name in self.aside)
        return Content(columns, beside, filled, filling, self._notes(columns, beside, coded, left_out))

    def _kinds(self) -> tuple[pd.DataFrame, dict[str, Column], dict[str, str]]:
        """The texts without what is left out, the columns that stay by name, and why the others do not."""
        candidates, named = self.sheet.texts.drop(columns=self.dropped), self.sheet.rules.named
        left_out: dict[str, str] = {}
        for name in candidates:
            if not self.infer and name not in named:
                left_out[name] = "it is not declared"
            if name not in named and candidates[name].isna().all():
                left_out[name] = "it has no values"
        texts = self.sheet.without_missing(candidates.drop(columns=list(left_out)))
        left_out |= {name: "it has missing values" for name in candidates if name not in {*left_out, *texts}}
        by_name: dict[str, Column] = {}
        for name in texts:
            self.sheet.refuse_odd(texts[name])
            useless = None if name in named else self.sheet.useless(texts[name])
            if useless:
                left_out[name] = useless
            else:
                by_name[name] = self.sheet.column(texts[name])
        return texts, by_name, left_out

    def _notes(
        self,
        columns: Sequence[Column],
        beside: Sequence[Column],
        coded: pd.DataFrame,
        left_out: Mapping[str, str],
    ) -> tuple[str, ...]:
        """Every column with its kind, levels or range, and missing cells."""
        every, notes = [*columns, *beside], inventory(columns, coded)
        if beside:
            shown = (f"{shape(column, coded[column.name])}, {column.kind}" for column in beside)
            notes.append(f"Beside x: {'; '.join(shown)}.")
        declared = {*self.sheet.rules.columns, self.label_column}
        guessed = [column.name for column in every if column.name not in declared]
        if guessed:
            which = "All kinds" if len(guessed) == len(every) else f"The kinds of {', '.join(guessed)}"
            notes.append(f"{which} are inferred; data.columns declares others.")
        if left_out:
            reasons = (f"{name} ({why})" for name, why in left_out.items())
            notes.append(f"Left out: {'; '.join(reasons)}.")
        texts = self.sheet.texts
        counts = texts[list(coded)].isna().sum()
        counts = counts[counts > 0]
        if len(counts):
            done = "filled"
            if self.sheet.rules.missing == "rows":
                done = f"left out with their rows ({len(texts) - len(coded)} of {len(texts)})"
            missing = ", ".join(f"{name} {n}" for name, n in counts.items())
            notes.append(f"Missing cells, {done}: {missing}.")
        return tuple(notes)


def _filled(coded: pd.DataFrame, filling: Mapping[str, float]) -> pd.DataFrame:
    """Codes without NaN; InputError where nothing says how to fill a column."""
    filled = coded.fillna(filling)
    short = filled.columns[filled.isna().any()]
    if len(short):
        raise InputError(
            f"data.missing: column {short[0]!r} has missing values, and no training row says how to fill them"
        )
    return filled
