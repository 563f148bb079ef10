"""Which embeddings are judged good: the exact ones of all spaces that have one, and none that folds, covers
twice or leaves something out."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor

from latentrun.functional.noise import Noise
from latentrun.manifolds import Charted, space
from latentrun.nn.embedding_hidden import HIDDEN
from latentrun.nn.embedding_learned import measured
from tests.nn.test_embedding import family

N = 250  # hidden variables, fewer than a learned embedding is judged at
EXACT = "i1 i2 i3 s1 s2 s3 so3 t2 t3 disc annulus klein moebius s1xi1 s2xs1".split()
PLANTED = "t2 s2 so3 disc annulus klein moebius".split()


def zigzag(t: Tensor) -> Tensor:
    """Up to 0.6, back to 0.4 on a fifth of the way, and up again."""
    return torch.where(t < 0.4, 1.5 * t, torch.where(t < 0.6, 1 - t, 1.5 * t - 0.5))


# What the last coordinate of the chart is made of, and the limits that it must break.
FAULTS = {
    "twice round": (lambda t: 2 * t, {"volume", "twins"}),
    "there and back": (lambda t: 1 - (2 * t - 1).abs(), {"volume", "twins", "folded"}),
    "zigzag": (zigzag, {"volume", "folded"}),
    "15 % missing": (lambda t: 0.85 * t, {"volume"}),
}


@cache
def limits():
    return family(embedding="learned").psi.training_plan.limits


def broken(name, place=lambda t: t, n=N, noise=0, law="beta") -> set[str]:
    """The limits that the exact embedding breaks whose last hidden variable t is made ``place(t)``."""
    manifold, kind = space(name), HIDDEN[law]
    assert isinstance(manifold, Charted)

    def psi(u: Tensor) -> Tensor:
        v = kind.share(u)
        return manifold.embed(torch.cat([v[..., :-1], place(v[..., -1:])], -1))

    return {
        fault.split()[0] for fault in limits().faults(measured(psi, kind, manifold, n, Noise(noise)).flat())
    }


@pytest.mark.parametrize("name", EXACT)
def test_an_exact_embedding_has_no_fault(name):
    assert broken(name) == set()


@pytest.mark.parametrize("name", ["so3", "t3", "s2"])
def test_nor_has_it_one_at_as_many_points_as_are_judged_or_of_normal_variables(name):
    assert broken(name, n=1000) == set() == broken(name, noise=1, law="normal")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", PLANTED)
def test_a_fault_is_seen_on_every_space(name, fault):
    place, expected = FAULTS[fault]
    assert broken(name, place) >= expected


def test_a_large_gap_shows_where_points_lie_close():
    """Not in three dimensions, nor certainly on a torus, whose points lie too far apart."""
    assert all("gap_ratio" in broken(name, lambda t: 0.8 * t, 1000) for name in ("s2", "disc", "annulus"))
