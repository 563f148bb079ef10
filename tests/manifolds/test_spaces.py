"""Short texts name spaces, and a product of spaces is what its factors are."""

from __future__ import annotations

import pytest
import torch

from latentrun.errors import InputError
from latentrun.manifolds import Euclidean, Product, Sphere, parse, register, space
from latentrun.manifolds.sphere import rotation


@pytest.fixture
def globes(monkeypatch):
    """With another kind of space, as a package of one's own adds it."""
    monkeypatch.setattr(parse, "KINDS", dict(parse.KINDS))
    register("globe", Sphere)


def test_a_text_names_a_space_and_a_space_its_text():
    for text, dim, ambient in (("e3", 3, 3), ("s1", 1, 2), ("s1xe2", 3, 4), ("s2xs1xe1", 4, 6)):
        manifold = space(text)
        assert (manifold.name, manifold.dim, manifold.ambient_dim) == (text, dim, ambient)
    assert isinstance(space("e2"), Euclidean) and isinstance(space("e1xe1"), Product)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("q2", "unknown kind of space in model.latent=q2 'q'; known: e"),
        ("e", "model.latent: 'e' cannot be read: write a kind and a number, such as e3 or e2xe1"),
        ("e2x", "model.latent: 'e2x' cannot be read"),
        ("E2", "model.latent: 'E2' cannot be read"),
        ("e2 x e1", "model.latent: 'e2 x e1' cannot be read"),
        ("", "model.latent: '' cannot be read"),
        ("e0", "model.latent: 'e0' has no dimension"),
        ("e999999", "model.latent: 'e999999' has more than 100,000 coordinates"),
        ("e1x" * 50 + "e99999", "more than 100,000 coordinates"),
    ],
)
def test_other_texts_are_answered_in_one_line(text, says):
    with pytest.raises(InputError) as caught:
        space(text, "model.latent")
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_letters_are_given_once(globes):
    assert isinstance(space("globe2xe1"), Product)
    with pytest.raises(ValueError, match="'globe' is taken"):
        register("globe", Sphere)
    with pytest.raises(ValueError, match="small letters other than x"):
        register("ex", Sphere)


def test_a_product_projects_each_factor_and_adds_squared_distances():
    manifold = space("s2xe2")
    a, b = torch.randn(2, 50, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a, b = manifold.project(a), manifold.project(b)
    assert torch.allclose(a[:, :3].norm(dim=1), torch.ones(50, dtype=torch.float64))
    sphere, plane = Sphere(2).distance(a[:, :3], b[:, :3]), (a[:, 3:] - b[:, 3:]).norm(dim=1)
    assert torch.allclose(manifold.distance(a, b), (sphere**2 + plane**2).sqrt())
    assert torch.equal(torch.cat(manifold.parts(a), dim=1), a)


def test_log_leads_where_exp_goes_at_the_length_of_the_distance():
    manifold = space("s2xe1xs1")
    a, b = torch.randn(2, 50, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    a, b = manifold.project(a), manifold.project(b)
    v = manifold.log(a, b)
    assert torch.allclose(manifold.exp(a, v), b, atol=1e-10)
    assert torch.allclose(v.norm(dim=1), manifold.distance(a, b), atol=1e-10)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_rotations_are_orthogonal_keep_orientation_and_begin_at_the_identity(n):
    g = torch.randn(40, n * (n - 1), generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    turns, unit = rotation(g, n), torch.eye(n, dtype=torch.float64)
    assert torch.allclose(turns.mT @ turns, unit.expand_as(turns), atol=1e-12)
    assert torch.allclose(torch.linalg.det(turns), torch.ones(40, dtype=torch.float64))
    assert torch.allclose(rotation(torch.zeros_like(g[:1]), n)[0], unit)
    assert torch.allclose(Sphere(n - 1).act(torch.zeros_like(g), turns[..., 0]), turns[..., 0])
