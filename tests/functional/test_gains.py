"""Reconstruction gains of linear decoders in closed form."""

import pytest
import torch

from latentrun.functional.gains import zeroing_gains
from latentrun.functional.noise import Noise

N, d, D = 50, 5, 7
DRAW = Noise(0).at("gains")
W = torch.linalg.qr(DRAW.normal("w", (D, d)))[0].double() * torch.tensor([1.0, 2.0, 0.5, 0.0, 3.0])
Z = DRAW.normal("z", (N, d)).double()
X = Z @ W.T + DRAW.normal("x", (N, D)).double()


def losses(z, x):
    off = z @ W.T - x
    return torch.stack([off.square().sum(1), off.abs().sum(1)])


@pytest.mark.parametrize("chunk", [1, 7, 50, 64, 1000])
def test_a_linear_decoder_whatever_the_chunk(chunk):
    """With orthogonal columns, ||x - W z||² grows by 2 z_i w_i·r + |w_i|² z_i², r = x - W z."""
    full, gains = zeroing_gains(losses, Z, X, chunk)
    r = X - Z @ W.T
    torch.testing.assert_close(full[0], r.square().sum(1))
    torch.testing.assert_close(gains[0], (2 * Z * (r @ W) + W.square().sum(0) * Z.square()).T)
    assert (
        gains.shape == (2, d, N) and (gains[:, 3] == 0).all()
    )  # the decoder ignores variable 3: exactly nothing
    without = Z.clone()
    without[:, 4] = 0
    torch.testing.assert_close(gains[1, 4] + full[1], losses(without, X)[1])


def test_codes_and_examples_are_left_as_they_were():
    z, x = Z.clone(), X.clone()
    zeroing_gains(losses, z, x, 8)
    assert torch.equal(z, Z) and torch.equal(x, X)


def test_pictures_are_rows_too():
    pictures = X.view(N, 1, D, 1)
    full, gains = zeroing_gains(lambda z, x: losses(z, x.flatten(1))[:1], Z, pictures, 16)
    torch.testing.assert_close(gains[0], zeroing_gains(losses, Z, X, 16)[1][0])
    assert full.shape == (1, N)
