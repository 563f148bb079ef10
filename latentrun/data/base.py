"""What every data set offers, and what a synthetic family with a known answer offers beyond it."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from latentrun.config.boxes import box
from latentrun.errors import InputError, unknown
from latentrun.functional.noise import Noise
from latentrun.functional.spacing import evenly
from latentrun.types import Column, Factor, Projection, Split

if TYPE_CHECKING:
    import pandas as pd

    from latentrun.manifolds import Manifold

SPLITS = ("train", "val", "test")
Colours = Literal["gray", "gray_r", "viridis", "magma", "inferno", "plasma", "cividis"]  # of matplotlib


@dataclass(frozen=True)
class Description:
    """What a data set is, without its rows: what building a model, decoding, sampling, encoding other rows
    and drawing need. meta.json of a run holds it.

    ``kind``: name of the class; ``intrinsic_dim`` and ``betti`` of an :class:`Oracle`, as far as they are
    known; of a table ``beside``, the columns that are factors or the label and not in x, and ``filling``, by
    column what stands for a missing cell. All else as in :class:`Dataset`.
    """

    kind: str
    event_shape: tuple[int, ...]
    value_range: tuple[float, float]
    factors: tuple[Factor, ...]
    label: str | None
    binary: bool
    columns: tuple[Column, ...]
    notes: tuple[str, ...]
    intrinsic_dim: int | None = None
    betti: tuple[int, ...] | None = None
    cmap: Colours = "gray"
    beside: tuple[Column, ...] = ()
    filling: dict[str, float] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As plain values, for meta.json."""
        return json.loads(json.dumps(asdict(self), default=lambda number: number.item()))

    @classmethod
    def read(cls, values: Any, where: str) -> Description:
        """From plain values; InputError where they are none of a description. ``where``: for messages."""
        return box(cls, values, where)


class Dataset(ABC):
    """Examples with their factors, split into train, val and test by ``seed`` alone.

    Making an object checks its arguments and, for data on disk, that the files are there; the rows are read
    or generated when :meth:`split` is first called.

    Attributes: ``event_shape`` of one example (images: channels, height, width); ``value_range`` (low, high)
    of x; ``factors``, one per column of y; ``label`` the name of the factor that ``labels`` codes, or None;
    ``binary`` whether every value is 0 or 1; ``columns`` what the variables of a table are, empty for
    everything else; ``cmap`` the colours in which pictures of one channel are shown: grey for photographs and
    handwriting, others for quantities; ``notes`` what reading found that a reader of the report must know, in
    plain sentences.
    """

    event_shape: tuple[int, ...]
    value_range: tuple[float, float]
    factors: tuple[Factor, ...]
    label: str | None = None
    binary: bool = False  # whether every value of x is 0 or 1
    columns: tuple[Column, ...] = ()
    cmap: Colours = "gray"
    notes: tuple[str, ...] = ()
    rows: int | None = None  # use only so many rows of each split, evenly spaced
    _kept: tuple[int, ...] | None = None  # codes of the classes whose rows are used, None for all

    @property
    def is_image(self) -> bool:
        """Whether x are pictures: 1 or 3 channels, height, width."""
        return len(self.event_shape) == 3 and self.event_shape[0] in (1, 3)

    @abstractmethod
    def _load(self) -> dict[str, Split]:
        """Read or generate the three splits, on the CPU."""

    @cached_property
    def _splits(self) -> dict[str, Split]:
        splits = self._load()
        if self._kept is not None:
            column = self._label_column()
            splits = {name: of_classes(rows, self._kept, column) for name, rows in splits.items()}
        return splits if self.rows is None else {name: thin(rows, self.rows) for name, rows in splits.items()}

    def keep_classes(self, only: Sequence[str | int] | None) -> None:
        """Use the rows of the classes named in ``only`` and no others (None: all), for a constructor's end.
        They are coded from 0 in the order given. In which split a row lies does not depend on it. InputError
        for data without labels and for unknown classes."""
        if only is None:
            return
        if self.label is None:
            raise InputError("data.only: the data have no labels, and so no classes to keep")
        column = self._label_column()
        names, factor = tuple(map(str, only)), self.factors[column]
        codes = class_codes(factor, names, "data.only")
        if not names or len(set(names)) < len(names):
            raise InputError("data.only: at least one class is needed, and each once; null keeps all")
        self._kept = codes
        kept = replace(factor, categories=names, high=len(names) - 1.0)
        self.factors = (*self.factors[:column], kept, *self.factors[column + 1 :])

    def _label_column(self) -> int:
        return [factor.name for factor in self.factors].index(str(self.label))

    def split(self, name: str) -> Split:
        """The rows of ``train``, ``val`` or ``test``; InputError where there are none."""
        rows = self._splits[name]
        if len(rows.x) == 0:
            raise InputError(f"data: the {name} split is empty; give more examples or another fraction")
        return rows

    def parts(self) -> tuple[Split, ...]:
        """The rows of all splits, however few there are; an empty split is left out."""
        return tuple(rows for rows in self._splits.values() if len(rows.x))

    def thinned(self, n: int) -> Dataset:
        """The same data set with at most n rows of each split, evenly spaced; this one stays as it is."""
        thinned = copy.copy(self)
        thinned.__dict__.pop("digest", None)
        thinned.__dict__["_splits"] = {name: thin(rows, n) for name, rows in self._splits.items()}
        return thinned

    @cached_property
    def digest(self) -> str:
        """16 hex digits that change when any row, factor or split does."""
        digest = hashlib.sha256()
        for name in SPLITS:
            rows = self.split(name)
            digest.update(repr((name, tuple(rows.x.shape))).encode())
            digest.update(rows.index.numpy().tobytes() + rows.y.numpy().tobytes())
            # Every bit of x counts in the sum, at the speed of memory; its order in the rows that are hashed.
            # In parts, for a sum of whole numbers first makes them 64 bits wide.
            parts = rows.x.contiguous().view(torch.int32).flatten().split(2**18)
            digest.update(str(sum(int(part.sum(dtype=torch.int64)) for part in parts)).encode())
            digest.update(thin(rows, 256).x.numpy().tobytes())
        return digest.hexdigest()[:16]

    def describe(self) -> Description:
        """What the set is without its rows; reads them where only they say it (ranges of a table)."""
        oracle = isinstance(self, Oracle)
        return Description(
            kind=type(self).__name__,
            event_shape=tuple(self.event_shape),
            value_range=tuple(self.value_range),
            factors=tuple(self.factors),
            label=self.label,
            binary=self.binary,
            columns=tuple(self.columns),
            notes=tuple(self.notes),
            intrinsic_dim=getattr(self, "intrinsic_dim", None) if oracle else None,
            betti=getattr(self, "betti", None) if oracle else None,
            cmap=self.cmap,
        )

    def align(self, reference: Dataset) -> None:
        """Encode x as ``reference``, the data a model was trained on, does; InputError where these data do
        not fit it."""
        if self.event_shape != reference.event_shape:
            raise InputError(
                f"data: examples have shape {self.event_shape}; the model was trained on "
                f"{reference.event_shape}"
            )

    def frame(self, x: Tensor) -> pd.DataFrame:
        """Rows of x as a table: columns in the units of the source, with nearest levels and most likely
        categories; where there are no columns, one for each value."""
        import pandas as pd

        from latentrun.data.formats.columns import decode, values

        if self.columns:
            codes = zip(self.columns, decode(x, self.columns).T, strict=True)
            return pd.DataFrame({column.name: values(code, column) for column, code in codes})
        flat = x.flatten(1).cpu().numpy()
        return pd.DataFrame(flat, columns=[f"x{i}" for i in range(flat.shape[1])])

    def draw(self, x: Tensor, noise: Noise) -> Tensor:
        """What a training step sees of the rows ``x``: themselves, or a fresh random version of them."""
        return x


class Tabular(Dataset):
    """A table of columns, encoded one after the other as :class:`~latentrun.types.Column` says: ``_x (N,
    D)``, all its rows."""

    _x: Tensor

    @property
    def event_shape(self) -> tuple[int, ...]:  # pyrefly: ignore[bad-override]
        return (sum(column.width for column in self.columns),)

    @property
    def value_range(self) -> tuple[float, float]:  # pyrefly: ignore[bad-override]
        return with_margin(self._x.min().item(), self._x.max().item())


class Oracle(ABC):
    """A family whose truth is known, as far as the attributes are not None. Mixed into a
    :class:`Dataset`.

    ``manifold``: that whose points the members are, of which the factors are coordinates.
    """

    intrinsic_dim: int | None
    betti: tuple[int, ...] | None
    manifold: Manifold | None = None

    @property
    def local_dims(self) -> tuple[int, ...]:
        """The dimensions that the family has around its members, ascending; empty where they are not
        known."""
        return () if self.intrinsic_dim is None else (self.intrinsic_dim,)

    def local_dim(self, factors: Tensor) -> Tensor | None:
        """The dimension ``(N,)`` int64 of the family around the members with ``factors (N, F)``; None where
        it is not known."""
        if self.intrinsic_dim is None:
            return None
        return torch.full((len(factors),), self.intrinsic_dim, device=factors.device)

    def geodesic_distance(self, a: Tensor, b: Tensor) -> Tensor | None:
        """Lengths ``(N,)`` of the shortest paths within the family, in the units of x, between the members
        with factors ``a`` and ``b (N, F)``: infinite where there is none; None where they are not known."""
        return None

    def factor_distance(self, a: Tensor, b: Tensor) -> Tensor | None:
        """Distances ``(N,)`` of the members with factors ``a`` and ``b (N, F)`` along ``manifold``, whatever
        its map to x does to lengths: infinite where there is no path; None where there is no manifold."""
        return None

    def outline(self) -> tuple[Tensor, ...]:
        """Curves ``(T, *event_shape)`` of noise-free examples, float32, that together show the whole family,
        such as the lines of a grid of its factors; T = 1: a member that stands alone. Empty where there are
        none that do."""
        return ()

    @abstractmethod
    def render(self, factors: Tensor) -> Tensor:
        """Factors ``(N, F)`` to examples ``(N, *event_shape)``; runs on the device and in the dtype of
        ``factors``."""

    @abstractmethod
    def project(self, x: Tensor) -> Projection:
        """The member of the family nearest to each row of ``x (N, *event_shape)``, factors unbounded."""


class HasMembers(ABC):
    """Its law without the noise is known well enough to integrate over. Mixed into a :class:`Dataset`.

    ``noise``: standard deviation of the normal noise on every value of x; 0 for none.
    """

    noise: float

    @abstractmethod
    def members(self, n: int) -> Tensor | None:
        """n noise-free examples ``(n, *event_shape)``, float32, each from the middle of one of n parts of
        equal probability, in the order of a curve: averages over them are integrals over the law. None unless
        the family is one-dimensional."""


def with_margin(low: float, high: float) -> tuple[float, float]:
    """The ends of a range, a twentieth of it farther apart on either side.

    >>> with_margin(0.0, 20.0)
    (-1.0, 21.0)
    """
    margin = 0.05 * (high - low)
    return low - margin, high + margin


def class_codes(label: Factor, names: Sequence[str], where: str) -> tuple[int, ...]:
    """The codes of classes by their names; InputError, with the key that names them, for one that is none."""
    for name in names:
        if name not in label.classes:
            raise unknown(f"class of {where}", name, label.classes)
    return tuple(label.classes.index(name) for name in names)


class HasSupport(ABC):
    """It is known which examples its law can bring forth. Mixed into a :class:`Dataset`.

    ``rules``: all that an example must keep to be possible, in words, by a short name.
    """

    rules: Mapping[str, str]

    @abstractmethod
    def broken(self, x: Tensor) -> Tensor:
        """Which of the rules, in their order, each row of ``x (N, *event_shape)`` breaks: ``(N, R)`` bool."""

    def possible(self, x: Tensor) -> Tensor:
        """Whether each row breaks none, ``(N,)`` bool."""
        return ~self.broken(x).any(1)


def take(split: Split, rows: Tensor) -> Split:
    """The given rows of a split."""
    labels = None if split.labels is None else split.labels[rows]
    return Split(split.x[rows], split.y[rows], labels, split.index[rows])


def places_of(index: np.ndarray, rows: Split) -> np.ndarray | None:
    """Where the rows of numbers ``index (n,)`` stand in a split, ``(n,)``; None where it lacks one of
    them."""
    order = rows.index.argsort()
    place = torch.searchsorted(rows.index[order], torch.as_tensor(index))
    places = order[place.clamp_max(len(order) - 1)]
    return places.numpy() if (rows.index[places].numpy() == index).all() else None


def of_classes(split: Split, kept: Sequence[int], column: int) -> Split:
    """The rows whose label is one of ``kept``; labels, and the factor in this column of y, then count these
    from 0."""
    assert split.labels is not None
    rows = torch.isin(split.labels, torch.tensor(kept)).nonzero()[:, 0]
    chosen = take(split, rows)
    assert chosen.labels is not None
    labels = (chosen.labels[:, None] == torch.tensor(kept)).long().argmax(1)
    y = chosen.y.clone()
    y[:, column] = labels.to(y)
    return replace(chosen, y=y, labels=labels)


def thin(split: Split, n: int) -> Split:
    """At most n rows, evenly spaced."""
    total = len(split.x)
    return split if n >= total else take(split, evenly(total, n))


def partition(n: int, fractions: tuple[float, float], seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Disjoint row numbers (train, val, test) of n rows in a random order fixed by ``seed``.

    ``fractions`` = (val, test). The test rows are cut first, ``round(test * n)`` of them; validation is
    ``round(val * rest)`` of what remains, so changing it never moves a test row.
    """
    val, test = fractions
    order = Noise(seed).at("split").permutation("order", n)
    n_test = round(test * n)
    n_val = round(val * (n - n_test))
    held, rest = order[:n_test], order[n_test:]
    return rest[n_val:].sort().values, rest[:n_val].sort().values, held.sort().values


def divide(whole: Split, val_fraction: float, test_fraction: float, seed: int) -> dict[str, Split]:
    """The three splits of one table of rows (see :func:`partition`)."""
    parts = partition(len(whole.x), (val_fraction, test_fraction), seed)
    return {name: take(whole, rows) for name, rows in zip(SPLITS, parts, strict=True)}


def data_root(root: str | None) -> Path:
    """The folder that holds data sets: ``root``, else the environment variable LATENTRUN_DATA."""
    folder = root or os.environ.get("LATENTRUN_DATA")
    if not folder:
        raise InputError(
            "data.root: no folder given; set data.root=DIR or the environment variable LATENTRUN_DATA"
        )
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise InputError(f"data.root: {str(path)!r} is not a folder")
    return path


def unit_interval(x: Tensor) -> Tensor:
    """uint8 pictures to float32 in [0, 1]."""
    return x.to(torch.float32).div_(255)
