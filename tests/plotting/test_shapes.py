"""Points on spaces as one sees them."""

from __future__ import annotations

import numpy as np
import pytest

from latentrun.functional.noise import Noise
from latentrun.manifolds import space
from latentrun.plotting.cloud import cloud
from latentrun.plotting.shapes import BEHIND, camera, on_shape
from latentrun.types import Factor

HEIGHT = Factor("height", "real", -1.0, 1.0)
KIND = Factor("kind", "categorical", 0.0, 1.0, categories=("u", "v"))


def seen(text: str, n: int = 50) -> tuple[np.ndarray, np.ndarray]:
    manifold = space(text)
    return manifold.drawn(manifold.sample(n, Noise(0))).numpy(), manifold.outline().numpy()


def test_an_eye_sees_a_right_handed_world():
    for azimuth, elevation in ((0.0, 0.0), (30.0, 25.0), (120.0, 65.0)):
        view = camera(azimuth, elevation)
        assert np.allclose(view @ view.T, np.eye(3)) and np.linalg.det(view) == pytest.approx(1)
        assert view[0, 2] == 0 and view[1, 2] >= 0  # what is above is up
    right, up, eye = camera(0.0, 0.0)
    assert np.allclose([right, up, eye], [[0, 1, 0], [0, 0, 1], [1, 0, 0]])


def test_the_far_half_of_a_sphere_is_faint_and_lies_below():
    points, outline = seen("s2")
    figure = on_shape(points, outline, [(HEIGHT, points[:, 2])])
    panels = [ax for ax in figure.axes if len(ax.collections) == 3]
    assert len(panels) == 2
    for ax, (azimuth, elevation) in zip(panels, ((30.0, 25.0), (120.0, 65.0)), strict=True):
        lines, far, near = ax.collections
        depth = points @ camera(azimuth, elevation)[2]
        assert (len(far.get_offsets()), len(near.get_offsets())) == ((depth < 0).sum(), (depth >= 0).sum())
        assert far.get_alpha() == BEHIND and lines.get_zorder() < near.get_zorder()
        assert ax.get_aspect() == 1


def test_a_circle_is_drawn_in_its_plane_for_every_factor():
    points, outline = seen("s1")
    figure = on_shape(points, outline, [(HEIGHT, points[:, 1]), (KIND, (points[:, 0] > 0).astype(float))])
    panels = [ax for ax in figure.axes if len(ax.collections) >= 2]
    assert len(panels) == 2 and np.allclose(panels[0].collections[1].get_offsets(), points)
    assert on_shape(points, outline, []).axes  # nothing known of them


def test_a_page_shows_the_space_without_names_of_coordinates():
    points, outline = seen("t2")
    figure = cloud(points, [(HEIGHT, points[:, 2])], outline=outline)
    codes, wires = figure.data
    assert len(wires.x) == len(outline) * (outline.shape[1] + 1) and np.isnan(wires.x[outline.shape[1]])
    assert wires.hoverinfo == "skip" and "z0" not in codes.text[0] and "height" in codes.text[0]
    assert figure.layout.scene.aspectmode == "data" and figure.layout.scene.xaxis.visible is False
    assert "z0" in cloud(points, [], outline=outline).data[0].text[0]  # else a point would say nothing
