"""Traversals of curved spaces: closed geodesics once round, orthonormal directions, points one by one."""

from math import pi

import pytest
import torch

from latentrun.config.build import build
from latentrun.diagnostics.base import Diagnostic
from latentrun.diagnostics.decoder.traversal_geodesics import (
    Centre,
    axis_geodesics,
    centre_of,
    circles,
    closing_length,
    plane_geodesics,
    point_paths,
)
from latentrun.functional.noise import Noise
from latentrun.manifolds import Euclidean, Product, Sphere
from latentrun.manifolds import space as space_of
from tests.conformance import parts
from tests.planted import Deterministic, Rows, Turns, planted_run


def centre(space, codes):
    codes = space.project(codes.double())
    return Centre(space, codes[0], space.frame(codes[0]), codes)


def test_closed_geodesics_are_told_from_open_ones():
    sphere = Sphere(2)
    here = sphere.project(torch.randn(3, dtype=torch.float64))
    assert closing_length(sphere, here, sphere.frame(here)).tolist() == pytest.approx([2 * pi] * 2, abs=1e-4)
    flat = Euclidean(2)
    assert closing_length(flat, torch.zeros(2).double(), torch.eye(2).double()).isinf().all()
    torus = Product([Sphere(1), Sphere(1)])
    here = torch.tensor([1.0, 0.0, 1.0, 0.0]).double()
    v = torch.tensor([[0.0, 1.0, 0.0, 0.0], [0.0, 0.5**0.5, 0.0, 0.5**0.5]]).double()
    assert closing_length(torus, here, v).tolist() == pytest.approx([2 * pi, 2 * pi * 2**0.5], abs=1e-4)


def test_a_closed_geodesic_goes_once_round_in_even_steps():
    made = axis_geodesics(centre(Sphere(2), torch.randn(20, 3)), extent=3.0, steps=13)
    assert made.names == ("v0", "v1") and made.closed == (True, True)
    torch.testing.assert_close(made.z[:, 0], made.z[:, -1], atol=1e-4, rtol=0)
    torch.testing.assert_close(made.z.norm(dim=-1), torch.ones(2, 13))
    step = Sphere(2).distance(made.z[:, :-1], made.z[:, 1:])
    torch.testing.assert_close(step, torch.full((2, 12), 2 * pi / 12), atol=1e-4, rtol=0)
    middle = made.z[:, 6]
    torch.testing.assert_close(middle[0], middle[1], atol=1e-6, rtol=0)


def test_open_directions_go_as_far_as_codes_spread():
    space = Product([Sphere(1), Euclidean(1)])
    codes = torch.cat([torch.randn(2000, 2), 4.0 * torch.randn(2000, 1)], 1)
    codes[0, 2] = 0.0
    codes = space.project(codes.double())
    z = codes[0]
    frame = torch.tensor([[-z[1], z[0], 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)  # the factors' own
    here = Centre(space, z, frame, codes)
    made = axis_geodesics(here, extent=3.0, steps=5)
    assert made.closed == (True, False)
    assert made.parameter[0, -1].item() == pytest.approx(pi, abs=1e-3)
    assert made.parameter[1, -1].item() == pytest.approx(12.0, rel=0.1)


def test_a_geodesic_ends_at_the_edge_of_the_space():
    interval = space_of("i1")
    codes = torch.cat([torch.tensor([[0.25]]), torch.rand(500, 1)])
    made = axis_geodesics(centre(interval, codes), extent=3.0, steps=9)
    assert made.closed == (False,)
    ends = made.z[0, [0, -1], 0].sort().values.tolist()
    assert ends == pytest.approx([0.0, 1.0], abs=5e-3)
    assert (made.z[0, :, 0].diff().abs() - 1 / 8).abs().max() < 2e-3


def test_directions_between_two_and_circles_around_the_centre():
    here = centre(Sphere(2), torch.randn(20, 3))
    pairs = torch.tensor([[0, 1]])
    made = plane_geodesics(here, pairs, [0, 90], 3.0, 9)
    torch.testing.assert_close(made.z, axis_geodesics(here, 3.0, 9).z, atol=1e-5, rtol=0)
    arcs = circles(here, pairs, [(0, 360), (0, 90)], 0.5, 9)
    assert arcs.closed == (True, False)
    away = Sphere(2).distance(here.z.float().expand_as(arcs.z), arcs.z)
    torch.testing.assert_close(away, torch.full((2, 9), pi / 2), atol=1e-4, rtol=0)


def test_a_finite_factor_is_walked_point_by_point():
    notes = []
    space = Product([Sphere(1), space_of("c4")])
    z = torch.tensor([[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]]).double()
    made = point_paths(Centre(space, z[0], z.new_zeros(1, 6), z), 6, notes)
    assert made.names == ("c4 (1)",) and made.z[0, :, 2:].argmax(1).tolist() == [0, 1, 2, 3, 3, 3]
    assert (made.z[0, :, :2] == torch.tensor([1.0, 0.0])).all() and not notes
    point_paths(Centre(space, z[0], z.new_zeros(1, 6), z), 3, notes)
    assert notes == ["points: only 3 of the 4 points of c4 are visited"]


# ---------------------------------------------------------------- the whole diagnostic
def traverse(run):
    diagnostic = build(parts.spec("diagnostic", "traversal")["traversal"], Diagnostic, "traversal")
    return diagnostic, diagnostic(run, Noise(0).at("traversal"))


def circle_run():
    data = Turns()
    model = Deterministic(
        lambda x: Sphere(1).project(x[:, :2]),
        lambda z: torch.cat([z, torch.zeros(len(z), 1)], 1),
        2,
        (3,),
    )
    model.spaces["z"] = Sphere(1)
    return planted_run(model, data)


def test_the_angle_follows_the_closed_geodesic_of_a_circle():
    diagnostic, report = traverse(circle_run())
    paths = report.tables["paths"]
    assert set(paths["kind"]) == {"geodesics", "joins"}
    assert paths.loc[paths["kind"] == "geodesics", "closed"].tolist() == [True]
    assert report.metrics["monotonicity.angle"].value == pytest.approx(1)
    assert report.metrics["residual"].value == pytest.approx(0, abs=1e-5)
    assert report.metrics["unevenness"].value == pytest.approx(0, abs=1e-2)
    assert report.tables["factors"].query("kind == 'geodesics'")["covered"].tolist() == pytest.approx(
        [1.0], abs=1e-4
    )
    assert {"geodesics", "joins", "factors"} <= diagnostic.plot(report).keys()


def test_the_centre_is_a_code_near_the_middle():
    x = torch.nn.functional.normalize(
        torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, -1.0, 0.0]]), dim=1
    )
    model = Deterministic(lambda x: x, lambda z: z, 3, (3,))
    model.spaces["z"] = Sphere(2)
    found = centre_of(planted_run(model, Rows(x, value_range=(-1, 1))), Noise(0))
    torch.testing.assert_close(found.z, x[0].double())


def test_of_codes_that_are_as_near_to_the_middle_the_first_is_the_centre():
    x = torch.tensor([[1.0, 1.0, 0.0], [1.0, -1.0 - 4e-7, 0.0], [-0.3, 0.0, 1.0]])
    x = torch.nn.functional.normalize(x, dim=1)
    model = Deterministic(lambda x: x, lambda z: z, 3, (3,))
    model.spaces["z"] = Sphere(2)
    found = centre_of(planted_run(model, Rows(x, value_range=(-1, 1))), Noise(0))
    torch.testing.assert_close(found.z, x[0].double())


def test_a_finite_space_has_points_and_nothing_else():
    space = space_of("c3")
    model = Deterministic(lambda x: space.project(x), lambda z: z, 3, (3,))
    model.spaces["z"] = space
    _, report = traverse(planted_run(model, Rows(torch.rand(20, 3))))
    assert set(report.tables["paths"]["kind"]) == {"points", "joins"}
