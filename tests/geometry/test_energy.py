"""Geodesics of known surfaces."""

from __future__ import annotations

import pytest
import torch

from latentrun.geometry.energy import Settings, least_energy
from tests.geometry.surfaces import KNOWN, box


def solved(name, settings=Settings(), n=40):
    make, low, high, distance = KNOWN[name]
    a, b = box(low, high, n, 1), box(low, high, n, 2)
    return make(), a, b, distance(a, b), least_energy(make(), a, b, None, settings)


@pytest.mark.parametrize("name", KNOWN)
def test_lengths_are_the_distances(name):
    surface, a, b, distance, found = solved(name)
    print(name, (found.length / distance - 1).abs().max(), found.steps.max(), found.residual.max())
    assert found.converged.all()
    assert torch.allclose(found.length, distance, rtol=1e-4)
    assert torch.allclose(found.energy, 0.5 * found.length**2, rtol=1e-4)
    assert torch.equal(found.curve[:, 0], a) and torch.equal(found.curve[:, -1], b)
