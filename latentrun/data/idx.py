"""Pictures and labels in IDX files, the format of MNIST and of the data sets made to replace it."""

from __future__ import annotations

import gzip
import hashlib
import math
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import numpy as np
import torch
from torch import Tensor

from latentrun.config.bounds import Between, Ge
from latentrun.data.base import Dataset, data_root, partition, take, unit_interval
from latentrun.errors import InputError, unknown
from latentrun.functional.noise import Noise
from latentrun.types import Factor, Split

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
BLOCK = (
    1000  # rows whose fixed binarisation is drawn together, so a row's draw depends on its own number only
)


class Idx(Dataset):
    """The official training and test files of a set in IDX format; validation is cut out of the training
    rows.

    Files lie, plain or gzipped, in ``root/folder`` or in ``root``; ``root: null`` is the environment variable
    LATENTRUN_DATA. ``checksums`` gives for each file the md5 or sha256 of its decompressed bytes. x is grey
    in [0, 1], or with ``binarize: static`` one Bernoulli(grey) draw fixed by ``seed``, or with ``dynamic`` a
    fresh draw of the training rows at every step (validation and test as in static; cf. Burda et al. 2016,
    section 5). ``limit`` keeps only the first so many training rows. ``index``: the row of the training file;
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
        binarize: Literal["none", "static", "dynamic"],
        limit: Annotated[int, Ge(1)] | None,
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
        self.paths = self._find(data_root(root), folder, names)
        with _open(self.paths[FILES["train"][0]]) as file:
            _, height, width = _header(file, self.paths[FILES["train"][0]], 3)
        self.event_shape = (1, height, width)
        self.factors = (Factor("class", "categorical", 0.0, len(classes) - 1.0, categories=tuple(classes)),)

    def _find(self, root: Path, folder: str, names: list[str]) -> dict[str, Path]:
        """The path of every file: the first of root/folder and root that has it, plain before gzipped."""
        places = [
            place / (name + end) for name in names for place in (root / folder, root) for end in ("", ".gz")
        ]
        found = {
            name: path
            for name in names
            for path in reversed(places)
            if path.name.removesuffix(".gz") == name and path.is_file()
        }
        missing = [name for name in names if name not in found]
        if missing:
            expected = ", ".join(
                f"{name} ({_kind(self.checksums[name])} {self.checksums[name]})" for name in names
            )
            raise InputError(
                f"data.root: no {', '.join(missing)} in {str(root / folder)!r} or {str(root)!r}; "
                f"expected, plain or as .gz, with checksums of the decompressed bytes: {expected}"
            )
        return found

    def _read(self, part: str) -> Split:
        """All rows of the ``train`` or ``test`` files, uint8 pictures ``(N, 1, height, width)``; ``index``
        from 0."""
        images, labels = (self._array(name, dims) for name, dims in zip(FILES[part], (3, 1), strict=True))
        path = self.paths[FILES[part][1]]
        if len(images) != len(labels):
            raise InputError(f"data: {str(path)!r} has {len(labels)} labels for {len(images)} pictures")
        if tuple(images.shape[1:]) != self.event_shape[1:]:
            raise InputError(
                f"data: the {part} pictures are {tuple(images.shape[1:])}, not {self.event_shape[1:]}"
            )
        if len(labels) and int(labels.max()) >= len(self.factors[0].categories):
            raise InputError(
                f"data.classes: {len(self.factors[0].categories)} names given, but {str(path)!r} has "
                f"label {int(labels.max())}"
            )
        labels = labels.long()
        return Split(images[:, None], labels[:, None].float(), labels, torch.arange(len(labels)))

    def _array(self, name: str, dims: int) -> Tensor:
        path, expected = self.paths[name], self.checksums[name]
        try:
            with _open(path) as file:
                content = file.read()
        except (OSError, EOFError) as error:
            raise InputError(f"data: {str(path)!r} cannot be read: {error}") from error
        found = hashlib.new(_kind(expected), content).hexdigest()
        if found != expected.lower():
            raise InputError(
                f"data: {str(path)!r} has {_kind(expected)} {found}, expected {expected} (of the "
                "decompressed bytes)"
            )
        with _open(path) as file:
            shape = _header(file, path, dims)
        start = 4 + 4 * dims
        if len(content) != start + math.prod(shape):
            raise InputError(
                f"data: {str(path)!r} announces {math.prod(shape)} values but holds {len(content) - start}"
            )
        return torch.from_numpy(np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy())

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
        return (
            (noise.uniform("binarize", tuple(x.shape)) < x).to(x.dtype) if self.binarize == "dynamic" else x
        )


def _kind(checksum: str) -> str:
    """md5 or sha256, told by the length."""
    kinds = {32: "md5", 64: "sha256"}
    if len(checksum) not in kinds:
        raise InputError(
            f"data.checksums: {checksum!r} is neither an md5 (32 digits) nor a sha256 (64 digits)"
        )
    return kinds[len(checksum)]


def _open(path: Path) -> BinaryIO:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def _header(file: BinaryIO, path: Path, dims: int) -> tuple[int, ...]:
    """The shape an IDX file of unsigned bytes announces: bytes 0, 0, 8, dims, then big-endian int32 sizes."""
    try:
        head = file.read(4 + 4 * dims)
    except (OSError, EOFError) as error:
        raise InputError(f"data: {str(path)!r} cannot be read: {error}") from error
    if len(head) < 4 + 4 * dims or head[:4] != bytes([0, 0, 8, dims]):
        raise InputError(f"data: {str(path)!r} is not an IDX file of unsigned bytes with {dims} dimension(s)")
    return tuple(int(size) for size in np.frombuffer(head, ">i4", offset=4))
