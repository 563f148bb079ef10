"""The stretching of the published scores: TensorFlow 1's own definition, and another library's."""

from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import torch

from latentrun.functional.images.resize import resized

SIZES = [
    ((28, 28), (299, 299)),
    ((5, 9), (7, 4)),
    ((64, 48), (32, 32)),
    ((1, 3), (4, 4)),
    ((299, 299), (299, 299)),
]


def tensorflow_1(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """resize_bilinear_op.cc of TensorFlow 1 (align_corners false), pixel by pixel, in float32."""
    (h, w), (height, width) = image.shape, size
    scale_y, scale_x = np.float32(h) / np.float32(height), np.float32(w) / np.float32(width)
    out = np.empty(size, np.float32)
    for i in range(height):
        y = np.float32(i) * scale_y
        top = int(np.floor(y))
        bottom, dy = min(top + 1, h - 1), np.float32(y - np.float32(top))
        for j in range(width):
            x = np.float32(j) * scale_x
            left = int(np.floor(x))
            right, dx = min(left + 1, w - 1), np.float32(x - np.float32(left))
            upper = image[top, left] + (image[top, right] - image[top, left]) * dx
            lower = image[bottom, left] + (image[bottom, right] - image[bottom, left]) * dx
            out[i, j] = upper + (lower - upper) * dy
    return out


def pictures(size, n=2, channels=3):
    return torch.rand(n, channels, *size, generator=torch.Generator().manual_seed(0)) * 255


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_tf1_is_what_tensorflow_1_does_bit_by_bit(before, after):
    x = pictures(before, 1, 1)
    np.testing.assert_array_equal(
        resized(x, after, "tf1")[0, 0].numpy(), tensorflow_1(x[0, 0].numpy(), after)
    )


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_tf1_is_what_torch_fidelity_does(before, after):
    x = pictures(before)
    theirs = torch_fidelitys()(x, size=after, align_corners=False)
    assert torch.equal(resized(x, after, "tf1"), theirs)


@cache
def torch_fidelitys():
    """Its function, without the rest of the package, which needs torchvision."""
    package = find_spec("torch_fidelity")
    if package is None:
        pytest.skip("torch-fidelity is not installed: scripts/test --all does that")
    file = Path(package.origin).with_name("interpolate_compat_tensorflow.py")
    spec = spec_from_file_location("interpolate_compat_tensorflow", file)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.interpolate_bilinear_2d_like_tensorflow1x


def test_half_pixel_is_another_picture():
    """They differ by half a pixel of the smaller picture: no rounding."""
    x = pictures((28, 28))
    ours, torchs = (resized(x, (299, 299), how) for how in ("tf1", "half_pixel"))
    assert (ours - torchs).abs().mean() > 5
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    moved = resized(ramp, (8 * 4, 8 * 4), "tf1") - resized(ramp, (8 * 4, 8 * 4), "half_pixel")
    assert moved[..., 4:24].mean() == pytest.approx(0.5 - 0.5 / 4)
