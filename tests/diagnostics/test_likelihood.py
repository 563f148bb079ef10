"""Models of which log p(x) and the bounds are known in closed form."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch.distributions import Independent, MultivariateNormal, Normal

from latentrun.data.base import HasMembers
from latentrun.diagnostics.base import misfit
from latentrun.diagnostics.evidence.likelihood import Likelihood
from latentrun.diagnostics.evidence.likelihood_measure import fixed_scale, one_scale, pairs, weigh
from latentrun.distributions.base import Draws
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.functional.spacing import lattice
from latentrun.models.base import HasEvidence, HasLogProb, HasPriorGrid
from tests.planted import Deterministic, Gaussian, Rows, planted_run

SETTINGS = {
    "split": "test",
    "rows": 1000,
    "draws": [1, 10, 100],
    "points": 4096,
    "lattice": 0,
    "tolerance": 1e-4,
}
SIGMA = 0.5


class Weighing(Gaussian, HasEvidence, HasPriorGrid):
    """A planted VAE with p(x|z) = N(decode(z), SIGMA²) that weighs its draws."""

    scale_of_x = SIGMA

    def likelihood(self, z):
        mean = self.decode(z)
        return Independent(
            Normal(mean, torch.tensor(self.scale_of_x), validate_args=False), 1, validate_args=False
        )

    def draws(self, x, n, noise):
        q, p = self.posterior(x), self.prior()
        e = noise.normal("z", (n, len(x), self.latent_dim))
        z = q.mean + q.stddev * e
        return Draws(z, p.log_prob(z) - q.log_prob(z))

    def prior_grid(self, n):
        if self.latent_dim > 1:
            return None
        return torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n).float().unsqueeze(1)


class Exact(Weighing, HasLogProb):
    """x = W z + SIGMA e with orthogonal columns of W, whose true posterior is a diagonal normal; ``stretch``
    and ``shift``: what is done to its standard deviation and mean."""

    def __init__(self, dims=2, size=4, stretch=1.0, shift=0.0):
        columns = torch.linalg.qr(torch.randn(size, dims, generator=torch.Generator().manual_seed(1)))[0]
        self.weights = columns * torch.linspace(1.0, 2.0, dims)
        precision = 1 + self.weights.square().sum(0) / SIGMA**2
        super().__init__(
            lambda x: x @ self.weights / SIGMA**2 / precision + shift,
            lambda x: (stretch / precision.sqrt()).expand(len(x), -1),
            lambda z: z @ self.weights.T,
            dims,
            (size,),
        )

    def __setattr__(self, name, value):  # a plain tensor before torch's own constructor has run
        object.__setattr__(self, name, value) if name == "weights" else super().__setattr__(name, value)

    def law(self):
        covariance = self.weights @ self.weights.T + SIGMA**2 * torch.eye(len(self.weights))
        return MultivariateNormal(torch.zeros(len(covariance)), covariance)

    def log_prob(self, x):
        return self.law().log_prob(x)


def measure(model, x, **changes):
    diagnostic = Likelihood(**{**SETTINGS, **changes})
    report = diagnostic(planted_run(model, x if isinstance(x, Rows) else Rows(x)), Noise(0).at("test"))
    return diagnostic, report, {name: e.value for name, e in report.metrics.items()}


def examples_of(model, n=200):
    return model.law().sample((n,))


def test_a_perfect_posterior_leaves_nothing_to_gain():
    """q(z|x) = p(z|x): every weight is p(x), so all bounds are log p(x), for every example."""
    model = Exact()
    _, report, value = measure(model, examples_of(model))
    table = report.tables["examples"]
    for name in ("iwae_1", "iwae_10", "iwae_100"):
        np.testing.assert_allclose(table[name], table["log_prob"], atol=2e-4)
    assert value["bias"] == pytest.approx(0, abs=1e-6)
    assert value["effective"] == pytest.approx(100, abs=0.01) and value["few"] == 0
    # The split into terms is by draws.
    assert value["inference_gap"] == pytest.approx(0, abs=0.02)
    assert value["elbo"] == pytest.approx(-value["reconstruction"] - value["kl"])
    assert value["bits.log_prob"] == pytest.approx(-value["log_prob"] / (4 * math.log(2)))


@pytest.mark.parametrize(("stretch", "shift"), [(1.5, 0.0), (1.0, 0.3)], ids=["too wide", "wrong mean"])
def test_a_wrong_posterior_costs_its_divergence_and_draws_win_it_back(stretch, shift):
    """log p(x) - ELBO = KL(q || p(z|x)), of two normals in closed form."""
    model = Exact(stretch=stretch, shift=shift)
    true = 1 / (1 + model.weights.square().sum(0) / SIGMA**2).sqrt()
    lost = (0.5 * (stretch**2 - 1 - 2 * math.log(stretch) + shift**2 / true**2)).sum().item()
    _, report, value = measure(model, examples_of(model), draws=[1, 10, 2000])
    assert value["inference_gap"] == pytest.approx(lost, abs=0.02)
    assert value["iwae.1"] == pytest.approx(value["elbo"], abs=0.02)
    assert value["iwae.1"] < value["iwae.10"] < value["iwae.2000"]
    assert value["iwae.2000"] == pytest.approx(value["log_prob"], abs=0.01)
    assert 0 < value["bias"] < 0.01
    rows = report.tables["bounds"]
    assert rows["groups"].tolist() == [2000, 200, 1]
    assert (rows["low"] < rows["bound"]).all() and (rows["error"] > 0).all()


def test_the_bias_to_first_order_is_what_is_missing():
    """Var w / (2 K p²) in closed form: of a posterior ``s`` times too wide E (w/p)² = s² / sqrt(2 s² - 1) a
    variable."""
    model, stretch = Exact(stretch=1.4), 1.4
    second = (stretch**2 / math.sqrt(2 * stretch**2 - 1)) ** 2
    _, _, value = measure(model, examples_of(model, 300), draws=[1, 400])
    assert value["bias"] == pytest.approx((second - 1) / (2 * 400), rel=0.1)
    x = examples_of(model, 500)
    small = weigh(model, x, [10, 800], Noise(3)).corrected
    missing = (model.log_prob(x) - small.bounds[10]).mean().item()
    assert missing == pytest.approx((second - 1) / (2 * 10), rel=0.2)


class Curve(Weighing):
    """One latent variable, decoded to a curve: log p(x) has no closed form."""

    def __init__(self, wide=1.0):
        super().__init__(
            lambda x: x[:, :1],
            lambda x: torch.full((len(x), 1), wide),
            lambda z: torch.cat([z, z.sin(), z.square()], 1),
            1,
            (3,),
        )


def test_quadrature_is_that_of_scipy():
    x = torch.tensor([[0.2, 0.1, 0.3], [-1.0, -0.8, 1.2], [2.0, 1.0, 3.0]])

    def density(z, row):
        mean = (z, math.sin(z), z * z)
        return stats.norm.pdf(z) * np.prod(stats.norm.pdf(row, mean, SIGMA))

    truth = [math.log(integrate.quad(density, -8, 8, args=(row,), limit=200)[0]) for row in x.numpy()]
    _, report, value = measure(Curve(0.3), x, draws=[1, 5000])
    np.testing.assert_allclose(report.tables["examples"]["quadrature"], truth, atol=1e-3)
    np.testing.assert_allclose(report.tables["examples"]["iwae_5000"], truth, atol=0.1)
    assert value["quadrature_change"] < SETTINGS["tolerance"]


def test_quadrature_that_does_not_converge_says_so():
    model = Curve()
    model.scale_of_x = 1e-4
    _, report, value = measure(model, torch.tensor([[0.2, 0.1987, 0.04], [1.0, 0.8415, 1.0]]), points=512)
    assert value["quadrature_change"] > 1
    assert any("not converged to 0.0001" in note for note in report.notes)


def test_more_than_one_latent_variable_has_no_quadrature():
    model = Exact(dims=2)
    assert "quadrature" not in measure(model, examples_of(model, 10))[2]
    one = Exact(dims=1)
    value = measure(one, examples_of(one, 50))[2]
    assert value["quadrature"] == pytest.approx(value["log_prob"], abs=1e-3)


class Fading(Weighing):
    """Two latent variables; a standard deviation of x that grows with the first from 0.4 to 1.6."""

    def __init__(self):
        super().__init__(
            lambda x: 0.5 * x[:, :2],
            lambda x: torch.full((len(x), 2), 0.9),
            lambda z: torch.stack([z[:, 0], z[:, 1], z[:, 0] * z[:, 1]], 1),
            2,
            (3,),
        )

    def likelihood(self, z):
        sd = 1.0 + 0.6 * z[:, :1].tanh()
        return Independent(Normal(self.decode(z), sd.expand(-1, 3), validate_args=False), 1)

    def prior_grid(self, n):
        return torch.special.ndtri(lattice(n, 2)).float()


def test_a_standard_deviation_that_changes_with_z_is_in_every_bound():
    """log p(x) by quadrature over two dimensions, by scipy, and as the bound of many draws."""
    x = torch.tensor([[-1.0, -0.8, 1.2], [2.0, 1.0, 3.0]])

    def density(z1, z0, row):
        mean, sd = np.array([z0, z1, z0 * z1]), 1 + 0.6 * math.tanh(z0)
        return (
            stats.norm.pdf(z0)
            * stats.norm.pdf(z1)
            * np.prod(np.exp(-0.5 * ((row - mean) / sd) ** 2))
            / ((2 * math.pi) ** 1.5 * sd**3)
        )

    truth = [
        math.log(integrate.dblquad(density, -6, 6, -6, 6, args=(row,), epsabs=1e-5, epsrel=1e-4)[0])
        for row in x.double().numpy()
    ]
    _, report, value = measure(Fading(), x, draws=[1, 4000], lattice=65536, tolerance=1e-3)
    table = report.tables["examples"]
    np.testing.assert_allclose(table["quadrature"], truth, atol=4e-3)
    np.testing.assert_allclose(table["iwae_4000"], truth, atol=0.06)
    assert value["elbo"] < value["iwae.4000"] and value["quadrature_change"] < 1e-3
    assert "quadrature" not in measure(Fading(), x)[2]  # which is not asked for in two dimensions


class Uncorrected(Exact):
    """Its own KL and some weights leave a constant of 0.7 nats out, or it has no others."""

    only = False

    def kl(self, x):
        return super().kl(x).sum(1) - 0.7

    def draws(self, x, n, noise):
        right = super().draws(x, n, noise)
        return replace(
            right, log_weight=None if self.only else right.log_weight, uncorrected=right.log_weight + 0.7
        )


def test_uncorrected_numbers_have_names_of_their_own():
    model = Uncorrected()
    x = examples_of(model)
    _, report, value = measure(model, x)
    assert value["elbo_uncorrected"] == pytest.approx(value["elbo"] + 0.7, abs=0.02)
    assert value["iwae_uncorrected.100"] == pytest.approx(value["iwae.100"] + 0.7, abs=1e-4)
    assert value["kl_uncorrected"] == pytest.approx(value["kl"] - 0.7, abs=0.03)
    assert value["inference_gap"] == pytest.approx(0, abs=0.02)
    assert any("bound nothing" in note for note in report.notes)
    model.only = True
    _, report, value = measure(model, x)
    assert not {"elbo", "kl", "iwae.100", "bias", "bits.elbo"} & value.keys()
    assert value["iwae_uncorrected.100"] > value["log_prob"]  # above log p(x): no bound
    assert any("do not exist" in note for note in report.notes)


def test_a_draw_that_the_prior_does_not_have_leaves_no_elbo_and_a_bound():
    class Bounded(Exact):
        def draws(self, x, n, noise):
            right = super().draws(x, n, noise)
            beyond = torch.arange(n)[:, None] % 2 == 0
            return replace(
                right,
                log_weight=right.log_weight.masked_fill(beyond, -torch.inf),
                uncorrected=right.log_weight,
            )

    model = Bounded()
    _, _, value = measure(model, examples_of(model, 20))
    assert value["elbo"] == -math.inf and value["iwae.1"] == -math.inf
    assert value["iwae.100"] == pytest.approx(value["log_prob"] - math.log(2), abs=1e-3)
    assert value["effective"] == pytest.approx(50, abs=0.01)
    assert value["outside"] == 0.5


# ---------------------------------------------------------------- the family of the data
class Circle(Rows, HasMembers):
    """Points on the unit circle in R³, with the noise that is asked for."""

    noise = 0.0

    def members(self, n):
        turn = 2 * torch.pi * torch.arange(n) / n
        return torch.stack([turn.cos(), turn.sin(), torch.zeros(n)], 1)


@pytest.mark.parametrize("shape", [(7,), (1, 3, 2)])
def test_normal_laws_of_one_scale_are_measured_by_distances(shape):
    generator = torch.Generator().manual_seed(0)
    x = 30 + torch.randn(20, *shape, generator=generator)
    mean = 30 + torch.randn(50, *shape, generator=generator)
    one, several = (
        Independent(Normal(mean, torch.full_like(mean, 0.05) + add), len(shape))
        for add in (0.0, 1e-3 * torch.rand(mean.shape, generator=generator))
    )
    assert one_scale(one) == pytest.approx(0.05) and one_scale(several) is None
    for law in (one, several):
        expected = law.log_prob(x.unsqueeze(1))
        torch.testing.assert_close(pairs(law, x).float(), expected, rtol=1e-5, atol=1e-3)


def test_the_oracle_integrates_over_the_family():
    """A point of the unit circle, sigma 0.5 in 3 dimensions: N(0; 0, s²)^3 times the mean of exp((cos t - 1)
    / s²), which is exp(-1/s²) I0(1/s²)."""
    x = torch.tensor([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0]])
    truth = 3 * stats.norm.logpdf(0, 0, SIGMA) + math.log(np.i0(4.0)) - 4.0
    _, report, value = measure(Curve(), Circle(x))
    np.testing.assert_allclose(report.tables["examples"]["oracle"], truth, atol=1e-5)
    assert value["gap.elbo"] == pytest.approx(truth - value["elbo"])
    assert value["gap.quadrature"] == pytest.approx(truth - value["quadrature"])
    assert any("0.5" in note for note in report.notes)


def test_noisy_data_have_a_law_of_their_own_beside_the_oracle():
    data = Circle(torch.tensor([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0]]))
    assert "source" not in measure(Curve(), data)[2]
    data.noise = 1.0
    _, _, value = measure(Curve(), data)
    assert value["source"] == pytest.approx(3 * stats.norm.logpdf(0) + math.log(np.i0(1.0)) - 1.0, abs=1e-5)
    assert value["oracle"] == pytest.approx(3 * stats.norm.logpdf(0, 0, SIGMA) + math.log(np.i0(4.0)) - 4.0)


def test_an_oracle_needs_a_normal_of_one_scale():
    model = Curve()
    z = torch.zeros(4, 1)
    assert fixed_scale(model, z) == SIGMA
    model.likelihood = lambda z: Independent(Normal(model.decode(z), 1.0 + torch.arange(3.0)), 1)
    assert fixed_scale(model, z) is None
    model.likelihood = lambda z: Independent(
        torch.distributions.Laplace(model.decode(z), torch.tensor(1.0)), 1
    )
    assert fixed_scale(model, z) is None


# ---------------------------------------------------------------- what it asks for, and how it counts
def test_needs_weights_or_a_density():
    plain = Deterministic(lambda x: x, lambda z: z, 2, (2,))
    rows = Rows(torch.zeros(4, 2))
    assert misfit(Likelihood(**SETTINGS), plain, rows) is not None
    assert misfit(Likelihood(**SETTINGS), Exact(), rows) is None
    with pytest.raises(InputError, match="at least one"):
        Likelihood(**{**SETTINGS, "draws": []})


def test_a_density_alone_is_enough():
    class Density(Deterministic, HasLogProb):
        def log_prob(self, x):
            return -x.square().sum(1)

    model = Density(lambda x: x, lambda z: z, 2, (2,))
    diagnostic, report, value = measure(model, torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    assert value["log_prob"] == pytest.approx(-2.5)
    assert list(diagnostic.plot(report)) == ["examples"]


def test_the_same_examples_in_every_run():
    model = Exact()
    x = examples_of(model, 50)
    tables = [measure(model, x, rows=7)[1].tables["examples"] for _ in range(2)]
    assert tables[0]["index"].tolist() == tables[1]["index"].tolist() == [0, 8, 16, 24, 33, 41, 49]


def test_the_information_and_what_is_left_make_the_kl():
    model = Exact()
    _, _, value = measure(model, examples_of(model, 500))
    assert value["information"] + value["kl_aggregate"] == pytest.approx(value["kl"], abs=1e-6)
    assert abs(value["kl_aggregate"]) < 0.35  # the posteriors of the model's own data make up its prior


def test_never_more_than_a_chunk_is_decoded_at_once():
    model = Exact()
    most = []
    decode = model._decode
    model._decode = lambda z: most.append(len(z)) or decode(z)
    measure(model, examples_of(model, 20), draws=[1, 1500])
    assert max(most) <= 512
