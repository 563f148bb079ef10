"""Draws depend on their place and name alone, and leave torch's own generators as they were."""

from __future__ import annotations

import torch

from latentrun.functional.noise import Noise, seeded


def test_a_place_and_a_name_fix_the_numbers():
    noise = Noise(3).at("phase", 5)
    first = noise.normal("z", (4, 2))
    noise.uniform("else", (7,))
    torch.rand(3)
    assert torch.equal(first, Noise(3).at("phase").at(5).normal("z", (4, 2)))
    others = [Noise(4).at("phase", 5), Noise(3).at("phase", 6), Noise(3).at("phase", "5")]
    assert not any(torch.equal(first, other.normal("z", (4, 2))) for other in others)


def test_torchs_own_generator_is_lent_and_given_back():
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    with seeded(7):
        inside = torch.rand(5)
    assert torch.equal(torch.rand(2), expected)
    torch.manual_seed(7)
    assert torch.equal(torch.rand(5), inside)


def test_two_names_at_one_place_are_two_draws():
    here = Noise(0).at("vae", 3)
    draws = [here.normal(name, (4,)).tolist() for name in ("z", "prior", "z")]
    assert draws[0] == draws[2] != draws[1]
