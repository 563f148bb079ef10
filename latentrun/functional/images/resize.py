"""Pictures stretched to another size."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate

Resize = Literal["tf1", "half_pixel"]


def resized(x: Tensor, size: tuple[int, int], how: Resize) -> Tensor:
    """Pictures ``(N, c, h, w)`` stretched bilinearly to ``size`` = (height, width), without smoothing.

    ``half_pixel``: pixel i of n lies at (i + ½) / n of the side, as in torch (align_corners=False) and in
    TensorFlow 2. ``tf1``: at i / n, as in the resize_bilinear of TensorFlow 1 that the published Inception
    scores went through: pictures lie half a pixel to the upper left, and the last rows and columns are
    repeated. Of four pixels first the two in a row are mixed, then the two means, in float32: bit by bit what
    TensorFlow 1 gives, as does torch-fidelity (Obukhov et al. 2020).

    >>> resized(torch.tensor([[[[0.0, 1.0]]]]), (1, 4), "tf1")
    tensor([[[[0.0000, 0.5000, 1.0000, 1.0000]]]])
    >>> resized(torch.tensor([[[[0.0, 1.0]]]]), (1, 4), "half_pixel")
    tensor([[[[0.0000, 0.2500, 0.7500, 1.0000]]]])
    """
    if tuple(x.shape[2:]) == tuple(size):
        return x
    if how == "half_pixel":
        return interpolate(x, tuple(size), mode="bilinear", align_corners=False)
    (top, bottom, down), (left, right, across) = (
        _between(before, after, x.device) for before, after in zip(x.shape[2:], size, strict=True)
    )
    above, below = x[:, :, top], x[:, :, bottom]
    first = above[..., left] + (above[..., right] - above[..., left]) * across
    second = below[..., left] + (below[..., right] - below[..., left]) * across
    return first + (second - first) * down[:, None]


def _between(before: int, after: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Of ``after`` pixels of a side the two of ``before`` that each lies between, and how far it is from the
    first."""
    scale = torch.tensor(before, dtype=torch.float32) / torch.tensor(after, dtype=torch.float32)
    place = torch.arange(after, dtype=torch.float32) * scale
    first = place.floor().long()
    share = (place - first).to(device)
    return first.to(device), (first + 1).clamp(max=before - 1).to(device), share
