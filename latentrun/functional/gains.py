"""What each latent variable is worth: how much a loss grows when the variable is set to 0.

>>> def squares(z, x):  # one loss, of a decoder that returns the code
...     return (z - x).square().sum(1)[None]
>>> x = torch.tensor([[1.0, 2.0]])
>>> zeroing_gains(squares, x, x, chunk=8)[1]
tensor([[[1.],
         [4.]]])
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


@torch.no_grad()
def zeroing_gains(
    losses: Callable[[Tensor, Tensor], Tensor], z: Tensor, x: Tensor, chunk: int
) -> tuple[Tensor, Tensor]:
    """Losses of codes as they are, ``(K, N)``, and how much they grow with variable i at 0, ``(K, d, N)``:

        gain_kin = loss_k(x_n, z_n with z_i = 0) - loss_k(x_n, z_n).

    ``losses`` gives K numbers for every row, ``(n, d), (n, *event) -> (K, n)``, in units of its own; it sees
    ``chunk`` rows at a time, of all d N pairs of a variable and an example, so that neither d nor N asks for
    memory but that of the result. ``z (N, d)``, ``x (N, *event)``. Negative where 0 is a better code than the
    example's own. The information gain, or reconstruction gain, of Asperti 2018, arXiv 1812.07238.
    """
    n, d = z.shape
    full = torch.cat([losses(a, b) for a, b in zip(z.split(chunk), x.split(chunk), strict=True)], dim=1)
    losses_without = []
    for pairs in torch.arange(d * n, device=z.device).split(chunk):
        rows = pairs % n
        codes = z[rows].scatter_(1, (pairs // n).unsqueeze(1), 0.0)
        losses_without.append(losses(codes, x[rows]))
    without = torch.cat(losses_without, dim=1).view(len(full), d, n)
    return full, without - full.unsqueeze(1)
