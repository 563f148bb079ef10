"""Density of codes whose holes are known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from scipy.stats import ncx2

from latentrun.config.build import build
from latentrun.diagnostics.base import Diagnostic
from latentrun.errors import InputError, NothingToMeasure
from latentrun.functional.clouds.hulls import convex_hull
from latentrun.functional.clouds.whitening import whitening
from latentrun.functional.noise import Noise
from tests.planted import Deterministic, Rows, Span, planted_run

SHIPPED = yaml.safe_load((Path(__file__).parents[2] / "conf" / "diagnostic" / "density.yaml").read_text())[
    "density"
]
HOLE = 0.7  # radius of the hole in the cube


def make(**changes) -> Diagnostic:
    return build(SHIPPED | {"resamples": 200, "n": 300} | changes, Diagnostic, "density")


def value(report, name: str) -> float:
    return report.metrics[name].value


def cube(n: int = 16000, hole: float = 0.0) -> torch.Tensor:
    """Points drawn evenly from [-1, 1]³ without a ball in the middle, and its corners."""
    x = 2 * torch.rand(n, 3, generator=torch.Generator().manual_seed(0)) - 1
    return torch.cat([x[x.norm(dim=1) >= hole], torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)])


def identity(z: torch.Tensor):
    return planted_run(
        Deterministic(lambda x: x, lambda z: z, z.shape[1], z.shape[1:]), Rows(z, value_range=(-1, 1))
    )


@pytest.fixture(scope="module")
def holed():
    return make(codes=20000)(identity(cube(hole=HOLE)), Noise(0))


def test_a_known_hole_is_found(holed):
    sd = cube(hole=HOLE).std(0).mean().item()
    side, radius = 2 / sd, HOLE / sd
    # Farther than q from every code: a ball smaller by q, and in whitened units everything grows by 1 / sd.
    # Codes do not lie on the rim of the hole but up to a spacing off it: the radius found is a little larger.
    exact = 4 / 3 * math.pi * (radius - 0.4) ** 3 / side**3
    assert value(holed, "empty.0.4") == pytest.approx(exact, rel=0.2) and value(holed, "empty.0.4") > exact
    assert value(holed, "widest") == pytest.approx(radius, rel=0.08)
    table = holed.tables["empty"].set_index(["region", "q"])
    assert table.loc[("hull", 0.4), "volume"] == pytest.approx(side**3, rel=0.01)
    # The map goes through the middle of the hole: there and only there the codes are far.
    centre, planes = holed.arrays["map_hole"][:3], holed.arrays["map"]
    assert np.linalg.norm(centre) < 0.25
    assert np.nanmax(planes) == pytest.approx(radius, rel=0.1)
    assert all(np.isnan(plane).mean() < 0.6 for plane in planes)


def test_a_full_cube_has_none():
    report = make(codes=20000)(identity(cube()), Noise(0))
    assert value(report, "empty.0.4") < 1e-3 and value(report, "empty_core.0.4") < 1e-3


def test_a_gaussian_blob_is_as_empty_as_theory_says_and_only_in_its_tail():
    z = torch.randn(8000, 3, generator=torch.Generator().manual_seed(3)) @ torch.tensor(
        [[2.0, 1, 0], [0, 1, 0.3], [0, 0, 0.2]]
    )
    report = make()(identity(z), Noise(0))
    u = whitening(z.numpy(), 0.0).to(z.double().numpy())
    # Of N normal points none lies within q of x with probability (1 - P(χ'²(3, |x|²) < q²))^N.
    x = convex_hull(u).uniform(4000, Noise(1))
    for q in (0.1, 0.2, 0.4):
        expected = ((1 - ncx2.cdf(q**2, 3, (x**2).sum(1))) ** 8000).mean()
        assert value(report, f"empty.{q}") == pytest.approx(expected, abs=0.03), q
        # As many other normal points: another hull, the same law.
        assert value(report, f"empty.{q}") == pytest.approx(value(report, f"empty_gaussian.{q}"), abs=0.08), q
    assert value(report, "empty_core.0.4") < 0.03
    # Nearest neighbours against all pairs.
    distance = torch.cdist(torch.from_numpy(u), torch.from_numpy(u)).fill_diagonal_(torch.inf).amin(1)
    assert value(report, "nearest.median") == pytest.approx(distance.quantile(0.5).item(), rel=1e-9)
    assert value(report, "nearest.p95") == pytest.approx(distance.quantile(0.95).item(), rel=1e-9)


def test_what_is_decoded_in_the_hole():
    data = Span(cube(6000, HOLE))
    good = make(beyond=0.4)(data.run(), Noise(0))
    assert all(value(good, f"residual_{kind}.p99") < 1e-5 for kind in ("near", "empty", "prior"))
    assert math.isnan(value(good, "ratio.empty"))  # rounding errors have no ratio
    # A blur everywhere, and a fault that only shows inside the hole: a residual of sin(atan(0.2 / |z|))
    # there.
    bad = make(beyond=0.4)(data.run(lambda z: torch.where(z.norm(dim=1) < HOLE, 0.2, 0.01)), Noise(0))
    points = bad.tables["points"]
    assert bad.metrics["ratio.empty"].low > 10 and value(bad, "residual_near.mean") < 0.02
    assert (points.loc[points["kind"] == "empty", "gap"] > 0.4).all()
    assert (points.loc[points["kind"] == "near", "gap"] <= 0.05 + 1e-6).all()
    assert points.loc[points["kind"] == "empty", "residual"].min() > 0.2 / math.hypot(0.2, HOLE)
    assert set(make().plot(bad)) == {"map", "emptiness", "residual", "decoded"}
    labels = [text.get_text() for text in make().plot(bad)["decoded"].figure.axes[0].texts]
    assert len(labels) == 36 and float(labels[12]) == pytest.approx(
        points.loc[points["kind"] == "empty", "residual"].min(), rel=0.01
    )


def test_faults_at_equal_distance_and_in_data_units():
    """The fault grows with the distance from the codes, or does not; a faint picture blows up only shares."""
    data = Span(cube(6000, HOLE))
    sd = data.split("train").x.flatten(1).norm(dim=1).square().mean().div(3).sqrt().item()
    hole = make(n=300)(data.run(lambda z: (HOLE - z.norm(dim=1)).clamp_min(0)), Noise(0))
    bands = hole.tables["bands"].set_index("gap")
    near, far = bands.loc["0.2-0.4"], bands.loc["0.4-0.8"]
    # The nearest code is at the rim: the fault is the distance to it, but for the spacing of codes.
    assert 0.15 * sd < near["absolute"] < 0.32 * sd < 0.4 * sd < far["absolute"] < 0.8 * sd
    assert value(hole, "absolute_band.0.4-0.8") == pytest.approx(far["absolute"])
    assert value(hole, "residual_band.0.4-0.8") > value(hole, "residual_band.0.2-0.4")
    even = make(n=300)(data.run(lambda z: torch.full((len(z),), 0.1)), Noise(0))
    assert value(even, "absolute_band.0.4-0.8") == pytest.approx(0.1, rel=1e-4)
    assert value(even, "absolute_empty.mean") == pytest.approx(0.1, rel=1e-4)
    assert value(even, "residual_band.0.4-0.8") > 1.5 * value(even, "residual_near.mean")
    with pytest.raises(InputError, match="bands: must grow"):
        make(bands=[0.2, 0.1])


def test_without_an_oracle_the_distance_to_the_training_examples(holed):
    points = holed.tables["points"]
    # Decoder and encoder are the identity: whitened and data distances differ by the sd.
    sd = cube(hole=HOLE).std(0).mean().item()
    assert np.allclose(points["distance"], points["gap"] * sd, rtol=0.02)
    assert "residual_near.mean" not in holed.metrics and value(holed, "ratio.empty") > 5


def test_a_flat_direction_is_left_out():
    z = cube(3000)
    z[:, 2] = 1e-4 * z[:, 2]
    report = make()(identity(z), Noise(0))
    assert "1 of 3 principal directions" in " ".join(report.notes)
    assert report.tables["empty"]["volume"].iloc[0] == pytest.approx(
        12, rel=0.02
    )  # a square of side 2, sd 1 / √3
    assert report.arrays["map"].shape == (1, 90, 90)


def test_collapsed_codes_have_no_density():
    with pytest.raises(NothingToMeasure, match="the codes do not move"):
        make()(identity(torch.full((50, 2), 0.3)), Noise(0))


def test_many_latents_are_measured_in_projection():
    z = torch.randn(500, 8, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [9, 8, 7, 1, 1, 1, 1, 1.0]
    )
    report = make()(identity(z), Noise(0))
    assert "8 dimensions onto the 3 leading" in " ".join(report.notes)
    shown = make()(identity(z[:, :3].contiguous()), Noise(0))
    assert value(report, "empty.0.4") == pytest.approx(value(shown, "empty.0.4"), abs=0.05)


def test_equal_noise_gives_equal_reports(holed):
    again = make(codes=20000)(identity(cube(hole=HOLE)), Noise(0))
    assert again.metrics == holed.metrics
