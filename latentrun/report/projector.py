"""Codes with what is known about them, as the page Projector of TensorBoard reads them."""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from latentrun.functional.spacing import evenly
from latentrun.functional.statistics.dependence import targets
from latentrun.plotting.images import canvas
from latentrun.plotting.sprite import LEVELS
from latentrun.run import Run
from latentrun.system.door import Guarded
from latentrun.system.terminal import printable
from latentrun.types import Factor

if TYPE_CHECKING:
    from PIL import Image

POINTS = 10_000  # of so many the page's t-SNE uses every one
PICTURED = 5_000  # so many a browser moves smoothly as pictures
# pixels a side at most: 71 x 71 of them stay within the 8192 pixels a side that the page allows a sheet
THUMBNAIL = 64


def write_projector(folder: Guarded, run: Run) -> None:
    """Mean codes of the test split with row numbers, factors, labels and, where there are any, pictures.

    ``codes.tsv``, ``metadata.tsv`` and ``sprites.png``, tied together by ``projector_config.pbtxt``. At most
    10,000 points, 5,000 with pictures, evenly spaced; the name under which the page lists them says so.
    """
    from tensorboard.plugins.projector.projector_config_pb2 import (
        EmbeddingInfo,
        ProjectorConfig,
        SpriteMetadata,
    )

    latents, pictured = run.latents("test"), run.data.is_image
    total = len(latents.codes)
    kept = evenly(total, PICTURED if pictured else POINTS)
    codes = pd.DataFrame(latents.codes.cpu()[kept].numpy())
    for axis in range(codes.shape[1], 3):
        codes[axis] = 0.0  # the page draws nothing of codes that have no three axes
    metadata = pd.DataFrame({"row": latents.index.cpu()[kept].numpy()})
    labels = None if latents.labels is None else latents.labels.cpu()
    for factor, values in targets(run.data.factors, run.data.label, latents.y.cpu(), labels):
        metadata[_plain(factor.name)] = _shown(factor, values[kept])
    several = metadata.shape[1] > 1  # the page takes a first line for names only where it holds a tab
    with (folder / "codes.tsv").writing() as file:
        codes.to_csv(file, sep="\t", header=False, index=False, float_format="%.6g")
    with (folder / "metadata.tsv").writing() as file:
        metadata.to_csv(
            file, sep="\t", header=several, index=False, quoting=csv.QUOTE_NONE, float_format="%.6g"
        )
    name = f"{len(kept)} of {total} test codes, evenly spaced" if len(kept) < total else f"{total} test codes"
    info = EmbeddingInfo(
        tensor_name=name, tensor_path="codes.tsv", metadata_path="metadata.tsv", tensor_shape=codes.shape
    )
    if pictured:
        sheet, size = sprites(run.data.split("test").x[kept], run.data.value_range)
        with (folder / "sprites.png").writing("wb") as file:
            _image(sheet).save(file, format="png", optimize=True)
        info.sprite.CopyFrom(SpriteMetadata(image_path="sprites.png", single_image_dim=size))
    with (folder / "projector_config.pbtxt").writing() as file:
        file.write(str(ProjectorConfig(embeddings=[info])))


def sprites(x: Tensor, value_range: tuple[float, float]) -> tuple[np.ndarray, tuple[int, int]]:
    """Pictures ``(N, c, h, w)`` as one sheet of bytes, row after row, shrunk to 64 pixels a side at most;
    width and height of each. The page counts rows by columns: the sheet has as many of one as of the
    other."""
    height, width = (min(side, THUMBNAIL) for side in x.shape[2:])
    small = adaptive_avg_pool2d(x, (height, width)).numpy()
    columns = int(np.ceil(np.sqrt(len(x))))
    sheet = canvas(small, columns, pad=0, value_range=value_range)
    missing = [(0, columns * height - len(sheet)), *[(0, 0)] * (sheet.ndim - 1)]
    return (np.pad(sheet, missing) * 255).round().astype(np.uint8), (width, height)


def _image(sheet: np.ndarray) -> Image.Image:
    """A sheet as a picture; one of greys in as many shades as the pages show."""
    from PIL import Image

    if sheet.ndim == 3:
        return Image.fromarray(sheet)
    image = Image.fromarray(np.rint(sheet * ((LEVELS - 1) / 255)).astype(np.uint8))
    image.putpalette(np.linspace(0, 255, LEVELS).round().astype(np.uint8).repeat(3).tobytes())
    return image


def _shown(factor: Factor, values: np.ndarray) -> np.ndarray | list[str]:
    """The values of a factor, those of a categorical one by their names."""
    if factor.kind != "categorical":
        return values
    names = [_plain(name) for name in factor.classes]
    return [names[i] for i in np.rint(values).astype(int)]


def _plain(text: str) -> str:
    """Tabs and line ends, which would end a cell, as blanks."""
    return printable(re.sub(r"\s", " ", text))
