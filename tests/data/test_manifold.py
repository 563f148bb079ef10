"""Data on manifolds with known answers: names, lifts, laws, what an oracle says of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import expon, kstest

from latentrun.config.build import build
from latentrun.data.base import Dataset, Oracle
from latentrun.data.lifted import Shape
from latentrun.data.lifted_names import NAMES
from latentrun.data.recorded import recorded_as
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from tests.conformance import parts

SPEC = parts.spec("data", "manifold")
EVERY = [
    *NAMES,
    "points",
    "circle_x_points",
    "segment_x_circle",
    "two_circles_x_segment",
    "s3",
    "c5",
    "s1xi1",
]


def shape(points: dict | None = None, **changes) -> Shape:
    changes["points"] = SPEC["points"] | (points or {})
    data = build(SPEC | {"n": 400} | changes, Dataset, "data")
    assert isinstance(data, Shape)
    return data


@pytest.mark.parametrize("name", EVERY)
def test_every_name_makes_an_oracle_that_finds_its_rows_again(name):
    data = shape(name=name)
    rows = data.split("test")
    y = rows.y[:20].double()
    assert data.betti is not None and data.intrinsic_dim == max(data.local_dims)
    assert rows.y.shape[1] == len(data.factors) and rows.x.shape[1:] == data.event_shape
    assert torch.allclose(data.render(y).float(), rows.x[:20], atol=1e-6)
    found = data.project(rows.x[:20])
    assert torch.allclose(data.render(found.factors), rows.x[:20].double(), atol=1e-6)
    assert set(data.local_dim(y).tolist()) <= set(data.local_dims)
    apart = data.geodesic_distance(y[:10], y[10:])
    chord = (data.render(y[:10]) - data.render(y[10:])).norm(dim=1)
    assert (apart >= chord - 1e-6).all() or name == "c5"  # one-hot points are one unit apart
    for factor, column in zip(data.factors, rows.y.T, strict=True):
        assert column.min() >= factor.low - 1e-5 and column.max() <= factor.high + 1e-5


@pytest.mark.parametrize("name", ["line_and_disc", "trefoil", "points", "circle_x_points"])
def test_a_rotation_keeps_lengths_and_finds_the_nearest_exactly(name):
    own, turned = shape(name=name, noise=0.1), shape(name=name, noise=0.1, ambient=7)
    y = own.split("test").y.double()
    assert torch.equal(y, turned.split("test").y.double())
    assert torch.allclose(torch.cdist(own.render(y), own.render(y)),
                          torch.cdist(turned.render(y), turned.render(y)), atol=1e-7)  # fmt: skip
    assert torch.equal(own.geodesic_distance(y[:9], y[9:18]), turned.geodesic_distance(y[:9], y[9:18]))
    x = turned.split("test").x
    near = (turned.render(turned.project(x).factors) - x).norm(dim=1)
    many = turned.render(shape(name=name, n=20_000).split("train").y.double())
    best = torch.cdist(x.double(), many).min(1).values
    assert (near <= best + 1e-9).all() and (near > best - 0.05).all()


@pytest.mark.parametrize("name", ["circle", "line_and_disc", "circle_x_points", "exponential_line", "points"])
def test_a_smooth_embedding_bends_and_finds_the_nearest_of_many(name):
    data = shape(name=name, lift="smooth", ambient=8, noise=0.05, amplitude=0.7)
    y, x = data.split("test").y[:40].double(), data.split("test").x[:40].double()
    found = data.project(x)
    near = (data.render(found.factors) - x).norm(dim=1)
    many = data.render(shape(name=name, n=20_000).split("train").y.double())
    best = torch.cdist(x, many).min(1).values
    assert (near <= best + 1e-9).all() and (near > best - 0.02).all()
    assert (near <= (data.render(y) - x).norm(dim=1) + 1e-9).all()
    assert data.geodesic_distance(y, y) is None


def test_a_smooth_embedding_can_be_undone_and_its_sines_have_their_size():
    data = shape(name="sphere", lift="smooth", ambient=40, amplitude=0.5, frequency=3.0)
    lift, z = data.lift, data.manifold.sample(4000, Noise(1)).double()
    back = lift(z) @ lift.rotation.mT
    assert torch.allclose(back[:, :3], z, atol=1e-12)
    assert back[:, 3:].square().sum(1).mean().item() == pytest.approx(0.25, rel=0.05)
    along = Noise(2).normal("v", (4000, 1, 3)).double()
    ahead, behind = lift(z + 1e-6 * along[:, 0]), lift(z - 1e-6 * along[:, 0])
    assert torch.allclose(lift.slopes(z, along)[:, 0], (ahead - behind) / 2e-6, atol=1e-7)
    assert not torch.allclose(lift(z), shape(name="sphere", lift="smooth", ambient=40, lift_seed=1).lift(z))


# ---------------------------------------------------------------- laws
def test_both_parameters_of_the_exponential_line_have_one_law():
    own = {p: shape(name="exponential_line", parameter=p, n=20_000) for p in "tu"}
    for parameter, data in own.items():
        rows = data.split("train")
        assert kstest(rows.x[:, 0].numpy(), expon.cdf).pvalue > 1e-4
        assert torch.equal(rows.x[:, 0], rows.x[:, 1]) and data.factors[0].name == parameter
        assert rows.y.min() >= 0 and rows.y.max() <= data.factors[0].high
        members = data.members(4)[:, 0].numpy()
        assert np.allclose(members, expon.ppf([0.125, 0.375, 0.625, 0.875]), rtol=1e-6)
    t, u = own.values()
    assert kstest(u.split("train").y[:, 0].numpy(), "uniform").pvalue > 1e-4
    assert not torch.equal(t.split("train").x, u.split("train").x)  # drawn in two ways
    y = torch.tensor([[0.5]]).double()
    assert u.render(y)[0, 0].item() == pytest.approx(math.log(2))
    a, b = torch.tensor([[1.0]]).double(), torch.tensor([[3.0]]).double()
    assert t.geodesic_distance(a, b).item() == pytest.approx(2 * math.sqrt(2))


def test_clusters_lie_around_their_points_with_the_spread_that_is_asked():
    data = shape(name="points", points={"spread": 0.02}, n=4000)
    rows = data.split("train")
    assert data.label == "point" and torch.equal(rows.labels, rows.y[:, 0].long())
    beside = (rows.x.double() - data.render(rows.y.double())) / 0.02
    assert kstest(beside.flatten().numpy(), "norm").pvalue > 1e-4
    assert torch.equal(data.project(rows.x).factors[:, 0], rows.y[:, 0].double())
    grid = shape(name="points", points={"count": 25, "layout": "grid", "spacing": 2.0, "spread": 0.05})
    assert grid.betti == (25,) and grid.render(torch.arange(25.0).unsqueeze(1)).abs().max() == 4
    raised = shape(name="points", points={"spread": 0.1}, ambient=5).split("train").x
    assert torch.linalg.matrix_rank(raised - raised.mean(0), atol=1e-4) == 2  # in their own plane


def test_a_stream_is_of_the_same_law_as_the_rows():
    data = shape(name="points", points={"spread": 0.02}, stream=True)
    x = data.draw(torch.zeros(2000, 2), Noise(3))
    near = data.project(x)
    assert (data.render(near.factors) - x).norm(dim=1).max() < 0.02 * 6 and len(near.factors.unique()) == 8


def test_a_run_directory_remembers_what_the_oracle_knows():
    data = shape(name="line_and_disc")
    again = recorded_as(Shape)(data.describe(), lambda: data)
    y = data.split("test").y[:6].double()
    assert isinstance(again, Oracle) and again.local_dims == (1, 2)
    assert torch.equal(again.local_dim(y), data.local_dim(y))
    assert torch.equal(again.geodesic_distance(y[:3], y[3:]), data.geodesic_distance(y[:3], y[3:]))
    assert len(again.outline()) == len(data.outline()) > 5


# ---------------------------------------------------------------- what is wrong
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "cirle"}, "data.name: 'cirle' is no manifold (did you mean 'circle'?); known: segment,"),
        ({"name": "circle_x_point"}, "data.name: 'point' in 'circle_x_point' is no manifold (did you mean"),
        ({"name": "e2"}, "data.name: 'e2' has no uniform law"),
        ({"name": "s0"}, "data.name: 's0' is no space: the least of its kind is s1"),
        ({"name": "klein", "ambient": 4}, "data.ambient: 'klein' lies in R^5: at least 5 needed, got 4"),
        ({"name": "disc", "lift": "smooth"}, "data.ambient: null is for data.lift=isometry"),
        ({"name": "disc", "lift": "smooth", "ambient": 2}, "at least 3 needed, got 2"),
        ({"name": "disc", "lift": "network", "ambient": 2}, "'disc' has 2 dimensions: at least 3 needed"),
        (
            {"points": {"count": 8, "layout": "grid"}},
            "data.points.count: 8 points are no grid in R^2; 4 or 9",
        ),
        ({"points": {"dim": 1}}, "data.points.dim: a ring needs 2 dimensions at least, got 1"),
        ({"points": {"count": 1}}, "data.points.count"),
        ({"parameter": "v"}, "data.parameter"),
    ],
)
def test_what_cannot_be_made_is_said_in_one_line(changes, says):
    with pytest.raises(InputError) as caught:
        shape(**changes)
    assert says in str(caught.value) and "\n" not in str(caught.value)
