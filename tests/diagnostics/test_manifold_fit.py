"""Codes laid onto a circle once, twice, folded and torn."""

import math

import pytest
import torch

from latentrun.config.build import build
from latentrun.data.base import Dataset
from latentrun.diagnostics.codes.manifold_fit import ManifoldFit
from latentrun.errors import Misfit, NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.manifolds import Sphere, space
from latentrun.models.base import HasEmbedding
from tests.conformance import parts
from tests.planted import Deterministic, Rows, Turns, planted_run

SETTINGS = {
    "split": "test",
    "pairs": 500,
    "paths": 4,
    "points": 64,
    "refinement": 8,
    "embedding": 100,
    "resamples": 100,
}


def angle_of(x):
    return torch.atan2(x[:, 1], x[:, 0])


def measure(encode, d, onto=None, data=None, **changes):
    data = Turns() if data is None else data
    model = Deterministic(encode, lambda z: z.new_zeros(len(z), 3), d, (3,))
    if onto is not None:
        model.spaces["z"] = onto
    diagnostic = ManifoldFit(**{**SETTINGS, **changes})
    report = diagnostic(planted_run(model, data), Noise(0).at("test"))
    return diagnostic, report, {name: e.value for name, e in report.metrics.items()}


def on_circle(times=1):
    return lambda x: torch.stack([(times * angle_of(x)).cos(), (times * angle_of(x)).sin()], 1)


@pytest.mark.parametrize("onto", [Sphere(1), None], ids=["circle", "plane"])
def test_a_circle_laid_onto_a_circle(onto):
    _, report, value = measure(on_circle(), 2, onto)
    assert value["winding.angle"] == 1 and value["once.angle"] == 1
    assert value["circular_correlation.angle"] == pytest.approx(1, abs=1e-4)
    assert value["torn.angle"] == 0 and value["persistence.angle"] == pytest.approx(1 / 8, rel=0.02)
    assert value["jump_fine.angle"] == pytest.approx(1, rel=0.01)
    assert value["distance_rank"] == pytest.approx(1, abs=1e-5)
    if onto is not None:  # along the circle, not through it
        assert value["distance_linear"] == pytest.approx(1, abs=1e-5)
        assert value["tear.angle"] == pytest.approx(2 / 512, rel=0.01)


def test_a_double_cover_goes_round_twice_and_tells_nothing_of_the_angle():
    _, _, value = measure(on_circle(2), 2, Sphere(1))
    assert value["winding.angle"] == 2 and value["once.angle"] == 0 and value["torn.angle"] == 0
    assert value["circular_correlation.angle"] < 0.2


def test_a_folded_circle_goes_round_not_at_all():
    def folded(x):
        half = angle_of(x).abs()
        return torch.stack([half.cos(), half.sin()], 1)

    _, _, value = measure(folded, 2, Sphere(1))
    assert value["winding.angle"] == 0 and value["torn.angle"] == 0


def test_a_line_is_torn_and_it_is_said_where():
    _, report, value = measure(lambda x: angle_of(x).unsqueeze(1), 1)  # from pi to -pi at 180 degrees
    assert value["torn.angle"] == 1 and value["persistence.angle"] == pytest.approx(1, abs=0.02)
    assert value["tear.angle"] == pytest.approx(1, abs=0.01) and value["winding.angle"] == 0
    assert value["jump_fine.angle"] > 7 * value["jump_coarse.angle"]
    assert report.tables["paths"]["at"].tolist() == pytest.approx([180.0], abs=1)
    assert value["circular_correlation.angle"] == 0  # a line has no inside


@pytest.mark.parametrize(("back", "torn", "half"), [(0.02, 1, 0.02), (0.5, 0, 0.5)])
def test_a_continuous_map_onto_a_line_is_torn_where_it_goes_back_steeply(back, torn, half):
    """Up over most of the circle, and back to where it began over the share ``back`` of it."""

    def code(x):
        share = torch.remainder(angle_of(x) / (2 * math.pi), 1.0)
        return torch.where(share < 1 - back, share / (1 - back), (1 - share) / back).unsqueeze(1)

    _, report, value = measure(code, 1)
    assert value["winding.angle"] == 0 and value["torn.angle"] == torn
    assert value["half.angle"] == pytest.approx(half, abs=0.003)
    assert value["persistence.angle"] < 0.3  # it is no jump
    assert report.arrays["seen.angle"].shape[1] == 1  # drawn on a line


def test_a_circle_torn_within_the_plane():
    """Nine tenths of a circle: the code jumps over the last."""
    angle = lambda x: 0.9 * torch.remainder(angle_of(x), 2 * math.pi)  # noqa: E731
    _, _, value = measure(lambda x: torch.stack([angle(x).cos(), angle(x).sin()], 1), 2, Sphere(1))
    assert value["torn.angle"] == 1 and value["tear.angle"] == pytest.approx(0.2, abs=0.01)
    assert value["winding.angle"] == 1  # the short way over the gap


def test_every_path_is_its_own_with_another_factor():
    data = Turns(further=True)
    encode = lambda x: x[:, :2] * (1 + x[:, 2:])  # noqa: E731
    _, report, value = measure(encode, 2, data=data)
    assert len(report.tables["paths"]) == 4 and value["once.angle"] == 1
    assert -1 < value["distance_rank"] < 1
    assert report.metrics["distance_linear"].low < value["distance_linear"]


def test_codes_that_do_not_move():
    diagnostic, report, value = measure(lambda x: x.new_zeros(len(x), 2), 2)
    assert math.isnan(value["persistence.angle"]) and math.isnan(value["torn.angle"])
    assert value["winding.angle"] == 0
    picture = diagnostic.plot(report)["path_angle"].figure
    assert picture.axes[2].get_title() == "the code does not move"


def torus(first, second):
    return torch.stack([first.cos(), first.sin(), second.cos(), second.sin()], 1)


@pytest.mark.parametrize(
    ("encode", "winding"),
    [
        (lambda a: torus(a, 0 * a), 1),
        (lambda a: torus(0.3 * a.sin(), 2 * a), 2),
        (lambda a: torus(0.8 * a.cos(), 0.8 * a.sin()), 0),  # a loop within a square of the torus
        (lambda a: torus(1.5 + 1.2 * a.cos(), 0.8 * a.sin()), 0),
    ],
)
def test_a_torus_is_gone_round_along_one_of_its_circles(encode, winding):
    for text, order in (("t2", (0, 1)), ("s1xe1xs1", (0, 2, 1)), ("e1xt2", (2, 0, 1))):

        def codes(x, order=order):
            parts = (*encode(angle_of(x)).split([2, 2], dim=1), x[:, :1])
            return torch.cat([parts[i] for i in order], 1)

        _, _, value = measure(codes, space(text).ambient_dim, space(text))
        assert value["winding.angle"] == winding
        assert (value["circular_correlation.angle"] > 0.99) == (winding == 1)


def test_what_goes_round_beside_a_circle_goes_round():
    still = lambda x: torch.cat([torch.ones(len(x), 1), torch.zeros(len(x), 1), 3 + 2 * x[:, :2]], 1)  # noqa: E731
    assert measure(still, 4, space("s1xe2"))[2]["winding.angle"] == 1


def measured_on(name, mixed=False):
    """The data are points of a manifold, their codes the same points, each its own or another's."""
    changes = {"name": name, "lift": "isometry", "ambient": None, "n": 400}
    data = build({**parts.spec("data", "manifold"), **changes}, Dataset, "data")
    order = torch.randperm(80, generator=torch.Generator().manual_seed(0))

    def encode(x):
        z = data.lift.back(x).float()
        return z[order] if mixed and len(z) == len(order) else z

    model = Deterministic(encode, lambda z: z, data.manifold.ambient_dim, data.event_shape)
    model.spaces["z"] = data.manifold
    report = ManifoldFit(**SETTINGS)(planted_run(model, data), Noise(0))
    return report, {name: e.value for name, e in report.metrics.items()}


@pytest.mark.parametrize(
    "name", ["s1", "t2", "s2", "s3", "so3", "i2", "disc", "annulus", "moebius", "klein", "s1xi1"]
)
def test_points_of_a_manifold_that_are_their_own_codes_are_as_far_apart_and_whole(name):
    report, value = measured_on(name)
    assert value["distance_rank"] > 0.9999 and value["distance_linear"] > 0.9999
    assert all(torn == 0 for key, torn in value.items() if key.startswith("torn."))
    assert all(once == 1 for key, once in value.items() if key.startswith("once."))
    # On a Moebius strip and a Klein bottle one turn along leads to the other side.
    assert ("winding.along" in value, any("do not close" in note for note in report.notes)) == (
        False,
        name in ("moebius", "klein"),
    )


def test_mixed_codes_of_a_manifold_are_not():
    assert abs(measured_on("s2", mixed=True)[1]["distance_rank"]) < 0.3


class Embedded(Deterministic, HasEmbedding):
    def embedding_quality(self, n, noise):
        return {"s1": {"turns": 1.0, "gap": 3.0 / n}}


def test_the_quality_of_an_embedding_is_reported():
    data = Rows(torch.zeros(20, 3))
    model = Embedded(lambda x: x[:, :2], lambda z: z, 2, (3,))
    diagnostic = ManifoldFit(**SETTINGS)
    diagnostic.check(model, data)
    report = diagnostic(planted_run(model, data), Noise(0))
    assert report.metrics["embedding.turns"].value == 1 and report.metrics["embedding.gap"].value == 0.03
    assert list(diagnostic.plot(report)) == ["embedding"]


def test_needs_factors_or_an_embedding():
    plain = Deterministic(lambda x: x[:, :2], lambda z: z, 2, (3,))
    with pytest.raises(Misfit, match="order"):
        ManifoldFit(**SETTINGS).check(plain, Rows(torch.zeros(20, 3)))
    with pytest.raises(NothingToMeasure):
        ManifoldFit(**SETTINGS)(planted_run(plain, Rows(torch.zeros(20, 3))), Noise(0))


def test_a_picture_of_each_cyclic_factor():
    diagnostic, report, _ = measure(on_circle(), 2, Sphere(1))
    assert diagnostic.plot(report).keys() == {"distances", "path_angle"}
