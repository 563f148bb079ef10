"""Geodesics of known surfaces."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from latentrun.geometry.energy import Settings, least_energy
from latentrun.geometry.surface import Immersed
from tests.geometry.surfaces import KNOWN, box


@pytest.mark.parametrize("name", KNOWN)
def test_lengths_are_the_distances(name):
    make, low, high, distance = KNOWN[name]
    a, b = box(low, high, 40, 1), box(low, high, 40, 2)
    found = least_energy(make(), a, b, None, Settings(pieces=10, points=65))
    assert found.converged.all()
    assert torch.allclose(found.length, distance(a, b), rtol=1e-6)
    assert torch.allclose(found.energy, 0.5 * found.length**2, rtol=1e-5)
    assert torch.equal(found.curve[:, 0], a) and torch.equal(found.curve[:, -1], b)


def test_the_length_converges_at_the_splines_order():
    """Twice the pieces, a sixteenth of the error or less."""
    make, low, high, distance = KNOWN["sphere"]
    a, b = box(low, high, 20, 1), box(low, high, 20, 2)
    errors = []
    for pieces in (2, 4, 8):
        found = least_energy(make(), a, b, None, Settings(pieces, 129, 1025, 1e-15))
        errors.append((found.length - distance(a, b)).abs().max())
    assert errors[0] > 16 * errors[1] > 256 * errors[2]


def test_energy_never_rises_and_a_pair_that_is_not_done_says_so():
    make, low, high, _ = KNOWN["swiss_roll"]
    a, b = box(low, high, 20, 1), box(low, high, 20, 2)
    energies = []
    for steps in range(6):
        found = least_energy(make(), a, b, None, Settings(fine=33, steps=steps, tolerance=1e-14))
        energies.append(make().discrete_energy(found.curve))  # of the points where it is lowered
        assert not found.converged.all()
    assert all((after <= before * (1 + 1e-14)).all() for before, after in pairwise(energies))


def test_equal_ends_are_a_point_and_one_dimension_is_a_line():
    make, *_ = KNOWN["sphere"]
    a = box((1.0, 0.0), (2.0, 1.0), 3, 1)
    found = least_energy(make(), a, a, None, Settings())
    assert found.converged.all() and (found.length == 0).all()
    line = Immersed(lambda t: torch.cat([t.cos(), t.sin(), t], dim=1), 1)
    found = least_energy(line, a[:, :1], a[:, 1:], None, Settings())
    assert torch.allclose(found.length, 2**0.5 * (a[:, 0] - a[:, 1]).abs(), rtol=1e-6)


def test_a_pair_does_not_hang_on_the_others():
    make, low, high, _ = KNOWN["half_plane"]
    a, b = box(low, high, 9, 1), box(low, high, 9, 2)
    together, alone = (least_energy(make(), a[:n], b[:n], None, Settings()) for n in (9, 4))
    assert torch.allclose(together.curve[:4], alone.curve, atol=1e-10)
