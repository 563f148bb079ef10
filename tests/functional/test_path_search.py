"""Paths found in clouds whose best paths are known."""

from __future__ import annotations

import typing

import numpy as np
import pytest
import torch

from latentrun.diagnostics.decoder.factor_paths import Kind
from latentrun.functional.clouds.factor_field import factor_field
from latentrun.functional.clouds.hulls import convex_hull
from latentrun.functional.noise import Noise
from latentrun.functional.paths.cloud import Cloud, mark, within
from latentrun.functional.paths.curves import along, distinct, longest_part, moved, resampled
from latentrun.functional.paths.lines import follow
from latentrun.functional.paths.search import FINDERS, Effort, near_hull

EFFORT = Effort(ends=300, pairs=1000, probes=9, wanted=4, apart=0.2, depth=0.15, links=12, knots=9)
RNG = np.random.default_rng(0)


def cloud(u: np.ndarray, y: np.ndarray, ranges, cyclic=None, reach: float = 0.5) -> Cloud:
    cyclic = torch.zeros(y.shape[1], dtype=torch.bool) if cyclic is None else torch.tensor(cyclic)
    ranges = torch.tensor(ranges, dtype=torch.float64)
    period = np.where(cyclic, np.ptp(ranges.numpy(), axis=1), 0.0)
    return Cloud(factor_field(u, y, period, 16), ranges, cyclic, convex_hull(u), reach, 0.05)


def ball(n: int = 6000) -> np.ndarray:
    u = RNG.standard_normal((n, 3))
    return u / np.linalg.norm(u, axis=1, keepdims=True) * RNG.uniform(size=(n, 1)) ** (1 / 3)


BALL, BOX = ball(), RNG.uniform(-1, 1, (6000, 3))


# ---------------------------------------------------------------- score
def marks(values: torch.Tensor, ranges=((0.0, 1.0), (0.0, 1.0)), cyclic=(False, False), inside: float = 1.0):
    ranges, cyclic = torch.tensor(ranges, dtype=torch.float64), torch.tensor(cyclic)
    t = torch.linspace(0, 1, values.shape[1], dtype=torch.float64).expand(values.shape[:2])
    course = follow(values, t, torch.zeros(len(values), dtype=torch.bool), ranges, cyclic, 0.05)
    return mark(values, ranges, cyclic, course, torch.full((len(values),), inside, dtype=torch.float64))


def test_score_in_closed_form():
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    found = marks(torch.stack([0.1 + 0.8 * t, 0.5 + 0.2 * t], 1)[None])
    assert found.coverage[0].tolist() == pytest.approx([0.8, 0.2]) and found.leakage[
        0
    ].tolist() == pytest.approx([0.25, 4])
    assert found.score[0].tolist() == pytest.approx([0.8 / 1.25, 0.2 / 5])
    outside = marks(torch.stack([0.1 + 0.8 * t, 0.5 + 0.2 * t], 1)[None], inside=0.5)
    assert outside.score[0].tolist() == pytest.approx([0.4 / 1.25, 0.1 / 5])


def test_what_lies_beyond_the_range_neither_covers_nor_excuses():
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    within_range = marks(torch.stack([0.5 + 0.5 * t, 0.5 * t], 1)[None])
    far_out = marks(torch.stack([0.5 + 5.5 * t, 0.5 * t], 1)[None])
    assert far_out.coverage[0, 0] == pytest.approx(0.5) and far_out.leakage[0, 0] == pytest.approx(1.0)
    assert far_out.score[0, 0] == pytest.approx(within_range.score[0, 0].item())


def test_back_and_forth_is_no_path_and_small_drifts_are_none():
    t = torch.linspace(-1, 1, 11, dtype=torch.float64)
    found = marks(torch.stack([t.square(), 0.5 + 0.01 * t], 1)[None])
    assert found.score[0].tolist() == pytest.approx([0, 0], abs=1e-9) and found.coverage[
        0, 0
    ] == pytest.approx(1)


def test_an_angle_that_goes_round_covers_its_range_once():
    t = torch.linspace(0, 1.5, 61, dtype=torch.float64)[None, :, None] % 1
    found = marks(t, ranges=((0.0, 1.0),), cyclic=(True,))
    assert (
        found.coverage.item() == 1
        and found.monotonicity.item() == pytest.approx(1)
        and found.score.item() == pytest.approx(1)
    )


def test_within():
    assert within(torch.tensor([0.0, 2, 2.5, 3, 4, 9]), 2.0).tolist() == [1, 1, 0.75, 0.5, 0, 0]


# ---------------------------------------------------------------- curves
def test_curves_go_through_their_knots():
    knots = RNG.standard_normal((5, 7, 3))
    assert np.allclose(along(knots, 13)[:, ::2], knots)
    line = along(knots[:, :2], 5)
    assert np.allclose(line[:, 2], knots[:, :2].mean(1)) and np.allclose(line[:, [0, -1]], knots[:, :2])


def test_resampling_goes_by_length():
    corner = np.array([[[0.0, 0], [3, 0], [3, 1], [3, 1]], [[0, 0], [0, 1], [0, 2], [0, 4]]])
    found = resampled(corner, np.array([0, 0.25, 0.75, 1]))
    assert np.allclose(found[0], [[0, 0], [1, 0], [3, 0], [3, 1]]) and np.allclose(
        found[1, :, 1], [0, 1, 3, 4]
    )
    still = resampled(np.ones((1, 4, 2)), np.array([0, 0.5, 1]))
    assert np.allclose(still, 1)


def test_moved_segments_are_segments_and_lengths_are_kept():
    knots = np.zeros((1, 2, 3))
    found = moved(knots, 4000, 0.3, 0.0, Noise(0))
    assert found.shape == (4000, 2, 3) and found.std() == pytest.approx(0.3, rel=0.03)
    cut = moved(np.array([[[0.0, 0], [1, 0]]]), 1000, 1e-9, 0.2, Noise(0))
    assert 0.59 < np.ptp(cut[..., 0], axis=1).min() < 0.63 and np.abs(cut[..., 1]).max() < 1e-6
    bent = moved(RNG.standard_normal((2, 9, 3)), 3, 0.0, 0.0, Noise(0))
    assert bent.shape == (6, 9, 3)


def test_a_curve_is_cut_to_its_longest_part_inside():
    inside = np.array([[1, 1, 0, 1, 1, 1, 0, 1, 1], [0, 1, 0, 1, 0, 0, 1, 0, 0], [1] * 9], dtype=bool)
    knots = np.stack([np.array([[0.0, 0], [8, 0]]) + [0, i] for i in range(3)])
    assert np.allclose(longest_part(knots, inside), [[[3, 0], [5, 0]], [[0, 2], [8, 2]]])
    assert longest_part(knots[1:2], inside[1:2]).shape == (0, 2, 2)


def test_distinct_leaves_out_near_copies_and_the_worthless():
    knots = np.array([[[0.0], [1]], [[0.01], [1]], [[0], [2]], [[5], [6]]])
    assert distinct(knots, np.array([1.0, 2, 3, 0]), 5, 0.1).tolist() == [2, 1]


# ---------------------------------------------------------------- straight paths
def test_the_way_through_a_ball_is_its_diameter():
    found = FINDERS["straight"].find(cloud(BALL, BALL, [[-1.0, 1]] * 3), 0, EFFORT, Noise(0))
    knots = found.knots[0]
    way = (knots[1] - knots[0]) / np.linalg.norm(knots[1] - knots[0])
    assert way[0] > 0.995 and np.linalg.norm(knots[1] - knots[0]) > 1.85
    assert found.compared > EFFORT.pairs / 2
    assert (
        FINDERS["straight"].find(cloud(BALL, BALL, [[-1.0, 1]] * 3), 0, EFFORT, Noise(0)).knots[0].tolist()
        == knots.tolist()
    )


def test_a_path_does_not_cross_a_hole():
    u = BOX[np.abs(BOX[:, 0]) > 0.4]
    near = FINDERS["straight"].find(cloud(u, u, [[-1.0, 1]] * 3, reach=0.25), 0, EFFORT, Noise(0)).knots
    far = FINDERS["straight"].find(cloud(u, u, [[-1.0, 1]] * 3, reach=9.0), 0, EFFORT, Noise(0)).knots
    assert (np.sign(near[:, 0, 0]) == np.sign(near[:, 1, 0])).all()
    assert np.ptp(far[0, :, 0]) > 1.8 and np.sign(far[0, 0, 0]) != np.sign(far[0, 1, 0])


def test_a_factor_that_does_not_move_has_no_path():
    y = np.concatenate([BOX[:, :1], np.zeros((len(BOX), 1))], 1)
    for finder in FINDERS.values():
        found = finder.find(cloud(BOX, y, [[-1.0, 1]] * 2), 1, EFFORT, Noise(0))
        assert len(found.knots) == 0 and found.why


# ---------------------------------------------------------------- along the hull
def test_points_are_drawn_onto_a_cube():
    box = cloud(
        np.concatenate([BOX, np.array(np.meshgrid(*[[-1.0, 1]] * 3)).reshape(3, -1).T]),
        np.zeros((6008, 1)),
        [[0.0, 1]],
    )
    knots = np.array(
        [[[2.0, 0, 0], [1.1, 1.0, 0.5]], [[1, 0.9, -0.9], [1, -0.9, 0.9]], [[0, 0, 0], [1, 0, 0]]]
    )
    found = near_hull(box, knots, EFFORT)
    assert len(found) == 2  # the last runs through the middle
    assert np.allclose(np.abs(found).max(2), 1, atol=0.02) and np.allclose(found[1], knots[1], atol=0.02)
    assert np.allclose(found[0, 0], [1, 0, 0], atol=0.02) and np.allclose(
        found[0, 1], np.array([1.1, 1, 0.5]) / 1.1, atol=0.02
    )


def test_along_the_faces_of_a_box_nothing_else_moves():
    box = cloud(BOX, BOX, [[-1.0, 1]] * 3)
    found = FINDERS["hull"].find(box, 1, EFFORT, Noise(0)).knots
    best = box.mark(found[:1], 33)
    assert best.score[0, 1] > 0.9 and best.leakage[0, 1] < 0.05 and best.coverage[0, 1] > 0.9
    depth = box.depth(along(found, 33))
    assert depth.min() > -EFFORT.depth / 10 and depth.max() < 2 * EFFORT.depth + 1e-9


def test_along_a_sphere_the_best_path_is_a_piece_of_a_meridian():
    # From latitude -a to a: V = sin a, the one other factor that moves goes out and back, 1 - cos a, mean
    # over two half of it: score = sin a / (1 + tan(a / 2) / 2), at most 0.698, near a = 73 degrees. Beneath
    # the surface a little more.
    sphere = cloud(BALL, BALL, [[-1.0, 1]] * 3)
    found = FINDERS["hull"].find(sphere, 2, EFFORT, Noise(0)).knots
    score = sphere.mark(found[:1], 33).score[0, 2].item()
    a = np.linspace(0.01, np.pi / 2, 1000)
    assert (np.sin(a) / (1 + np.tan(a / 2) / 2)).max() == pytest.approx(0.698, abs=1e-3)
    assert 0.66 < score < 0.85
    straight = FINDERS["straight"].find(sphere, 2, EFFORT, Noise(0)).knots
    assert sphere.mark(straight[:1], 33).score[0, 2] > score + 0.05


def test_an_angle_is_followed_round_a_circle():
    angle = RNG.uniform(0, 1, 2000)
    u = np.stack([np.cos(2 * np.pi * angle), np.sin(2 * np.pi * angle)], 1)
    ring = cloud(u, angle[:, None], [[0.0, 1]], cyclic=[True], reach=0.1)
    best = {kind: ring.mark(FINDERS[kind].find(ring, 0, EFFORT, Noise(0)).knots[:1], 65) for kind in FINDERS}
    assert best["hull"].score.item() > 0.85 and best["straight"].score.item() < 0.3


def test_what_has_no_hull_is_said():
    line = cloud(BOX[:500, :1], BOX[:500, :1], [[-1.0, 1]])
    found = FINDERS["hull"].find(line, 0, EFFORT, Noise(0))
    assert len(found.knots) == 0 and "one direction" in found.why


def test_every_kind_is_named_in_the_configuration():
    # The shortest curves of a decoder's metric are found with the decoder.
    assert set(typing.get_args(Kind)) == {*FINDERS, "shortest"}
