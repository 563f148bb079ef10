"""Networks fit every event shape they accept, and say so where they do not."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from latentrun.config.build import build
from latentrun.config.options import shipped
from latentrun.errors import InputError, Misfit
from latentrun.models.base import Model
from latentrun.nn.base import Network
from latentrun.nn.conv import Conv
from latentrun.nn.dense import Dense, SmoothDense
from latentrun.nn.draw import Draw, Window
from latentrun.nn.resnet import Block, ResNet, repeated
from tests.conformance.parts import spec, values_in

SHAPES = [(1, 36, 36), (3, 32, 32), (1, 28, 28), (2, 13, 29), (1, 8, 8), (5, 17, 16), (3, 64, 48)]


STRIDES = [[1, 1], [2, 1], [1, 2], [3, 1]]
FITTING = [
    (shape, strides) for shape in SHAPES for strides in STRIDES if min(shape[1:]) >= 12 or strides == [1, 1]
]


@pytest.mark.parametrize("shape, strides", FITTING)
def test_conv_decodes_to_the_shape_it_encodes(shape, strides):
    network = Conv([4, 6], strides, [10])
    code = network.encoder(shape, 7)(torch.zeros(2, *shape))
    assert code.shape == (2, 7)
    assert network.decoder(7, shape)(code).shape == (2, *shape)


def test_conv_mirrors_channels_and_every_output_pixel_depends_on_the_code():
    decoder = Conv([4, 6], [2, 1], []).decoder(3, (1, 31, 29))
    z = torch.randn(200, 3, requires_grad=True)  # many: at one code all units of a corner may be off
    out = decoder(z)
    for row, column in ((0, 0), (30, 28), (15, 0), (30, 0)):
        (gradient,) = torch.autograd.grad(out[:, 0, row, column].sum(), z, retain_graph=True)
        assert gradient.abs().max() > 0
    kinds = [tuple(m.weight.shape[:2]) for m in decoder.modules() if isinstance(m, torch.nn.ConvTranspose2d)]
    assert kinds == [(6, 4), (4, 1)]


def test_conv_without_blocks_is_dense():
    network = Conv([], [], [5])
    assert network.decoder(2, (1, 4, 4))(network.encoder((1, 4, 4), 2)(torch.zeros(1, 1, 4, 4))).shape == (
        1,
        1,
        4,
        4,
    )


@pytest.mark.parametrize(
    "shape, message", [((10,), "needs pictures"), ((1, 3, 3), "2 blocks leave nothing of 3 x 3 pictures")]
)
def test_conv_says_what_does_not_fit(shape, message):
    with pytest.raises(InputError, match=message):
        Conv([4, 6], [1, 1], []).encoder(shape, 2)


@pytest.mark.parametrize("shape", [*SHAPES, (7,), (2, 3)])
@pytest.mark.parametrize("widths", [[], [5], [9, 5, 4]])
def test_dense_takes_any_shape_and_widths(shape, widths):
    network = Dense(widths)
    encoder, decoder = network.encoder(shape, 3), network.decoder(3, shape)
    assert decoder(encoder(torch.zeros(2, *shape))).shape == (2, *shape)
    linear = [m.out_features for m in encoder.modules() if isinstance(m, torch.nn.Linear)]
    assert linear == [*widths, 3]
    assert sum(isinstance(m, torch.nn.ReLU) for m in encoder) == len(widths)


@pytest.mark.parametrize("channels", [[8, 16], [8, 16, 32, 32]])
def test_the_signal_neither_dies_nor_explodes_on_the_way(channels):
    """Hidden layers of variance 1 / n halve the square of a ReLU network's signal, apart from borders and the
    last layer; torch's default leaves 7e-7 of it after four blocks."""
    torch.manual_seed(0)
    network = Conv(channels, [1] * len(channels), [64])
    decoder = network.decoder(16, (1, 32, 32))
    with torch.no_grad():
        out = decoder(torch.randn(256, 16))
    signal = out.var(0).mean()  # over codes: what of the output depends on them
    assert 0.05 * 0.5 ** (len(channels) + 2) < signal < 1.0


def test_transposed_convolutions_count_the_inputs_that_reach_an_output():
    from latentrun.nn.conv import Upsample
    from latentrun.nn.initial import scaled

    torch.manual_seed(0)
    first, last = (Upsample(64, 64, 2, (16, 16)) for _ in range(2))
    scaled(torch.nn.Sequential(first, last))
    with torch.no_grad():
        out = first(torch.randn(20, 64, 8, 8))[..., 2:-2, 2:-2]
    assert out.square().mean().item() == pytest.approx(1.0, rel=0.1)


# ---------------------------------------------------------------- the layers of the source
@pytest.mark.parametrize(("widths", "d"), [([256, 64, 32], 16), ([256, 64, 16], 3)])
def test_the_dense_architectures_of_the_source_have_exactly_their_layers(widths, d):
    """784-256-64-32-16 and 784-256-64-16-3 (Asperti 2018, arXiv 1812.07238), as the configuration makes
    them."""
    dense = values_in(shipped() / "network" / "dense.yaml") | {"widths": widths}
    given = {
        "network": build(dense, Network, "network"),
        "event_shape": (1, 28, 28),
        "value_range": (0.0, 1.0),
        "columns": (),
    }
    model = build(spec("model", "vae") | {"latent_dim": d}, Model, "model", **given)
    found = [
        [(m.in_features, m.out_features) for m in part.modules() if isinstance(m, torch.nn.Linear)]
        for part in (model.encoder, model.decoder)
    ]
    assert found[0] == list(pairwise([784, *widths, 2 * d]))  # mean and log scale of each latent
    assert found[1] == list(pairwise(reversed([784, *widths, d])))
    assert model.posterior(torch.rand(2, 1, 28, 28)).mean.shape == (2, d)


# ---------------------------------------------------------------- residual and iterative networks
BOTH = {
    "resnet": lambda: ResNet([8, 12], 2, "group", [20]),
    "resnet-plain": lambda: ResNet([4, 6], 1, "none", []),
    "draw": lambda: Draw(3, 24, 3, 4, True),
    "draw-whole": lambda: Draw(2, 24, 3, 4, False),
    "draw-points": lambda: Draw(2, 24, 1, 1, True),
}
SHIPPED = {
    name: lambda name=name: build(values_in(shipped() / "network" / f"{name}.yaml"), Network, "network")
    for name in ("resnet", "draw")
}
ODD = [(1, 36, 36), (3, 32, 32), (2, 13, 29), (1, 8, 8), (5, 17, 16), (3, 11, 48), (1, 3, 2)]


@pytest.mark.parametrize("shape", ODD, ids=str)
@pytest.mark.parametrize("name", BOTH)
def test_pictures_of_any_size_and_colour_and_gradients_everywhere(name, shape):
    torch.manual_seed(0)
    network = BOTH[name]()
    encoder, decoder = network.encoder(shape, 7), network.decoder(7, shape)
    x = torch.rand(16, *shape)
    code = encoder(x)
    assert code.shape == (16, 7)
    out = decoder(torch.randn(16, 7) + code)
    assert out.shape == x.shape and out.isfinite().all()
    (out - x).square().sum().backward()
    dead = [
        key for part in (encoder, decoder) for key, p in part.named_parameters() if not p.grad.abs().sum() > 0
    ]
    assert dead == []


@pytest.mark.parametrize("name", BOTH)
def test_every_output_pixel_depends_on_the_code_and_the_code_on_every_pixel(name):
    torch.manual_seed(0)
    network, shape = BOTH[name](), (2, 13, 18)
    z, x = torch.randn(100, 5, requires_grad=True), torch.rand(100, *shape, requires_grad=True)
    out = network.decoder(5, shape)(z)
    assert (out.detach().std(0) > 1e-6).all()
    network.encoder(shape, 5)(x).square().sum().backward()
    assert (x.grad.abs().sum(0) > 0).all()


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("shape", [(10,), (4, 4), (1, 2, 3, 4)])
def test_what_is_no_picture_is_refused(name, shape):
    with pytest.raises(Misfit, match=rf"network {name.split('-')[0]} needs pictures .*: use network=dense"):
        BOTH[name]().encoder(shape, 2)
    with pytest.raises(Misfit):
        BOTH[name]().decoder(2, shape)


def test_resnet_says_when_nothing_is_left():
    with pytest.raises(Misfit, match="3 stages leave nothing of 3 x 4 pictures"):
        ResNet([4, 4, 4], 1, "group", []).encoder((1, 3, 4), 2)
    assert ResNet([], 1, "group", [5]).decoder(2, (1, 3, 4))(torch.zeros(1, 2)).shape == (1, 1, 3, 4)


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 48, 64)], ids=str)
def test_outputs_begin_neither_dead_nor_wild(name, shape):
    torch.manual_seed(0)
    network = SHIPPED[name]()
    with torch.no_grad():
        out = network.decoder(16, shape)(torch.randn(64, 16))
        features = network.encoder(shape, 32)(torch.rand(64, *shape))
    # Over codes: what of the output depends on them. Features of white noise: a VAE's begin near its prior.
    assert 0.01 < out.var(0).mean() < 0.5 and out.abs().max() < 8
    assert features.abs().mean() < 1 and features.std(0).mean() > 1e-3


@pytest.mark.parametrize("name", BOTH)
def test_rows_do_not_see_each_other_and_nothing_is_remembered(name):
    """Neither statistics of the batch nor state: the same row gives the same code in any company."""
    torch.manual_seed(0)
    network, shape = BOTH[name](), (1, 9, 12)
    encoder, decoder = network.encoder(shape, 4), network.decoder(4, shape)
    x = torch.rand(6, *shape)
    alone, together = encoder(x[:1]), encoder(x)[:1]
    assert torch.allclose(alone, together, atol=1e-6)
    assert torch.allclose(decoder(together), decoder(encoder(x))[:1], atol=1e-6)
    assert not list(encoder.buffers()) + list(decoder.buffers())
    torch.manual_seed(0)
    again = BOTH[name]().encoder(shape, 4)
    assert torch.equal(again(x), encoder(x))


LEARNING = {
    "dense": lambda: Dense([64]),
    "conv": lambda: Conv([16, 32], [1, 1], [64]),
    "resnet": lambda: ResNet([16, 32], 1, "group", [64]),
    "resnet-plain": lambda: ResNet([16, 32], 1, "none", [64]),
    "draw": lambda: Draw(4, 96, 8, 8, True),
    "draw-whole": lambda: Draw(3, 64, 8, 8, False),
}


SLOW = ("resnet-plain", "draw-whole")  # variants whose siblings learn among the fast ones


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in LEARNING]
)
def test_it_learns_a_small_set(name):
    """An autoencoder of 64 handwritten digits: after 200 steps the error lies far below that of the mean
    picture."""
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    x = torch.tensor(load_digits().images[:64] / 16, dtype=torch.float32).unsqueeze(1)
    network = LEARNING[name]()
    encoder, decoder = network.encoder((1, 8, 8), 16), network.decoder(16, (1, 8, 8))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=3e-3)
    mean_picture = (x - x.mean(0)).square().mean().item()
    for _ in range(200):
        optimizer.zero_grad()
        loss = (decoder(encoder(x)) - x).square().mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2 * mean_picture


def test_identity_blocks_pass_what_comes_in():
    block = Block(6, 6, "group")
    torch.nn.init.zeros_(block.second.weight), torch.nn.init.zeros_(block.second.bias)
    x = torch.randn(2, 6, 5, 7)
    assert torch.equal(block(x), x) and block.past is None


def test_pixels_are_repeated_and_cut():
    x = torch.arange(6.0).view(1, 1, 2, 3)
    assert repeated(x, (3, 5))[0, 0].tolist() == [[0, 0, 1, 1, 2], [0, 0, 1, 1, 2], [3, 3, 4, 4, 5]]


# ---------------------------------------------------------------- the window of draw
def test_filters_are_normalised_gaussians_where_the_state_says():
    """A state chosen by hand: centre, spacing, width and strength as eqs. 22-26 have them."""
    window = Window((31, 31), 1, 3)
    y, x, spacing, width, strength = 0.25, -0.5, -1.0, 0.5, 0.7
    with torch.no_grad():
        window.place.weight.zero_()
        window.place.bias.copy_(torch.tensor([y, x, spacing, width, strength]))
    down, across, gamma = window(torch.zeros(1, 1))
    assert gamma.item() == pytest.approx(math.exp(strength))
    pixels = torch.arange(31.0)
    for filters, at in ((down[0], y), (across[0], x)):
        centre = 16 * (at + 1) - 1  # (A + 1) / 2 (g + 1), pixels counted from 1 there
        places = centre + torch.tensor([-1.0, 0, 1]) * 15 * math.exp(spacing)
        expected = torch.exp(-(pixels - places[:, None]).square() / (2 * 7.5**2 * math.exp(width)))
        assert torch.allclose(filters, expected / expected.sum(1, keepdim=True), atol=1e-6)


def test_filters_far_outside_have_gradients_and_no_nan():
    window = Window((12, 9), 4, 5)
    hidden = 300 * torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    hidden.requires_grad_()
    down, across, _ = window(hidden)
    assert (
        down.isfinite().all()
        and torch.allclose(down.sum(2), torch.ones(6, 5))
        and torch.allclose(across.sum(2), torch.ones(6, 5))
    )
    down.square().sum().backward()
    assert hidden.grad.isfinite().all()


def test_a_sharp_glimpse_is_the_picture_and_a_stroke_puts_it_back():
    """Filters a pixel apart and narrow: reading gives the pixels under the grid, writing puts them where they
    were."""
    window = Window((6, 8), 1, 4)
    with torch.no_grad():
        window.place.weight.zero_()
        # Spacing 1; width far below a pixel; centre at row 2.5, column 3.5: rows 1 to 4, columns 2 to 5.
        window.place.bias.copy_(
            torch.tensor([0.0, 0.0, -math.log(window.spacing), -2 * math.log(10 * window.width), 0.0])
        )
    down, across, _ = window(torch.zeros(1, 1))
    x = torch.rand(1, 1, 6, 8)
    glimpse = down.unsqueeze(1) @ x @ across.unsqueeze(1).mT
    assert torch.allclose(glimpse[0, 0], x[0, 0, 1:5, 2:6], atol=1e-5)
    back = down.unsqueeze(1).mT @ glimpse @ across.unsqueeze(1)
    expected = torch.zeros(6, 8)
    expected[1:5, 2:6] = x[0, 0, 1:5, 2:6]
    assert torch.allclose(back[0, 0], expected, atol=1e-5)


def test_a_patch_of_ones_begins_as_a_canvas_of_ones():
    """Within the grid: filters half as wide as they are apart add to nearly a constant."""
    window = Window((33, 33), 1, 9)
    with torch.no_grad():
        window.place.weight.zero_(), window.place.bias.zero_()
    down, across, _ = window(torch.zeros(1, 1))
    canvas = window.area * down[0].T @ torch.ones(9, 9) @ across[0]
    assert (canvas[8:25, 8:25] - 1).abs().max() < 0.05


def test_the_canvas_is_the_sum_of_its_strokes():
    """With a memory that is held constant all strokes are alike: three steps write three times what one
    does."""
    torch.manual_seed(0)
    three = Draw(3, 8, 3, 4, True).decoder(2, (1, 10, 10))
    with torch.no_grad():
        three.cell.gates.weight.zero_()
        three.cell.gates.bias.copy_(torch.cat([torch.full((8,), v) for v in (30.0, -30.0, 1.0, 0.5)]))
        z = torch.zeros(1, 2)
        whole = three(z)
        three.steps = 1
        assert torch.allclose(whole, 3 * three(z), atol=1e-5)


def test_each_glimpse_depends_on_the_one_before():
    """Two pictures that differ only where the first window is: the second one is placed elsewhere."""
    torch.manual_seed(0)
    reader = Draw(2, 16, 3, 3, True).encoder((1, 12, 12), 4)
    seen = []
    reader.window.register_forward_hook(lambda module, given, result: seen.append(result[0].detach()))
    reader(torch.stack([torch.zeros(1, 12, 12), torch.ones(1, 12, 12)]))
    first, second = seen
    assert torch.equal(first[0], first[1]) and not torch.allclose(second[0], second[1], atol=1e-4)


@pytest.mark.parametrize("activation", ["tanh", "softplus", "silu"])
def test_a_smooth_decoder_has_curvature_and_a_dense_one_has_none(activation):
    z = torch.tensor([0.3, -0.7], dtype=torch.float64)

    def bend(network: Network) -> float:
        decoder = network.decoder(2, (5,)).double()
        second = torch.autograd.functional.hessian(lambda z: decoder(z[None]).sin().sum(), z)
        first = torch.autograd.functional.jacobian(lambda z: decoder(z[None])[0], z)
        x = decoder(z[None])[0]
        # What of it is not due to the sine: the decoder's own second derivatives.
        return (second + torch.einsum("k,ki,kj->ij", x.sin(), first, first)).abs().max().item()

    assert bend(SmoothDense([8, 4], activation)) > 1e-5 and bend(Dense([8, 4])) < 1e-12
