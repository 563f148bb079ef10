"""Aggregated posteriors whose distance to the prior is known."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.integrate import quad
from torch.distributions import Independent, Laplace

from latentrun.diagnostics.base import misfit
from latentrun.diagnostics.codes.aggregate_posterior import AggregatePosterior
from latentrun.errors import InputError, NothingToMeasure
from latentrun.functional.distances.divergences import gaussian_kl
from latentrun.functional.noise import Noise
from latentrun.models.base import PosteriorTraining
from tests.planted import Deterministic, Gaussian, Rows, planted_run

SETTINGS = {
    "split": "test",
    "rows": 10_000,
    "inactive_kl": 0.01,
    "n": 500,
    "widths": [0.5, 1.0],
    "permutations": 99,
    "quantile": 0.95,
    "bins": 60,
    "resamples": 200,
    "shown": 4,
}


def codes(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def run_of(mean, scale):
    """A run whose posteriors are N(mean_n, scale²): the means are the data."""
    scale = torch.as_tensor(scale, dtype=torch.float32).expand(mean.shape[1])
    model = Gaussian(
        lambda x: x, lambda x: scale.expand(len(x), -1), lambda z: z, mean.shape[1], mean.shape[1:]
    )
    return planted_run(model, Rows(mean.float()))


def measure(mean, scale, **changes):
    diagnostic = AggregatePosterior(**{**SETTINGS, **changes})
    report = diagnostic(run_of(mean, scale), Noise(0).at("test"))
    return diagnostic, report, {name: e.value for name, e in report.metrics.items()}


def test_needs_a_gaussian_posterior_and_a_prior():
    plain = Deterministic(lambda x: x, lambda z: z, 2, (2,))
    assert misfit(AggregatePosterior(**SETTINGS), plain, Rows(codes(10, 2))) is not None
    assert misfit(AggregatePosterior(**SETTINGS), run_of(codes(10, 2), 1).model, Rows(codes(10, 2))) is None
    with pytest.raises(InputError, match="widths"):
        AggregatePosterior(**{**SETTINGS, "widths": []})


def test_posterior_is_the_prior():
    """q(z|x) = N(0, I) for every x: nothing is told, nothing is lost, and the samples cannot be told from the
    prior's."""
    _, report, value = measure(torch.zeros(2000, 3), 1.0)
    for name in (
        "kl",
        "information",
        "information_upper",
        "kl_aggregate",
        "kl_aggregate.gaussian",
        "negentropy",
        "total_correlation",
        "kl_marginals",
        "frechet",
    ):
        assert value[name] == pytest.approx(0, abs=1e-9), name
    for name, truth in (
        ("mean.worst", 0),
        ("variance.least", 1),
        ("variance.greatest", 1),
        ("skewness.worst", 0),
        ("kurtosis.worst", 0),
    ):
        assert value[name] == pytest.approx(truth, abs=1e-6), name
    assert value["correlation.worst"] == pytest.approx(0, abs=1e-9)
    assert report.metrics["mmd2"].low < 0 < report.metrics["mmd2"].high and value["p_mmd2"] > 0.02
    for name in ("prior", "codes", "floor"):
        assert report.metrics[f"empty.{name}"].value == pytest.approx(0.05, abs=0.025), name
    assert value["used"] == 0 and any("none is in use" in note for note in report.notes)


def test_the_floor_is_what_a_perfect_aggregate_of_as_many_points_would_give():
    """Means drawn from N(0, I) with tiny sigma: q(z) is the prior but for sampling, and the two agree."""
    n, d = 2000, 4
    _, report, value = measure(codes(n, d), 0.01)
    expected = (d * (d + 1) / 2 + d) / (2 * n)  # half a chi² of as many parameters
    assert value["kl_aggregate.gaussian"] == pytest.approx(expected, rel=0.7)
    assert value["gaussian_floor"] == pytest.approx(expected, rel=0.7)
    assert value["frechet"] == pytest.approx(value["frechet.floor"], rel=0.8)
    assert report.metrics["mmd2"].low < 0 < report.metrics["mmd2"].high
    assert (
        value["empty.prior"]
        == pytest.approx(0.05, abs=0.025)
        == pytest.approx(value["empty.floor"], abs=0.025)
    )


@pytest.mark.parametrize(("m", "s"), [(1.0, 1.0), (0.0, 0.3), (-0.5, 0.6)])
def test_a_shifted_or_shrunken_aggregate(m, s):
    """All posteriors N(m, s²): q(z) is that normal, with the KL in closed form, and the code says nothing of
    the example."""
    d = 2
    _, report, value = measure(torch.full((1500, d), m), s)
    kl = d * gaussian_kl(torch.tensor(m), torch.tensor(s).log()).item()
    for name in ("kl", "kl_aggregate", "kl_aggregate.gaussian"):
        assert value[name] == pytest.approx(kl, rel=1e-5), name
    assert value["information"] == pytest.approx(0, abs=1e-9) and value["negentropy"] == pytest.approx(
        0, abs=1e-5
    )
    assert value["kl_marginals"] == pytest.approx(kl, rel=0.02) and value["kl_marginals"] <= kl + 1e-9
    assert value["frechet"] == pytest.approx(d * (m**2 + (s - 1) ** 2), rel=1e-5)
    assert report.metrics["mmd2"].low > 0 and value["p_mmd2"] == pytest.approx(0.01)
    assert value["mean.rms"] == pytest.approx(abs(m), abs=1e-6) and value["variance.mean"] == pytest.approx(
        s**2, rel=1e-5
    )
    if s < 1:
        assert value["empty.prior"] > 0.2


def test_codes_that_are_told_apart_hold_the_logarithm_of_their_number():
    """N = 512 narrow posteriors far apart: I = ln N; half of the examples, ln N/2."""
    mean = torch.cartesian_prod(*[torch.linspace(-4, 4, 8)] * 3)
    _, report, value = measure(mean[torch.randperm(512, generator=torch.Generator().manual_seed(0))], 0.01)
    assert value["information"] == pytest.approx(math.log(512), abs=1e-6) and value[
        "information_share"
    ] == pytest.approx(1)
    assert value["kl_aggregate"] == pytest.approx(value["kl"] - math.log(512), abs=1e-5)
    rows = report.tables["rows"]
    assert rows["n"].tolist() == [64, 128, 256, 512]
    np.testing.assert_allclose(rows["information"], np.log(rows["n"]), atol=1e-6)
    assert value["information_upper"] == pytest.approx(value["kl"])
    assert any("hardly" in note for note in report.notes)


def test_two_kinds_of_example_hold_one_bit_and_the_rest_is_no_normal():
    """Half the posteriors at +a, half at -a, everywhere s: I = ln 2 as they do not overlap; KL of the pair by
    quadrature."""
    a, s = 1.5, 0.2
    mean = torch.tensor([[a], [-a]]).repeat(1000, 1)
    diagnostic, report, value = measure(mean, s)
    assert value["information"] == pytest.approx(math.log(2), abs=1e-6)

    def q(z):
        return (stats.norm.pdf(z, a, s) + stats.norm.pdf(z, -a, s)) / 2

    kl = 2 * quad(lambda z: q(z) * (np.log(q(z)) - stats.norm.logpdf(z)), 0, 4, points=[a])[0]
    variance = a**2 + s**2
    assert value["kl_aggregate"] == pytest.approx(kl, rel=1e-5)
    assert value["kl_aggregate.gaussian"] == pytest.approx((variance - 1 - math.log(variance)) / 2, rel=1e-5)
    found = report.metrics["negentropy"]  # over draws of the first 500
    assert found.low < kl - value["kl_aggregate.gaussian"] < found.high and found.high - found.low < 0.2
    assert value["total_correlation"] == pytest.approx(0, abs=1e-9)  # of one variable
    assert 0.95 * kl < value["kl_marginals"] <= kl + 1e-9
    assert value["kurtosis.worst"] == pytest.approx(2 * a**4 / variance**2, rel=1e-4)
    assert set(diagnostic.plot(report)) == {
        "marginals",
        "moments",
        "budget",
        "distances",
    }  # one variable: no plane


def test_information_of_a_gaussian_channel_lies_between_the_bounds():
    """mu ~ N(0, a²), sigma = s: q(z) = N(0, a² + s²), I = ½ ln(1 + a²/s²) a variable. The mixture of N comes
    close to it."""
    a, s, d = 0.8, 0.6, 2
    _, report, value = measure(a * codes(4000, d), s)
    information = d * 0.5 * math.log(1 + a**2 / s**2)
    kl = d * gaussian_kl(torch.tensor(0.0), torch.tensor(0.5 * math.log(a**2 + s**2))).item()
    assert value["information"] == pytest.approx(information, abs=0.05)
    assert report.metrics["information"].low < information < report.metrics["information_upper"].high
    assert value["information"] <= value["information_upper"] == pytest.approx(information, abs=0.05)
    rows = report.tables["rows"]  # of few examples the bounds lie apart, and the truth between them
    assert rows["information_low"][0] < information < rows["information_upper_high"][0]
    assert value["kl_aggregate"] == pytest.approx(kl, abs=0.05)
    assert value["kl"] == pytest.approx(value["information"] + value["kl_aggregate"], rel=1e-9)


def test_correlated_codes():
    """The marginals are the prior's: all of the KL, -½ ln(1 - rho²), is in the correlation."""
    rho, z = 0.6, codes(4000, 2)
    mean = torch.stack([z[:, 0], rho * z[:, 0] + math.sqrt(1 - rho**2) * z[:, 1]], 1)
    _, _, value = measure(mean, 0.01)
    assert (
        value["correlation.worst"]
        == pytest.approx(rho, abs=0.03)
        == pytest.approx(value["correlation.rms"], abs=0.03)
    )
    assert value["kl_aggregate.gaussian"] == pytest.approx(-0.5 * math.log(1 - rho**2), abs=0.03)
    assert value["kl_marginals"] < 0.03


@pytest.mark.parametrize("s", [0.6, 0.2])
def test_a_gaussian_source_has_no_negentropy_and_the_total_correlation_of_its_closed_form(s):
    """mu ~ N(0, C), q(z) = N(0, C + s² I): KL to the normal is 0, total correlation -½ ln det of the
    correlations; a sample's own q(z) is lumpier than that, the more the narrower the posteriors are."""
    rho, held = 0.7, 0
    cov = np.array([[1, rho, 0], [rho, 1, 0], [0, 0, 1.0]])
    whole = cov + s**2 * np.eye(3)
    truth = -0.5 * np.log(np.linalg.det(whole / np.sqrt(np.outer(np.diag(whole), np.diag(whole)))))
    factor = torch.from_numpy(np.linalg.cholesky(cov)).float()
    for seed in range(10):
        metrics = measure(codes(500, 3, seed) @ factor.T, s)[1].metrics
        shape, total = metrics["negentropy"], metrics["total_correlation"]
        held += shape.low <= 0 <= shape.high
        assert total.low <= truth <= total.high and shape.value >= shape.low
        if s > 0.5:
            assert shape.value < 0.12 and total.value == pytest.approx(truth, abs=0.15)
    assert held == 10


def test_posteriors_that_nearly_agree_have_no_negentropy_less_than_0():
    """q(z|x) = N(0.1 u, 0.9²), u normal: whatever the draws, neither value nor interval lies below 0."""
    held = 0
    for seed in range(20):
        found = measure(0.1 * codes(250, 3, seed), 0.9)[1].metrics
        for estimate in (found["negentropy"], found["total_correlation"]):
            assert 0 <= estimate.value <= estimate.high < 0.05 and estimate.low < estimate.high
            held += estimate.low <= 0
    assert held >= 36  # of 40, each with 97.5 %: fewer once in 600


def test_the_floor_is_of_draws_that_did_not_set_the_limit():
    """Those that did lie beyond their own 95 % quantile with 5 %, exactly; others by chance."""
    arrays = (report := measure(codes(2000, 4), 0.01)[1]).arrays
    own = (arrays["gap_prior_prior"] > arrays["limits"][0]).mean()
    assert own == pytest.approx(0.05, abs=1e-3)
    floor = report.metrics["empty.floor"]
    assert floor.value != own and floor.value == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize("edge", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("others", [0, 8])
def test_a_hole_between_two_clusters_is_the_priors_mass_there(edge, others):
    """Codes like the prior's but for |z_0| < edge: that share of the prior's mass has no code nearby, besides
    the 5 % in the tails, which the denser codes there reach better. Variables that are not in use do not hide
    it."""
    n = 4000
    u = torch.rand(n, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    tail = torch.special.ndtri(0.5 * math.erfc(edge / math.sqrt(2)) * u)
    first = torch.where(torch.arange(n) % 2 == 0, tail, -tail)
    mean = torch.cat([first[:, None].float(), torch.zeros(n, others)], 1)
    scale = torch.cat([torch.tensor([0.005]), torch.ones(others)])
    _, report, value = measure(mean, scale)
    mass = math.erf(edge / math.sqrt(2))
    assert value["used"] == 1
    assert value["empty.prior"] == pytest.approx(mass, abs=0.04)
    assert value["empty.floor"] == pytest.approx(0.05, abs=0.02)
    assert value["p_mmd2"] == pytest.approx(0.01) and value["p_mmd2.floor"] > 0.01
    arrays = report.arrays
    assert (arrays["gap_prior_codes"] > arrays["limits"][0]).mean() == pytest.approx(value["empty.prior"])


def test_histograms_show_the_variables_farthest_from_the_prior():
    mean = torch.zeros(200, 6)
    mean[:, 4] = 1.0
    scale = torch.tensor([1.0, 0.2, 1.0, 1.0, 1.0, 0.5])
    diagnostic, report, _ = measure(mean, scale, shown=3)
    assert report.arrays["shown"].tolist() == [1, 4, 5]
    edges, masses = report.arrays["edges"], report.arrays["masses"]
    assert (edges[0], edges[-1]) == (-5, 5)
    expected = np.diff(stats.norm.cdf(edges, np.array([[0], [1], [0]]), np.array([[0.2], [1], [0.5]])))
    np.testing.assert_allclose(masses[:, 1:-1], expected, atol=1e-6)
    assert set(diagnostic.plot(report)) == {"marginals", "moments", "budget", "distances", "plane"}
    assert report.arrays["plane"].tolist() == [1, 5]


def test_what_else_to_know_is_said():
    run = run_of(codes(50, 2), 0.5)
    ask = AggregatePosterior(**SETTINGS)
    assert not any("prior is not" in note or "without sampling" in note for note in ask(run, Noise(0)).notes)
    run.model.posterior_training = PosteriorTraining(sampled=False, kl="full", beta=1.0)
    run.model.prior = lambda: Independent(Laplace(torch.zeros(2), torch.ones(2)), 1)
    notes = ask(run, Noise(0)).notes
    assert any("prior is not" in note for note in notes) and any("without sampling" in note for note in notes)


def test_too_few_examples():
    with pytest.raises(NothingToMeasure, match="5 examples of the test split are too few: 8 are needed"):
        measure(codes(5, 2), 0.5)


def test_same_noise_same_report():
    first, second = (measure(codes(300, 3), 0.4, rows=100)[1] for _ in range(2))
    assert all(first.tables[name].equals(second.tables[name]) for name in first.tables)
