"""From an encoder's numbers to q(z|x): every family on every space that it fits."""

from __future__ import annotations

import math

import pytest
import torch

from latentrun.config.build import build
from latentrun.config.options import options, shipped
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.manifolds import Charted, Euclidean, Finite, space
from latentrun.manifolds.angles import direction
from latentrun.nn.posterior import FAMILIES, FARTHEST, Posterior, bounded
from latentrun.nn.posterior_flat import CategoricalPosterior
from latentrun.nn.posterior_product import ProductPosterior, posterior_of
from tests.conformance.parts import values_in

CONF = shipped() / "posterior"
HERE = [name for name in options("posterior", [shipped()]) if name != "embedding"]


def family(name: str, **changes):
    values = values_in(CONF / f"{name}.yaml") | changes
    return lambda space: build(values, Posterior, "model.posterior", space=space, temperature=0.5)


FITTING = {
    "s": ("s1", "s2", "s9"),
    "t": ("t1", "t2"),
    "so": ("so3",),
    "i": ("i1", "i2"),
    "e": ("e1", "e3"),
    "c": ("c5",),
}
PAIRS = [
    (name, text)
    for kind, names in FAMILIES.items()
    for name in names
    for text in FITTING[kind]
    if name in HERE
]


@pytest.fixture(params=PAIRS, ids=lambda pair: " on ".join(pair))
def posterior(request) -> Posterior:
    name, text = request.param
    return family(name)(space(text))


def test_every_family_has_a_space_and_every_space_its_families():
    assert {name for names in FAMILIES.values() for name in names} == {*HERE, "embedding"}


def test_codes_have_the_shapes_they_promise(posterior):
    h = torch.randn(6, posterior.features, generator=torch.Generator().manual_seed(0))
    coding, d = posterior.code(h), posterior.space.ambient_dim
    z, draws = coding.draw(Noise(0)), coding.draws(3, Noise(0))
    assert z.shape == coding.center.shape == (6, d) and draws.z.shape == (3, 6, d)
    assert draws.log_weight is not None and draws.log_weight.shape == (3, 6)
    assert coding.kl().shape in ((6,), (6, posterior.space.dim)) and (coding.kl() >= 0).all()
    assert all(len(value) == 6 and value.isfinite().all() for value in coding.parameters().values())
    assert posterior.sample_prior(4, Noise(0)).shape == (4, d)
    assert not torch.equal(draws.z[0], draws.z[1])


def test_weights_are_minus_the_divergence_on_average(posterior):
    h = 0.5 * torch.randn(1, posterior.features, generator=torch.Generator().manual_seed(1))
    coding = posterior.code(h)
    weight, kl = coding.draws(20_000, Noise(0)).log_weight[:, 0], coding.kl().sum()
    assert abs(weight.mean() + kl) < 5 * weight.std() / len(weight) ** 0.5 + 1e-4
    # E_p[q / p] = 1: p and q are densities against one volume.
    z = posterior.sample_prior(20_000, Noise(1)).unsqueeze(1)
    ratio = (coding.law.log_prob(z) - coding.prior.log_prob(z)).double().exp()
    assert abs(ratio.mean() - 1) < 6 * ratio.std() / len(ratio) ** 0.5 + 1e-4


def test_numbers_of_any_size_give_finite_draws_divergences_weights_and_gradients(posterior):
    require_finite(posterior)


@pytest.mark.parametrize("law", ["beta", "normal"])
@pytest.mark.parametrize("text", ["s1", "t2", "so3", "disc", "moebius"])
def test_numbers_of_any_size_are_finite_through_embeddings(text, law):
    values = values_in(CONF / "embedding.yaml") | {"law": law, "group_action": text in ("s1", "t2", "so3")}
    require_finite(build(values, Posterior, "model.posterior", space=space(text)))


def require_finite(posterior: Posterior) -> None:
    """Rows of numbers of one size, of both signs by turns, and small ones beside a last one of that size."""
    sizes = torch.tensor([0.0, 1e-30, 1.0, 1e3, 1e10, 1e30, 3e38])
    sizes = torch.cat([sizes, -sizes]).unsqueeze(1)
    same, last = sizes.expand(-1, posterior.features), torch.ones(len(sizes), posterior.features)
    by_turns, last[:, -1:] = (
        same * torch.tensor([1.0, -1.0]).repeat(posterior.features)[: same.shape[1]],
        sizes,
    )
    h = torch.cat([same, by_turns, last]).requires_grad_()
    coding = posterior.code(h)
    draws = coding.draws(3, Noise(0))
    for value in (coding.draw(Noise(1)), coding.kl(), draws.z, draws.log_weight):
        (slope,) = torch.autograd.grad(value.sum(), h, retain_graph=True)
        assert value.isfinite().all() and slope.isfinite().all()


@pytest.mark.parametrize("number", [10.0, 1e4, 1e6, 1e20])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("beta", "i1"),
        *[(name, s) for name in ("vmf", "power_spherical", "spherical_cauchy") for s in ("s1", "s2", "s9")],
    ],
)
def test_weights_of_the_narrowest_laws_are_minus_the_divergence_on_average(name, text, number):
    posterior = family(name)(space(text))
    h = torch.linspace(-1, 0.7, posterior.features).unsqueeze(0)
    h[0, -1] = number
    coding = posterior.code(h)
    weight, kl = coding.draws(20_000, Noise(2)).log_weight[:, 0].double(), coding.kl().sum()
    assert abs(weight.mean() + kl) < 4 * weight.std() / len(weight) ** 0.5


def test_ordinary_numbers_are_taken_as_they_are():
    h = torch.tensor([0.0, 1e-40, -3e-30, 0.1234567, -17.0, 4e4])
    assert torch.equal(bounded(h, FARTHEST), h)


def test_points_lie_on_the_space(posterior):
    h = 3 * torch.randn(50, posterior.features, generator=torch.Generator().manual_seed(2))
    z, kind = posterior.code(h).draw(Noise(0)), posterior.space.name.rstrip("0123456789")
    if kind in ("s", "t"):
        sizes = (z if kind == "s" else z.unflatten(-1, (-1, 2))).norm(dim=-1)
        assert torch.allclose(sizes, torch.ones_like(sizes), atol=1e-5)
    elif kind == "so":
        m = z.unflatten(-1, (3, 3))
        assert torch.allclose(m.mT @ m, torch.eye(3).expand(50, 3, 3), atol=1e-5)
        assert torch.allclose(torch.linalg.det(m), torch.ones(50), atol=1e-5)
    elif kind in ("i", "c"):
        assert (z >= 0).all() and (z <= 1).all()


def test_prior_grids_cut_the_prior_into_equal_parts(posterior):
    grid = posterior.prior_grid(1000)
    if isinstance(posterior.space, Finite):
        assert torch.equal(grid, torch.eye(posterior.space.ambient_dim))
        return
    if posterior.space.dim > 3 or not isinstance(posterior.space, (Charted, Euclidean)):
        assert grid is None
        return
    assert grid is not None and grid.shape == (1000, posterior.space.ambient_dim)
    prior = posterior.sample_prior(20_000, Noise(0))
    for power in (1, 2):
        assert torch.allclose(grid.pow(power).mean(0), prior.pow(power).mean(0), atol=0.03)


def test_codes_stack_with_torch_func(posterior):
    h = torch.randn(2, 3, posterior.features, generator=torch.Generator().manual_seed(3))

    def loss(h):
        coding = posterior.code(h)
        return coding.draw(Noise(0)).square().sum() + coding.kl().sum()

    both = torch.func.vmap(torch.func.grad(loss), randomness="same")(h)
    assert torch.allclose(both[1], torch.func.grad(loss)(h[1]), rtol=1e-3, atol=1e-4)


# ---------------------------------------------------------------- products
def test_a_product_is_the_sum_of_its_factors():
    whole = posterior_of(
        space("s2xe2xc5xi1xe1"),
        lambda space: family("beta")(space=space) if space.name == "i1" else family("vmf")(space=space),
        temperature=0.5,
    )
    assert isinstance(whole, ProductPosterior) and whole.features == 4 + 4 + 5 + 2 + 2
    h = torch.randn(3, whole.features, generator=torch.Generator().manual_seed(0))
    coding = whole.code(h)
    parts = [f.code(part) for f, part in zip(whole.each(), h.split(whole.widths, -1), strict=True)]
    assert torch.allclose(
        coding.kl(), sum(kl.sum(-1) if kl.ndim > 1 else kl for kl in (p.kl() for p in parts))
    )
    assert torch.equal(coding.center, torch.cat([part.center for part in parts], -1))
    draws = coding.draws(2, Noise(0))
    alone = [part.draws(2, Noise(0).at(i)) for i, part in enumerate(parts)]
    assert torch.equal(draws.z, torch.cat([part.z for part in alone], -1)) and draws.uncorrected is None
    assert torch.allclose(draws.log_weight, sum(part.log_weight for part in alone))
    assert {"mu_1", "kappa_1", "mean_2", "probability_3", "alpha_4", "scale_5"} <= coding.parameters().keys()
    assert whole.sample_prior(3, Noise(0)).shape == coding.draw(Noise(0)).shape == (3, 12)


def test_equal_factors_do_not_get_equal_noise():
    twins = posterior_of(space("e1xe1"), family("normal"), 0.5)
    coding = twins.code(torch.zeros(4, twins.features))
    for z in (coding.draw(Noise(0)), coding.draws(1, Noise(0)).z, twins.sample_prior(4, Noise(0))):
        assert not torch.equal(z[..., 0], z[..., 1])


def test_grids_of_products():
    vmf = family("vmf")
    grid = posterior_of(space("c5xs1"), vmf, 0.5).prior_grid(1000)
    assert grid.shape == (1000, 7) and torch.allclose(
        grid.mean(0), torch.tensor([0.2] * 5 + [0, 0]), atol=1e-6
    )
    torus = posterior_of(space("s1xs1"), vmf, 0.5).prior_grid(400)
    angles = torch.stack([torch.atan2(torus[:, 1], torus[:, 0]), torch.atan2(torus[:, 3], torus[:, 2])], 1)
    counts, *_ = torch.histogramdd(angles, 5, range=[-math.pi, math.pi] * 2)
    assert counts.min() >= 14 and counts.max() <= 18  # 16 in each of 25 cells
    assert posterior_of(space("s2xs2"), vmf, 0.5).prior_grid(10) is None
    mixed = posterior_of(space("e1xc2xs1"), vmf, 0.5).prior_grid(500)
    assert mixed.shape == (500, 5) and mixed[:, 1:3].mean(0).tolist() == [0.5, 0.5]
    for half in mixed.split(250):  # every point of the finite set has the whole grid of the others
        assert torch.equal(half[:, [0, 3, 4]], mixed[:250, [0, 3, 4]])
    assert posterior_of(space("s1xc5"), vmf, 0.5).prior_grid(12).shape == (15, 7)  # at least 12
    both = posterior_of(space("c2xc3"), family("categorical"), 0.5).prior_grid(1000)
    assert len(both.unique(dim=0)) == len(both) == 6 and (both.sum(1) == 2).all()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("vmf", "i1", "model.posterior: vmf does not fit i1, which takes beta or embedding"),
        ("beta", "e2xs2", "model.posterior: beta does not fit s2, which takes vmf, power_spherical, "
         "spherical_cauchy, wrapped_normal or embedding"),
        ("spherical_cauchy", "t2xe1", "model.posterior: spherical_cauchy does not fit t2, which takes "
         "wrapped_normal or embedding"),
        ("wrapped_normal", "s101", "model.posterior: wrapped_normal takes spheres up to s100, got s101"),
        ("normal", "so3", "model.posterior: normal does not fit so3, which takes wrapped_normal or "
         "embedding"),
        ("vmf", "c5", "model.posterior: vmf does not fit c5, which takes categorical"),
        ("vmf", "e2", "model.posterior: vmf does not fit e2, which takes normal"),
        ("beta", "e1xc3", "model.posterior: beta does not fit e1, which takes normal; no other factor of "
         "e1xc3 takes it either"),
        ("embedding", "e1xe2", "model.posterior: e1 is unbounded: a Beta posterior lives on bounded spaces; "
         "use model.posterior=normal; no other factor of e1xe2 takes it either"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_in_one_line(name, text, said):
    with pytest.raises(InputError) as error:
        posterior_of(space(text), family(name), 0.5)
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("name", "text", "kinds"),
    [
        ("vmf", "e2xc5xs2", ["NormalPosterior", "CategoricalPosterior", "VonMisesFisherPosterior"]),
        ("normal", "e2xc5", ["NormalPosterior", "CategoricalPosterior"]),
        ("categorical", "e2xc5", ["NormalPosterior", "CategoricalPosterior"]),
        # The family for every space is not chosen for what it has nothing to do on.
        ("embedding", "c5xc2xe1", ["CategoricalPosterior", "CategoricalPosterior", "NormalPosterior"]),
        ("embedding", "e1xs1", ["NormalPosterior", "Embedding"]),
    ],
)
def test_flat_and_finite_factors_have_families_of_their_own(name, text, kinds):
    made = posterior_of(space(text), family(name), 0.5)
    assert [type(factor).__name__ for factor in made.each()] == kinds
    assert isinstance(posterior_of(space("c5"), family("embedding"), 0.5), CategoricalPosterior)


def test_directions_of_any_size():
    h = torch.tensor([[1e30, -1e30], [1e-40, 0.0], [0.0, 0.0]], requires_grad=True)
    mu = direction(h)
    assert torch.allclose(mu.norm(dim=-1), torch.ones(3))
    (slope,) = torch.autograd.grad(mu.sum(), h)
    assert slope[0].isfinite().all() and torch.equal(slope[2], torch.zeros(2))


@pytest.mark.parametrize("d", [2, 3, 10, 100])
def test_the_widest_wrapped_normal_on_a_sphere_leans_to_neither_side(d):
    """Wider ones gather at the antipode of mu, and a training that began there stayed there."""
    posterior = posterior_of(space(f"s{d}"), family("wrapped_normal"), 0.5)
    for number, least, most in ((30.0, -0.01, 0.01), (0.0, 0.2, 0.9)):
        h = torch.zeros(100_000, posterior.features)
        h[:, 0], h[:, -1] = 1.0, number
        leaning = posterior.code(h).draw(Noise(0))[:, 0].mean().item()
        assert least <= leaning <= most


@pytest.mark.parametrize("text", ["s1", "s2", "s7", "t2"])
def test_a_blank_row_is_a_point_of_the_space_with_a_moderate_gradient(text):
    at = space(text)
    for size in (0.0, 1e-30, 1.0, 3e19):
        h = torch.full((2, at.ambient_dim), size, requires_grad=True)
        z = at.from_numbers(h)
        assert torch.allclose(at.project(z), z, atol=1e-6) and torch.isfinite(z).all()
        if size in (0.0, 1.0):
            z.sum().backward()
            assert h.grad.abs().max() < 10


@pytest.mark.parametrize("text", ["s2", "so3"])
@pytest.mark.parametrize("size", [1.0, 1e5, 1e12])
def test_group_elements_of_large_numbers_are_rotations(text, size):
    at = space(text)
    z = at.act(torch.full((3, at.group_features), size), at.sample(3, Noise(0)))
    assert torch.allclose(at.project(z), z, atol=1e-4)


def test_a_least_scale_beyond_the_widest_is_refused():
    with pytest.raises(InputError, match="floor: 1 must be less than the widest scale on s10, 0.51"):
        family("wrapped_normal", floor=1.0)(space=space("s10"))
