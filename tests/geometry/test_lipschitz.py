"""Bounds of Lipschitz constants, where these are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from latentrun.functional.noise import Noise
from latentrun.geometry.lipschitz import NotBounded, norm_of, operator_norm, steepest, upper_bound
from latentrun.manifolds import Sphere
from tests.conformance import parts

X = Noise(0).normal("x", (6, 5))
PICTURES = Noise(0).normal("pictures", (3, 2, 7, 6))


def slopes(function, x, iterations=60):
    return steepest(function, x, Noise(0).normal("start", tuple(x.shape)), iterations)


def seeded(layer):
    generator = torch.Generator().manual_seed(1)
    for p in layer.parameters():
        p.data = torch.randn(p.shape, generator=generator)
    return layer.requires_grad_(False)


def matrix(function, shape) -> torch.Tensor:
    """A linear map of single examples, written out."""
    basis = torch.eye(math.prod(shape)).view(-1, *shape)
    return (function(basis) - function(torch.zeros_like(basis))).flatten(1).T


def test_a_linear_map_has_its_largest_singular_value_on_both_sides():
    layer = seeded(nn.Linear(5, 4))
    exact = torch.linalg.svdvals(layer.weight)[0].item()
    assert upper_bound(layer, X) == pytest.approx(exact, rel=1e-6)
    assert slopes(layer, X).tolist() == pytest.approx([exact] * 6, rel=1e-4)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(2, 3, 3, padding=1),
        nn.Conv2d(2, 3, 3, stride=2),
        nn.ConvTranspose2d(2, 3, 4, stride=2, padding=1),
        nn.AvgPool2d(2),
        nn.Upsample(scale_factor=2),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_operators_on_pictures_have_the_norm_of_their_matrix(layer):
    layer = seeded(layer)
    exact = torch.linalg.svdvals(matrix(layer, (2, 7, 6)))[0].item()
    found = upper_bound(layer, PICTURES)
    assert exact <= found <= 1.002 * exact
    # The norm of the kernel as a matrix, which others take for it, is another.
    if isinstance(layer, nn.Conv2d):
        assert abs(norm_of(layer.weight.flatten(1)) - exact) > 0.05 * exact


def test_networks_on_a_line_lie_between_the_bounds():
    for seed in range(8):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))
        net.requires_grad_(False)
        t = torch.linspace(-4, 4, 20_001).unsqueeze(1)
        true = ((net(t[1:]) - net(t[:-1])).abs() / (t[1:] - t[:-1])).max().item()
        lower = slopes(net, t[::200], 3).max().item()
        assert lower <= true * (1 + 1e-2) and true <= upper_bound(net, t) * (1 + 1e-2)
        assert lower > 0.5 * true


def test_each_step_counts_as_its_constant():
    layer = seeded(nn.BatchNorm1d(5)).eval()
    layer.running_var.fill_(4.0)
    known = {
        3.0: lambda x: (3 * x).relu(),
        0.5: lambda x: torch.sigmoid(2 * x),
        2.0: lambda x: x + x.tanh(),
        math.sqrt(2): lambda x: torch.cat([x, x.abs()], 1),
        0.25: lambda x: x.flatten(1)[:, :3] / 4,
        layer.weight.abs().max().item() / math.sqrt(4 + layer.eps): layer,
        1.0: lambda x: F.leaky_relu(x, 0.2),
    }
    for bound, function in known.items():
        assert upper_bound(function, X) == pytest.approx(bound, rel=1e-5)
        assert slopes(function, X).max().item() <= bound * (1 + 1e-5)
    assert upper_bound(lambda x: F.max_pool2d(x, 2), PICTURES) == 1.0
    assert upper_bound(lambda x: F.max_pool2d(x, 3, 2), PICTURES) == 2.0


def test_of_a_part_of_a_layer_only_its_rows_count():
    layer = seeded(nn.Linear(5, 4))
    layer.weight[2:] *= 100
    assert upper_bound(lambda x: layer(x).chunk(2, dim=1)[0], X) == pytest.approx(norm_of(layer.weight[:2]))


@pytest.mark.parametrize(
    ("function", "step"),
    [
        (lambda x: x / x.norm(dim=1, keepdim=True), "norm"),
        (lambda x: x * x, "two values that both change"),
        (torch.exp, "exp"),
        (lambda x: F.group_norm(x, 1), "group_norm"),
        (lambda x: x[:, [0, 0]], "__getitem__"),
    ],
)
def test_what_has_no_bound_is_refused_by_name(function, step):
    with pytest.raises(NotBounded, match=step):
        upper_bound(function, X)


def test_every_network_is_bounded_or_says_why_not():
    for network in parts.NETWORKS:
        model = parts.model("vae", parts.small("digits"), network).eval().requires_grad_(False)
        x, z = Noise(0).uniform("x", (4, *model.event_shape)), Noise(0).normal("z", (4, 3))
        for function, points in ((model.encode, x), (model.decode, z)):
            try:
                bound = upper_bound(function, points)
            except NotBounded as why:
                assert network in ("resnet", "draw"), (network, why)
                continue
            assert slopes(function, points, 10).max().item() <= bound * (1 + 1e-5), network


def test_directions_that_leave_the_space_do_not_count():
    z = Sphere(1).project(Noise(0).normal("z", (5, 2)))
    stretch = lambda z: z * (1 + 9 * z.square().sum(1, keepdim=True))  # noqa: E731  10 along the circle
    start = Noise(0).normal("start", (5, 2))
    assert steepest(stretch, z, start, 20, Sphere(1).tangent).tolist() == pytest.approx([10.0] * 5, rel=1e-4)
    assert steepest(stretch, z, start, 20).tolist() == pytest.approx([28.0] * 5, rel=1e-4)


def test_power_iteration_of_a_map_that_is_nothing_is_0():
    assert operator_norm(lambda x: 0 * x, torch.zeros(1, 3)) == 0 == upper_bound(lambda x: torch.ones(1), X)
    assert slopes(lambda x: 0 * x, X, 3).max() == 0
