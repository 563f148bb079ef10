"""Rigid motions between pictures: planted ones are found, and nothing is found where nothing was moved."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage, optimize

from latentrun.functional.images.registration import align


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def smooth(n, c, h, w, shift, angle, seed=0):
    """Pictures of four Gaussian bumps in closed form, turned by ``angle`` (radians, counter-clockwise) about
    the middle of the frame and then moved by ``shift`` (right, up): no pixel of them is interpolated."""
    u, v = torch.meshgrid(torch.arange(w) - (w - 1) / 2, (h - 1) / 2 - torch.arange(h), indexing="xy")
    u, v = u - shift[:, 0, None, None], v - shift[:, 1, None, None]
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    u, v = (cos * u + sin * v)[:, None], (cos * v - sin * u)[:, None]
    x, draws = torch.zeros(n, c, h, w), noise(4, 3, n, c, 1, 1, seed=seed)
    for right, up, size in draws:
        sd = 2 + 2 * size
        x += torch.exp(
            -((u - (right - 0.5) * w / 2).square() + (v - (up - 0.5) * h / 2).square()) / (2 * sd.square())
        )
    return x


def planted(n=40, c=1, h=30, w=41, shift=1.6, angle=8.0):
    s = shift * (2 * noise(n, 2, seed=1) - 1)
    a = math.radians(angle) * (2 * noise(n, seed=2) - 1)
    return smooth(n, c, h, w, s, a), smooth(n, c, h, w, 0 * s, 0 * a), s, torch.rad2deg(a)


@pytest.mark.parametrize(("c", "h", "w"), [(1, 36, 36), (3, 30, 41), (1, 48, 31)])
def test_planted_motions_are_recovered(c, h, w):
    x, made, shift, angle = planted(c=c, h=h, w=w)
    found = align(x, made, 2.0, 10.0)
    assert (found.shift - shift).abs().max() < 0.01  # px
    assert (found.angle - angle).abs().max() < 0.05  # degrees
    assert (found.plain - (x - made).double().flatten(1).norm(dim=1)).abs().max() < 1e-6
    assert (found.aligned / found.plain).max() < 0.05 and (found.aligned <= found.plain).all()
    assert torch.allclose((x - found.moved).double().flatten(1).norm(dim=1), found.aligned, atol=1e-6)


def test_motions_of_a_pixel_and_of_a_right_angle_are_those_of_numpy():
    x = torch.zeros(1, 1, 9, 9)
    x[0, 0, 2:5, 3:7] = noise(3, 4)
    right_up = torch.from_numpy(np.roll(x.numpy(), (-1, 2), (2, 3)))
    found = align(right_up, x, 2.0, 5.0)
    assert found.shift[0].tolist() == pytest.approx([2, 1], abs=1e-3) and found.aligned[0] < 1e-3
    turned = torch.from_numpy(np.rot90(x.numpy(), axes=(2, 3)).copy())  # counter-clockwise as one looks at it
    found = align(turned, x, 0.0, 90.0)
    assert (
        found.angle[0].item() == pytest.approx(90, abs=0.01)
        and found.shift[0].abs().max() == 0
        and found.aligned[0] < 1e-3
    )


def test_as_good_as_scipys_search_with_its_own_spline():
    x, made, *_ = planted(n=4, h=24, w=24)
    x = x + 0.3 * torch.from_numpy(ndimage.gaussian_filter(noise(4, 1, 24, 24, seed=9).numpy(), (0, 0, 1, 1)))
    found = align(x, made, 2.0, 10.0)
    middle = np.array([11.5, 11.5])

    def error(theta, target, picture):
        right, up, a = theta
        back = np.array(
            [[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]]
        )  # (row, column) of the place that is read
        offset = middle - back @ (middle + np.array([-up, right]))
        moved = ndimage.affine_transform(picture, back, offset, order=3, mode="nearest")
        return ((target - moved) ** 2).sum()

    for i in range(4):
        target, picture = x[i, 0].double().numpy(), made[i, 0].double().numpy()
        starts = [[right, up, a] for right in (-1, 0, 1) for up in (-1, 0, 1) for a in (-0.1, 0.1)]
        best = min(
            (optimize.minimize(error, s, (target, picture), method="Powell") for s in starts),
            key=lambda r: r.fun,
        )
        assert found.aligned[i].square().item() == pytest.approx(best.fun, rel=0.01)
        assert found.shift[i].tolist() == pytest.approx(best.x[:2], abs=0.02)
        assert found.angle[i].item() == pytest.approx(math.degrees(best.x[2]), abs=0.2)


def test_blur_is_no_displacement():
    x, *_ = planted(n=30, h=36, w=36)
    blurred = torch.from_numpy(ndimage.gaussian_filter(x.numpy(), (0, 0, 1.5, 1.5), mode="nearest"))
    found = align(x, blurred, 2.0, 10.0)
    assert found.plain.min() > 0.1
    assert 1 - found.aligned.square().sum() / found.plain.square().sum() < 0.02
    assert found.shift.norm(dim=1).mean() < 0.05 and found.angle.abs().mean() < 0.3


def test_the_identity_stays_and_is_never_worsened():
    x = noise(20, 3, 7, 5)
    found = align(x, x, 2.0, 10.0)
    assert (
        torch.equal(found.moved, x)
        and not found.plain.any()
        and not found.aligned.any()
        and not found.shift.any()
    )
    found = align(x, noise(20, 3, 7, 5, seed=1), 2.0, 10.0)
    assert (found.aligned <= found.plain).all()
    round_ = torch.exp(-(torch.linspace(-2, 2, 21)[:, None] ** 2 + torch.linspace(-2, 2, 21) ** 2))[
        None, None
    ]
    assert align(round_, 0.9 * round_, 2.0, 10.0).angle.abs().max() < 0.1  # a disc is not turned for nothing


def test_limits_hold_and_may_be_zero():
    x, made, shift, angle = planted(n=30, shift=3.0)
    found = align(x, made, 0.5, 2.0)
    assert found.shift.abs().max() <= 0.5 and found.angle.abs().max() <= 2.0001
    assert (found.shift.abs() == 0.5).any() and (found.aligned <= found.plain).all()
    assert not align(x, made, 0.0, 10.0).shift.any() and not align(x, made, 2.0, 0.0).angle.any()
    still = align(x, made, 0.0, 0.0)
    assert torch.equal(still.moved, made) and torch.equal(still.aligned, still.plain)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 6), (3, 2, 3)])
def test_tiny_pictures(shape):
    found = align(noise(5, *shape), noise(5, *shape, seed=1), 2.0, 10.0)
    assert (found.aligned <= found.plain).all() and found.moved.shape == (5, *shape)


def test_chunks_do_not_show(monkeypatch):
    x, made, *_ = planted(n=12)
    whole = align(x, made, 2.0, 10.0)
    monkeypatch.setattr("latentrun.functional.images.registration.BUDGET", 1)
    single = align(x, made, 2.0, 10.0)
    assert torch.allclose(whole.shift, single.shift, atol=1e-3) and torch.allclose(
        whole.aligned, single.aligned, atol=1e-4
    )
