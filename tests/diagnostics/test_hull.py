"""Hull paths of codes that are their own factors."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from latentrun.config.build import build
from latentrun.diagnostics.base import Diagnostic, whitened
from latentrun.errors import NothingToMeasure
from latentrun.functional.clouds.whitening import whitening
from latentrun.functional.noise import Noise
from tests.planted import Deterministic, Rows, Span, planted_run

SHIPPED = yaml.safe_load((Path(__file__).parents[2] / "conf" / "diagnostic" / "hull.yaml").read_text())[
    "hull"
]
GRID = torch.cartesian_prod(*[torch.linspace(-1, 1, 11)] * 3)


def make(**changes) -> Diagnostic:
    return build(SHIPPED | {"resamples": 200, "tolerance": 0.01} | changes, Diagnostic, "hull")


def value(report, name: str) -> float:
    return report.metrics[name].value


@pytest.fixture(scope="module")
def cube():
    return make(bins=11)(Span(GRID).run(), Noise(0))


def test_the_hull_of_a_cube(cube):
    sd = GRID.double()[:, 0].std().item()
    assert value(cube, "volume") == pytest.approx((2 / sd) ** 3, rel=1e-5)


def test_the_codes_of_a_split_are_whitened_once():
    run = Span(GRID).run()
    white = whitened(run, "train", 0.1)
    expected = whitening(run.latents("train").codes.double().numpy(), 0.1)
    assert np.array_equal(white.axes, expected.axes) and np.array_equal(white.sd, expected.sd)
    assert whitened(run, "train", 0.1) is white
    assert whitened(run, "train", 0.2) is not white and whitened(run, "test", 0.1) is not white


def test_the_edges_of_the_strip_change_one_factor_alone(cube):
    # Variances are equal on a diagonal plane; its edges are two sides of the cube, along which only the
    # correlation moves.
    steps = cube.tables["steps"].set_index("path")
    assert "its bins are over z0" in " ".join(cube.notes)
    ends = []
    for name in ("strip, outer edge", "strip, inner edge"):
        z = steps.loc[name, ["z0", "z1", "z2"]].to_numpy()
        ends.append(z[0, 1])
        assert np.allclose(z[:, 1:], z[0, 1], atol=1e-5) and np.allclose(
            np.sort(z[:, 0]), np.linspace(-1, 1, 11), atol=1e-5
        )
        factors = cube.tables["factors"].set_index(["path", "factor"])
        assert factors.loc[(name, "correlation"), "monotonicity"] == pytest.approx(1)
        assert factors.loc[(name, "correlation"), "leakage"] < 1e-4
        assert factors.loc[(name, "variance_x"), "monotonicity"] == 0
    assert np.allclose(sorted(ends), [-1, 1], atol=1e-5)
    assert value(cube, "residual") < 1e-5 and value(cube, "gap") < 0.2
    assert (
        value(cube, "monotonicity.correlation") == pytest.approx(1)
        and value(cube, "leakage.correlation") < 1e-4
    )


def test_bounding_planes_lie_on_the_faces(cube):
    steps = cube.tables["steps"].set_index("path")
    for name, side in (("plane above", 1), ("plane below", -1)):
        z = steps.loc[name, ["z0", "z1", "z2"]].to_numpy()
        assert np.allclose(z[:, 0], side, atol=1e-5)
        # z2 orders the second factor; the third direction stays where it is.
        assert (np.diff(z[:, 2]) > 0.1).all() and np.ptp(z[:, 1]) < 0.2


def test_a_fault_outside_the_hull_is_seen_near_it():
    def off(z):
        return 0.1 + (z.abs().amax(1) - 1).clamp_min(0)

    good, bad = (
        make()(Span(GRID).run(lambda z: 0.1 * z.norm(dim=1)), Noise(0)),
        make()(Span(GRID).run(off), Noise(0)),
    )
    # The same share of the norm everywhere: moving changes nothing.
    for step in (0, 0.05, 0.1, 0.2):
        assert value(good, f"residual_hull.{step}") == pytest.approx(0.1 / math.hypot(1, 0.1), rel=1e-4)
    assert value(good, "ratio.0.2") == pytest.approx(1, rel=1e-4)
    assert 1 < value(bad, "ratio.0.05") < value(bad, "ratio.0.1") < value(bad, "ratio.0.2")
    assert bad.metrics["ratio.0.2"].low > 1
    assert value(bad, "residual") > 0.04


def test_steps_grow_with_the_hull_and_hull_points_are_held_against_inner_codes():
    """A step of fixed length is nothing to a wide hull; a fault at the hull alone is none of moving."""
    inside = 1.6 * torch.rand(3000, 3, generator=torch.Generator().manual_seed(0)) - 0.8
    y = torch.cat([inside, torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)])  # eight corners
    report = make()(Span(y).run(lambda z: torch.where(z.abs().amax(1) > 0.82, 0.3, 0.03)), Noise(0))
    corner = math.sqrt(3) / y.std(0).mean().item()
    assert value(report, "vertices") == 8 and value(report, "radius") == pytest.approx(corner, rel=0.02)
    table = report.tables["moved"]
    assert np.allclose(table["length"], table["step"] * value(report, "radius"))
    assert table["points"].value_counts().to_dict() == {"hull": 40, "inner": 40}  # as many, at five steps
    # The corners: a fault of 0.3 on a norm of sqrt(3).
    assert value(report, "absolute_hull.0") == pytest.approx(0.3, rel=1e-4)
    assert value(report, "residual_hull.0") == pytest.approx(0.3 / math.hypot(0.3, math.sqrt(3)), rel=1e-4)
    assert value(report, "absolute_inner.0") == pytest.approx(0.03, rel=1e-4)
    assert value(report, "inner_ratio_absolute.0") == pytest.approx(10, rel=1e-4)
    assert value(report, "ratio.0.05") < 1.2 and 3 < value(report, "inner_ratio.0") < 10
    # Moved by the radius, inner codes are in the fault too.
    assert value(report, "absolute_inner.1") > 0.2 and value(report, "inner_ratio_absolute.1") < 1.5
    assert value(report, "spacing.hull") > 2 * value(report, "spacing.inner")


def test_pictures(cube):
    pictures = make().plot(cube)
    assert set(pictures) == {"hull", "strips", "along", "moved"}
    names = [trace.name for trace in pictures["hull"].figure.data]
    assert names[:2] == ["codes", "hull"] and "plane above" in names and "strip, outer edge" in names
    mesh = pictures["hull"].figure.data[1]
    assert np.ptp(mesh.x) == pytest.approx(2, abs=1e-3) and max(mesh.i) < len(mesh.x)


def test_the_cloud_is_coloured_by_every_factor_and_shows_what_is_encoded_and_decoded(cube):
    figure = make().plot(cube)["hull"].figure
    labels = [button.label for button in figure.layout.updatemenus[0].buttons]
    assert labels == ["variance_x - variance_y", "correlation", "variance_x", "variance_y"]
    codes, colours = cube.arrays["codes"], figure.layout.updatemenus[0].buttons[0].args[0]["marker.color"][0]
    assert np.array(colours) == pytest.approx(
        codes[:, 1] - codes[:, 2], abs=1e-4
    )  # codes are the factors here
    # The pictures are those that were encoded, in the order of the codes, and of the paths what is decoded
    # from them.
    shown = Span(GRID).render(torch.tensor(codes)).numpy()
    assert np.abs(cube.arrays["code_pictures"] / 127.5 - 1 - np.clip(shown, -1, 1)).max() < 0.01
    knots = Span(GRID).render(torch.tensor(cube.arrays["knots"]).float().flatten(0, 1)).numpy()
    assert np.abs(cube.arrays["knot_pictures"] / 127.5 - 1 - np.clip(knots, -1, 1)).max() < 0.01
    traces = {trace.name: trace for trace in figure.data}
    n, steps = len(codes), cube.arrays["pictures"].shape[1]
    firsts = [
        traces[name].meta["tile"] for name in ("codes", *cube.tables["paths"]["path"], "hull points of bins")
    ]
    assert firsts == [0, *(n + steps * i for i in range(5))]
    assert "fitted variance_x: " in traces["plane above"].customdata[0] and traces["plane above"].customdata[
        0
    ].startswith("plane above\nposition: 0\n")


def test_given_latents():
    report = make(along=1, plane=[0, 2])(Span(GRID).run(), Noise(0))
    assert "its bins are over z1" in " ".join(report.notes)
    above = report.tables["steps"].set_index("path").loc["plane above"]
    assert np.allclose(above["z2"], 1, atol=1e-5) and (above["z0"].diff().iloc[1:] > 0.1).all()
    report = make(along=7, plane=[0, 9])(Span(GRID).run(), Noise(0))
    assert "there is no z7" in " ".join(report.notes) and "[0, 9] does not fit 3 latents" in " ".join(
        report.notes
    )


def test_without_the_factors_straight_paths_between_hull_points():
    z = 2 * torch.rand(3000, 2, generator=torch.Generator().manual_seed(0)) - 1
    z[:, 0] *= 3
    run = planted_run(Deterministic(lambda x: x, lambda z: z, 2, (2,)), Rows(z))
    report = make()(run, Noise(0))
    assert "no factor variance_x" in " ".join(report.notes)
    steps = report.tables["steps"].set_index("path")
    assert np.allclose(np.abs(steps.loc["axis 0", "z0"].iloc[[0, -1]]), 3, atol=0.01)
    assert np.allclose(np.abs(steps.loc["axis 1", "z1"].iloc[[0, -1]]), 1, atol=0.01)
    assert value(report, "volume") == pytest.approx(12, rel=0.02)
    assert {
        "distance",
        "distance_hull.0",
        "ratio.0.05",
    } <= report.metrics.keys() and "residual" not in report.metrics
    assert value(report, "distance_hull.0") == 0 and math.isnan(value(report, "ratio.0.05"))
    pictures = make().plot(report)
    assert set(pictures) == {"hull", "along"} and not {"targets", "code_pictures"} & set(report.arrays)
    lines = pictures["hull"].figure.axes[0].collections[1].get_segments()
    assert len(lines) == value(report, "vertices")


def test_a_strip_without_codes_is_said():
    y = GRID[(GRID[:, 1] - GRID[:, 2]).abs() > 0.5]
    report = make()(Span(y).run(), Noise(0))
    assert "fewer than 2 bins" in " ".join(report.notes)
    assert set(report.tables["paths"]["path"]) == {"plane above", "plane below"}


def test_collapsed_codes_have_no_hull():
    run = planted_run(Deterministic(lambda x: 0 * x, lambda z: z, 2, (2,)), Rows(torch.rand(40, 2)))
    with pytest.raises(NothingToMeasure, match="the codes do not move: they have no hull"):
        make()(run, Noise(0))
