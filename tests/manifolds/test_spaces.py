"""Short texts name spaces, and a product of spaces is what its factors are."""

from __future__ import annotations

import pytest
import torch

from latentrun.errors import InputError
from latentrun.manifolds import Euclidean, Product, Sphere, parse, register, space
from latentrun.manifolds.sphere import rotation

SHAPES = (
    ("e3", 3, 3),
    ("s1", 1, 2),
    ("s1xe2", 3, 4),
    ("s2xs1xe1", 4, 6),
    ("i3", 3, 3),
    ("t2", 2, 4),
    ("so3", 3, 9),
    ("disc", 2, 2),
    ("annulusxmoebius", 4, 7),
    ("klein", 2, 5),
    ("c5xe1", 1, 6),
)
KNOWN = (
    "known: e<n>, i<n>, s<n>, t<n>, c<n>, so3, disc, annulus, moebius, klein, and products of them such as "
    "s1xe2"
)


@pytest.fixture
def globes(monkeypatch):
    """With another kind of space, as a package of one's own adds it."""
    monkeypatch.setattr(parse, "KINDS", dict(parse.KINDS))
    register("globe", Sphere)
    register("ring", lambda: Sphere(1), least=None)


def test_a_text_names_a_space_and_a_space_its_text():
    for text, dim, ambient in SHAPES:
        manifold = space(text)
        assert (manifold.name, manifold.dim, manifold.ambient_dim) == (text, dim, ambient)
    assert isinstance(space("e2"), Euclidean) and isinstance(space("e1xe1"), Product)


def test_a_space_and_its_factors():
    names = lambda spaces: [each.name for each in spaces]  # noqa: E731
    mixed = space("e1xt2xs2")
    assert names(mixed.factors) == ["e1", "t2", "s2"]
    assert names(mixed.simple_factors) == ["e1", "s1", "s1", "s2"]
    ball = space("s2")
    assert ball.factors == ball.simple_factors == (ball,)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("q2", f"model.latent: 'q2' is no space; {KNOWN}"),
        ("e", "model.latent: 'e' is no space (did you mean 'e2'?); known: e<n>, i<n>"),
        ("e2x", "model.latent: '' in 'e2x' is no space (did you mean 'e2'?); known"),
        ("s1x", "model.latent: '' in 's1x' is no space (did you mean 's1'?); known"),
        ("xs1xxe2", "model.latent: '' in 'xs1xxe2' is no space (did you mean 's1xe2'?); known"),
        ("E2", "model.latent: 'E2' is no space (did you mean 'e2'?)"),
        ("S2xe1", "model.latent: 'S2' in 'S2xe1' is no space (did you mean 's2'?)"),
        ("e2 x e1", "model.latent: 'e2 ' in 'e2 x e1' is no space (did you mean 'e2'?)"),
        ("", "model.latent: '' is no space; known"),
        ("e0", "model.latent: 'e0' is no space: the least of its kind is e1"),
        ("s0", "model.latent: 's0' is no space: the least of its kind is s1; two points are c2"),
        ("t-1", "model.latent: 't-1' is no space (did you mean 't1'?); known"),
        ("c1", "model.latent: 'c1' is no space: the least of its kind is c2; one point says nothing"),
        ("so4", "model.latent: 'so4' is no space (did you mean 'so3'?)"),
        ("so", "model.latent: 'so' is no space (did you mean 'so3'?)"),
        ("discs", "model.latent: 'discs' is no space (did you mean 'disc'?)"),
        ("disc2", "model.latent: 'disc2' is no space (did you mean 'disc'?)"),
        ("kleinxmobius", "model.latent: 'mobius' in 'kleinxmobius' is no space (did you mean 'moebius'?)"),
        ("e999999", "model.latent: 'e999999' has more than 100,000 coordinates"),
        ("e1x" * 50 + "e99999", "more than 100,000 coordinates"),
        ("t60000", "more than 100,000 coordinates"),
    ],
)
def test_other_texts_are_answered_in_one_line(text, says):
    with pytest.raises(InputError) as caught:
        space(text, "model.latent")
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_letters_are_given_once(globes):
    assert isinstance(space("globe2xe1"), Product) and space("ringxring").dim == 2
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
