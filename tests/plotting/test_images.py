"""Sheets and strips of pictures hold the right pixels in the right places."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.image import imread
from PIL import Image

from latentrun.plotting.images import canvas, halved, show, smaller, strips
from latentrun.plotting.shapes import on_shape
from latentrun.plotting.style import figure, palette_of
from latentrun.types import Factor


def numbered(n: int, c: int = 1, h: int = 3, w: int = 2) -> np.ndarray:
    return np.broadcast_to(np.arange(n, dtype=np.float32)[:, None, None, None], (n, c, h, w)) / 10


def test_canvas_puts_pictures_in_reading_order():
    sheet = canvas(numbered(5), 3)
    assert sheet.shape == (2 * 4 - 1, 3 * 3 - 1)
    assert np.allclose(sheet[:3, 3:5], 0.1) and np.allclose(sheet[4:, :2], 0.3)
    assert (sheet[3] == 1).all() and (sheet[4:, 6:] == 1).all()  # gap, and the missing sixth tile
    assert np.isnan(canvas(numbered(5), 3, gap=np.nan)[3]).all()


def test_canvas_scales_the_value_range_and_keeps_colour():
    x = np.array([-1.0, 0.0, 1.0, 5.0], np.float32).reshape(4, 1, 1, 1)
    assert canvas(x, 4, pad=0, value_range=(-1, 1))[0].tolist() == [0, 0.5, 1, 1]
    colour = np.zeros((1, 3, 2, 2), np.float32)
    colour[0, 2] = 1
    assert canvas(colour, 1)[0, 0].tolist() == [0, 0, 1]


@pytest.mark.parametrize("channels", [1, 3])
def test_gaps_are_white_on_paper(channels):
    fig, axes = figure(1, 1, width=2, height=2)
    show(axes[0, 0], np.zeros((3, channels, 8, 8), np.float32), 2)  # the fourth tile is missing
    buffer = io.BytesIO()
    fig.savefig(buffer, dpi=50)
    buffer.seek(0)
    pixels = imread(buffer)[..., :3]
    h, w = pixels.shape[:2]
    assert np.allclose(pixels[int(0.75 * h), int(0.75 * w)], 1)
    assert pixels[int(0.25 * h), int(0.25 * w)].mean() < 0.5


def test_strips_have_a_row_a_label_and_short_rows_end_early():
    fig = strips([("first", numbered(4)), ("second row", numbered(2))], columns=["a", "b", "c", "d"], lead=1)
    ax = fig.axes[0]
    sheet = ax.images[0].get_array().filled(np.nan)
    assert sheet.shape == (2 * 4 - 1, 4 * 3 - 1 + 1)  # one column more between the first picture and the rest
    assert [text.get_text() for text in ax.get_yticklabels()] == ["first", "second row"]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["a", "b", "c", "d"]
    rows, columns = ax.get_yticks().round().astype(int), ax.get_xticks().astype(int)
    assert np.allclose(sheet[rows[0], columns], [0, 0.1, 0.2, 0.3])
    assert np.allclose(sheet[rows[1], columns[:2]], [0, 0.1]) and np.isnan(sheet[rows[1], columns[2:]]).all()


def test_texts_stand_under_their_pictures():
    fig = strips([("a", numbered(3)), ("b", numbered(2))], under=[["1", "2", "3"], ["4", "5"]])
    ax = fig.axes[0]
    sheet = ax.images[0].get_array().filled(np.nan)
    places = {text.get_text(): np.array(text.get_position()) for text in ax.texts}
    assert set(places) == set("12345")
    for text, value in zip("12345", (0, 0.1, 0.2, 0, 0.1), strict=True):
        x, y = places[text]
        column = sheet[:, round(x)]
        assert np.isnan(column[int(y)]), "on white"
        assert column[np.flatnonzero(~np.isnan(column[: int(y)]))[-1]] == pytest.approx(value), (
            "its own picture is above"
        )
    assert np.allclose(sheet[ax.get_yticks().round().astype(int), 0], [0, 0])


def test_strips_in_colour_are_white_where_rows_end():
    fig = strips([("a", numbered(3, 3)), ("b", numbered(1, 3))])
    sheet = np.asarray(fig.axes[0].images[0].get_array())
    assert sheet.shape == (7, 8, 3)
    assert (sheet[4:, 3:] == 1).all() and np.allclose(sheet[:3, 6:], 0.2)


def test_labels_of_strips_stay_inside_the_figure():
    fig = strips(
        [("a rather long label of a row: −3 … 3", numbered(6, 1, 8, 8)), ("b", numbered(6, 1, 8, 8))]
    )
    fig.draw_without_rendering()
    box = fig.axes[0].get_tightbbox()
    assert box.x0 >= 0 and box.y0 >= 0
    assert box.x1 <= fig.bbox.width and box.y1 <= fig.bbox.height


# ---------------------------------------------------------------- bytes
def png_of(values: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(values).save(content, "png")
    return content.getvalue()


def shown(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), int)


def test_a_chart_takes_fewer_bytes_and_looks_the_same():
    fig, axes = figure(1, 1, width=6, height=5)
    x = np.random.default_rng(0).normal(size=(2, 1500))
    axes[0, 0].scatter(*x, c=x[0], cmap="viridis", alpha=0.7)
    content = io.BytesIO()
    fig.savefig(content, format="png", dpi=160)
    small = smaller(content.getvalue())
    assert len(small) < 0.7 * len(content.getvalue())
    assert np.abs(shown(small) - shown(content.getvalue())).mean() < 1.5


@pytest.mark.parametrize("value_range, halved_is", [((0, 1), 1), ((-1, 1), 1), ((7, 8), 0), ((0, 65535), 0)])
def test_pictures_are_halved_where_nobody_sees_it(value_range, halved_is):
    low, high = value_range
    x = np.linspace(low, high, 4001, dtype=np.float32)
    kept = halved(x, value_range)
    assert kept.dtype == (np.float16 if halved_is else np.float32)
    assert np.abs(kept.astype(float) - x).max() * 255 / (high - low) < 0.5


def test_a_small_mark_and_a_photograph_keep_their_colours():
    grain = np.random.default_rng(0).integers(0, 256, (160, 160, 3)).astype(np.uint8)
    assert np.array_equal(shown(smaller(png_of(grain))), grain)
    sheet = np.random.default_rng(0).integers(100, 108, (256, 256, 3)).astype(np.uint8)
    sheet[100:104, 100:104] = (0, 0, 255)  # one blue mark among 512 greys
    assert shown(smaller(png_of(sheet)))[101, 101].tolist() == [0, 0, 255]
    chart = png_of(np.full((40, 40, 3), 200, np.uint8))
    assert smaller(chart) is chart


def test_classes_keep_the_colours_of_the_legend():
    """Dots that shine through each other have many colours; those of the marks are told apart by theirs."""
    rng, digit = (
        np.random.default_rng(0),
        Factor("digit", "categorical", 0, 9, categories=tuple("0123456789")),
    )
    points = rng.normal(size=(900, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    circles = np.stack([[np.cos(t), np.sin(t), 0 * t] for t in [np.linspace(0, 6.3, 60)]]).swapaxes(1, 2)
    fig = on_shape(points, circles, [(digit, np.arange(900) % 10)])
    content = io.BytesIO()
    fig.savefig(content, format="png", dpi=160)
    before, after = shown(content.getvalue()), shown(smaller(content.getvalue()))
    for colour in palette_of(10):
        marks = (before == np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])).all(2)
        assert marks.sum() > 20 and np.abs(before - after)[marks].max() <= 16
