"""Paths for factors of models whose answers are known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from latentrun.config.build import build
from latentrun.diagnostics.base import Diagnostic, misfit
from latentrun.diagnostics.needs import FLAT
from latentrun.errors import Misfit, NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.manifolds.base import Manifold
from latentrun.types import Factor
from tests.planted import Deterministic, Rows, Span, planted_run

SHIPPED = yaml.safe_load(
    (Path(__file__).parents[2] / "conf" / "diagnostic" / "factor_paths.yaml").read_text()
)["factor_paths"]
NAMES = ("correlation", "variance_x", "variance_y")
Y = 2 * torch.rand(4000, 3, generator=torch.Generator().manual_seed(0)) - 1
# Columns: where each factor goes; oblique, of different lengths.
MIX = torch.tensor([[2.0, 0.3, -0.1], [0.5, 1.0, 0.2], [-0.4, 0.1, 0.5]])


def make(**changes) -> Diagnostic:
    return build(SHIPPED | {"variants": 6, "pairs": 1000, "ends": 300} | changes, Diagnostic, "factor_paths")


def coded(y: torch.Tensor, to, back, d: int = 3):
    """A run whose codes are ``to`` of the factors, and whose decoder renders ``back`` of the code."""
    data = Span(y)
    basis = Span.basis[:3]
    model = Deterministic(
        lambda x: to(x.flatten(1) @ basis.T), lambda z: data.render(back(z)), d, data.event_shape
    )
    return planted_run(model, data)


def turned(y: torch.Tensor, sign: int = 1) -> torch.Tensor:
    """The last two factors turned by the first, in radians."""
    c, s = (sign * y[:, 0]).cos(), (sign * y[:, 0]).sin()
    return torch.stack([y[:, 0], c * y[:, 1] - s * y[:, 2], s * y[:, 1] + c * y[:, 2]], 1)


def value(report, name: str) -> float:
    return report.metrics[name].value


def way(report, path: str) -> np.ndarray:
    """Unit vector from the beginning of a path to its end."""
    z = report.tables["steps"].set_index("path").loc[path, ["z0", "z1", "z2"]].to_numpy()
    return (z[-1] - z[0]) / np.linalg.norm(z[-1] - z[0])


@pytest.fixture(scope="module")
def oblique():
    return make()(coded(Y, lambda y: y @ MIX.T, lambda z: z @ MIX.inverse().T), Noise(0))


# ---------------------------------------------------------------- good controls
@pytest.mark.parametrize("i", range(3))
def test_the_direction_of_each_factor_is_found(oblique, i):
    name = NAMES[i]
    known = (MIX[:, i] / MIX[:, i].norm()).numpy()
    assert way(oblique, f"{name}, straight") @ known > math.cos(math.radians(2))
    for prefix in ("", "hull_"):
        assert value(oblique, f"{prefix}monotonicity.{name}") == pytest.approx(1)
        assert value(oblique, f"{prefix}leakage.{name}") < 0.05
        assert value(oblique, f"{prefix}coverage.{name}") > 0.88
        assert value(oblique, f"{prefix}residual.{name}") < 1e-5
        assert value(oblique, f"{prefix}within.{name}") == 1
        assert value(oblique, f"{prefix}score.{name}") > 0.85


def test_the_score_is_what_its_parts_say(oblique):
    best = oblique.tables["best"]
    assert np.allclose(
        best["score"], best["monotonicity"] * best["coverage"] * best["within"] / (1 + best["leakage"])
    )
    assert (
        (best["searched"] > 1000).all()
        and (best["decoded"] > 8).all()
        and set(best["kind"]) == {"straight", "hull"}
    )
    # The judgement, at other points, finds what the choice has found.
    assert np.allclose(best["score"], best["score_chosen"], atol=0.02)


def test_paths_rise_and_hull_paths_run_at_the_hull(oblique):
    for row in oblique.tables["best"].itertuples():
        fitted = oblique.tables["steps"].set_index("path").loc[row.path, f"fitted.{row.factor}"].to_numpy()
        assert fitted[-1] - fitted[0] > 1.7 and (np.diff(fitted) > 0).all()
    depth = oblique.tables["best"].set_index("kind")["depth"]
    assert (depth["hull"] < 0.3).all() and (depth["hull"] > -0.02).all() and (depth["straight"] > 0.3).any()


def test_a_factor_that_follows_one_line_only():
    # The first factor turns the plane of the others: it moves alone along the axis of the turning and nowhere
    # else; each of the others along the direction that belongs to the first factor's value.
    report = make(kinds=["straight"])(coded(Y, lambda y: turned(y), lambda z: turned(z, -1)), Noise(0))
    steps = report.tables["steps"].set_index("path")
    axis = steps.loc["correlation, straight"]
    assert way(report, "correlation, straight")[0] > 0.99 and axis[["z1", "z2"]].abs().to_numpy().max() < 0.2
    for i, name in enumerate(NAMES[1:]):
        z = steps.loc[f"{name}, straight", ["z0", "z1", "z2"]].to_numpy()
        unit = torch.tensor([[z[:, 0].mean(), 1.0 - i, float(i)]])
        assert way(report, f"{name}, straight") @ (
            turned(unit)[0] * torch.tensor([0.0, 1, 1])
        ).numpy() > math.cos(math.radians(5))
    for name in NAMES:
        assert value(report, f"leakage.{name}") < 0.12 and value(report, f"score.{name}") > 0.75


def test_shortest_paths_follow_a_factor_that_codes_bend():
    # The pictures are flat in the factors, so the shortest curve between two that differ in one factor moves
    # that one alone; among the codes it is a parabola, and what is straight there leaks.
    to = torch.tensor([0.0, 1.6, 0.0])
    run = coded(Y, lambda y: y + to * y[:, :1] ** 2, lambda z: z - to * z[:, :1] ** 2)
    report = make(kinds=["straight", "shortest"])(run, Noise(0))
    assert value(report, "leakage.correlation") > 0.3 and value(report, "score.correlation") < 0.7
    assert value(report, "shortest_leakage.correlation") < 0.05
    assert value(report, "shortest_score.correlation") > 0.85
    z = report.tables["steps"].set_index("path").loc["correlation, shortest", ["z0", "z1", "z2"]].to_numpy()
    factors = z - to.numpy() * z[:, :1] ** 2
    assert np.ptp(factors[:, 0]) > 1.7 and np.ptp(factors[:, 1:], axis=0).max() < 0.15
    # The two others follow straight lines already.
    assert value(report, "shortest_score.variance_x") == pytest.approx(
        value(report, "score.variance_x"), abs=0.05
    )


def test_shortest_paths_want_a_decoder_with_derivatives():
    class Steps(Deterministic):
        differentiable = False

    data = Span(Y[:60])
    model = Steps(lambda x: x.flatten(1)[:, :3], lambda z: data.render(z), 3, data.event_shape)
    make().check(model, data)
    with pytest.raises(Misfit, match="a differentiable decoder for the paths `shortest`; the model has none"):
        make(kinds=["shortest"]).check(model, data)


# ---------------------------------------------------------------- bad controls
def test_a_factor_that_nothing_encodes_has_no_path():
    report = make()(coded(Y, lambda y: y[:, :2], lambda z: torch.cat([z, 0 * z[:, :1]], 1), 2), Noise(0))
    for prefix in ("", "hull_"):
        assert (
            value(report, f"{prefix}score.variance_y") == 0
            and value(report, f"{prefix}coverage.variance_y") < 0.01
        )
        assert (
            value(report, f"{prefix}score.correlation") > 0.85
            and value(report, f"{prefix}score.variance_x") > 0.85
        )


def test_promises_that_the_decoder_does_not_keep():
    # Codes know the factors, the decoder draws one picture: the search is content, the judgement is not.
    report = make()(coded(Y, lambda y: y, lambda z: 0 * z + 0.3), Noise(0))
    for name in NAMES:
        for prefix in ("", "hull_"):
            assert (
                value(report, f"{prefix}score.{name}") == 0
                and value(report, f"{prefix}coverage.{name}") < 1e-6
            )
    assert (report.tables["best"]["searched"] > 0).all() and math.isnan(value(report, "leakage.correlation"))


def test_factors_shuffled_against_pictures(oblique):
    # What is known of the codes is wrong; the oracle sees what they decode to.
    run = coded(Y, lambda y: y @ MIX.T, lambda z: z @ MIX.inverse().T)
    run.data._y = {
        name: y[torch.randperm(len(y), generator=torch.Generator().manual_seed(1))]
        for name, y in run.data._y.items()
    }
    report = make()(run, Noise(0))
    for name in NAMES:
        found = report.metrics.get(f"score.{name}")
        assert found.value < value(oblique, f"score.{name}") - 0.15


def test_a_path_that_leaves_the_codes_does_not_win():
    # No codes where the first factor is near 0: the path for it stays on one side, unless gaps are allowed.
    y = Y[Y[:, 0].abs() > 0.5]
    run = coded(y, lambda y: y, lambda z: z)
    report = make(kinds=["straight"], reach=2.0)(run, Noise(0))
    assert value(report, "coverage.correlation") < 0.4 and value(report, "within.correlation") == 1
    allowed = make(kinds=["straight"], reach=100.0)(run, Noise(0))
    assert value(allowed, "coverage.correlation") > 0.9 and value(allowed, "gap.correlation") > value(
        report, "gap.correlation"
    )


def test_a_path_that_leaves_the_family_does_not_win():
    # The same hole, gaps allowed, but what is decoded in it is no member of the family.
    y = Y[Y[:, 0].abs() > 0.5]

    def off(z):
        return 0.5 * (z[:, 0].abs() < 0.4)

    run = Span(y).run(off)
    report = make(kinds=["straight"], reach=100.0)(run, Noise(0))
    assert value(report, "coverage.correlation") < 0.5 and value(report, "residual.correlation") < 1e-5
    assert value(report, "coverage.variance_x") > 0.9


# ---------------------------------------------------------------- without an oracle
class Plain(Rows):
    """The pictures of the span without its oracle, a split each."""


def test_a_probe_judges_where_there_is_no_oracle():
    span, third = Span(Y), len(Y) // 3
    parts = {name: slice(i * third, (i + 1) * third) for i, name in enumerate(("train", "val", "test"))}
    data = Plain(
        {n: span.render(Y[p]) for n, p in parts.items()},
        {n: Y[p] for n, p in parts.items()},
        span.factors,
        value_range=(-1, 1),
    )
    model = Deterministic(
        lambda x: x.flatten(1) @ Span.basis[:3].T @ MIX.T,
        lambda z: data_render(z @ MIX.inverse().T),
        3,
        (1, 4, 4),
    )
    report = make()(planted_run(model, data), Noise(0))
    assert "no oracle" in " ".join(report.notes)
    for i, name in enumerate(NAMES):
        assert value(report, f"score.{name}") > 0.8 and value(report, f"leakage.{name}") < 0.1
        assert way(report, f"{name}, straight") @ (MIX[:, i] / MIX[:, i].norm()).numpy() > math.cos(
            math.radians(4)
        )
        assert f"distance.{name}" in report.metrics and f"residual.{name}" not in report.metrics
    # A decoder that draws one picture is not believed.
    blind = planted_run(Deterministic(model.encode, lambda z: model.decode(0 * z), 3, (1, 4, 4)), data)
    assert all(value(make(kinds=["straight"])(blind, Noise(0)), f"score.{name}") == 0 for name in NAMES)


def data_render(y: torch.Tensor) -> torch.Tensor:
    return (y @ Span.basis[:3]).view(-1, 1, 4, 4)


def ring(factors) -> Rows:
    step = torch.arange(1500)[:, None] / 1500
    shake = {
        name: torch.rand(1500, 1, generator=torch.Generator().manual_seed(i))
        for i, name in enumerate(("train", "val", "test"))
    }
    angle = {name: 360 * (step + part / 1500) for name, part in shake.items()}
    x = {name: torch.cat([torch.deg2rad(a).cos(), torch.deg2rad(a).sin()], 1) for name, a in angle.items()}
    y = {name: torch.cat([a, (a > 180).float()], 1) for name, a in angle.items()}
    return Rows(x, y, factors, value_range=(-1, 1))


def test_an_angle_is_followed_round_and_categories_are_left_out():
    factors = (
        Factor("angle", "cyclic", 0, 360),
        Factor("half", "categorical", 0, 1, categories=("upper", "lower")),
    )
    report = make()(planted_run(Deterministic(lambda x: x, lambda z: z, 2, (2,)), ring(factors)), Noise(0))
    assert "half left out" in report.notes[0]
    assert {name.partition(".")[2] for name in report.metrics} == {"angle"}
    assert value(report, "hull_score.angle") > 0.8 and value(report, "score.angle") < 0.4
    assert math.isnan(value(report, "hull_leakage.angle"))  # there is no other factor
    assert set(make().plot(report)) == {"along_straight", "along_hull", "map"}
    only = Rows(torch.rand(50, 2), torch.zeros(50, 1), factors[1:])
    with pytest.raises(NothingToMeasure, match="half left out: categories have no order"):
        make()(planted_run(Deterministic(lambda x: x, lambda z: z, 2, (2,)), only), Noise(0))


# ---------------------------------------------------------------- edges
def test_one_latent_has_no_hull_path():
    report = make()(coded(Y, lambda y: y[:, :1], lambda z: torch.cat([z, 0 * z, 0 * z], 1), 1), Noise(0))
    assert value(report, "score.correlation") > 0.9 and value(report, "hull_score.correlation") == 0
    assert "one direction" in " ".join(report.notes) and "map" not in make().plot(report)


def test_collapsed_codes_are_said():
    with pytest.raises(NothingToMeasure, match="the codes do not move: no path moves anything"):
        make()(coded(Y, lambda y: 0 * y, lambda z: z), Noise(0))


def test_pictures(oblique):
    pictures = make().plot(oblique)
    assert set(pictures) == {"strips", "along_straight", "along_hull", "map"}
    labels = [label.get_text() for label in pictures["strips"].figure.axes[0].get_yticklabels()]
    assert (
        labels[0] == f"correlation, straight: {value(oblique, 'score.correlation'):.2f}" and len(labels) == 6
    )
    names = [trace.name for trace in pictures["map"].figure.data]
    assert names[:2] == ["codes", "hull"] and "variance_y, hull" in names
    path = next(trace for trace in pictures["map"].figure.data if trace.name == "correlation, straight")
    known = MIX[:, 0].numpy()
    found = np.array([path.x[-1] - path.x[0], path.y[-1] - path.y[0], path.z[-1] - path.z[0]])
    assert found @ known / np.linalg.norm(found) / np.linalg.norm(known) > 0.999


class Sphere(Manifold):
    """A latent space that is not flat."""

    dim, ambient_dim = 2, 3
    project = distance = exp = log = lambda self, *points: points[0]


def test_a_curved_latent_space_is_refused():
    run = Span(Y).run()
    assert misfit(make(), run.model, run.data) is None
    run.model.spaces = {"z": Sphere()}
    assert misfit(make(), run.model, run.data) is FLAT
