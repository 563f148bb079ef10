"""GEORCE finds the same geodesics by another road."""

from __future__ import annotations

import pytest
import torch

from latentrun.geometry.energy import Settings
from latentrun.geometry.georce import georce
from tests.geometry.surfaces import KNOWN, box


@pytest.mark.parametrize("name", KNOWN)
def test_lengths_are_the_distances(name):
    make, low, high, distance = KNOWN[name]
    a, b = box(low, high, 20, 1), box(low, high, 20, 2)
    found = georce(make(), a, b, None, Settings(points=129, fine=257, tolerance=1e-9, steps=200))
    print(
        name,
        (found.length / distance(a, b) - 1).abs().max(),
        found.steps.max(),
        found.converged.float().mean(),
    )
    assert found.converged.all()
    assert torch.allclose(found.length, distance(a, b), rtol=2e-3)
