"""Angles and closed curves of which the answers are known."""

import math

import pytest
import torch

from latentrun.functional.paths.tears import continuity
from latentrun.functional.statistics.circular import (
    angle_in,
    circular_correlation,
    factor_distance,
    main_plane,
    unit,
    winding,
)
from latentrun.types import Factor


def rho(a, b):
    return circular_correlation(a, b).item()


TURN = 2 * math.pi * torch.arange(400) / 400


DRAWN = 2 * math.pi * torch.rand(60, generator=torch.Generator().manual_seed(1))  # R(2 a) is not 0


@pytest.mark.parametrize(
    "angles", [TURN, DRAWN, 0.5 * torch.randn(400)], ids=["even", "uniform", "concentrated"]
)
def test_turned_and_mirrored_angles_are_wholly_correlated(angles):
    for other in (angles, angles + 2.0, 1.0 - angles, angles + 20 * math.pi):
        assert rho(angles, other) == pytest.approx(1, abs=1e-6)


def test_independent_and_doubled_angles_are_not():
    a, b = (2 * math.pi * torch.rand(4000) for _ in range(2))
    assert rho(a, b) < 0.06
    assert rho(TURN, 2 * TURN) == pytest.approx(0, abs=1e-6)
    x, y = 0.3 * torch.randn(2, 4000)
    assert rho(x, y) < 0.06


def test_the_formula_of_concentrated_angles_is_nearly_pearsons_for_small_ones():
    x, e = 0.05 * torch.randn(2, 5000)
    y = x + e
    pearson = abs(torch.corrcoef(torch.stack([x, y]))[0, 1].item())
    assert rho(x, y) == pytest.approx(pearson, abs=1e-3)


def test_an_angle_that_stands_still_tells_nothing():
    assert rho(torch.full((400,), 1.0), TURN) == 0 and rho(TURN, torch.zeros(400)) == 0


def test_many_at_once_are_one_by_one():
    a = torch.stack([TURN, 2 * TURN, 0.3 * torch.randn(400), torch.zeros(400)])
    together = circular_correlation(a, TURN.flip(0))
    assert together.tolist() == pytest.approx([rho(row, TURN.flip(0)) for row in a], abs=1e-12)


@pytest.mark.parametrize("times", [-2, -1, 0, 1, 3])
def test_a_curve_goes_round_as_often_as_its_angle(times):
    assert winding(times * TURN + 0.3 * (5 * TURN).sin()).item() == times


def test_a_circle_in_space_is_seen_in_its_own_plane():
    frame = torch.linalg.qr(torch.randn(5, 2))[0]
    points = unit(TURN) @ frame.T + 3.0
    centre, plane = main_plane(points)
    torch.testing.assert_close(centre, torch.full((5,), 3.0, dtype=torch.float64), atol=1e-5, rtol=0)
    assert abs(winding(angle_in(points, centre, plane)).item()) == 1
    assert rho(angle_in(points, centre, plane), TURN) == pytest.approx(1, abs=1e-5)


def test_a_line_has_no_plane():
    centre, plane = main_plane(torch.linspace(0, 1, 50).unsqueeze(1) * torch.tensor([1.0, 2.0, 3.0]))
    assert not plane.any()
    assert winding(angle_in(torch.randn(9, 3), centre, plane)).item() == 0
    assert not main_plane(torch.randn(50, 1))[1].any() and not main_plane(torch.zeros(5, 3))[1].any()


def test_distances_of_factors():
    factors = [Factor("angle", "cyclic", -180.0, 180.0), Factor("size", "real", 0.0, 4.0)]
    a, b = torch.tensor([[-170.0, 0.0], [0.0, 1.0]]), torch.tensor([[170.0, 0.0], [0.0, 3.0]])
    assert factor_distance(a, b, factors).tolist() == pytest.approx([20 / 360, 0.5])


# ---------------------------------------------------------------- tears
def flat(a, b):
    return (a - b).norm(dim=-1)


def test_an_even_circle_shrinks_with_refinement():
    found = continuity(unit(TURN).unsqueeze(0), 8, flat)
    assert found.coarse.item() == pytest.approx(1, abs=1e-3) and found.fine.item() == pytest.approx(
        1, abs=1e-3
    )
    assert found.persistence.item() == pytest.approx(1 / 8, rel=0.01)
    assert found.size.item() == pytest.approx(math.pi / 400, rel=0.01)


def test_an_uneven_circle_is_not_torn():
    uneven = TURN + 0.9 * TURN.sin()  # 19 times as fast in one place as in the other
    found = continuity(unit(uneven).unsqueeze(0), 8, flat)
    assert found.coarse.item() > 1.5
    assert found.persistence.item() == pytest.approx(1 / 8, rel=0.05)


def test_a_jump_stays_and_is_found_where_it_is():
    torn = torch.remainder(TURN - 1.0, 2 * math.pi).view(1, -1, 1)
    found = continuity(torn, 8, flat)
    assert found.persistence.item() == pytest.approx(1, abs=0.02)
    assert found.size.item() == pytest.approx(1, abs=0.01)
    assert 2 * math.pi * found.at.item() == pytest.approx(1.0, abs=0.02)
    assert found.fine.item() == pytest.approx(399, rel=1e-3)


def test_what_does_not_move_is_not_judged():
    found = continuity(torch.zeros(1, 64, 2), 8, flat)
    assert all(value.isnan().all() for value in vars(found).values())
