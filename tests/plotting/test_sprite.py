"""Many pictures as tiles of one PNG: what is cut out again is what was put in."""

from __future__ import annotations

import base64
import io

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from latentrun.plotting.sprite import LARGEST, sprite, thumbnails


def sheet_of(meta: dict) -> np.ndarray:
    """The pixels ``(H, W, 3)`` of a sprite."""
    kind, _, data = meta["sprite"].partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def tiles(meta: dict, n: int) -> np.ndarray:
    """The first n tiles ``(n, h, w, 3)`` of a sprite, cut out as a page does."""
    sheet, at = sheet_of(meta), np.arange(n)
    x, y = at % meta["columns"] * meta["width"], at // meta["columns"] * meta["height"]
    return np.stack([sheet[j : j + meta["height"], i : i + meta["width"]] for i, j in zip(x, y, strict=True)])


def grey(shown: np.ndarray) -> np.ndarray:
    """Back from the sequential colours to [0, 1]: the nearest colour."""
    colours = 255 * mpl.colormaps["viridis"](np.linspace(0, 1, 256))[:, :3]
    return (np.square(shown[..., None, :] - colours).sum(-1)).argmin(-1) / 255


def test_every_picture_is_where_its_number_says():
    x = np.random.default_rng(0).random((50, 1, 7, 5))
    meta = sprite(thumbnails(x))
    assert (meta["width"], meta["height"]) == (5, 7)
    assert np.abs(grey(tiles(meta, 50)) - x[:, 0]).max() < 1 / 63  # one of 64 shades


def test_colour_pictures_keep_their_colours():
    colours = np.random.default_rng(0).integers(0, 256, (40, 3))
    x = np.broadcast_to(colours[:, :, None, None], (40, 3, 4, 6)).astype(np.uint8)
    meta = sprite(x)
    assert (meta["width"], meta["height"]) == (6, 4)
    assert np.abs(tiles(meta, 40).astype(int) - colours[:, None, None]).max() <= 8


def test_smaller_pictures_are_means_over_areas():
    x = np.random.default_rng(0).random((3, 1, 72, 36))
    small = thumbnails(x)
    assert small.shape == (3, 1, 36, 18) and small.dtype == np.uint8
    assert np.abs(small / 255 - x.reshape(3, 1, 36, 2, 18, 2).mean((3, 5))).max() < 0.5 / 255 + 1e-6
    ramp = np.broadcast_to(np.linspace(0, 1, 50)[:, None], (1, 1, 50, 50))  # 50 / 36 is no whole number
    assert np.allclose(thumbnails(ramp)[0, 0].mean() / 255, 0.5, atol=0.002)
    assert np.abs(thumbnails(ramp)[0, 0, :, 0] / 255 - (np.arange(36) + 0.5) / 36).max() < 0.02
    assert (thumbnails(np.full((1, 3, 1000, 3), 7, np.uint8)) == 7).all() and thumbnails(
        np.zeros((1, 3, 1000, 3))
    ).shape == (1, 3, 36, 1)


def test_values_are_cut_to_their_range_and_rows_are_picked():
    x = np.array([[-3.0, -1.0], [0.0, np.nan], [1.0, 9.0]])[:, None, None, :]
    assert thumbnails(x, (-1, 1), np.array([2, 1, 0]))[:, 0, 0].tolist() == [[255, 255], [128, 0], [0, 0]]
    same = np.arange(24, dtype=np.uint8).reshape(2, 3, 2, 2)
    assert np.array_equal(thumbnails(same, (-9, 9)), same)
    for shape in ((5, 2, 4, 4), (5, 4), (5, 1, 1, 4, 4)):
        with pytest.raises(ValueError, match="are no pictures"):
            thumbnails(np.zeros(shape))


def test_a_sheet_stays_small():
    noise = np.random.default_rng(0).integers(0, 256, (3000, 3, 36, 36), dtype=np.uint8)
    meta = sprite(noise)  # no picture compresses worse
    assert len(base64.b64decode(meta["sprite"].partition(",")[2])) <= LARGEST and meta["width"] < 36
    y, x = np.mgrid[-3:3:36j, -3:3:36j]
    v = np.random.default_rng(0).uniform(0.1, 4.9, (3000, 2, 1, 1))
    meta = sprite(thumbnails(np.exp(-0.5 * (x**2 / v[:, 0] + y**2 / v[:, 1]))))
    assert len(meta["sprite"]) < 1.4e6 and meta["width"] == 36
