"""Points that stand for equal shares of a cube."""

import math

import pytest
import torch

from latentrun.functional.spacing import lattice, middles


def test_middles_are_the_middles():
    assert middles(4).tolist() == [0.125, 0.375, 0.625, 0.875]
    assert lattice(9, 1)[:, 0].mean().item() == pytest.approx(0.5, abs=1e-15)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_means_over_a_lattice_are_integrals(dims):
    """Of a smooth function; as many draws would be off by 0.01 to 0.04."""
    off = [
        abs(lattice(n, dims).exp().prod(1).mean().item() / (math.e - 1) ** dims - 1) for n in (1000, 16_000)
    ]
    assert off[0] < 2e-3 and off[1] < 3e-4


@pytest.mark.parametrize("dims", [2, 3])
def test_every_cell_of_the_cube_has_its_share(dims):
    counts, _ = torch.histogramdd(lattice(2000, dims), 4, range=[0.0, 1.0] * dims)
    expected = 2000 / 4**dims
    assert (counts - expected).abs().max() < 0.25 * expected
    assert (lattice(2000, dims) > 0).all() and (lattice(2000, dims) < 1).all()
