"""Everything is computed where its arguments are: on a GPU where there is one, and, on any machine, with a
default device that holds no numbers: what is made there by mistake cannot be mixed with them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from latentrun.functional.noise import Noise
from latentrun.geometry.boundary import aimed
from latentrun.geometry.energy import Settings, least_energy
from latentrun.geometry.flow import carry, shoot
from latentrun.geometry.georce import georce
from latentrun.geometry.graph import Graph
from latentrun.geometry.means import frechet_means
from latentrun.geometry.shortest import distances, shortest
from latentrun.geometry.surface import Immersed
from latentrun.geometry.walks import Walker, walk

SETTINGS = Settings(pieces=4, points=17, fine=33, tolerance=1e-4)
SHOT = Settings(fine=5, tolerance=1e-2, steps=2)
CODES = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))


def surface(device: torch.device | str = "cpu") -> Immersed:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(2, 16, device="cpu"), nn.Tanh(), nn.Linear(16, 12, device="cpu"))
    return Immersed(net.to(device).requires_grad_(False), 2)


def pairs(codes):
    return codes[:5], codes[5:10]


CALLS = {
    "metric": lambda s, z: s.metric(z),
    "magnification": lambda s, z: s.magnification(z),
    "christoffel": lambda s, z: s.christoffel(z, z.flip(0), z.roll(1, 0)),
    "geodesics": lambda s, z: least_energy(s, *pairs(z), None, SETTINGS).length,
    "georce": lambda s, z: georce(s, *pairs(z), None, SETTINGS).length,
    "shooting": lambda s, z: aimed(s, *pairs(z), z[5:10] - z[:5], SHOT).length,
    "graph": lambda s, z: shortest(s, *pairs(z), SETTINGS, Graph(s, z, 4, 2)).length,
    "distances": lambda s, z: distances(s, z[:6], None, SETTINGS).length,
    "exponential": lambda s, z: shoot(s, z[:4], 0.3 * z[4:8]).end,
    "transport": lambda s, z: carry(s, torch.stack([z[:9], z[9:18]]), z[20:22]),
    "means": lambda s, z: frechet_means(s, z[:8], (z[:8, 0] > 0).long(), z[8:10], SETTINGS).points,
    "walk": lambda s, z: walk(Walker(s, "brownian", 0.05, 1e-6), z[:4], 5, Noise(0).to(z.device)).path,
}


@pytest.mark.parametrize("name", CALLS)
def test_nothing_is_made_on_another_device(name):
    expected = CALLS[name](surface(), CODES)
    with torch.device("meta"):
        found = CALLS[name](surface(), CODES)
    assert found.device.type == "cpu" and torch.equal(found, expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", CALLS)
def test_on_a_gpu_it_is_the_same(name):
    found = CALLS[name](surface("cuda"), CODES.to("cuda"))
    assert found.device.type == "cuda"
    assert torch.allclose(found.cpu(), CALLS[name](surface(), CODES), rtol=1e-2, atol=1e-3)
