"""Ordered and mixed laws against torch's own and against explicit sums."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Bernoulli, Normal, OneHotCategorical

from latentrun.distributions.mixed import Layout, Mixed, OrderedLogistic
from latentrun.types import Column

INF = torch.inf
THETA = torch.tensor([-1.0, 0.5, 2.0])


def test_ordered_probabilities_are_differences_of_the_cumulative_ones_and_sum_to_one():
    eta = torch.linspace(-4, 4, 9, dtype=torch.float64)
    law = OrderedLogistic(eta, THETA.double())
    log_p = torch.stack([law.log_prob(torch.full((9,), k)) for k in range(4)])
    below = torch.cat([torch.zeros(1, 9), torch.sigmoid(THETA.double()[:, None] - eta), torch.ones(1, 9)])
    assert torch.allclose(log_p.exp(), below.diff(dim=0).double(), atol=1e-7)
    assert torch.allclose(log_p.exp().sum(0), torch.ones(9, dtype=torch.float64))
    levels = torch.arange(4.0).double()[:, None]
    assert torch.allclose(law.mean, (levels * log_p.exp()).sum(0))
    assert torch.allclose(law.variance, (levels.square() * log_p.exp()).sum(0) - law.mean.square())


def test_tails_keep_their_digits_and_gradients():
    eta = torch.tensor([-80.0, 80.0], requires_grad=True)
    found = OrderedLogistic(eta, THETA).log_prob(torch.tensor([3, 1]))
    # P(y > 2) -> exp(eta - theta_2); P(y = 1) -> (exp(theta_1) - exp(theta_0)) exp(-eta)
    expected = torch.tensor([-82.0, -80 + (THETA[1].exp() - THETA[0].exp()).log()])
    assert torch.allclose(found, expected, rtol=1e-6)
    found.sum().backward()
    assert torch.allclose(eta.grad, torch.tensor([1.0, -1.0]))


def test_thresholds_at_infinity_are_levels_that_do_not_exist():
    eta, thresholds = torch.tensor([[0.3, -0.7]]), torch.tensor([[-1.0, 0.5, 2.0], [0.4, INF, INF]])
    thresholds.requires_grad_()
    law = OrderedLogistic(eta, thresholds)
    expected = torch.sigmoid(torch.tensor(-0.7 - 0.4))
    assert law.log_prob(torch.tensor([[2, 1]]))[0, 1].exp().item() == pytest.approx(expected.item(), rel=1e-5)
    assert law.mean[0, 1].item() == pytest.approx(expected.item(), rel=1e-5)
    law.log_prob(torch.tensor([[3, 1]])).sum().backward()
    assert torch.isfinite(thresholds.grad).all()


def test_ordered_samples_have_the_law():
    law = OrderedLogistic(torch.tensor(0.8), THETA)
    drawn = law.sample((20_000,))
    shares = torch.bincount(drawn, minlength=4) / 20_000
    expected = torch.stack([law.log_prob(torch.tensor(k)) for k in range(4)]).exp()
    assert (shares - expected).abs().max() < 0.012


COLUMNS = (
    Column("a", "categorical", 0, 3, ("x", "y", "z")),
    Column("b", "real", 3),
    Column("c", "ordinal", 4, 1, ("1", "2", "3", "4"), mean=1.4, scale=0.9),
    Column("d", "categorical", 5, 2, ("no", "yes")),
    Column("e", "real", 7),
    Column("f", "ordinal", 8, 1, ("no", "yes"), mean=0.3, scale=0.46),
)
THRESHOLDS = torch.tensor([[-1.0, 0.5, 2.0], [0.4, INF, INF]])
SCALE = torch.tensor([0.5, 2.0])


def rows(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random encoded rows and their (a, c, d, f)."""
    picked = torch.stack([torch.randint(k, (n,)) for k in (3, 4, 2, 2)], 1)
    x = torch.zeros(n, 9)
    x[torch.arange(n), picked[:, 0]] = 1
    x[torch.arange(n), 5 + picked[:, 2]] = 1
    x[:, 3], x[:, 7] = torch.randn(n), torch.randn(n)
    x[:, 4], x[:, 8] = (picked[:, 1] - 1.4) / 0.9, (picked[:, 3] - 0.3) / 0.46
    return x, picked


def test_mixed_is_the_product_of_torchs_laws():
    x, picked = rows(40)
    out = 3 * torch.randn(40, 9)
    law = Mixed(Layout(COLUMNS), out, SCALE, THRESHOLDS)
    assert law.batch_shape == (40,) and law.event_shape == (9,)
    expected = (
        OneHotCategorical(logits=out[:, :3]).log_prob(x[:, :3])
        + Normal(out[:, 3], 0.5).log_prob(x[:, 3])
        + OrderedLogistic(out[:, 4], THRESHOLDS[0]).log_prob(picked[:, 1])
        + OneHotCategorical(logits=out[:, 5:7]).log_prob(x[:, 5:7])
        + Normal(out[:, 7], 2.0).log_prob(x[:, 7])
        + Bernoulli(logits=out[:, 8] - 0.4).log_prob(picked[:, 3].float())
    )
    assert torch.allclose(law.log_prob(x), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(law.level(x), picked[:, [1, 3]])
    assert torch.isfinite(
        law.log_prob(torch.full((40, 9), 50.0))
    ).all()  # off any level: the nearest one counts


def test_extreme_logits_neither_overflow_nor_mix():
    out = torch.zeros(1, 9)
    out[0, :3], out[0, 5:7] = torch.tensor([500.0, 0.0, -500.0]), torch.tensor([-900.0, -901.0])
    law = Mixed(Layout(COLUMNS), out, SCALE, THRESHOLDS)
    assert law.mean[0, :3].tolist() == pytest.approx([1, 0, 0])
    assert law.mean[0, 5].item() == pytest.approx(torch.sigmoid(torch.tensor(1.0)).item(), rel=1e-3)


def test_moments_and_samples_of_mixed_rows_agree():
    law = Mixed(Layout(COLUMNS), torch.randn(3, 9), SCALE, THRESHOLDS)
    drawn = law.sample((20_000,))
    assert drawn.shape == (20_000, 3, 9)
    assert set(drawn[..., :3].sum(-1).unique().tolist()) == {1.0}
    assert (drawn.mean(0) - law.mean).abs().max() < 0.06
    assert (drawn.var(0) / law.variance - 1).abs().max() < 0.08


@pytest.mark.parametrize("kind", ["real", "ordinal", "categorical"])
def test_tables_of_one_kind(kind):
    columns = [column for column in COLUMNS if column.kind == kind]
    x, _ = rows(5)
    keep = [i for column in columns for i in range(column.start, column.start + column.width)]
    start, moved = 0, []
    for column in columns:
        moved.append(
            Column(column.name, kind, start, column.width, column.categories, column.mean, column.scale)
        )
        start += column.width
    n = {"real": 2, "ordinal": 2}
    scale, thresholds = (
        SCALE[: n["real"] if kind == "real" else 0],
        THRESHOLDS[: n["ordinal"] if kind == "ordinal" else 0],
    )
    law = Mixed(Layout(moved), torch.zeros(5, len(keep)), scale, thresholds)
    assert law.log_prob(x[:, keep]).shape == (5,) and law.mean.shape == (5, len(keep)) == law.sample().shape
    if kind == "categorical":
        assert law.log_prob(x[:, keep]).tolist() == pytest.approx(
            [-torch.log(torch.tensor(6.0)).item()] * 5, rel=1e-5
        )
