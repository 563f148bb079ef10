"""Rules of every figure: colours of examples and classes, letters that are read on paper."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex

from latentrun.data.heatmaps import Heatmaps
from latentrun.plotting.images import strips
from latentrun.plotting.scatter import projections
from latentrun.plotting.style import BROAD, LEAST, PALETTE, figure, legible, palette_of, paper, printed
from latentrun.plotting.sweep import Key, Panel, against, over_two
from latentrun.types import Factor, Meaning
from tests.conformance import parts

ONE = np.linspace(0, 1, 2 * 16, dtype=np.float32).reshape(2, 1, 4, 4)


# ---------------------------------------------------------------- colours
def shown(x: np.ndarray):
    """The colour map of a strip of pictures."""
    return strips([("a row", x)]).axes[0].images[0].cmap.name


def test_pictures_of_one_channel_are_grey_unless_the_data_say_otherwise():
    with paper():
        assert shown(ONE) == "gray"
    with paper(Heatmaps.cmap):
        assert shown(ONE) == "viridis"
    assert parts.small("digits").cmap == parts.small("digits").describe().cmap == "gray"
    assert parts.small("heatmaps").describe().cmap == "viridis"


@pytest.mark.parametrize("count", [3, 8, 9, 10])
def test_ten_classes_have_ten_colours(count):
    assert len(set(palette_of(count)[:count])) == count
    assert palette_of(8) == PALETTE


def test_digits_are_told_apart_by_colour_alone():
    rng = np.random.default_rng(0)
    digit = Factor("digit", "categorical", 0, 9, categories=tuple("0123456789"))
    fig = projections(rng.normal(size=(300, 2)), [(digit, np.arange(300) % 10)])
    [dots] = [ax.collections for ax in fig.axes if ax.collections]
    assert len(dots) == 1 and len({to_hex(colour) for colour in dots[0].get_facecolors()}) == 10


# ---------------------------------------------------------------- letters
def test_letters_are_measured_at_the_width_of_a_column_or_of_a_page():
    for width, expected in ((3.3, 8.0), (4.4, 6.0), (6.9, 8.0), (9.2, 6.0)):
        fig, axes = figure(width=width)
        fig.axes[0].set(xticks=[], yticks=[])
        axes[0, 0].text(0.5, 0.5, "small", fontsize=8)
        size, text = printed(fig)
        assert size == pytest.approx(expected, abs=0.01) and text == "small"


@pytest.mark.parametrize("width", [2.0, BROAD, 5.0, 12.0])
def test_letters_grow_with_the_figure_where_they_would_be_too_small(width):
    fig, axes = figure(width=width)
    fig.axes[0].set(xticks=[], yticks=[])
    axes[0, 0].text(0.5, 0.5, "small", fontsize=legible(width, 6.5))
    assert printed(fig)[0] >= LEAST - 1e-6


@pytest.mark.parametrize("columns", [4, 12])
def test_texts_under_pictures_are_read_and_stay_in_the_figure(columns):
    under = [["0.000533\n-0.12"] * columns] * 2
    fig = strips([("a long label", np.zeros((columns, 1, 9, 9)))] * 2, under=under)
    size, _ = printed(fig)
    assert size >= LEAST - 0.05
    assert_inside(fig, [text for text in fig.axes[0].texts])


# ---------------------------------------------------------------- nothing is clipped
def assert_inside(fig, texts) -> None:
    fig.draw_without_rendering()
    width, height = fig.canvas.get_width_height()
    for text in texts:
        box = text.get_window_extent()
        assert box.x0 >= -1 and box.x1 <= width + 1 and box.y0 >= -1 and box.y1 <= height + 1, text.get_text()


@pytest.mark.parametrize("draw", ["against", "over_two"])
def test_long_names_of_metrics_stand_whole_above_their_panels(draw):
    name = "reconstruction, share of the split's total variance that is not explained by codes"
    key, other = Key("model.latent_dim", (1, 2, 3), True), Key("model.beta", (0.5, 1.0), True)
    panels = [Panel(name, np.random.default_rng(0).normal(size=(3, 2, 4)), Meaning("share", "lower"))] * 3
    with paper():
        fig = against(panels, key, other) if draw == "against" else over_two(panels, key, other)
        titles = [ax.title for ax in fig.axes if ax.get_title()]
        assert [" ".join(title.get_text().split()).startswith(name) for title in titles] == [True] * 3
        assert_inside(fig, titles)
        for left, right in zip(titles, titles[1:], strict=False):
            assert left.get_window_extent().x1 <= right.get_window_extent().x0
