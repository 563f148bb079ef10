from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from scipy.stats import multivariate_t

from latentrun.data.base import SPLITS
from latentrun.data.heatmaps import Heatmaps, HeatmapsT
from latentrun.errors import InputError

ROOT = Path(__file__).parents[2]
DEGREES = (2.0, 200.0)


def make(cls=HeatmapsT, option="heatmaps_t", **changes):
    arguments = yaml.safe_load((ROOT / f"conf/data/{option}.yaml").read_text())
    assert arguments.pop("_target_") == f"latentrun.data.heatmaps.{cls.__name__}"
    return cls(**{**arguments, **changes})


@pytest.fixture(scope="module")
def data():
    return make()


@pytest.fixture(scope="module")
def some(data):
    """Every 40th scale matrix with either kind of tail, exact to float64."""
    y = data._table()[::40].repeat(2, 1)
    y[: len(y) // 2, 3], y[len(y) // 2 :, 3] = 0, 1
    return y, data.render(y)


def scipy_picture(r, v1, v2, kind, size=36, extent=3.0):
    side = np.linspace(-extent, extent, size)
    points = np.stack(np.meshgrid(side, side[::-1]), -1)
    across = r * np.sqrt(v1 * v2)
    density = multivariate_t(np.zeros(2), [[v1, across], [across, v2]], df=DEGREES[int(kind)]).pdf(points)
    return density / density.max()


# ---------------------------------------------------------------- pictures
def test_pictures_are_scipys(data):
    for name in SPLITS:
        split = data.split(name)
        rows = torch.linspace(0, len(split.x) - 1, 40).long()
        table = data._table()[split.index[rows]]
        assert set(table[:, 3].tolist()) == {0.0, 1.0}
        for row, y in zip(split.x[rows, 0].numpy(), table.tolist(), strict=True):
            np.testing.assert_allclose(row, scipy_picture(*y), rtol=0, atol=1e-6)


def test_render_is_scipys_to_float64(data):
    y = torch.tensor([[0.4, 1.0, 2.0, 0.0], [-0.9, 0.3, 4.0, 1.0]], dtype=torch.float64)
    for picture, row in zip(data.render(y)[:, 0].numpy(), y.tolist(), strict=True):
        np.testing.assert_allclose(picture, scipy_picture(*row), rtol=1e-10)


def test_render_is_differentiable_in_the_matrix(data):
    y = torch.tensor([[0.3, 1.0, 2.0]], dtype=torch.float64, requires_grad=True)
    for kind in (0.0, 1.0):
        assert torch.autograd.gradcheck(
            lambda y, kind=kind: data.render(torch.cat([y, y.new_full((1, 1), kind)], 1)), (y,)
        )


def test_many_degrees_of_freedom_are_the_normal_density(data):
    endless, normal = make(degrees={"above": 2, "below": 1e9}), make(Heatmaps, "heatmaps")
    y = normal._table()[::500]
    torch.testing.assert_close(
        endless.render(torch.cat([y, torch.ones(len(y), 1)], 1)), normal.render(y), rtol=0, atol=1e-7
    )


# ---------------------------------------------------------------- the rule
def test_the_grid_of_matrices_is_that_of_the_normal_densities(data):
    assert torch.equal(data._table()[:, :3], make(Heatmaps, "heatmaps")._table())
    assert torch.equal(data.split("test").index, make(Heatmaps, "heatmaps").split("test").index)


def test_the_rule_decides_with_uniform_noise(data):
    """P((v1 + v2)^2 - l > 20) = ((v1 + v2)^2 - 20) / 10 between 20 and 30; below never, above always."""
    table = data._table()
    square, few = (table[:, 1] + table[:, 2]).square(), table[:, 3] == 0
    assert not few[square <= 20].any() and few[square >= 30].all()
    between = (square > 20) & (square < 30)
    chance = (square[between] - 20) / 10
    # Sum of independent Bernoulli draws: within four standard deviations, also in the lower and the upper
    # half.
    for half in (chance <= 0.5, chance > 0.5):
        p = chance[half]
        assert abs(few[between][half].sum() - p.sum()) < 4 * (p * (1 - p)).sum().sqrt()


def test_either_side_may_have_the_fewer_degrees(data):
    other = make(degrees={"above": 200, "below": 2})
    assert torch.equal(other._table()[:, 3], 1 - data._table()[:, 3])
    assert other.factors == data.factors and data.factors[3].categories == ("2", "200")
    assert "l ~ U(0, 10), have 2 degrees of freedom, the others 200" in data.notes[0]
    assert "l ~ U(0, 10), have 200 degrees of freedom, the others 2" in other.notes[0]


def test_without_jitter_the_sum_of_variances_decides():
    table = make(jitter=0.0)._table()
    assert torch.equal(table[:, 3] == 0, (table[:, 1] + table[:, 2]).square() > 20)


def test_the_seed_fixes_the_noise_of_the_rule(data):
    assert torch.equal(make()._table(), data._table())
    assert not torch.equal(make(seed=1)._table()[:, 3], data._table()[:, 3])


def test_labels_are_the_fourth_factor(data):
    for name in SPLITS:
        split = data.split(name)
        assert torch.equal(split.labels, split.y[:, 3].long()) and torch.equal(
            split.y.double()[:, 3], data._table()[split.index, 3]
        )
    assert data.label == "dof" and [factor.name for factor in data.factors][3] == "dof"


def test_pieces_are_the_kinds_that_occur():
    assert make().betti[0] == 2 and make().intrinsic_dim == 3
    for threshold in (0.0, 97.0):  # (v1 + v2)^2 lies between 0.04 and 96.04
        assert make(threshold=threshold, jitter=0.0).betti[0] == 1
        assert len(make(threshold=threshold, jitter=0.0)._table()[:, 3].unique()) == 1


def test_random_matrices():
    table = make(sampling="random", n=400)._table()
    assert (
        torch.equal(table[:, :3], make(Heatmaps, "heatmaps", sampling="random", n=400)._table())
        and 0.2 < table[:, 3].mean() < 0.8
    )


@pytest.mark.parametrize(
    ("degrees", "said"),
    [
        (
            {"above": 2, "below": 2.0},
            "data.degrees: above and below are both 2; two kinds need two different numbers",
        ),
        ({"above": 0, "below": 200}, r"data\.degrees\.above: 0 given; a finite number above 0"),
        ({"above": 2, "below": float("inf")}, r"data\.degrees\.below: inf given"),
        ({"above": 2}, r"data\.degrees\.below: None given"),
        ({"above": 2, "belw": 200}, r"key of data\.degrees 'belw' \(did you mean 'below'\?\)"),
    ],
)
def test_bad_degrees_are_named_in_one_line(degrees, said):
    with pytest.raises(InputError, match=said) as error:
        make(degrees=degrees)
    assert "\n" not in str(error.value)


# ---------------------------------------------------------------- projection
@pytest.mark.parametrize("options", [{}, {"amplitude": True}, {"bounded": True}])
def test_members_are_recovered_with_their_tails(data, some, options):
    y, x = some
    found = data.project(x, **options)
    assert (found.factors - y).abs().max() < 1e-6
    assert found.residual.max() < 1e-9 and found.inside.all()
    torch.testing.assert_close(found.amplitude, torch.ones_like(found.amplitude))


def test_members_rounded_to_float32_are_recovered(data):
    rows = data.split("test")
    found = data.project(rows.x[:300])
    assert (found.factors - data._table()[rows.index[:300]]).abs().max() < 1e-6


def test_members_beyond_the_ranges(data):
    y = torch.tensor(
        [[0.95, 2.0, 1.0, 0.0], [-0.3, 9.0, 0.4, 1.0], [0.2, 30.0, 20.0, 0.0]], dtype=torch.float64
    )
    free, bounded = data.project(data.render(y)), data.project(data.render(y), bounded=True)
    torch.testing.assert_close(free.factors, y, rtol=1e-6, atol=1e-6)
    assert not free.inside.any() and bounded.inside.all() and (bounded.residual > 1e-3).all()


def test_brightness_is_fitted_where_asked(data, some):
    y, x = some[0][::20], some[1][::20]
    found = data.project(0.4 * x, amplitude=True)
    torch.testing.assert_close(found.amplitude, torch.full((len(x),), 0.4, dtype=torch.float64))
    torch.testing.assert_close(found.factors, y, rtol=0, atol=1e-6)


def test_the_better_kind_is_chosen_and_the_residual_is_its_own(data, some):
    """A mixture of both kinds with one matrix is nearer to the kind it holds more of; each kind alone does no
    better."""
    y = some[0][: len(some[0]) // 2 : 20]
    few, many = data.render(y), data.render(torch.cat([y[:, :3], torch.ones(len(y), 1)], 1))
    for share, kind in ((0.9, 0.0), (0.1, 1.0)):
        x = share * few + (1 - share) * many
        found = data.project(x)
        assert (found.factors[:, 3] == kind).all()
        missed = (x - data.render(found.factors)).flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)
        torch.testing.assert_close(found.residual, missed)
        assert (
            found.residual
            <= (x - (few if kind == 0 else many)).flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1) + 1e-9
        ).all()


def test_anything_gets_a_finite_answer(data):
    g = torch.Generator().manual_seed(0)
    x = torch.cat(
        [torch.randn(4, 1, 36, 36, generator=g), torch.zeros(1, 1, 36, 36), -torch.ones(1, 1, 36, 36)]
    )
    x = torch.cat([x, torch.full((1, 1, 36, 36), torch.nan)])
    found = data.project(x)
    assert found.factors.isfinite().all() and found.residual[:6].isfinite().all()
    assert found.residual[4] == 1 and found.residual[6] == torch.inf
