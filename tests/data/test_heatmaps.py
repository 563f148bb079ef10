from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from scipy.optimize import least_squares
from scipy.stats import multivariate_normal

from latentrun.data.base import SPLITS
from latentrun.data.heatmaps import Heatmaps
from latentrun.errors import InputError

ROOT = Path(__file__).parents[2]


def make(**changes):
    arguments = yaml.safe_load((ROOT / "conf/data/heatmaps.yaml").read_text())
    assert arguments.pop("_target_") == "latentrun.data.heatmaps.Heatmaps"
    return Heatmaps(**{**arguments, **changes})


@pytest.fixture(scope="module")
def data():
    return make()


@pytest.fixture(scope="module")
def some(data):
    """Every 6th member, exact to float64."""
    y = data._table()[::6]
    return y, data.render(y)


def scipy_picture(r, v1, v2, size=36, extent=3.0):
    side = np.linspace(-extent, extent, size)
    points = np.stack(np.meshgrid(side, side[::-1]), -1)
    across = r * np.sqrt(v1 * v2)
    density = multivariate_normal.pdf(points, (0, 0), ((v1, across), (across, v2)))
    return density / density.max()


def strange():
    """Pictures that are no ellipse: two blobs, an off-centre blob, mixtures, a ring, a square, a cross (kink
    at r = 0)."""
    side = torch.linspace(-3, 3, 36, dtype=torch.float64)
    y, x = torch.meshgrid(-side, side, indexing="ij")

    def blob(a, b, s):
        return torch.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * s))

    return torch.stack(
        [
            blob(1, 1, 0.3) + blob(-1.2, -0.5, 0.2),
            blob(0.6, -0.4, 0.5),
            torch.from_numpy(0.5 * scipy_picture(0.85, 3, 0.5) + 0.5 * scipy_picture(-0.6, 0.4, 2)),
            torch.exp(-(((x * x + y * y).sqrt() - 1) ** 2) / 0.2),
            ((x.abs() < 1) & (y.abs() < 1.3)).double(),
            ((x.abs() < 0.5) | (y.abs() < 0.2)).double(),
        ]
    )[:, None]


# ---------------------------------------------------------------- pictures
def test_pictures_are_scipys(data):
    for name in SPLITS:
        split = data.split(name)
        rows = torch.linspace(0, len(split.x) - 1, 40).long()
        for row, y in zip(split.x[rows, 0].numpy(), data._table()[split.index[rows]].tolist(), strict=True):
            np.testing.assert_allclose(row, scipy_picture(*y), rtol=0, atol=1e-6)


def test_the_study_has_11875_pictures(data):
    table = data._table()
    assert table.shape == (11875, 3)
    assert [len(data.split(name).x) for name in SPLITS] == [8550, 950, 2375]
    r, v1, v2 = (column.unique().tolist() for column in table.T)
    assert r == [round(-0.95 + 0.1 * k, 2) for k in range(19)]
    assert v1 == v2 == [round(0.1 + 0.2 * k, 1) for k in range(25)]
    assert [factor.name for factor in data.factors] == ["correlation", "variance_x", "variance_y"]


def test_orientation(data):
    x = data.render(torch.tensor([[0.0, 4.0, 0.5], [0.0, 0.5, 4.0], [0.8, 2.0, 2.0]], dtype=torch.float64))[
        :, 0
    ]
    assert x[0, 18, 0] > 10 * x[0, 0, 18]  # a large variance_x is wide: the middle row reaches the frame
    assert x[1, 0, 18] > 10 * x[1, 18, 0]
    assert (
        x[2, 5, 30] > 1e3 * x[2, 5, 5]
    )  # positive correlation: bright in the upper right, dark in the upper left


def test_maximum_is_on_the_grid(data):
    assert all((data.split(name).x.flatten(1).amax(1) == 1).all() for name in SPLITS)
    assert all(data.split(name).x.min() >= 0 for name in SPLITS)


def test_generation_and_render_agree(data):
    split = data.split("test")
    torch.testing.assert_close(split.x, data.render(data._table()[split.index]).float(), rtol=0, atol=1e-6)
    torch.testing.assert_close(split.y.double(), data._table()[split.index], rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [7, 64])
def test_any_grid(size):
    x = make(size=size, extent=2.0).render(torch.tensor([[0.4, 1.0, 2.0]], dtype=torch.float64))
    np.testing.assert_allclose(x[0, 0].numpy(), scipy_picture(0.4, 1, 2, size, 2.0), atol=1e-12)


def test_render_is_differentiable(data):
    y = torch.tensor([[0.3, 1.0, 2.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(data.render, (y,))


# ---------------------------------------------------------------- splits
def test_splits_are_disjoint_complete_and_seeded(data):
    index = torch.cat([data.split(name).index for name in SPLITS])
    assert torch.equal(index.sort().values, torch.arange(11875))
    again, other = make(), make(seed=1)
    assert torch.equal(again.split("test").index, data.split("test").index)
    assert not torch.equal(other.split("test").index, data.split("test").index)


def test_validation_never_moves_a_test_row(data):
    assert torch.equal(make(val_fraction=0.3).split("test").x, data.split("test").x)


def test_random_sampling():
    data = make(sampling="random", n=500)
    y = torch.cat([data.split(name).y for name in SPLITS])
    assert len(y) == 500 and len(y[:, 1].unique()) == 500
    for column, low, high in zip(y.T, (-0.95, 0.1, 0.1), (0.85, 4.9, 4.9), strict=True):
        assert column.min() >= low and column.max() <= high
        assert abs(column.mean() - (low + high) / 2) < 4 * (high - low) / np.sqrt(
            12 * 500
        )  # four standard errors
    assert torch.equal(make(sampling="random", n=500).split("train").x, data.split("train").x)


@pytest.mark.parametrize(
    ("key", "values", "said"),
    [
        (
            "correlation",
            {"low": -1.2, "high": 0.85, "step": 0.1},
            r"data\.correlation: .*\|r\| must be below 1",
        ),
        (
            "correlation",
            {"low": 0.5, "high": 0.1, "step": 0.1},
            r"data\.correlation: low 0.5 is above high 0.1",
        ),
        (
            "variance_x",
            {"low": 0.0, "high": 4.9, "step": 0.2},
            r"data\.variance_x: .*variance must be above 0",
        ),
        ("variance_y", {"low": 0.1, "high": 4.9, "step": 0.0}, r"data\.variance_y\.step: 0 given"),
        (
            "variance_y",
            {"low": 0.1, "high": 4.9, "stepp": 0.2},
            r"key of data\.variance_y 'stepp' \(did you mean 'step'\?\)",
        ),
        ("variance_x", {"low": 0.1, "high": float("nan"), "step": 0.2}, r"data\.variance_x\.high: nan given"),
        ("sampling", "gird", r"data\.sampling 'gird' \(did you mean 'grid'\?\)"),
    ],
)
def test_bad_arguments_are_named_in_one_line(key, values, said):
    with pytest.raises(InputError, match=said) as error:
        make(**{key: values})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("n", [200, 100_000])
def test_a_number_that_a_grid_does_not_have_is_refused(n):
    with pytest.raises(InputError, match=f"data.n: {n:,} given; data.sampling=grid makes 11,875 pictures"):
        make(n=n)


def test_the_number_of_pictures_is_that_of_the_sampling():
    assert make().n == make(n=11_875).n == 11_875 and make(sampling="random", n=7).n == 7
    with pytest.raises(InputError, match="data.n: null given; data.sampling=random needs a number"):
        make(sampling="random")


# ---------------------------------------------------------------- projection
@pytest.mark.parametrize("options", [{}, {"amplitude": True}, {"bounded": True}])
def test_members_are_recovered(data, some, options):
    y, x = some
    found = data.project(x, **options)
    assert (found.factors - y).abs().max() < 1e-6
    assert found.residual.max() < 1e-10 and found.inside.all()
    torch.testing.assert_close(found.amplitude, torch.ones_like(found.amplitude))


def test_members_rounded_to_float32_are_recovered(data, some):
    y, x = some
    found = data.project(x.float())
    assert (found.factors - y).abs().max() < 1e-6 and found.inside.all()


def test_members_beyond_the_ranges(data):
    y = torch.tensor(
        [[0.97, 2.0, 1.0], [-0.3, 9.0, 0.4], [0.2, 0.05, 1.0], [0.0, 30.0, 20.0]], dtype=torch.float64
    )
    free, bounded = data.project(data.render(y)), data.project(data.render(y), bounded=True)
    torch.testing.assert_close(free.factors, y, rtol=1e-6, atol=1e-6)
    assert not free.inside.any() and bounded.inside.all()
    assert (bounded.residual > 1e-3).all()
    low, high = data.family.ranges(y)
    assert ((bounded.factors >= low) & (bounded.factors <= high)).all()


def test_amplitude(data, some):
    y, x = some[0][::50], some[1][::50]
    found = data.project(0.4 * x, amplitude=True)
    torch.testing.assert_close(found.amplitude, torch.full((len(x),), 0.4, dtype=torch.float64))
    torch.testing.assert_close(found.factors, y, rtol=0, atol=1e-6)
    assert (data.project(0.4 * x).residual > 0.1).all()


@pytest.mark.parametrize("size", [9, 20])
def test_other_grids_are_recovered(size):
    data = make(size=size)
    y = torch.tensor([[0.6, 1.0, 2.0], [-0.7, 3.0, 0.8]], dtype=torch.float64)
    torch.testing.assert_close(data.project(data.render(y)).factors, y, rtol=0, atol=1e-6)


def test_residual_is_what_it_says(data):
    x = strange()
    for options in ({}, {"amplitude": True}, {"bounded": True}):
        found = data.project(x, **options)
        missed = x - found.amplitude[:, None, None, None] * data.render(found.factors)
        torch.testing.assert_close(found.residual, missed.flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1))


@pytest.mark.parametrize("bounded", [False, True])
def test_never_worse_than_scipy_from_many_starts(data, bounded):
    x = strange()
    found = data.project(x, bounded=bounded)
    low, high = (
        ([-0.95, 0.1, 0.1], [0.85, 4.9, 4.9]) if bounded else ([-0.9999, 1e-3, 1e-3], [0.9999, 1e4, 1e4])
    )
    generator = np.random.default_rng(0)
    starts = generator.uniform([-0.8, 0.15, 0.15], [0.8, 4, 4], (12, 3))
    side = np.linspace(-3, 3, 36)
    b, a = np.meshgrid(side[::-1], side, indexing="ij")
    for picture, residual in zip(x[:, 0].numpy(), found.residual.tolist(), strict=True):

        def missed(y, picture=picture):
            r, v1, v2 = y
            q = (a * a / v1 - 2 * r * a * b / np.sqrt(v1 * v2) + b * b / v2) / (1 - r * r)
            return (np.exp((q.min() - q) / 2) - picture).ravel()

        cost = min(
            least_squares(missed, start, bounds=(low, high), x_scale=(0.3, 1, 1)).cost for start in starts
        )
        assert residual <= np.sqrt(2 * cost) / np.linalg.norm(picture) * (1 + 1e-6)


@pytest.mark.parametrize("options", [{}, {"amplitude": True}, {"bounded": True}])
def test_anything_gets_a_finite_answer(data, options):
    g = torch.Generator().manual_seed(0)
    noise = torch.randn(8, 1, 36, 36, generator=g)
    flat = torch.tensor([0.0, 1.0, 0.3, -1.0]).view(4, 1, 1, 1).expand(4, 1, 36, 36)
    x = torch.cat(
        [noise, -noise.abs(), flat, 1e15 * noise[:2], -data.render(torch.tensor([[0.5, 1.0, 1.0]]))]
    )
    found = data.project(x, **options)
    for column in (found.factors, found.residual, found.amplitude):
        assert column.isfinite().all()
    assert (found.factors[:, 0].abs() < 1).all() and (found.factors[:, 1:] > 0).all()
    assert (found.residual[:8] > 0.95).all() and (found.residual[:8] < 1.05).all()
    assert found.residual[16] == 1  # blank


def test_pixels_that_are_not_finite_read_as_infinitely_far(data):
    x = data.render(torch.tensor([[0.5, 1.0, 1.0], [0.5, 1.0, 1.0]]))
    x[1, 0, 3, 3] = torch.nan
    found = data.project(x)
    assert found.residual[0] < 1e-5 and found.residual[1] == torch.inf and found.factors.isfinite().all()
