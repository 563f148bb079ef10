"""Quantile tables against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from latentrun.functional.special.quantiles import AT_ONCE, QuantileTable, invert

E = torch.linspace(-6, 6, 241, dtype=torch.float64)


def logistic(t, tau):
    """Logistic of scale 1 + tau: heavier tails than a normal."""
    x = t / (1 + tau)
    return -x - 2 * torch.nn.functional.softplus(-x)


def quantile(e, tau):
    return (1 + tau) * (torch.special.log_ndtr(e) - torch.special.log_ndtr(-e))


def test_inversion_is_exact_in_both_tails():
    tau = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    t = invert(logistic, (-200.0, 200.0), tau, E)
    assert torch.allclose(t, quantile(E, tau.unsqueeze(1)), rtol=1e-9, atol=1e-9)


def test_table_and_its_gradient():
    table = QuantileTable(logistic, (-200.0, 200.0))
    tau = torch.tensor([0.0, 0.111, 0.7, 1.0], dtype=torch.float64, requires_grad=True)
    t = table(E.unsqueeze(1), tau)
    assert torch.allclose(t, quantile(E.unsqueeze(1), tau), atol=1e-6, rtol=1e-7)
    (slope,) = torch.autograd.grad((t * E.unsqueeze(1)).sum(), tau)
    truth = (quantile(E, torch.zeros(())) * E).sum()
    assert torch.allclose(slope, truth.expand(4), rtol=1e-7)
    # What lies beyond its reach is taken for its end; what is no number stays none.
    assert math.isfinite(table(torch.tensor(50.0), torch.tensor(0.5)))
    assert math.isnan(table(torch.tensor(0.0), torch.tensor(math.nan)))
    assert math.isnan(table(torch.tensor(math.nan), torch.tensor(0.5)))


def test_many_draws_as_few():
    """Draws are taken a part at a time where they are many."""
    table = QuantileTable(logistic, (-200.0, 200.0))
    e, tau = torch.linspace(-5, 5, AT_ONCE + 1), torch.linspace(0, 1, AT_ONCE + 1)
    assert torch.allclose(table(e, tau)[:99], table(e[:99], tau[:99]), rtol=1e-12)


MADE = []


def made_within(tau):
    """A table whose first use, when it is made, is within a transform; it is used after that too."""
    if not MADE:
        MADE.append(QuantileTable(lambda t, tau: -0.5 * (t - tau).square(), (-30.0, 30.0)))
    return MADE[0](torch.tensor(0.2), tau)


# torch's own forward mode compiles with what it has deprecated.
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_table_under_transforms():
    table = QuantileTable(lambda t, tau: -0.5 * (t - tau).square(), (-30.0, 30.0))
    tau = torch.tensor([[0.1, 0.9], [0.4, 0.2]])
    e = torch.tensor([[1.0, -1.0], [0.5, 2.0], [0.0, 0.3]])
    both = torch.func.vmap(lambda tau: table(e, tau), randomness="same")(tau)
    assert torch.allclose(both, torch.stack([table(e, row) for row in tau]))
    slope = torch.func.vmap(torch.func.grad(lambda tau: table(e, tau).sum()))(tau)
    assert torch.allclose(slope, torch.full((2, 2), 3.0))  # T = e + tau
    _, tangent = torch.func.jvp(lambda tau: table(e, tau), (tau[0],), (torch.ones(2),))
    assert torch.allclose(tangent, torch.ones(3, 2).double())
    slope = torch.func.grad(lambda tau: made_within(tau))(torch.tensor(0.5))
    assert slope.item() == pytest.approx(1)
    with torch.inference_mode():
        table = QuantileTable(lambda t, tau: -0.5 * (t - tau).square(), (-30.0, 30.0))
    for use in (made_within, lambda tau: table(torch.tensor(0.2), tau)):
        leaf = torch.tensor(0.5, requires_grad=True)
        use(leaf).backward()
        assert leaf.grad is not None and leaf.grad.item() == pytest.approx(1)
