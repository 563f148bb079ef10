"""Traversals of decoders whose answers are known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from scipy.spatial import cKDTree
from torch.distributions import Independent, Normal

from latentrun.data.base import Oracle
from latentrun.diagnostics.decoder.traversal import Traversal
from latentrun.errors import InputError, NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.manifolds import Euclidean
from latentrun.models.base import HasPrior, Model
from latentrun.types import Factor, Projection
from tests.planted import Deterministic, Rows, planted_run

FACTORS = (Factor("a", "real", -1, 1), Factor("b", "real", 0, 4), Factor("c", "real", 10, 20))
LOW, HIGH = torch.tensor([-1.0, 0, 10]), torch.tensor([1.0, 4, 20])
BASIS = torch.linalg.qr(torch.randn(64, 4, generator=torch.Generator().manual_seed(0)))[0].T
OFF = BASIS[3]  # a direction in which the family does not extend


class Flat(Rows, Oracle):
    """8 x 8 pictures x = Σ_f y_f w_f with orthonormal w: the nearest member is a projection."""

    intrinsic_dim, betti = 3, (1,)

    def __init__(self, n: int = 400):
        y = LOW + (HIGH - LOW) * torch.rand(n, 3, generator=torch.Generator().manual_seed(1))
        super().__init__(self.render(y), y, FACTORS, value_range=(-10, 10))

    def render(self, factors):
        return (factors @ BASIS[:3].to(factors)).view(-1, 1, 8, 8)

    def project(self, x):
        factors = (x.flatten(1) @ BASIS[:3].T).double()
        residual = (x - self.render(factors).float()).flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)
        inside = ((factors >= LOW - 1e-3) & (factors <= HIGH + 1e-3)).all(1)
        return Projection(factors, residual.double(), inside, torch.ones(len(x)))


class Circle(Rows, Oracle):
    """Points (cos y, sin y) of one cyclic factor."""

    intrinsic_dim, betti = 1, (1, 1)

    def __init__(self):
        y = torch.linspace(0, 2 * math.pi, 101)[:-1, None]
        super().__init__(self.render(y), y, (Factor("angle", "cyclic", 0, 2 * math.pi),), value_range=(-1, 1))

    def render(self, factors):
        return torch.cat((factors.cos(), factors.sin()), 1)

    def project(self, x):
        angle = torch.remainder(torch.atan2(x[:, 1], x[:, 0]), 2 * math.pi)[:, None].double()
        one = torch.ones(len(x))
        return Projection(angle, (x.norm(dim=1) - 1).abs().double(), one.bool(), one)


class Generator(Model, HasPrior):
    """A prior and a linear decoder, nothing else."""

    def __init__(self, data, scale: float = 1.0):
        super().__init__(data.event_shape, {"z": Euclidean(3)})
        self._data, self._scale = data, scale

    def decode(self, z, space="z"):
        return self._data.render(middle() + self._scale * z)

    def prior(self):
        return Independent(Normal(torch.zeros(self.latent_dim), 1.0), 1)

    def sample_prior(self, n, noise):
        return noise.normal("prior", (n, 3))

    def phases(self):
        return ()


def middle():
    return (LOW + HIGH) / 2


def make(**changes) -> Traversal:
    values = {
        "paths": ["axes"],
        "steps": 11,
        "extent": 3.0,
        "pairs": "all",
        "directions": [0.0, 45.0, 90.0, 135.0],
        "lines": 4,
        "rows": [],
        "radius": 2.0,
        "arcs": [(0.0, 360.0), (-90.0, 90.0)],
        "min_change": 0.05,
        "slack": 0.0,
        "strips": 16,
    }
    return Traversal(**(values | changes))


def autoencoder(data, mix=None, extra=None):
    """Codes u = share of the range of each factor, 0 in its middle; the decoder's factors are ``mix @ u``;
    ``extra`` is added to x."""
    mix = torch.eye(3) if mix is None else mix
    width = HIGH - LOW

    def encode(x):
        return (x.flatten(1) @ BASIS[:3].T - middle()) / width

    def decode(z):
        x = data.render(middle() + (z @ mix.T) * width)
        return x if extra is None else x + extra(z).view(-1, 1, 8, 8)

    return Deterministic(encode, decode, 3, (1, 8, 8))


@pytest.fixture(scope="module")
def flat():
    return Flat()


@pytest.fixture(scope="module")
def perfect(flat):
    return planted_run(autoencoder(flat), flat)


def test_one_latent_a_factor_is_read_as_perfect(perfect):
    report = make(paths=["axes", "pairs", "lines", "angles"])(perfect, Noise(0))
    for name in "abc":
        assert report.metrics[f"monotonicity.{name}"].value == pytest.approx(1)
        assert report.metrics[f"leakage.{name}"].value == pytest.approx(0, abs=1e-5)
    assert report.metrics["residual"].value == pytest.approx(0, abs=1e-6)
    assert report.metrics["unevenness"].value == pytest.approx(
        0, abs=1e-4
    )  # a linear decoder takes equal steps
    best = report.tables["best"].set_index("factor")
    assert best.loc["b", "path"] == "z1" and best.loc["b", "spearman"] == pytest.approx(1)
    # 3 axes + 2 diagonals in each of 3 planes + 4 lines; lines at 0 and 90 degrees are axes again. QR gives 3
    # + 1 directions.
    assert set(best["compared"]) == {13}


def test_axes_reach_the_extent_in_standard_deviations_of_the_codes(perfect):
    report = make(extent=2.0, steps=5)(perfect, Noise(0))
    steps = report.tables["steps"].set_index(["path", "step"])
    codes = perfect.latents("train").codes
    mean, sd = codes.mean(0), codes.std(0)
    assert steps.loc[("z1", 4), "z1"] == pytest.approx((mean[1] + 2 * sd[1]).item(), rel=1e-5)
    assert steps.loc[("z1", 4), "z0"] == pytest.approx(mean[0].item(), rel=1e-5)
    assert steps.loc[("z1", 2), "parameter"] == 0
    # One step of a linear decoder: sd/1 whitened unit times the width of the factor.
    assert steps.loc[("z2", 0), "speed"] == pytest.approx((sd[2] * 10).item(), rel=1e-4)
    assert math.isnan(steps.loc[("z2", 4), "speed"])
    covered = report.tables["factors"].set_index(["path", "factor"])["covered"]
    assert covered[("z2", "c")] == pytest.approx(4 * sd[2].item(), rel=1e-4)
    # Factors along the path are what the decoder was told to draw.
    assert steps.loc[("z2", 0), "fitted.c"] == pytest.approx(15 + 10 * (mean[2] - 2 * sd[2]).item(), rel=1e-4)


def test_leakage_of_a_mixing_decoder_in_closed_form(flat):
    mix = torch.tensor([[1.0, 0.5, 0.0], [1.0, 1.0, 0.2], [0.0, -0.25, 1.0]])
    report = make()(planted_run(autoencoder(flat, mix), flat), Noise(0))
    leak = report.tables["factors"].set_index(["path", "factor"])["leakage"]
    a = mix.abs().numpy()
    for j in range(3):
        for f, name in enumerate("abc"):
            if a[f, j] == 0:
                assert math.isnan(leak[(f"z{j}", name)])
                assert (
                    report.tables["factors"].set_index(["path", "factor"])["monotonicity"][(f"z{j}", name)]
                    == 0
                )
            else:
                assert leak[(f"z{j}", name)] == pytest.approx(
                    (a[:, j].sum() - a[f, j]) / 2 / a[f, j], rel=1e-3
                )
    # Every factor is monotone along every axis that moves it: the one that leaks least is taken.
    assert report.metrics["leakage.a"].value == pytest.approx(0.5, rel=1e-3)  # z0: (1 + 0) / 2 / 1
    assert report.metrics["leakage.b"].value == pytest.approx(0.375, rel=1e-3)  # z1: (0.5 + 0.25) / 2 / 1
    assert report.metrics["leakage.c"].value == pytest.approx(0.1, rel=1e-3)  # z2: (0 + 0.2) / 2 / 1
    assert report.tables["factors"].set_index(["path", "factor"])["spearman"][("z1", "c")] == pytest.approx(
        -1
    )


def test_residual_of_a_decoder_that_leaves_the_family(flat):
    report = make()(
        planted_run(autoencoder(flat, extra=lambda z: 2.0 * OFF.expand(len(z), 64)), flat), Noise(0)
    )
    steps = report.tables["steps"]
    norm = np.sqrt((steps[["fitted.a", "fitted.b", "fitted.c"]] ** 2).sum(axis=1) + 4)
    assert np.allclose(steps["residual"], 2 / norm, rtol=1e-4)
    assert report.metrics["residual"].value == pytest.approx((2 / norm).mean(), rel=1e-4)
    assert report.metrics["monotonicity.a"].value == pytest.approx(1)  # the off-family part is no factor


def test_there_and_back_is_not_monotone(flat):
    data = flat
    model = autoencoder(data)
    model._decode = lambda z: data.render(middle() + (z - z.new_tensor(codes)).square() * (HIGH - LOW))
    run = planted_run(model, data)
    codes = run.latents("train").codes.mean(0).tolist()
    report = make()(run, Noise(0))
    assert report.metrics["monotonicity.b"].value == pytest.approx(0, abs=1e-6)


def test_a_decoder_that_ignores_its_code_has_no_path(flat):
    model = autoencoder(flat, mix=torch.zeros(3, 3))
    report = make()(planted_run(model, flat), Noise(0))
    assert [report.metrics[f"monotonicity.{f}"].value for f in "abc"] == [0, 0, 0]
    assert math.isnan(report.metrics["leakage.a"].value)
    assert "unevenness" not in report.metrics  # nothing moves
    assert make().plot(report).keys() == {"axes", "best", "factors"}


def test_a_drift_too_small_to_see_does_not_count(flat):
    mix = torch.diag(torch.tensor([1.0, 1.0, 0.01]))
    run = planted_run(autoencoder(flat, mix), flat)
    assert make(min_change=0.05)(run, Noise(0)).metrics["monotonicity.c"].value == 0
    assert make(min_change=0.0)(run, Noise(0)).metrics["monotonicity.c"].value == pytest.approx(1)


def test_slack_prefers_the_clean_path_to_the_one_that_wins_by_a_rank(flat):
    # Along z0 the factor a stops at +-1 sd; along z1 it runs with b all the way.
    model = autoencoder(flat)
    model._decode = lambda z: flat.render(
        middle() + torch.stack((z[:, 0].clamp(-0.5, 0.5) + z[:, 1], z[:, 1], z[:, 2]), 1) * (HIGH - LOW)
    )
    run = planted_run(model, flat)
    strict, slack = (make(slack=s)(run, Noise(0)) for s in (0.0, 0.1))
    assert strict.tables["best"]["path"][0] == "z1" and strict.metrics["leakage.a"].value == pytest.approx(
        0.5, rel=1e-3
    )
    assert slack.tables["best"]["path"][0] == "z0" and slack.metrics["leakage.a"].value == pytest.approx(
        0, abs=1e-5
    )
    assert slack.metrics["monotonicity.a"].value == strict.metrics["monotonicity.a"].value == pytest.approx(1)
    assert slack.tables["best"]["spearman"][0] < 1


def test_arcs_and_closed_circles(perfect):
    report = make(paths=["axes", "angles"], pairs=[(0, 1)], steps=21)(perfect, Noise(0))
    paths = report.tables["paths"].set_index("path")
    assert (
        math.isnan(paths.loc["z0,z1 0° to 360°", "monotonicity"]) and paths.loc["z0,z1 0° to 360°", "closed"]
    )
    half = report.tables["factors"].set_index(["path", "factor"])
    # From -90 to 90 degrees z1 rises as a sine, z0 rises and falls as a cosine.
    assert half.loc[("z0,z1 -90° to 90°", "b"), "spearman"] == pytest.approx(1)
    assert half.loc[("z0,z1 -90° to 90°", "a"), "spearman"] == pytest.approx(0, abs=1e-3)
    # V of the falling and the rising half of the cosine together is that of the sine.
    codes = perfect.latents("train").codes.std(0)
    assert half.loc[("z0,z1 -90° to 90°", "b"), "leakage"] == pytest.approx(
        (codes[0] / codes[1] / 2).item(), rel=1e-3
    )
    assert "0° to 360°" in " ".join(paths.index) and set(report.tables["best"]["path"]) == {"z0", "z1", "z2"}


def test_gap_is_the_whitened_distance_to_the_nearest_code(perfect):
    report = make(paths=["axes", "lines"], rows=[(3, 77)])(perfect, Noise(0))
    steps = report.tables["steps"]
    codes = perfect.latents("train").codes
    sd = codes.std(0).numpy()
    expected = cKDTree(codes.numpy() / sd).query(steps[["z0", "z1", "z2"]].to_numpy(np.float32) / sd)[0]
    assert np.allclose(steps["gap"], expected, atol=1e-5)
    line = steps[
        steps["path"] == "3 to 77"
    ]  # the splits of this data set are the same rows: its ends are codes
    assert line["gap"].iloc[[0, -1]].tolist() == pytest.approx([0, 0], abs=1e-6)
    assert np.allclose(line[["z0", "z1", "z2"]].iloc[0], codes[3]) and np.allclose(
        line[["z0", "z1", "z2"]].iloc[-1], codes[77]
    )


def test_rows_that_are_not_there_are_named(perfect):
    with pytest.raises(InputError, match="row 4000 is not in the test split"):
        make(paths=["lines"], rows=[(3, 4000)])(perfect, Noise(0))


def test_pairs_that_do_not_fit_are_left_out_and_said_so(perfect):
    report = make(paths=["pairs"], pairs=[(0, 2), (1, 7), (2, 2)])(perfect, Noise(0))
    assert set(report.tables["paths"]["path"]) == {f"z0,z2 at {a}°" for a in (0, 45, 90, 135)}
    assert any("2 of 3 do not fit 3 latents" in note for note in report.notes)


def test_a_model_without_encoder_is_walked_around_zero(flat):
    report = make(paths=["axes", "lines"])(planted_run(Generator(flat), flat), Noise(0))
    assert "gap" not in report.metrics
    steps = report.tables["steps"].set_index(["path", "step"])
    assert steps.loc[("z0", 0), ["z0", "z1", "z2"]].tolist() == [-3, 0, 0]
    assert report.metrics["monotonicity.c"].value == pytest.approx(1)
    assert (
        any("no encoder" in note for note in report.notes)
        and (report.tables["paths"]["kind"] == "lines").sum() == 4
    )


def test_data_without_oracle_get_speed_and_gap_alone():
    x = torch.randn(300, 20, generator=torch.Generator().manual_seed(2))
    weights = torch.randn(2, 20, generator=torch.Generator().manual_seed(3))
    model = Deterministic(lambda x: x[:, :2], lambda z: z @ weights, 2, (20,))
    diagnostic = make(paths=["axes", "pairs", "lines", "angles"])
    report = diagnostic(planted_run(model, Rows(x)), Noise(0))
    assert set(report.metrics) == {"gap", "unevenness"} and "factors" not in report.tables
    straight = report.tables["paths"].query("kind != 'angles'")
    assert np.allclose(straight["unevenness"], 0, atol=1e-4)
    step = 0.6 * x[:, 0].std() * weights[0].norm()
    assert straight.set_index("path").loc["z0", "speed"] == pytest.approx(step.item(), rel=1e-4)
    pictures = diagnostic.plot(report)
    assert set(pictures) == {"axes", "pairs", "lines", "angles"}
    assert (
        len(pictures["axes"].figure.axes[0].lines) == 11
    )  # more than 8 components: a line for each position


def test_one_latent_has_no_planes():
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(2))
    model = Deterministic(lambda x: x[:, :1], lambda z: torch.cat((z, z), 1), 1, (2,))
    run = planted_run(model, Rows(x))
    with pytest.raises(NothingToMeasure, match="no path of the chosen kinds exists"):
        make(paths=["pairs", "angles"])(run, Noise(0))
    assert list(make(paths=["axes", "angles"])(run, Noise(0)).tables["paths"]["path"]) == ["z0"]


def test_angles_are_unwrapped():
    data = Circle()
    model = Deterministic(lambda x: torch.atan2(x[:, 1], x[:, 0])[:, None], lambda z: data.render(z), 1, (2,))
    diagnostic = make(steps=31)
    report = diagnostic(
        planted_run(model, data), Noise(0)
    )  # 3 sd of a uniform angle on each side: beyond a whole turn
    assert report.metrics["monotonicity.angle"].value == pytest.approx(1)
    x = data.split("train").x
    sd = torch.atan2(x[:, 1], x[:, 0]).std()
    assert report.tables["factors"]["covered"][0] == pytest.approx((6 * sd / (2 * math.pi)).item(), rel=1e-4)
    assert math.isnan(report.metrics["leakage.angle"].value)  # there is no other factor


def test_a_path_that_is_drawn_as_a_curve_has_more_points(perfect):
    data = Circle()
    model = Deterministic(lambda x: torch.atan2(x[:, 1], x[:, 0])[:, None], lambda z: data.render(z), 1, (2,))
    curve, pictures = (make(steps="auto")(run, Noise(0)) for run in (planted_run(model, data), perfect))
    assert curve.arrays["pictures"].shape[1] == 101 and pictures.arrays["pictures"].shape[1] == 11


def test_many_latents_draw_the_widest():
    x = torch.randn(300, 20, generator=torch.Generator().manual_seed(2)) * torch.arange(
        20.0
    )  # z0 never moves
    model = Deterministic(lambda x: x, lambda z: z, 20, (20,))
    report = make(strips=3)(planted_run(model, Rows(x)), Noise(0))
    assert set(report.tables["paths"].query("drawn")["path"]) == {"z17", "z18", "z19"}
    assert report.arrays["pictures"].shape == (3, 11, 20)
    assert any("only the 3 latents" in note for note in report.notes)
    pairs = make(paths=["pairs"])(planted_run(model, Rows(x)), Noise(0)).tables["paths"]["path"]
    assert {name.split(" ")[0] for name in pairs} == {
        f"z{i},z{j}" for i in range(16, 20) for j in range(i + 1, 20)
    }


def test_pictures_are_drawn_from_the_report(perfect):
    diagnostic = make(paths=["axes", "pairs", "lines", "angles"])
    report = diagnostic(perfect, Noise(0))
    pictures = diagnostic.plot(report)
    assert set(pictures) == {"axes", "pairs", "lines", "angles", "best", "factors"}
    labels = [text.get_text() for text in pictures["axes"].figure.axes[0].get_yticklabels()]
    assert labels == ["z0: −3 … 3", "z1: −3 … 3", "z2: −3 … 3"]
    axes = np.array(pictures["factors"].figure.axes).reshape(
        4, 3
    )  # three factors and the residual; three latents
    assert np.allclose(
        axes[1, 1].lines[0].get_ydata(), report.tables["steps"].query("path == 'z1'")["fitted.b"]
    )


def test_the_shipped_values_fit(perfect):
    from latentrun.config.build import build
    from latentrun.diagnostics.base import Diagnostic

    path = Path(__file__).parents[2] / "conf" / "diagnostic" / "traversal.yaml"
    diagnostic = build(yaml.safe_load(path.read_text())["traversal"], Diagnostic, "diagnostic.traversal")
    report = diagnostic(perfect, Noise(0))
    assert set(report.tables["paths"]["kind"]) == {"axes", "pairs", "lines", "angles"}
    assert {name.partition(".")[0] for name in report.metrics} == set(Traversal.metrics)
