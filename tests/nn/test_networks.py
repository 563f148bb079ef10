"""Networks fit every event shape they accept, and say so where they do not."""

from __future__ import annotations

import pytest
import torch

from latentrun.errors import InputError
from latentrun.nn.conv import Conv
from latentrun.nn.dense import Dense

SHAPES = [(1, 36, 36), (3, 32, 32), (1, 28, 28), (2, 13, 29), (1, 8, 8), (5, 17, 16), (3, 64, 48)]


STRIDES = [[1, 1], [2, 1], [1, 2], [3, 1]]
FITTING = [(shape, strides) for shape in SHAPES for strides in STRIDES if min(shape[1:]) >= 12 or strides == [1, 1]]


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
    assert network.decoder(2, (1, 4, 4))(network.encoder((1, 4, 4), 2)(torch.zeros(1, 1, 4, 4))).shape == (1, 1, 4, 4)


@pytest.mark.parametrize("shape, message", [((10,), "needs pictures"), ((1, 3, 3), "2 blocks leave nothing of 3 x 3 pictures")])
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
    """Hidden layers of variance 1 / n halve the square of a ReLU network's signal, apart from borders and the last
    layer; torch's default leaves 7e-7 of it after four blocks."""
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
