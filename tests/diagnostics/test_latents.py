"""Planted codes: the factors themselves, noise, constants."""

import io
import json
import math
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from latentrun.diagnostics.codes.latents import Latents
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.manifolds import space
from latentrun.plotting.cloud import TURNED
from latentrun.types import Factor
from tests.planted import Deterministic, Gaussian, Rows, planted_run

SIZES = {"train": 3000, "val": 200, "test": 1500}
REAL = (Factor("a", "real", 0, 1), Factor("b", "real", 0, 1, "px"))


def uniform(columns, seed=0):
    g = torch.Generator().manual_seed(seed)
    return {name: torch.rand(n, columns, generator=g) for name, n in SIZES.items()}


def measure(x, y=None, factors=(), labels=None, scale=None, curved=None, **options):
    """Report on codes that are the rows ``x`` themselves."""
    d = x["train"].shape[1]
    pair = (lambda v: v, lambda z: z)
    model = Deterministic(*pair, d, (d,)) if scale is None else Gaussian(pair[0], scale, pair[1], d, (d,))
    if curved is not None:
        model.spaces["z"] = curved
    given = {
        "train_rows": 8000,
        "neighbours": 10,
        "information_rows": 1500,
        "information_neighbours": 3,
        "resamples": 200,
        "difference": None,
        **options,
    }
    diagnostic = Latents(split="test", **given)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return diagnostic, diagnostic(planted_run(model, Rows(x, y, factors, labels)), Noise(0))


def test_points_of_a_sphere_are_read_as_they_lie():
    """Codes around a pole: their third coordinate hardly moves and must not be stretched; a linear reader
    knows the others, wherever the codes' middle lies."""
    s2 = space("s2")
    near = {name: torch.cat([0.3 * v - 0.15, torch.ones(len(v), 1)], 1) for name, v in uniform(2).items()}
    x = {name: s2.project(v) for name, v in near.items()}
    y = {name: z[:, :1] for name, z in x.items()}
    _, report = measure(x, y, REAL[:1], curved=s2)
    assert report.metrics["linear_r2.a"].value == pytest.approx(1, abs=1e-6)
    assert any("units of the latent space" in note for note in report.notes)
    twisted = {name: torch.cat([z[:, :1], 1e-3 * torch.randn(len(z), 2)], 1) for name, z in x.items()}
    here = measure(twisted, y, REAL[:1], curved=s2)[1].metrics["knn_r2.a"].value
    there = measure(twisted, y, REAL[:1])[1].metrics["knn_r2.a"].value
    assert here > 0.99 and here > there  # standardised, what is noise would count as much


def test_codes_that_are_the_factors():
    y = uniform(2)
    _, found = measure(y, y, REAL)
    value = {name: e.value for name, e in found.metrics.items()}
    for factor in "ab":
        assert value[f"linear_r2.{factor}"] == pytest.approx(1) and value[
            f"linear_spearman.{factor}"
        ] == pytest.approx(1)
        assert value[f"knn_r2.{factor}"] > 0.99
        assert value[f"max_spearman.{factor}"] == pytest.approx(1)
        assert value[f"max_information.{factor}"] > 4
    table = found.tables["dependence"].set_index(["latent", "factor"])
    assert table.loc[(0, "a"), "pearson"] == pytest.approx(1) and abs(table.loc[(1, "a"), "pearson"]) < 0.1
    assert table.loc[(1, "a"), "mutual_information"] < 0.06


def test_codes_that_know_nothing():
    _, found = measure(uniform(3, seed=1), uniform(2), REAL)
    for factor in "ab":
        for name in ("linear_r2", "linear_spearman"):
            e = found.metrics[f"{name}.{factor}"]
            assert e.low - 0.01 < 0 < e.high + 0.01 and abs(e.value) < 0.08, name
        assert found.metrics[f"knn_r2.{factor}"].value < 0
        assert found.metrics[f"max_information.{factor}"].value < 0.06


def test_gaussian_pair_of_known_correlation():
    rho, g = 0.8, torch.Generator().manual_seed(2)
    x = {name: torch.randn(n, 1, generator=g) for name, n in SIZES.items()}
    y = {name: rho * z + math.sqrt(1 - rho**2) * torch.randn(len(z), 1, generator=g) for name, z in x.items()}
    _, found = measure(x, y, (Factor("y", "real", -4, 4),))
    row = found.tables["dependence"].iloc[0]
    assert row.pearson == pytest.approx(rho, abs=0.04)
    assert row.mutual_information == pytest.approx(-0.5 * math.log(1 - rho**2), abs=0.08)
    e = found.metrics["linear_r2.y"]
    assert e.low < rho**2 < e.high


def test_classes_and_angles_get_the_scores_that_fit_them():
    y = uniform(2, seed=3)
    y = {name: torch.stack([(3 * v[:, 0]).floor(), 2 * math.pi * v[:, 1]], 1) for name, v in y.items()}
    x = {name: torch.stack([3 * v[:, 0], v[:, 1].cos(), v[:, 1].sin()], 1) for name, v in y.items()}
    factors = (
        Factor("kind", "categorical", 0, 2, categories=("u", "v", "w")),
        Factor("angle", "cyclic", 0, 2 * math.pi, "rad"),
    )
    _, found = measure(x, y, factors)
    assert set(found.metrics) == {
        "linear_accuracy.kind",
        "knn_accuracy.kind",
        "linear_r2.angle",
        "knn_r2.angle",
        "max_information.kind",
        "max_information.angle",
    }
    assert found.metrics["linear_accuracy.kind"].value == found.metrics["knn_accuracy.kind"].value == 1
    assert found.metrics["linear_r2.angle"].value == pytest.approx(1)
    assert found.metrics["max_information.kind"].value == pytest.approx(math.log(3), abs=0.02)
    assert found.tables["dependence"][["pearson", "spearman"]].isna().all(axis=None)


def test_constant_latents_and_constant_factors_are_nan_or_zero():
    y = {name: torch.cat([v[:, :1], torch.full((len(v), 1), 0.5)], 1) for name, v in uniform(1).items()}
    x = {name: torch.cat([v[:, :1], torch.full((len(v), 1), 0.37)], 1) for name, v in y.items()}
    _, found = measure(x, y, REAL)
    table = found.tables["dependence"].set_index(["latent", "factor"])
    assert (
        table.loc[(1, "a"), ["pearson", "spearman"]].isna().all()
        and table.loc[(1, "a"), "mutual_information"] == 0
    )
    assert table.loc[(0, "a"), "pearson"] == pytest.approx(1)
    assert math.isnan(found.metrics["linear_r2.b"].value) and "max_spearman.b" not in found.metrics
    assert found.tables["codes"].loc[1, "sd"] == pytest.approx(0, abs=1e-6)


def test_moments_scale_and_kl_in_closed_form():
    g = torch.Generator().manual_seed(4)
    x = {name: torch.randn(n, 2, generator=g) * torch.tensor([1.0, 0.0]) for name, n in SIZES.items()}
    _, found = measure(x, scale=lambda v: torch.tensor([0.5, 1.0]).expand(len(v), 2))
    codes, mu = found.tables["codes"], x["test"][:, 0].double().numpy()
    assert codes.loc[0, ["mean", "sd", "min", "max"]].tolist() == pytest.approx(
        [mu.mean(), mu.std(), mu.min(), mu.max()]
    )
    assert codes["mean_scale"].tolist() == pytest.approx([0.5, 1])
    # KL(N(m, s^2) || N(0, 1)); a collapsed variable costs nothing
    assert codes["mean_kl"].tolist() == pytest.approx(
        [((mu**2).mean() + 0.25 - 1) / 2 - math.log(0.5), 0], abs=1e-6
    )
    _, plain = measure(x)
    assert plain.tables["codes"][["mean_scale", "mean_kl"]].isna().all(axis=None)


def test_without_factors_only_codes_with_labels_only_classes():
    x = uniform(3)
    _, bare = measure(x)
    assert bare.metrics == {} and set(bare.tables) == {"codes", "factors"} and "neither" in bare.notes[-1]
    labels = {name: (v[:, 0] > 0.5).long() for name, v in x.items()}
    _, found = measure(x, labels=labels)
    assert {name for name in found.metrics} == {
        "linear_accuracy.class",
        "knn_accuracy.class",
        "max_information.class",
    }
    assert (
        found.metrics["linear_accuracy.class"].value > 0.98 and found.metrics["knn_accuracy.class"].low > 0.93
    )
    assert found.metrics["max_information.class"].value == pytest.approx(math.log(2), abs=0.03)


def test_a_model_with_a_posterior_and_one_without_are_measured_on_the_same_codes():
    """Equal mean codes give equal numbers; draws are another metric, and see a collapsed latent as noise."""
    y = uniform(2, seed=7)
    x = {name: torch.stack([v[:, 0], 1e-3 * v[:, 1]], 1) for name, v in y.items()}
    plain = measure(x, y, REAL)[1].metrics
    found = measure(x, y, REAL, scale=lambda v: torch.tensor([0.01, 1.0]).expand(len(v), 2))[1].metrics
    for factor in "ab":
        for name in ("max_spearman", "max_information"):
            assert found[f"{name}.{factor}"] == plain[f"{name}.{factor}"]
    assert not [name for name in plain if "_draws" in name]
    assert found["max_spearman.b"].value == pytest.approx(1)
    assert found["max_spearman_draws.b"].value < 0.08 and found["max_information_draws.b"].value < 0.06
    assert found["max_spearman_draws.a"].value > 0.99


def test_probes_are_fitted_on_train_codes_only():
    y = uniform(1)
    y["train"] = 1 - y["train"]  # the relation is turned round in the test split
    x = {name: v if name != "train" else 1 - v for name, v in y.items()}
    _, found = measure(x, y, REAL[:1])
    assert found.metrics["linear_r2.a"].value < -2 and found.metrics[
        "linear_spearman.a"
    ].value == pytest.approx(-1)


def names(pictures):
    return {name: type(picture.figure).__module__.split(".")[0] for name, picture in pictures.items()}


@pytest.mark.parametrize("d", [1, 2, 3, 6])
def test_pictures_for_every_dimension(d):
    y = uniform(2)
    diagnostic, found = measure(uniform(d, seed=5), y, REAL)
    flat = {"projections": "matplotlib", "dependence": "matplotlib"}
    assert names(diagnostic.plot(found)) == flat | ({"cloud": "plotly"} if d >= 3 else {})
    bare, found = measure(uniform(d, seed=5))
    assert names(bare.plot(found)) == {"projections": "matplotlib"} | ({"cloud": "plotly"} if d >= 3 else {})


def test_cloud_offers_each_factor_and_the_difference_of_variances():
    factors = tuple(Factor(name, "real", 0, 1) for name in ("correlation", "variance_x", "variance_y"))
    y = uniform(3)
    y["test"] = torch.rand(4000, 3, generator=torch.Generator().manual_seed(6))
    diagnostic, found = measure(y, y, factors, resamples=20, difference=("variance_x", "variance_y"))
    cloud = diagnostic.plot(found)["cloud"]
    buttons = cloud.figure.layout.updatemenus[0].buttons
    assert [button.label for button in buttons] == [
        "correlation",
        "variance_x",
        "variance_y",
        "variance_x - variance_y",
    ]
    assert len(cloud.figure.data[0].x) == TURNED and f"{TURNED} of 4000" in cloud.caption
    shown, colours = (
        found.arrays["targets"][:TURNED],
        json.loads(json.dumps(buttons[3].args[0]["marker.color"][0])),
    )
    assert np.array(colours) == pytest.approx(shown[:, 1] - shown[:, 2], abs=1e-4)
    # the thinned rows are rows of the split, with their own factors
    assert found.arrays["codes"] == pytest.approx(y["test"].numpy()[found.arrays["index"]])


@pytest.mark.parametrize("pair", [None, ("variance_x", "angle")])
def test_a_difference_that_is_not_asked_for_or_not_there_is_not_offered(pair):
    y = uniform(3)
    factors = tuple(Factor(name, "real", 0, 1) for name in ("correlation", "variance_x", "variance_y"))
    diagnostic, found = measure(y, y, factors, resamples=20, difference=pair)
    buttons = diagnostic.plot(found)["cloud"].figure.layout.updatemenus[0].buttons
    assert [button.label for button in buttons] == ["correlation", "variance_x", "variance_y"]


def test_a_misspelt_factor_of_the_difference_is_named():
    y = uniform(2)
    diagnostic, _ = measure(y, y, REAL, resamples=20, difference=("a", "c"))
    with pytest.raises(InputError, match="diagnostic.latents.difference: unknown factor 'c'"):
        diagnostic.check(None, Rows(y, y, REAL))


def test_a_touched_point_shows_the_picture_that_was_encoded():
    g = torch.Generator().manual_seed(9)
    x = {name: torch.rand(n, 1, 2, 2, generator=g) for name, n in SIZES.items()}
    model = Deterministic(lambda v: v.flatten(1)[:, :3], lambda z: z, 3, (1, 2, 2))
    asked = Latents("test", 800, 10, 800, 3, 20, None)
    found = asked(planted_run(model, Rows(x)), Noise(0))
    pictures = found.arrays["pictures"]
    assert pictures.shape == (TURNED, 1, 2, 2) and pictures.dtype == np.uint8
    assert found.arrays["codes"][:TURNED] == pytest.approx(
        pictures.reshape(TURNED, 4)[:, :3] / 255, abs=0.003
    )  # codes are pixels here
    cloud = asked.plot(found)["cloud"]
    assert (
        cloud.figure.layout.meta["sprite"].startswith("data:image/png;base64,")
        and "the picture that was encoded" in cloud.caption
    )
    # Nothing is shown where examples are no pictures, and nothing kept where there is no cloud.
    _, bare = measure(uniform(3))
    assert "pictures" not in bare.arrays
    flat = asked(
        planted_run(Deterministic(lambda v: v.flatten(1)[:, :2], lambda z: z, 2, (1, 2, 2)), Rows(x)),
        Noise(0),
    )
    assert "pictures" not in flat.arrays


def test_pictures_can_be_redrawn_from_tables_on_disk():
    y = uniform(2)
    y = {name: torch.stack([v[:, 0], (3 * v[:, 1]).floor()], 1) for name, v in y.items()}
    factors = (REAL[1], Factor("kind", "categorical", 0, 2, categories=("u|1", "v,", "w")))
    diagnostic, found = measure(uniform(3, seed=7), y, factors)
    stored = {
        name: pd.read_csv(io.StringIO(table.to_csv(index=False))) for name, table in found.tables.items()
    }
    again = diagnostic.plot(replace(found, tables=stored))
    button = again["cloud"].figure.layout.updatemenus[0].buttons[1]
    assert list(button.args[0]["marker.colorbar.ticktext"][0]) == ["u|1", "v,", "w"]
    assert list(button.args[0]["marker.colorbar.title.text"]) == ["kind"]
    assert diagnostic.plot(found)["cloud"].figure == again["cloud"].figure


def test_same_noise_same_report():
    y = uniform(2)
    (_, a), (_, b) = measure(uniform(2, seed=8), y, REAL), measure(uniform(2, seed=8), y, REAL)
    assert a.metrics == b.metrics
    pd.testing.assert_frame_equal(a.tables["dependence"], b.tables["dependence"])


def test_a_collapsed_latent_knows_nothing_though_its_mean_does():
    """q(z|x) = N(1e-3 y, 1): the mean is a perfect copy of the factor, the code is noise."""
    y = {name: Noise(seed).uniform("y", (800, 1)) for seed, name in enumerate(("train", "val", "test"))}
    data = Rows(y, y, (Factor("f", "real", 0.0, 1.0),))
    model = Gaussian(
        lambda x: torch.cat([1e-3 * x, 0 * x], 1),
        lambda x: torch.ones(len(x), 2),
        lambda z: z[:, :1],
        2,
        (1,),
    )
    asked = Latents("test", 800, 10, 800, 3, 100, None)
    report = asked(planted_run(model, data), Noise(0))
    assert report.tables["dependence"]["spearman"].abs().max() == pytest.approx(1)
    table = report.tables["dependence_draws"]
    assert table["spearman"].abs().max() < 0.12 and table["mutual_information"].max() < 0.1
    # The same means without a posterior have no scale of their own: there they are a perfect code.
    bare = Deterministic(lambda x: torch.cat([1e-3 * x, 0 * x], 1), lambda z: z[:, :1], 2, (1,))
    report = asked(planted_run(bare, data), Noise(0))
    assert report.tables["dependence"]["spearman"].max() > 0.999
    assert report.metrics["knn_r2.f"].value > 0.99


def test_codes_on_a_space_are_drawn_on_it_from_the_report_alone():
    """Circle, sphere and torus: pictures by the names that flat codes have, with the space in them."""
    for text, seen_in in (("s1", 2), ("s2", 3), ("t2", 3)):
        manifold = space(text)
        x = {name: manifold.sample(60, Noise(i)) for i, name in enumerate(SIZES)}
        model = Deterministic(lambda v: v, lambda z: z, manifold.ambient_dim, (manifold.ambient_dim,))
        model.spaces["z"] = manifold
        y = {name: z[:, :1] for name, z in x.items()}
        run = planted_run(model, Rows(x, y, (Factor("a", "real", -1, 1),)))
        diagnostic, _ = measure(x, y, (Factor("a", "real", -1, 1),), train_rows=50, information_rows=50)
        report = diagnostic(run, Noise(0))
        codes = torch.from_numpy(report.arrays["codes"])
        assert np.allclose(report.arrays["drawn"], manifold.drawn(codes), atol=1e-6)
        assert np.allclose(report.arrays["outline"], manifold.outline(), atol=1e-6)
        pictures = diagnostic.plot(replace(report, metrics={}))
        assert "on their space" in pictures["projections"].caption
        assert ("cloud" in pictures) == (seen_in == 3)
    flat, report = measure(x, y, (Factor("a", "real", -1, 1),), train_rows=50, information_rows=50)
    assert "drawn" not in report.arrays and "on their space" not in flat.plot(report)["projections"].caption
