"""Images on disk, with any contents: a folder of files, or one array in a .npy or .npz file."""

from __future__ import annotations

import math
import warnings
import zipfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, Literal

import numpy as np
import pandas as pd
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch.nn.functional import interpolate

from latentrun.errors import InputError, few
from latentrun.system.door import Guarded
from latentrun.system.plain import MAPPED, PICTURE, open_plain

# Only these decoders may open a file, whatever it is called: others of the library start programs (EPS:
# Ghostscript).
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
MODES = {1: "L", 3: "RGB"}
WHOLE = {"bool": 1, "uint8": 255, "uint16": 65535}  # what becomes 1, by type of whole numbers
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow has it
SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that turn an image by 90 degrees
CHUNK = 256  # rows of an array that are converted together
IMAGES = 10_000_000  # files of one folder that are listed at most
BESIDE = 2**30  # bytes of what is stored beside the images, at most


class ImageSource(ABC):
    """Where images come from. Making an object reads names and headers; pixels are read when they are asked
    for.

    ``path``; ``word``, ``file`` or ``row``; ``names``, one an image: relative file names, sorted, or row
    numbers; ``stored``: in what form, in words; ``floating``: whether values are floating-point numbers, kept
    as they are, or whole ones, which become [0, 1]; ``held``: bytes of memory that reading takes beside its
    result; ``columns``: what else is stored for every image, by name and as text; ``label``: the column
    that classifies them, or None. InputError for whatever cannot be read.
    """

    path: Path
    word: str
    names: list[str]
    stored: str
    floating: bool
    held: int = 0
    columns: dict[str, pd.Series]
    label: str | None = None

    @abstractmethod
    def size(self) -> tuple[int, int]:
        """Height and width of all images; InputError where they differ."""

    @abstractmethod
    def is_grey(self) -> bool:
        """Whether every image is stored as grey."""

    @abstractmethod
    def folders(self) -> list[str]:
        """The first folder of every relative name; InputError where there are none."""

    @abstractmethod
    def read(self, rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """The images of ``rows (n,)`` as float32 ``(n, *shape)``, shape = (channels, height, width),
        stretched where they differ."""


def image_source(path: Path) -> ImageSource:
    """The images in a folder or file."""
    if path.is_dir():
        return Folder(path)
    if path.suffix in (".npy", ".npz"):
        return Array(path)
    raise InputError(f"data.path: {str(path)!r} is neither a folder of pictures nor a .npy or .npz file")


# ---------------------------------------------------------------- files
class Folder(ImageSource):
    """Image files at any depth; hidden ones and links to folders are left out, a link in the place of an
    image is refused."""

    word = "file"

    def __init__(self, path: Path):
        self.path, self.columns = path, {}
        names, others = self._list(Guarded(path))
        self.names = sorted(names)
        if not self.names:
            endings = few(sorted(set(others)))
            seen = f"{len(others)} files with other endings: {endings}" if others else "no files"
            raise InputError(
                f"data.path: no pictures in {str(path)!r}, which holds {seen}; known endings: "
                f"{', '.join(ENDINGS)}"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            heads = [self._head(name) for name in self.names]
        self.sizes, self.modes = [size for size, _ in heads], [mode for _, mode in heads]
        self.stored = ", ".join(f"{mode} {count:,}" for mode, count in Counter(self.modes).most_common())
        self.floating = "F" in self.modes

    def _list(self, folder: Guarded) -> tuple[list[str], list[str]]:
        """Relative names of the images in a folder, and the endings of all other files."""
        names, others = [], []
        try:
            items = [item for item in folder.items(IMAGES) if not item.name.startswith(".")]
        except InputError as error:
            raise InputError(f"data.path: {error}") from None
        for file, kind in ((folder / item.name, item.kind) for item in items):
            if kind == "a folder":
                inner, rest = self._list(file)
                names, others = names + inner, others + rest
            elif file.suffix.lower() in ENDINGS:
                names.append("/".join(file.names))
            elif kind == "a file":
                others.append(file.suffix or file.name)
        return names, others

    def _file(self, name: str) -> Guarded:
        return Guarded(self.path, PurePosixPath(name).parts)

    def _head(self, name: str) -> tuple[tuple[int, int], str]:
        """Height and width as it is to be seen, and the mode it is stored in."""
        with _opened(self._file(name)) as image:
            # The method of the base class: that of PNG would decode the image.
            orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
            width, height = image.size
            if orientation in SIDEWAYS and image.format != "TIFF":  # which gives its size already turned
                width, height = height, width
            return (height, width), image.mode

    def size(self):
        first = self.sizes[0]
        for name, (height, width) in zip(self.names, self.sizes, strict=True):
            if (height, width) != first:
                raise InputError(
                    f"data.size: {name!r} is {height} x {width} (height x width) and {self.names[0]!r} "
                    f"{first[0]} x {first[1]}; data.size=[{first[0]},{first[1]}] brings all to one size"
                )
        return first

    def is_grey(self):
        grey = ("1", "L", "LA", "I", "F")
        both = zip(self.names, self.modes, strict=True)
        return all(
            self._grey_palette(name) if mode == "P" else mode.partition(";")[0] in grey for name, mode in both
        )

    def _grey_palette(self, name: str) -> bool:
        with _opened(self._file(name)) as image:
            colours = np.reshape(image.getpalette("RGB") or [], (-1, 3))
        return bool((colours == colours[:, :1]).all())

    def folders(self):
        loose = [name for name in self.names if "/" not in name]
        if loose:
            raise InputError(
                f"data.labels: folders: {few(loose)} in {str(self.path)!r} itself, not in a folder of it"
            )
        return [name.partition("/")[0] for name in self.names]

    def read(self, rows, shape):
        x = np.empty((len(rows), *shape), np.float32)

        def fill(i: int) -> None:
            x[i] = read_image(self._file(self.names[rows[i]]), shape)

        with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # decoding leaves the interpreter free
            list(pool.map(fill, range(len(rows))))  # the first error ends it and comes out here
        return x


@contextmanager
def _opened(file: Guarded) -> Iterator[Image.Image]:
    """The image in a file, not yet decoded; InputError with the file and the reason where that or decoding
    it fails."""
    try:
        # Not by its name: Pillow 13 maps plain TIFF files into memory and turns them wrongly.
        with file.opened(PICTURE) as content, Image.open(content, formats=FORMATS) as image:
            yield image
    except InputError as error:
        raise InputError(f"data.path: {error}") from None
    except Exception as error:  # a broken file makes decoders stumble over anything
        match error:
            case Image.DecompressionBombWarning() | Image.DecompressionBombError():
                reason = f"more than {Image.MAX_IMAGE_PIXELS:,} pixels, a decompression bomb?"
            case UnidentifiedImageError():
                status = file.status()
                reason = "it is not a picture" if status is None or status.st_size else "it is empty"
            case OSError() if error.strerror:
                reason = error.strerror
            case _:
                reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"data.path: {str(file.path)!r} cannot be read: {reason}") from None


def read_image(file: Guarded, shape: tuple[int, ...]) -> np.ndarray:
    """One file as float32 of the given shape (channels, height, width); whole numbers become [0, 1]."""
    channels, height, width = shape
    with _opened(file) as image:
        # Large JPEG files are decoded at a half, quarter or eighth.
        image.draft(None, (2 * max(height, width),) * 2)
        image = ImageOps.exif_transpose(image)
        one = 255
        if image.mode == "F" or image.mode.startswith("I"):
            one = 1 if image.mode == "F" else 65535
            image = image.convert("F")
        elif image.mode in ("RGBA", "RGBa", "LA", "PA") or "transparency" in image.info:
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image.convert("RGBA")).convert(MODES[channels])
        else:
            image = image.convert(MODES[channels])
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        values = np.asarray(image, np.float32) / one
    return np.broadcast_to(values if values.ndim == 2 else values.transpose(2, 0, 1), shape)


# ---------------------------------------------------------------- arrays
class Array(ImageSource):
    """A .npy file, memory-mapped, or the array ``x`` or ``images`` of a .npz file with ``labels`` or ``y``
    beside it."""

    word = "row"

    def __init__(self, path: Path):
        self.path, self.columns = path, {}
        with self._readable():
            if path.suffix == ".npz":
                shape, dtype = self._archive()
            else:
                stored = self._stored()
                shape, dtype = stored.shape, stored.dtype
        self.stored, self.floating = f"{dtype.name} {shape}", dtype.kind == "f"
        if not self.floating and dtype.name not in WHOLE:
            raise InputError(
                f"data.path: {str(path)!r} holds {dtype.name}; allowed: {', '.join(WHOLE)}, floating point"
            )
        first, last = (len(shape) == 4 and shape[axis] in MODES for axis in (1, 3))
        if 0 in shape or len(shape) not in (3, 4) or (len(shape) == 4 and first == last):
            allowed = "(N, H, W), (N, H, W, C) or (N, C, H, W) with C = 1 or 3 in one of these places"
            raise InputError(f"data.path: {str(path)!r} has shape {shape}; needed: {allowed}")
        self.last = last  # whether channels come last
        channels = shape[3] if last else shape[1] if first else 1
        height, width = shape[1:3] if last else shape[-2:]
        self.shape = (shape[0], channels, height, width)
        self.one = 1 if self.floating else WHOLE[dtype.name]
        self.held = math.prod(shape) * dtype.itemsize if path.suffix == ".npz" else 0
        self.names = [str(row) for row in range(shape[0])]
        for name, values in self.columns.items():
            if len(values) != shape[0]:
                raise InputError(
                    f"data.path: {name} in {str(path)!r} has {len(values)} rows for {shape[0]} pictures"
                )

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """InputError with the file and the reason where it cannot be read."""
        try:
            yield
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise InputError(
                f"data.path: {str(self.path)!r} cannot be read: {getattr(error, 'strerror', None) or error}"
            ) from None

    def _content(self) -> BinaryIO:
        try:
            return open_plain(self.path, MAPPED)
        except InputError as error:
            raise InputError(f"data.path: {error}") from None

    def _archive(self) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of the images in a .npz file; notes where they lie, and what the arrays beside
        them say."""
        with self._content() as content, zipfile.ZipFile(content) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            self.member = next((name for name in ("x", "images") if name in names), None)
            if self.member is None:
                raise InputError(
                    f"data.path: {str(self.path)!r} has no array x or images; it has "
                    f"{', '.join(names) or 'none'}"
                )
            for name in ("y", "labels"):
                if name in names:
                    with archive.open(f"{name}.npy") as file:
                        self._note(name, _few(file))
            with archive.open(f"{self.member}.npy") as file:
                return _header(file)

    def _note(self, name: str, values: np.ndarray) -> None:
        """Take ``labels (N,)`` or ``y``, ``(N,)`` or ``(N, F)``, as columns; one of whole numbers or text
        labels the rows."""
        dims = (1, 2) if name == "y" else (1,)
        if values.ndim not in dims or values.dtype.kind not in "biufU":
            needed = f"numbers or text with {' or '.join(map(str, dims))} dimension{'s' * (len(dims) > 1)}"
            raise InputError(
                f"data.path: {name} in {str(self.path)!r} is {values.dtype} of shape {values.shape}; "
                f"needed: {needed}"
            )
        if values.ndim == 2:
            self.columns |= {f"{name}{i}": pd.Series(column.astype(str)) for i, column in enumerate(values.T)}
            return
        self.columns[name] = pd.Series(values.astype(str))
        if values.dtype.kind != "f":
            self.label = name

    def _stored(self) -> np.ndarray:
        """The array as it lies on disk."""
        with self._content() as content:
            if self.path.suffix == ".npy":
                return _mapped(content)
            with zipfile.ZipFile(content) as archive, archive.open(f"{self.member}.npy") as file:
                return np.lib.format.read_array(file, allow_pickle=False)

    def size(self):
        _, _, height, width = self.shape
        return height, width

    def is_grey(self):
        return self.shape[1] == 1

    def folders(self):
        raise InputError(f"data.labels: folders: {str(self.path)!r} is one file")

    def read(self, rows, shape):
        x = torch.empty(len(rows), *shape)
        with self._readable():
            stored = self._stored()
            for start in range(0, len(rows), CHUNK):
                chunk = np.asarray(stored[rows[start : start + CHUNK]], np.float32)
                part = torch.from_numpy(chunk) / self.one
                part = part.movedim(-1, 1) if self.last else part.reshape(-1, *self.shape[1:])
                if part.shape[1] > shape[0]:
                    part = torch.einsum("nchw,c->nhw", part, torch.tensor(LUMA))[:, None]
                if part.shape[2:] != shape[1:]:
                    part = interpolate(part, shape[1:], mode="bilinear", antialias=True)
                x[start : start + CHUNK] = part
        return x.numpy()


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of an array in .npy format."""
    shape, _, dtype = _head(file)
    return shape, dtype


def _head(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether columns come first, and type; the file then stands at the first value."""
    layout = np.lib.format
    first_version = layout.read_magic(file) == (1, 0)
    read = layout.read_array_header_1_0 if first_version else layout.read_array_header_2_0
    return read(file)


def _mapped(file: BinaryIO) -> np.ndarray:
    """The array of a .npy file, of which only what is used comes into the memory."""
    shape, columns_first, dtype = _head(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    order: Literal["C", "F"] = "F" if columns_first else "C"
    return np.memmap(file, dtype, "r", file.tell(), shape, order)


def _few(file: IO[bytes]) -> np.ndarray:
    """An array that describes the images, which takes little memory; ValueError for a larger one."""
    shape, dtype = _header(file)
    if math.prod(shape) * dtype.itemsize > BESIDE:
        raise ValueError(f"an array beside the images declares the shape {shape}")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)
