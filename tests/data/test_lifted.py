"""Points of manifolds carried into many dimensions: their law, their members, the nearest of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, kstest, vonmises

from latentrun.config.build import build
from latentrun.data.base import Dataset, HasMembers, Oracle
from latentrun.data.lifted import Lifted
from latentrun.data.lifted_clusters import Clusters
from latentrun.data.recorded import RecordedFamily, recorded_as
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.manifolds import Sphere, space
from tests.conformance import parts


def lifted(**changes) -> Lifted:
    data = build(parts.spec("data", "lifted") | {"n": 400} | changes, Dataset, "data")
    assert isinstance(data, Lifted)
    return data


def test_the_network_is_the_one_of_the_formula_and_of_its_seed():
    data = lifted(manifold="s1", ambient=7, width=5)
    v, w = data.lift.layers
    assert v.shape == (2, 5) and w.shape == (5, 7)
    assert v.abs().max() <= math.sqrt(6 / 7) and w.abs().max() <= math.sqrt(6 / 12)
    z = Noise(0).normal("z", (9, 2)).double()
    assert torch.allclose(data.lift(z), torch.clamp(z @ v, min=0) @ w)
    assert torch.equal(lifted(manifold="s1", ambient=7, width=5, seed=4).lift.layers[0], v)
    assert not torch.equal(lifted(manifold="s1", ambient=7, width=5, mlp_seed=1).lift.layers[0], v)
    big = lifted(manifold="s1", width=2000, ambient=1500).lift.layers[1]
    assert big.std().item() == pytest.approx(math.sqrt(6 / 3500 / 3), rel=0.01)  # uniform in the bound


ROWS = [  # digests of x, factors and splits, as they were before there were other lifts
    ("lifted", {"n": 10_000}, "9b8f43de52ff6d68"),
    ("lifted", {"manifold": "so3", "n": 500}, "20a83cc061751625"),
    ("lifted", {"manifold": "s1", "clusters": 3, "noise": 0.1, "n": 500}, "c63fc4db3c2c4748"),
    ("lifted", {"manifold": "c5", "n": 300, "seed": 3}, "7e6fbdf6ad42786e"),
    ("lifted", {"manifold": "s1xi1", "n": 300, "mlp_seed": 2, "width": 30, "ambient": 7}, "9c3a3a5ad11e136f"),
    ("circle_mlp", {}, "1888d7c093641983"),
    ("circle_mlp", {"clusters": 3, "noise": 0.1}, "489fb05aad5bda3a"),
]


@pytest.mark.parametrize(("option", "changes", "digest"), ROWS)
def test_rows_are_those_of_earlier_versions_to_the_bit(option, changes, digest):
    assert build(parts.spec("data", option) | changes, Dataset, "data").digest == digest


def test_slopes_are_the_derivatives_of_the_map():
    data, step = lifted(), 1e-6
    z, along = (Noise(0).normal(name, (20, 3)).double() for name in "zv")
    ahead, behind = data.lift(z + step * along), data.lift(z - step * along)
    exact = data.lift.slopes(z, along.unsqueeze(1))[:, 0]
    assert torch.allclose(exact, (ahead - behind) / (2 * step), atol=1e-8)


@pytest.mark.parametrize("text", ["i1", "t2", "so3", "moebius", "klein", "annulus", "s5", "c5", "s1xi1"])
def test_every_bounded_manifold_can_be_lifted_and_its_members_found(text):
    data = lifted(manifold=text)
    rows = data.split("test")
    assert (data.intrinsic_dim, data.betti) == (space(text).dim, space(text).betti)
    y = rows.y[:12].double()
    assert torch.allclose(data.render(y).float(), rows.x[:12], atol=1e-6)
    found = data.project(rows.x[:12])
    assert found.residual.max() < 1e-6 and torch.allclose(found.factors, y, atol=1e-5)


def test_the_nearest_member_is_no_farther_than_any_of_many():
    data = lifted(manifold="t2", noise=0.05)
    x = data.split("test").x[:30].double()
    found = data.project(x)
    near = (x - data.render(found.factors)).norm(dim=1)
    many = data.lift(data.manifold.sample(50_000, Noise(9)).double())
    best = torch.cdist(x, many).min(1).values
    assert (near <= best + 1e-9).all() and (near > best - 0.01).all()
    assert torch.allclose(found.residual, near / x.norm(dim=1))


def test_noise_is_normal_of_the_size_that_is_given():
    data = lifted(manifold="s1", noise=0.1, n=2000)
    rows = data.split("train")
    noise = (rows.x.double() - data.render(rows.y.double())) / 0.1
    assert kstest(noise.flatten()[:20_000].numpy(), "norm").pvalue > 1e-4


def test_a_stream_is_fresh_at_every_step_and_of_the_same_law():
    data = lifted(manifold="s1", stream=True)
    x = data.split("train").x
    first, second = (data.draw(x, Noise(0).at("draw", i)) for i in range(2))
    assert first.shape == x.shape and not torch.equal(first, second)
    assert torch.equal(first, data.draw(x, Noise(0).at("draw", 0)))
    found = data.project(first[:300])
    assert found.residual.max() < 1e-6
    assert kstest(found.factors[:, 0].numpy() / (2 * np.pi), "uniform").pvalue > 1e-4
    fixed = lifted(manifold="s1")
    assert fixed.draw(x, Noise(0)) is x and torch.equal(fixed.split("test").x, data.split("test").x)


# ---------------------------------------------------------------- members
def test_members_cut_a_curve_into_parts_of_equal_probability():
    data = lifted(manifold="s1", noise=0.3)
    members = data.members(8)
    angles = 2 * math.pi * (torch.arange(8) + 0.5) / 8
    assert members.dtype == torch.float32 and data.noise == 0.3
    assert torch.allclose(members, data.render(angles.double().unsqueeze(1)).float(), atol=1e-6)
    assert lifted(manifold="i1").members(5).shape == (5, 100) and lifted(manifold="t2").members(5) is None


def test_members_of_clusters_are_quantiles_of_their_mixture():
    law = Clusters(Sphere(1), 3, 5.0, 0)
    z = law.quantiles(600)
    angle = np.sort(np.arctan2(*z.numpy().T[::-1]) % (2 * np.pi))
    centers = 2 * np.pi * np.arange(3) / 3
    # The mixture's distribution function on [0, 2 pi).
    cdf = np.mean([vonmises(5.0, loc=c).cdf(angle) - vonmises(5.0, loc=c).cdf(0) for c in centers], axis=0)
    assert np.allclose(cdf, (np.arange(600) + 0.5) / 600, atol=1e-5)


@pytest.mark.parametrize(("dim", "kappa"), [(1, 5.0), (2, 10.0), (4, 0.5), (2, 1e4)])
def test_clusters_have_the_law_of_von_mises_and_fisher(dim, kappa):
    law = Clusters(Sphere(dim), 4, kappa, 0)
    z, label = law.draw(20_000, Noise(1))
    assert torch.allclose(z.norm(dim=1), torch.ones(20_000).double())
    w = (z * law.centers[label]).sum(1).numpy()
    if dim == 1:
        assert kstest(np.arccos(np.clip(w, -1, 1)), lambda a: 2 * vonmises(kappa).cdf(a) - 1).pvalue > 1e-4
    elif dim == 2:  # F(w) = (e^(kappa w) - e^-kappa) / (e^kappa - e^-kappa)
        cdf = np.expm1(kappa * (w - 1)) / -np.expm1(-2 * kappa) + 1
        assert kstest(cdf, "uniform").pvalue > 1e-4
    else:
        grid = np.linspace(-1, 1, 100_001)
        density = (1 - grid**2) ** (dim / 2 - 1) * np.exp(kappa * grid)
        cdf = np.interp(w, grid, np.cumsum(density) / density.sum())
        assert kstest(cdf, "uniform").pvalue > 1e-4
    assert chisquare(np.bincount(label, minlength=4)).pvalue > 1e-4


def test_clusters_are_labels_and_found_again():
    data = lifted(manifold="s2", clusters=3, kappa=200.0, noise=0.01)
    rows = data.split("test")
    assert data.label == "cluster" and data.factors[-1].categories == ("0", "1", "2")
    assert torch.equal(rows.labels, rows.y[:, -1].long()) and set(rows.labels.tolist()) == {0, 1, 2}
    assert torch.equal(data.project(rows.x).factors[:, -1].long(), rows.labels)


# ---------------------------------------------------------------- what is wrong, and what a run remembers
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"manifold": "e2"}, "data.manifold: 'e2' has no uniform law; bounded spaces have"),
        ({"manifold": "s1xe1"}, "data.manifold: 's1xe1' has no uniform law"),
        ({"manifold": "s0"}, "data.manifold: 's0' is no space: the least of its kind is s1"),
        ({"manifold": "t2", "ambient": 2}, "data.ambient: 't2' has 2 dimensions: at least 3 needed, got 2"),
        (
            {"manifold": "t2", "clusters": 3},
            "data.clusters: von Mises-Fisher laws need a sphere s<n>, got 't2'",
        ),
        ({"n": 1_000_000, "ambient": 100_000}, "data: 1,000,000 examples of 100,000 values; at most"),
        ({"noise": -1.0}, "noise"),
    ],
)
def test_what_cannot_be_lifted_is_said_in_one_line(changes, says):
    with pytest.raises(InputError) as caught:
        lifted(**changes)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_run_directory_remembers_a_family_with_its_law():
    data = lifted(manifold="s1", noise=0.2)
    kind = recorded_as(Lifted)
    again = kind(data.describe(), lambda: data)
    assert isinstance(again, RecordedFamily) and isinstance(again, HasMembers) and isinstance(again, Oracle)
    assert again.noise == 0.2 and torch.equal(again.members(4), data.members(4))
    assert not issubclass(recorded_as(type(parts.small("digits"))), Oracle)
