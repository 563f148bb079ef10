"""Derivatives by pushing forward are those of torch's own reverse mode, whatever the network is made of."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import jacrev, vmap

from latentrun.geometry.push import Pushed, push
from latentrun.geometry.surface import Immersed


def conv() -> nn.Module:
    return nn.Sequential(
        nn.Linear(3, 8),
        nn.ReLU(),
        nn.Unflatten(1, (2, 2, 2)),
        nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1),
        nn.BatchNorm2d(3).eval(),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(3, 2, 3, padding=1, bias=False),
        nn.GroupNorm(1, 2),
        nn.AvgPool2d(2),
        nn.Sigmoid(),
    )


class Odd(nn.Module):
    """Branches, products, constants, softmax, and a view with the batch's length."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(3, 4)
        self.norm = nn.LayerNorm(4)

    def forward(self, z):
        a, b = self.norm(self.first(z)), self.second(input=z).view(len(z), -1)
        gate = torch.softmax(a, dim=1) * b + 0.5 * b.clamp(-1, 1) ** 2 - z[:, :1] / (1 + b.square())
        mean = torch.cat([gate, (a @ a.new_ones(4, 2)).exp()], dim=1)
        return mean, nn.functional.softplus(a.chunk(2, dim=1)[1]).sqrt()


class Arithmetic(nn.Module):
    """Sums, products and quotients, both ways round, with numbers and with tensors of other shapes."""

    def __init__(self):
        super().__init__()
        self.centers = nn.Parameter(torch.randn(5, 3))
        self.weight = nn.Parameter(torch.rand(5))

    def forward(self, z):
        apart = (z.unsqueeze(1) - self.centers).square().sum(2)
        near = (-self.weight * apart).exp()
        parts = [1 - near, near / (2 + apart), 3 / (1 + apart), self.weight - apart * 2, near * apart]
        parts += [apart / self.weight, near - apart, near + 0.5, 2 * near, apart**3, 1 + near.sqrt()]
        joined = torch.cat([*parts, (self.weight + near).reciprocal()], dim=-1)
        stacked = torch.stack([near, apart], dim=1).flatten(1)
        return torch.cat([joined, stacked, torch.cat([near, z.new_ones(len(z), 1)], dim=1)], dim=1)


MAPS = {
    "arithmetic": Arithmetic,
    "dense": lambda: nn.Sequential(
        nn.Linear(3, 7), nn.Tanh(), nn.Linear(7, 7), nn.ELU(), nn.Linear(7, 5), nn.GELU()
    ),
    "smooth": lambda: nn.Sequential(nn.Linear(3, 6), nn.SiLU(), nn.Linear(6, 6), nn.Mish(), nn.Linear(6, 4)),
    "conv": conv,
    "odd": Odd,
    "function": lambda: lambda z: torch.stack([z.sin().prod(1), z.norm(dim=1), z.new_ones(len(z))], dim=1),
}


@pytest.mark.parametrize("name", MAPS)
def test_the_derivatives_are_those_of_reverse_mode(name):
    torch.manual_seed(0)
    function = MAPS[name]()
    if isinstance(function, nn.Module):
        function = function.double().requires_grad_(False)
    z = torch.randn(6, 3, dtype=torch.float64)

    def rows(z):
        out = function(z[None])
        return torch.cat([part.flatten() for part in (out if isinstance(out, tuple) else (out,))])

    value, slopes = push(function, z, torch.eye(3, dtype=torch.float64))
    assert type(value) is torch.Tensor is type(slopes) and not isinstance(value, Pushed)
    assert torch.allclose(value, torch.stack([rows(row) for row in z]), atol=1e-12)
    assert torch.allclose(slopes, vmap(jacrev(rows))(z).permute(2, 0, 1), atol=1e-12)
    own = torch.randn(2, 6, 3, dtype=torch.float64)
    along = push(function, z, own)[1]
    assert torch.allclose(along, torch.einsum("knd,dnD->knD", own, slopes), atol=1e-12)


@pytest.mark.parametrize("layer", [nn.SiLU, nn.Mish, nn.GELU, nn.Tanh, nn.Softplus])
def test_the_second_derivative_is_that_of_differences(layer):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 8), layer(), nn.Linear(8, 5), layer()).double().requires_grad_(False)
    surface = Immersed(net, 2)
    z, v, w = torch.randn(3, 4, 2, dtype=torch.float64)
    ahead, behind = (push(net, z + h * v, w.unsqueeze(0))[1][0] for h in (1e-5, -1e-5))
    pulled = torch.einsum("dnD,nD->nd", surface.columns(z)[1], (ahead - behind) / 2e-5)
    expected = torch.linalg.solve(surface.metric(z), pulled)
    assert torch.allclose(surface.christoffel(z, v, w), expected, atol=1e-7)


def test_what_does_not_depend_on_the_point_has_no_slope():
    value, slopes = push(lambda z: torch.ones(len(z), 4), torch.zeros(5, 2), torch.eye(2))
    assert value.shape == (5, 4) and slopes.shape == (2, 5, 4) and not slopes.any()
