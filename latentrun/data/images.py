"""Images of one's own: a folder of files, or one array in a .npy or .npz file."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Between, Count, Ge, Printable
from latentrun.data.base import Dataset, divide, partition, thin
from latentrun.data.formats.columns import in_order, numbers, numeric
from latentrun.data.formats.delimited import cells
from latentrun.data.formats.images import ImageSource, image_source
from latentrun.errors import InputError, few, nearest, one_line, unknown
from latentrun.system.door import Guarded
from latentrun.system.machine import free_memory
from latentrun.system.plain import open_plain
from latentrun.types import Factor, Split

SHARE = 0.6  # of the free memory that x may take
MISSING = ("", "NA", "N/A", "NaN", "nan", "NULL", "null")  # cells of the table without a value
EXACT = 1e-5  # of the width of the range: what resizing may round beyond it


class Images(Dataset):
    """Images as float32 ``(N, C, height, width)``, C = 1 or 3; ``index`` is the row of an array, or the
    place of a file in the sorted list of relative names.

    ``path``: a folder, searched to any depth for png, jpg, bmp, gif, tif, webp, pgm and ppm files (hidden
    ones and links to folders are left out, a link in the place of a picture is refused); or a .npy file, or
    the array ``x`` or ``images`` of a .npz file, of shape ``(N, H, W)``, ``(N, H, W, C)`` or ``(N, C, H,
    W)``. ``size``: height and width to which all are stretched, with a triangle filter that averages over
    what becomes one pixel and never leaves the range of the values; None: all must have one size. ``mode``:
    ``grey`` (luma of ITU-R BT.601), ``rgb``, or ``auto``: grey where every image is stored as grey (or with a
    palette of greys), else rgb (``notes`` say which). Transparent images are laid on white, EXIF orientation
    is honoured, and of an animation the first frame counts.

    Whole numbers of 8 or 16 bits become [0, 1] (colour files of 16 bits are read at 8). Floating-point
    numbers (arrays, TIFF) stay what they are and must lie in ``value_range``; None: in [0, 1].

    ``table``: a CSV file whose column ``file``, or else the first, holds the relative name of a file or the
    row of an array, one line an image. Its other columns, or those in ``factors``, are factors: texts
    categorical, whole numbers ordinal, other numbers real. So are the arrays ``labels (N,)`` and ``y``,
    ``(N,)`` or ``(N, F)``, of a .npz file. ``labels``: ``folders`` (the factor ``class``, the first folder of
    the relative name), or the name of a column, made categorical; None: none, or what a .npz file has in
    ``labels`` (else ``y``) of whole numbers or text. ``only``: the labels whose pictures are kept.

    Raises InputError on construction for whatever names, headers and table can tell; on reading for images
    that cannot be decoded, for values that are not finite or out of range, and when x would take more than 60
    % of the free memory.
    """

    def __init__(
        self,
        path: Annotated[str, Printable()],
        size: tuple[Annotated[int, Count(1, 8192)], Annotated[int, Count(1, 8192)]] | None,
        mode: Literal["auto", "grey", "rgb"],
        value_range: tuple[float, float] | None,
        labels: str | None,
        only: list[str | Annotated[int, Ge(0)]] | None,
        table: str | None,
        factors: list[str] | None,
        val_fraction: Annotated[float, Between(0, 1, open_=True)],
        test_fraction: Annotated[float, Between(0, 1, open_=True)],
        seed: Annotated[int, Ge(0)],
    ):
        self.source = source = image_source(_existing("data.path", path))
        channels = {"grey": 1, "rgb": 3, "auto": 1 if source.is_grey() else 3}[mode]
        self.event_shape = (channels, *(size or source.size()))
        if value_range and not source.floating:
            raise InputError(
                f"data.value_range: is for floating-point pictures; those in {path!r} are whole "
                "numbers, which become [0, 1]"
            )
        self.value_range = value_range or (0.0, 1.0)
        if not self.value_range[0] < self.value_range[1]:
            raise InputError(
                f"data.value_range: the first value must be below the second, got {list(self.value_range)}"
            )
        self.val_fraction, self.test_fraction, self.seed = val_fraction, test_fraction, seed
        n = len(source.names)
        if not all(map(len, partition(n, (val_fraction, test_fraction), seed))):
            fractions = f"val_fraction={val_fraction:g} and test_fraction={test_fraction:g}"
            raise InputError(
                f"data.path: {n} picture{'s' * (n > 1)} in {path!r} cannot fill train, val and test "
                f"rows with {fractions}"
            )
        colour, (_, height, width) = "grey" if channels == 1 else "rgb", self.event_shape
        self.notes = (f"{n:,} pictures, stored as {source.stored}, taken as {colour} of {height} x {width}.",)
        self._describe(labels, table, factors)
        self.keep_classes(only)

    def _describe(self, labels: str | None, table: str | None, factors: list[str] | None) -> None:
        """Set factors, y and labels from what is known about the images."""
        columns = {"class": pd.Series(self.source.folders())} if labels == "folders" else {}
        beside = _table(_existing("data.table", table), self.source) if table else {}
        for part in (self.source.columns, beside):
            for name in columns.keys() & part.keys():
                raise InputError(
                    f"data.table: column {name!r} has the name of another factor; give it another"
                )
            columns |= part
        self.label = "class" if labels == "folders" else labels or self.source.label
        if self.label is not None and self.label not in columns:
            raise unknown("data.labels", self.label, ["folders", *columns])
        for name in factors or ():
            if name not in columns:
                raise unknown("data.factors", name, columns)
        names = [name for name in columns if factors is None or name in factors or name == self.label]
        coded = {name: _factor(name, columns[name], name == self.label) for name in names}
        self.factors = tuple(factor for factor, _ in coded.values())
        values = [column for _, column in coded.values()]
        self.y = torch.from_numpy(np.stack(values, 1)) if values else torch.empty(len(self.source.names), 0)
        self.labels = torch.from_numpy(coded[self.label][1]).long() if self.label else None

    def _load(self) -> dict[str, Split]:
        rows = torch.arange(len(self.source.names))
        # Row numbers stand in for x until it is known which of them are wanted.
        whole = Split(rows, self.y, self.labels, rows)
        splits = divide(whole, self.val_fraction, self.test_fraction, self.seed)
        if self.rows is not None:
            splits = {name: thin(part, self.rows) for name, part in splits.items()}
        read = self._read(torch.cat([part.index for part in splits.values()]).numpy())
        parts = read.split([len(part.x) for part in splits.values()])
        return {name: replace(part, x=x) for (name, part), x in zip(splits.items(), parts, strict=True)}

    def _read(self, rows: np.ndarray) -> Tensor:
        """The images of ``rows (n,)``, once they are known to fit the memory; finite and in range."""
        needed = (4 * len(rows) * math.prod(self.event_shape) + self.source.held) / 2**30
        free = free_memory() / 2**30
        if needed > SHARE * free:
            shape = " x ".join(map(str, self.event_shape))
            raise InputError(
                f"data: {len(rows):,} pictures of {shape} take {needed:.3g} GiB, more than {SHARE:.0%} of "
                f"the {free:.3g} GiB of free memory; choose a smaller data.size=[h,w] or fewer rows=N"
            )
        x = torch.from_numpy(self.source.read(rows, self.event_shape))
        lowest, highest = x.flatten(1).aminmax(dim=1)
        broken = (~(lowest.isfinite() & highest.isfinite())).nonzero()[:, 0]
        if len(broken):
            which = sorted(rows[broken.numpy()])
            names = few([self.source.names[row] for row in which])
            raise InputError(
                f"data.path: {str(self.source.path)!r} has values that are not finite in {self.source.word} "
                f"{names}"
            )
        (low, high), least, most = self.value_range, lowest.min().item(), highest.max().item()
        if min(least - low, high - most) < -EXACT * (high - low):
            raise InputError(
                f"data.value_range: values in {str(self.source.path)!r} go from {least:.6g} to {most:.6g}, "
                f"not within [{low:g}, {high:g}]; set data.value_range=[low,high]"
            )
        return x.clamp_(low, high)


def _table(path: Path, source: ImageSource) -> dict[str, pd.Series]:
    """The columns of a CSV file as texts, in the order of the images."""
    where = f"data.table: {str(path)!r}"
    try:
        with open_plain(path) as content:
            frame, _ = cells(content.read().decode("utf-8-sig"), "auto", MISSING)
    except (InputError, OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or one_line(error)
        raise InputError(f"{where} cannot be read: {why}") from None
    names = frame.pop("file" if "file" in frame else frame.columns[0]).fillna("")
    frame.index = pd.Index([str(PurePosixPath(name)) for name in names])
    strange = list(frame.index.difference(source.names))
    if strange:
        raise InputError(
            f"{where} names {few(strange)}, not in {str(source.path)!r}{nearest(strange[0], source.names)}"
        )
    missing = list(pd.Index(source.names).difference(frame.index, sort=False))
    if missing:
        raise InputError(f"{where} has no line for {source.word} {few(missing)}, of {len(source.names)}")
    if frame.index.has_duplicates:
        twice = few(list(frame.index[frame.index.duplicated()].unique()))
        raise InputError(f"{where} has several lines for {source.word} {twice}")
    frame = frame.loc[source.names]
    for name in frame:
        empty = list(frame.index[frame[name].isna()])
        if empty:
            raise InputError(f"{where} has no value of {name!r} for {source.word} {few(empty)}")
    return {name: frame[name].reset_index(drop=True) for name in frame}


def _factor(name: str, texts: pd.Series, label: bool) -> tuple[Factor, np.ndarray]:
    """A column as a factor, and its numbers (float32): texts and the label by category, in order; whole
    numbers ordinal."""
    where, leave = ("data.labels", "") if label else ("data.factors", "; data.factors=[...] can leave it out")
    if texts.nunique() == 1:
        raise InputError(f"{where}: {name!r} is {texts[0]!r} for every picture{leave}")
    values = numbers(texts) if numeric(texts) else None
    if values is not None and not np.isfinite(values).all():
        raise InputError(f"{where}: {name!r} is {texts[~np.isfinite(values)].iloc[0]!r} for a picture{leave}")
    whole = values is not None and (values == values.round()).all()
    if values is None or label:
        if values is not None and not whole:
            raise InputError(f"{where}: {name!r} holds real numbers; a label needs whole numbers or text")
        classes = in_order(texts)
        if len(classes) > len(texts) / 2:
            raise InputError(
                f"{where}: {name!r} has {len(classes)} classes in {len(texts)} rows, too few rows for "
                f"each{leave}"
            )
        codes = texts.map({text: i for i, text in enumerate(classes)}).to_numpy(np.float32)
        return Factor(name, "categorical", 0.0, len(classes) - 1.0, categories=classes), codes
    y = values.to_numpy(np.float32)
    return Factor(name, "ordinal" if whole else "real", float(y.min()), float(y.max())), y


def _existing(key: str, name: str) -> Path:
    """The path of that name; InputError with the nearest name in the folder that should hold it."""
    path = Path(name).expanduser()
    if name and os.path.exists(path):
        return path
    gone = next((place for place in (path, *path.parents) if place.parent.exists()), path)
    readable = gone.parent.is_dir() and os.access(gone.parent, os.R_OK)
    beside = [item.name for item in Guarded(gone.parent).items()] if readable else []
    raise InputError(
        f"{key}: there is no {name!r}{f', nor {str(gone)!r}' * (gone != path)}{nearest(gone.name, beside)}"
    )
