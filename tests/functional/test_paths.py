"""Paths and what is read off them, in closed form."""

from __future__ import annotations

import math

import pytest
import scipy.stats
import torch

from latentrun.functional.paths.lines import (
    Course,
    arcs,
    axis_lines,
    far_apart,
    leakage,
    plane_lines,
    purest,
    ranks,
    segments,
    spearman,
    unwrap,
    variation,
)

MEAN, SCALE = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.5, 2.0, 1.0])


def test_axis_lines_move_one_latent_by_whitened_units():
    t, z = axis_lines(MEAN, SCALE, 3.0, 7)
    assert t.shape == (3, 7) and z.shape == (3, 7, 3)
    assert torch.equal(t[0], torch.arange(-3.0, 4.0))
    moved = (z - MEAN) / SCALE
    assert torch.allclose(torch.diagonal(moved, dim1=0, dim2=2), t[0][:, None].expand(7, 3))
    assert (moved.abs() > 0).sum() == 3 * 6  # nothing else moves


def test_plane_lines_have_the_direction_asked_for():
    pairs, degrees = torch.tensor([[0, 2], [1, 0]]), torch.tensor([0.0, 90.0, 60.0])
    t, z = plane_lines(MEAN, SCALE, pairs, degrees, 2.0, 5)
    assert z.shape == (2, 3, 5, 3) and t.shape == (2, 3, 5)
    white = (z - MEAN) / SCALE
    turn = torch.deg2rad(degrees)
    for k, (a, b) in enumerate(pairs.tolist()):
        assert torch.allclose(white[k, :, :, a], turn.cos()[:, None] * t[k], atol=1e-6)
        assert torch.allclose(white[k, :, :, b], turn.sin()[:, None] * t[k], atol=1e-6)
    assert torch.allclose(white[0, :, :, 1], torch.zeros(3, 5))
    assert torch.allclose(z[0, 0], axis_lines(MEAN, SCALE, 2.0, 5)[1][0], atol=1e-6)


def test_arcs_keep_their_radius_and_close():
    pairs, spans = torch.tensor([[0, 1]]), torch.tensor([[0.0, 360.0], [-90.0, 90.0]])
    t, z = arcs(MEAN, SCALE, pairs, spans, 1.5, 9)
    white = (z - MEAN) / SCALE
    assert torch.allclose(white.norm(dim=-1), torch.full((1, 2, 9), 1.5), atol=1e-6)
    assert torch.allclose(z[0, 0, 0], z[0, 0, -1], atol=1e-5)
    assert torch.allclose(white[0, 1, 0], torch.tensor([0.0, -1.5, 0.0]), atol=1e-6)
    assert torch.equal(t[0, 1], torch.linspace(-90, 90, 9))


def test_segments_join_their_ends():
    a, b = torch.zeros(2, 3), torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 4.0]])
    t, z = segments(a, b, 5)
    assert torch.allclose(z, t[..., None] * b[:, None])


def test_far_apart_takes_the_ends_of_a_cigar_and_no_outlier():
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2000, 2, generator=generator) * torch.tensor([10.0, 0.1])
    z[7] = torch.tensor([500.0, 0.0])
    draws = torch.randn(1, 2, 2, generator=generator)
    pairs = far_apart(z, draws, 2)
    assert 7 not in pairs
    assert ((z[pairs[:, 0]] - z[pairs[:, 1]]).norm(dim=1) > 30).all()  # 95 % of N(0, 10²) lie within ±19.6


def test_far_apart_gives_every_pair_once():
    z = torch.arange(50.0)[:, None]
    assert (
        len(far_apart(z, torch.ones(4, 1, 1) * torch.tensor([1.0, -1.0, 2.0, -3.0])[:, None, None], 4)) == 1
    )


def test_ranks_and_spearman_against_scipy():
    generator = torch.Generator().manual_seed(1)
    values = torch.randint(0, 6, (4, 12, 3), generator=generator).double()
    t = torch.rand(4, 12, generator=generator)
    assert torch.equal(ranks(values, 1), torch.from_numpy(scipy.stats.rankdata(values.numpy(), axis=1)))
    found = spearman(values, t, torch.ones(3))
    expected = [[scipy.stats.spearmanr(values[p, :, f], t[p]).statistic for f in range(3)] for p in range(4)]
    assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64))


def test_spearman_sees_order_not_shape_and_no_rounding():
    t = torch.linspace(-1, 1, 11)[None]
    rising, falling = t.exp(), -t.pow(3)
    jitter = 1e-9 * torch.randn(1, 11, generator=torch.Generator().manual_seed(0))
    border = 0.5e-6 + jitter  # rounded to multiples of 1e-6 these are zeros and ones
    found = spearman(torch.stack((rising, falling, jitter, border), -1).double(), t, torch.ones(4))
    assert found[0, :2].tolist() == pytest.approx([1, -1])
    assert found[0, 2:].isnan().all()


def test_of_paths_that_leak_the_same_the_first_is_the_purest():
    ones = torch.ones(4, 1, dtype=torch.float64)
    # The last two differ by a rounding error, on both sides of a multiple of 1e-6 and a half.
    leak = torch.tensor([[torch.nan], [0.5], [0.5e-6 + 1e-12], [0.5e-6 - 1e-12]], dtype=torch.float64)
    assert purest(Course(ones, ones, ones, leak), torch.arange(4), 0.0).tolist() == [2]


def test_unwrap_takes_the_jumps_out_of_angles_alone():
    angle = torch.linspace(0, 4 * math.pi, 30).double()
    wrapped = torch.remainder(angle, 2 * math.pi)
    other = 10 * torch.cos(angle)
    values = unwrap(
        torch.stack((wrapped, other), -1)[None], torch.tensor([2 * math.pi, 0.0], dtype=torch.float64)
    )
    assert torch.allclose(values[0, :, 0], angle)
    assert torch.allclose(values[0, :, 1], other)


def test_variation_and_leakage_in_closed_form():
    # Three factors of widths 1, 2, 4: the first moves by its whole range, the second goes a quarter there and
    # back (V = 1/2), the third stays. L_0 = (1/2 + 0) / 2 / 1, L_1 = (1 + 0) / 2 / (1/2).
    t = torch.linspace(0, 1, 21).double()
    values = torch.stack((t, 1 - (2 * t - 1).abs() * 0.5, torch.zeros(21)), -1)[None]
    moved = variation(values, torch.tensor([1.0, 2.0, 4.0]))
    assert moved[0].tolist() == pytest.approx([1, 0.5, 0])
    leak = leakage(moved)
    assert leak[0, :2].tolist() == pytest.approx([0.25, 1.0])
    assert leak[0, 2].isnan()
    assert leakage(torch.ones(1, 2)).tolist() == [[1, 1]]
    assert leakage(torch.ones(1, 1)).isnan().all()
