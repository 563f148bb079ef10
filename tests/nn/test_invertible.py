"""Maps that can be undone: their inverses and determinants against autograd's, and how they begin."""

from __future__ import annotations

import pytest
import torch

from latentrun.functional.noise import Noise
from latentrun.nn.invertible import ActNorm, Chain, Coupling, Mixing, MultiScale


def stirred(module: torch.nn.Module, amount: float = 0.15) -> torch.nn.Module:
    """As if it had been trained: every parameter moved."""
    with torch.no_grad():
        for i, p in enumerate(module.parameters()):
            p.add_(amount * Noise(7).normal(str(i), tuple(p.shape)))
    return module


def jacobians(function, x: torch.Tensor) -> torch.Tensor:
    """``(N, D, D)`` of a function of rows ``x (N, ...)``, each of which makes its own row alone."""
    of_sum = torch.autograd.functional.jacobian(lambda x: function(x).flatten(1).sum(0), x)
    return of_sum.flatten(2).transpose(0, 1)


MAPS = {
    "actnorm": lambda: ActNorm(4),
    "mixing": lambda: Mixing(4),
    "coupling": lambda: Coupling(5, hidden=3),
    "chain": lambda: Chain(ActNorm(4), Mixing(4), Coupling(4, hidden=3)),
    "multiscale": lambda: MultiScale((1, 4, 8), scales=2, steps=2, hidden=3),
}


@pytest.mark.parametrize("name", MAPS)
def test_the_inverse_undoes_it_and_the_determinant_is_that_of_its_jacobian(name):
    torch.manual_seed(0)
    shape = {"coupling": (5, 2, 3), "multiscale": (1, 4, 8)}.get(name, (4, 2, 3))
    module, x = stirred(MAPS[name]()), Noise(0).normal("x", (3, *shape))
    y, log_det = module(x)
    assert torch.allclose(module.inverse(y), x, atol=1e-5)
    expected = torch.linalg.slogdet(jacobians(lambda x: module.double()(x)[0], x.double())).logabsdet
    assert torch.allclose(log_det.double().expand(3), expected, atol=1e-4)
    assert expected.abs().max() > 0.01


def test_a_calibrated_norm_gives_its_channels_mean_0_and_variance_1_and_keeps_a_still_one():
    x = 3 + 5 * Noise(0).normal("x", (50, 3, 4, 4))
    x[:, 2] = 7.0
    norm = ActNorm(3)
    norm.calibrate(x)
    y, log_det = norm(x)
    assert torch.allclose(y[:, :2].mean((0, 2, 3)), torch.zeros(2), atol=1e-5)
    assert torch.allclose(y[:, :2].var((0, 2, 3), correction=0), torch.ones(2), atol=1e-4)
    assert torch.equal(y[:, 2], torch.zeros(50, 4, 4))
    assert log_det.item() == pytest.approx(
        -16 * x[:, :2].std((0, 2, 3), correction=0).log().sum().item(), 1e-4
    )


def test_calibration_reaches_every_norm_where_it_stands():
    torch.manual_seed(0)
    flow, x = MultiScale((2, 4, 4), scales=2, steps=2, hidden=4), 3 + 2 * Noise(0).normal("x", (200, 2, 4, 4))
    flow.calibrate(x)
    seen: dict[int, torch.Tensor] = {}
    norms = [module for module in flow.modules() if isinstance(module, ActNorm)]
    for i, norm in enumerate(norms):
        norm.register_forward_hook(lambda module, args, out, i=i: seen.update({i: out[0]}))
    flow(x)
    assert len(norms) == len(seen) == 4
    for y in seen.values():
        assert torch.allclose(y.mean((0, 2, 3)), torch.zeros(y.shape[1]), atol=1e-3)
        assert torch.allclose(y.std((0, 2, 3)), torch.ones(y.shape[1]), atol=1e-2)


def test_a_mixing_begins_as_a_rotation_and_a_coupling_as_nothing():
    torch.manual_seed(0)
    x = Noise(0).normal("x", (5, 4, 3, 3))
    y, log_det = Mixing(4)(x)
    assert torch.allclose(y.norm(dim=1), x.norm(dim=1), atol=1e-5) and abs(log_det.item()) < 1e-5
    y, log_det = Coupling(4, hidden=8)(x)
    assert torch.equal(y, x) and torch.equal(log_det, torch.zeros(5))


def test_what_leaves_early_hangs_on_what_stays_and_not_the_other_way():
    """z = (left, stayed): the last part is that of the coarsest scale."""
    torch.manual_seed(0)
    flow = stirred(MultiScale((1, 4, 4), scales=2, steps=1, hidden=4))
    z = Noise(0).normal("z", (1, 16))
    rows, _ = flow(flow.inverse(torch.cat([z, z + torch.eye(16)[:1]])))  # the first of those that left
    assert torch.allclose(rows[0, 1:], rows[1, 1:], atol=1e-5)
