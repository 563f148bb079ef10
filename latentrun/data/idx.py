"""Images and labels in IDX files: MNIST, and the data sets made to replace it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import torch
from torch import Tensor

from latentrun.config.bounds import Between, Count, Ge
from latentrun.data.base import Dataset, data_root, partition, take, unit_interval
from latentrun.data.formats import idx
from latentrun.errors import InputError, unknown
from latentrun.functional.noise import Noise
from latentrun.types import Factor, Split

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
FIXED = "one Bernoulli draw of the grey values, fixed by data.seed"
NOTES = {
    "none": (),
    "static": (f"Every row is {FIXED}.",),
    "dynamic": (f"Train rows are a Bernoulli draw of their grey values at every step; others are {FIXED}.",),
}
# Rows whose fixed binarisation is drawn together, so that a row's draw depends on its own number only.
BLOCK = 1000


class Idx(Dataset):
    """The official training and test files of a set in IDX format; validation is cut out of the training
    rows.

    Files lie, plain or gzipped, in ``root/folder`` or in ``root``; ``root: null`` is the environment variable
    LATENTRUN_DATA. ``checksums`` gives for each file the md5 or sha256 of its decompressed bytes. x is grey
    in [0, 1], or with ``binarize: static`` one Bernoulli(grey) draw fixed by ``seed``, or with ``dynamic`` a
    fresh draw of the training rows at every step (validation and test as in static; cf. Burda et al. 2016,
    section 5). ``limit`` keeps only the first so many training rows, ``only`` those of the classes that it
    names. ``index``: the row of the training file;
    test rows follow on behind its last.

    Raises InputError when a file is missing (on construction), or differs from its checksum or its labels
    from ``classes`` (on reading).
    """

    value_range = (0.0, 1.0)
    label = "class"

    def __init__(
        self,
        root: str | None,
        folder: str,
        checksums: dict[str, str],
        classes: list[str],
        only: list[str | Annotated[int, Ge(0)]] | None,
        binarize: Literal["none", "static", "dynamic"],
        limit: Annotated[int, Count(1)] | None,
        val_fraction: Annotated[float, Between(0, 1, open_=True)],
        seed: Annotated[int, Ge(0)],
    ):
        if binarize not in ("none", "static", "dynamic"):
            raise unknown("data.binarize", binarize, ("none", "static", "dynamic"))
        names = [name for pair in FILES.values() for name in pair]
        for name in set(names) ^ set(checksums):
            raise InputError(
                f"data.checksums: {name} is {'missing' if name in names else 'unknown'}; needed: "
                f"{', '.join(names)}"
            )
        self.checksums, self.binarize, self.limit = dict(checksums), binarize, limit
        self.val_fraction, self.seed = val_fraction, seed
        self.binary = binarize != "none"
        self.notes = NOTES[binarize]
        self.paths = self._find(data_root(root), folder, names)
        _, height, width = idx.shape_of(self.paths[FILES["train"][0]], 3)
        self.event_shape = (1, height, width)
        self.classes = tuple(classes)  # of the files
        self.factors = (Factor("class", "categorical", 0.0, len(classes) - 1.0, categories=tuple(classes)),)
        self.keep_classes(only)

    def _find(self, root: Path, folder: str, names: list[str]) -> dict[str, Path]:
        """The path of every file: the first of root/folder and root that has it, plain before gzipped."""
        places = {
            name: [place / (name + end) for place in (root / folder, root) for end in ("", ".gz")]
            for name in names
        }
        paths = {
            name: path
            for name, candidates in places.items()
            if (path := next((path for path in candidates if path.is_file()), None))
        }
        missing = [name for name in names if name not in paths]
        if missing:
            sums = {name: f"{idx.algorithm(self.checksums[name])} {self.checksums[name]}" for name in names}
            raise InputError(
                f"data.root: no {', '.join(missing)} in {str(root / folder)!r} or {str(root)!r}; "
                "expected, plain or as .gz, with checksums of the decompressed bytes: "
                + ", ".join(f"{name} ({sums[name]})" for name in names)
            )
        return paths

    def _read(self, part: str) -> Split:
        """All rows of the ``train`` or ``test`` files, uint8 images ``(N, 1, height, width)``; ``index`` from
        0."""
        images, labels = (self._array(name, dims) for name, dims in zip(FILES[part], (3, 1), strict=True))
        path, classes = self.paths[FILES[part][1]], self.classes
        if len(images) != len(labels):
            raise InputError(f"data: {str(path)!r} has {len(labels)} labels for {len(images)} pictures")
        if tuple(images.shape[1:]) != self.event_shape[1:]:
            raise InputError(
                f"data: the {part} pictures are {tuple(images.shape[1:])}, not {self.event_shape[1:]}"
            )
        if len(labels) and int(labels.max()) >= len(classes):
            raise InputError(
                f"data.classes: {len(classes)} names given, but {str(path)!r} has label {int(labels.max())}"
            )
        labels = labels.long()
        return Split(images[:, None], labels[:, None].float(), labels, torch.arange(len(labels)))

    def _array(self, name: str, dims: int) -> Tensor:
        return torch.from_numpy(idx.read(self.paths[name], dims, self.checksums[name]))

    def _load(self) -> dict[str, Split]:
        first, last = self._read("train"), self._read("test")
        offset = len(first.x)
        first = take(first, torch.arange(min(self.limit or offset, offset)))
        train, val, _ = (
            take(first, rows) for rows in partition(len(first.x), (self.val_fraction, 0.0), self.seed)
        )
        last = Split(last.x, last.y, last.labels, last.index + offset)
        fixed = {"none": (), "static": ("train", "val", "test"), "dynamic": ("val", "test")}[self.binarize]
        splits = {"train": train, "val": val, "test": last}
        return {name: self._finish(split, name in fixed) for name, split in splits.items()}

    def _finish(self, split: Split, binary: bool) -> Split:
        x = unit_interval(split.x)
        if binary:
            noise = Noise(self.seed).at("binarize")
            # Sorted by index within a split: rows of one block lie together.
            for block in (split.index // BLOCK).unique().tolist():
                rows = (split.index // BLOCK == block).nonzero()[:, 0]
                draws = noise.uniform(f"block {block}", (BLOCK, *self.event_shape))[split.index[rows] % BLOCK]
                x[rows] = (draws < x[rows]).float()
        return Split(x, split.y, split.labels, split.index)

    def draw(self, x: Tensor, noise: Noise) -> Tensor:
        """A fresh Bernoulli(x) draw when ``binarize`` is dynamic, else x itself."""
        if self.binarize != "dynamic":
            return x
        return (noise.uniform("binarize", tuple(x.shape)) < x).to(x.dtype)
