"""Derivatives of known maps, and their singular values."""

from __future__ import annotations

import numpy as np
import torch

from latentrun.functional.jacobians import derivatives, spectrum


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_derivatives_of_a_curved_map_are_autograds():
    mix = random(3, 5)

    def function(y):
        return (y @ mix).sin(), y.prod(1, keepdim=True)

    y, directions = random(7, 3, seed=1), random(2, 3, seed=2)
    values, found = derivatives(function, y, directions)
    for part, (value, derivative) in enumerate(zip(values, found, strict=True)):
        torch.testing.assert_close(value, function(y)[part])
        jacobian = torch.stack(
            [
                torch.autograd.functional.jacobian(lambda row, part=part: function(row[None])[part][0], row)
                for row in y
            ]
        )
        torch.testing.assert_close(derivative, torch.einsum("kf,ndf->knd", directions, jacobian))


def test_singular_values_are_numpys():
    j = random(6, 20, 4) * torch.tensor([1.0, 3.0, 0.1, 2.0])
    found = spectrum(j.permute(2, 0, 1))
    values = np.linalg.svd(j.numpy(), compute_uv=False)
    np.testing.assert_allclose(found.least.numpy(), values[:, -1], rtol=1e-12)
    np.testing.assert_allclose(found.greatest.numpy(), values[:, 0], rtol=1e-12)
    torch.testing.assert_close(found.columns, j.norm(dim=1))
    torch.testing.assert_close((j @ found.weakest[:, :, None])[:, :, 0].norm(dim=1), found.least)
    torch.testing.assert_close(found.weakest.norm(dim=1), torch.ones(6, dtype=torch.float64))
    assert (found.weakest.gather(1, found.weakest.abs().argmax(1, keepdim=True)) > 0).all()


def test_a_tiny_singular_value_keeps_its_digits():
    """The eigenvalues of J^T J alone know it to 1e-16 of the square of the greatest: not at all."""
    left, right = torch.linalg.qr(random(30, 3)).Q, torch.linalg.qr(random(3, 3, seed=1)).Q
    j = left @ torch.diag(torch.tensor([1.0, 0.5, 1e-10], dtype=torch.float64)) @ right.T
    found = spectrum(j[None].permute(2, 0, 1))
    assert abs(found.least.item() / 1e-10 - 1) < 1e-4
    assert abs((found.weakest[0] @ right[:, 2]).abs().item() - 1) < 1e-12


def test_fewer_outputs_than_arguments_lose_a_mixture():
    j = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 2.0]], dtype=torch.float64)
    found = spectrum(j[None].permute(2, 0, 1))
    assert found.least.item() == 0 and abs(found.greatest.item() - 2) < 1e-12
    torch.testing.assert_close(
        found.weakest[0].abs(), torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64).sqrt()
    )
    assert found.weakest[0, 0] * found.weakest[0, 1] < 0


def test_a_constant_map_has_nothing_but_zeros():
    found = spectrum(torch.zeros(3, 4, 6))
    assert (
        not found.least.any()
        and not found.greatest.any()
        and not found.columns.any()
        and found.weakest.isfinite().all()
    )


def test_no_dimension_at_all_keeps_nothing():
    found = spectrum(torch.zeros(3, 5, 0))
    assert found.least.tolist() == found.greatest.tolist() == [0.0] * 5 and found.weakest.isfinite().all()
