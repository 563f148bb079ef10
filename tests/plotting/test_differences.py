"""The picture of a difference shows what is wrong."""

from __future__ import annotations

import numpy as np

from latentrun.plotting.differences import farthest


def test_another_colour_of_the_same_brightness_is_a_difference():
    red, blue = (np.zeros((1, 3, 1, 2), np.float32) for _ in range(2))
    red[:, 0], blue[:, 2] = 1, 0.9
    blue[..., 1] = red[..., 1]  # the second pixel is right
    assert farthest(red, blue).tolist() == [[[[-1, 0]]]]


def test_grey_differences_are_signed():
    x = np.array([0.5, 0.5], np.float32).reshape(2, 1, 1, 1)
    assert farthest(x, x + np.array([0.25, -0.5], np.float32).reshape(2, 1, 1, 1)).ravel().tolist() == [
        0.25,
        -0.5,
    ]
