"""Signs of a bad embedding, on maps of which each has one."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from latentrun.functional.embedding_quality import (
    embedding_quality,
    folded,
    image_volume,
    push_forward,
    steps_along,
)
from latentrun.functional.noise import Noise
from latentrun.manifolds import Klein, Moebius, Sphere, space

TAU = 2 * math.pi


def angle(z: Tensor) -> Tensor:
    return (torch.atan2(z[..., 1], z[..., 0]) / TAU % 1).unsqueeze(-1)


def circle(place=lambda u: u, radius=lambda u: torch.ones_like(u)):
    """psi by the place in [0, 1] along the circle, and the radius, of u."""
    return lambda u: radius(u) * torch.cat([torch.cos(TAU * place(u)), torch.sin(TAU * place(u))], -1)


def quality(psi, n=500):
    return embedding_quality(psi, Sphere(1), Noise(0), n, angle)


def test_a_right_embedding_of_a_circle_has_no_fault():
    found = quality(circle())
    assert found.max_distance < 1e-6 and abs(found.mmd2) < 0.01 and found.gap < 0.01
    assert found.least_stretch == pytest.approx(1, abs=1e-5) and found.course.turns == pytest.approx(1)
    assert found.course.backward == 0 and found.course.kuiper < 2e-3
    assert found.course.seam < 1e-5 and found.twins < 0.01  # but for the seam


def test_each_fault_shows_in_its_own_sign():
    off = quality(circle(radius=lambda u: 1 + 0.3 * u))
    assert off.max_distance == pytest.approx(0.3, abs=1e-3) and off.mean_distance == pytest.approx(0.15)
    torn = quality(circle(lambda u: 0.9 * u))
    assert torn.course.turns == pytest.approx(0.9) and torn.course.seam == pytest.approx(0.1 * TAU)
    assert torn.gap == pytest.approx(2 * math.sin(0.05 * math.pi), abs=0.02)  # the chord to its middle
    assert torn.course.kuiper == pytest.approx(0.1, abs=3e-3)
    folded = quality(circle(lambda u: 0.8 - (1.6 * u - 0.8).abs()))  # there and back
    assert folded.course.turns == pytest.approx(0, abs=1e-3) and folded.course.backward == pytest.approx(
        0.5, abs=0.01
    )
    assert folded.twins > 0.5
    uneven = quality(circle(lambda u: u**2))
    assert uneven.mmd2 > 0.03 and uneven.course.kuiper == pytest.approx(0.25, abs=0.01)  # max of sqrt(t) - t
    assert uneven.least_stretch < 0.01 and uneven.course.turns == pytest.approx(1)
    twice = quality(circle(lambda u: -2 * u))
    assert twice.course.turns == pytest.approx(-2) and twice.course.backward == 0 and twice.twins == 1


def test_a_half_sphere_leaves_a_gap_and_one_covered_twice_has_twins():
    sphere = Sphere(2)

    def lid(u, share=1.0, times=1):
        height, turn = 1 - 2 * share * u[:, :1], TAU * times * u[:, 1:]
        ring = (1 - height**2).clamp_min(1e-12).sqrt()
        return torch.cat([ring * turn.cos(), ring * turn.sin(), height], 1)

    whole = embedding_quality(lid, sphere, Noise(0), 800)
    half = embedding_quality(lambda u: lid(u, share=0.5), sphere, Noise(0), 800)
    twice = embedding_quality(lambda u: lid(u, times=2), sphere, Noise(0), 800)
    assert whole.gap < 0.35 and half.gap > 1.2 and half.mmd2 > 0.05 > abs(whole.mmd2)
    assert whole.twins < 0.15 and twice.twins > 0.4 and whole.course is None
    assert 0.7 < whole.cover.gap_ratio < 1.5 and half.cover.gap_ratio > 5 and quality(circle()).cover is None
    assert "turns" not in whole.flat() and quality(circle()).flat()["turns"] == pytest.approx(1)


def test_volume_counts_what_is_covered_as_often_as_it_is_and_folded_what_is_turned_over():
    """On a plane, where both have closed forms; off it only the nearest points count."""
    square, u = space("i2"), Noise(0).uniform("u", (4000, 2))

    def bent(u):  # up to 0.7, a quarter of the way back, and nothing else
        first = torch.where(u[:, :1] < 0.75, u[:, :1] / 0.75 * 0.7, 0.7 - (u[:, :1] - 0.75))
        return torch.cat([first, u[:, 1:]], 1)

    assert image_volume(bent, square, u).item() == pytest.approx(0.95, abs=0.01)
    assert folded(bent, square, u).item() == pytest.approx(0.25, abs=0.02)
    assert image_volume(lambda u: 2 * u, square, u).item() == pytest.approx(1, abs=0.1)  # a quarter, times 4
    assert image_volume(lambda u: 2 * Sphere(2).project(u @ torch.eye(2, 3) + 1), Sphere(2), u) < 0.5


@pytest.mark.parametrize("strip", [Klein(), Moebius()])
def test_an_orientation_is_carried_round_a_surface_that_has_none(strip):
    """Twice round nothing is turned over; from three quarters on back, the last quarter is."""
    u = Noise(0).uniform("u", (200, 2))

    def along(place):
        return lambda u: strip.embed(torch.stack([u[:, 0], place(u[:, 1])], 1))

    assert folded(along(lambda t: 2 * t), strip, u) == 0
    back = folded(along(lambda t: 2 * (0.75 - (t - 0.75).abs())), strip, u)
    assert back.item() == pytest.approx((u[:, 1] > 0.75).double().mean().item())


def test_the_push_forward_is_the_law_of_psi_folded_or_not():
    """Against a histogram of very many u; a fold lets densities add, a gap has none."""
    u = torch.linspace(0, 1, 200_001, dtype=torch.float64)
    for place in (
        lambda u: 0.8 * u + 0.5,
        lambda u: 0.3 - (0.9 * u - 0.5).abs(),
        lambda u: u + 0.1 * (TAU * u).sin(),
    ):
        t = place(u) % 1
        law = push_forward(place(torch.linspace(0, 1, 4097, dtype=torch.float64)) % 1, closed=True)
        middle = (torch.arange(50) + 0.5) / 50
        expected = torch.histc(t, 50, 0, 1) * 50 / len(t)
        inside = (expected > 0) & (torch.roll(expected, 1) > 0) & (torch.roll(expected, -1) > 0)
        assert torch.allclose(law.log_density(middle).exp()[inside], expected[inside], rtol=0.02)
        beyond = (expected == 0) & (torch.roll(expected, 1) == 0) & (torch.roll(expected, -1) == 0)
        assert (law.log_density(middle)[beyond] == -math.inf).all()
        mass = (law.density[:-1] * law.start.diff()).sum()
        assert mass.item() == pytest.approx(1, abs=1e-9)


def test_steps_are_the_short_way_round_on_a_closed_curve_alone():
    path = torch.tensor([0.95, 0.05, 0.9])
    assert torch.allclose(steps_along(path, True), torch.tensor([0.1, -0.15]))
    assert torch.allclose(steps_along(path, False), torch.tensor([-0.9, 0.85]))
