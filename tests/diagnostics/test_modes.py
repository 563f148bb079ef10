"""Which modes samples find, of samplers whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from latentrun.diagnostics.base import misfit
from latentrun.diagnostics.samples.modes import MODES, ModesFound
from latentrun.errors import NothingToMeasure
from latentrun.functional.clouds.modes import sort_into, spread_of, unevenness
from latentrun.functional.noise import Noise
from latentrun.functional.ties import principal_axes
from latentrun.manifolds import Euclidean
from latentrun.models.base import HasPrior, Model
from tests.conformance import parts
from tests.planted import Ring, Rows, planted_run

SD, N = 0.02, 2500
CENTRES = Ring.centres
K = len(CENTRES)
WITHIN = 1 - math.exp(-4.5)  # of a normal in the plane, 3 sd


class Sampler(Model, HasPrior):
    """x = sample(z) of z ~ N(0, I)."""

    def __init__(self, sample, data: Ring):
        super().__init__(data.event_shape, {"z": Euclidean(4)})
        self.sample, self.turn = sample, data.turn

    def decode(self, z, space="z"):
        return self.sample(z) @ self.turn

    def prior(self):
        return torch.distributions.Independent(torch.distributions.Normal(torch.zeros(4), 1.0), 1)

    def sample_prior(self, n, noise):
        return noise.normal("prior", (n, 4))

    def phases(self):
        return ()


def share(z):
    """Uniform in (0, 1)."""
    return (0.5 * (1 + torch.erf(z / math.sqrt(2)))).clamp(0, 0.999999)


def exact(z):
    return CENTRES[(K * share(z[:, 0])).long()] + SD * z[:, 1:3]


def one_mode(z):
    return CENTRES[3] + SD * z[:, 1:3]


def narrow(z):
    return CENTRES[(K * share(z[:, 0])).long()] + 0.1 * SD * z[:, 1:3]


def lopsided(z):
    """Half of all samples in the first mode."""
    u = share(z[:, 0])
    which = torch.where(u < 0.5, 0.0, 1 + (K - 1) * (2 * u - 1)).long().clamp(0, K - 1)
    return CENTRES[which] + SD * z[:, 1:3]


def between(z):
    """On the straight lines from each mode to the next."""
    u = K * share(z[:, 0])
    at, t = u.long(), (u - u.floor())[:, None]
    return (1 - t) * CENTRES[at] + t * CENTRES[(at + 1) % K]


def measured(sample, data: Ring):
    return ModesFound(n=N)(planted_run(Sampler(sample, data), data), Noise(1))


@pytest.fixture(scope="module")
def ring():
    return Ring()


@pytest.mark.parametrize("dim", [2, 5])
def test_an_exact_sampler_has_all_modes_and_the_share_of_a_normal(dim):
    report = measured(exact, Ring(dim=dim))
    found = parts.values(report)
    assert found["found"] == found["found.data"] == K and found["share_found"] == 1
    for name in ("good", "good.data"):
        assert report.metrics[name].low < WITHIN < report.metrics[name].high
    for name in ("unevenness", "unevenness.data"):
        assert report.metrics[name].low < 0 < report.metrics[name].high
    assert report.metrics["width"].low < 1.03 and report.metrics["width"].high > 0.97
    assert report.tables["modes"]["samples"].sum() == pytest.approx(1)
    assert report.arrays["centres"].shape == (K, 2) and bool(report.arrays["turned"]) == (dim > 2)


def test_a_ring_spreads_as_far_either_way_and_is_drawn_along_axes_that_a_rule_settles():
    data = Ring(dim=5)
    plane = data.turn.double()
    axes = torch.from_numpy(principal_axes(plane.T @ plane)[1][:, :2].copy())
    drawn = torch.from_numpy(measured(exact, data).arrays["centres"]).double()
    torch.testing.assert_close(drawn, CENTRES.double() @ plane @ axes, atol=1e-5, rtol=0)


def test_one_mode_is_one_and_its_unevenness_the_logarithm_of_all(ring):
    report = measured(one_mode, ring)
    found = parts.values(report)
    assert (
        found["found"] == 1
        and found["share_found"] == 1 / K
        and found["good"] == pytest.approx(WITHIN, abs=0.01)
    )
    assert found["unevenness"] == pytest.approx(math.log(K), abs=0.1)
    assert (report.tables["modes"]["good"] > 0).tolist() == [False] * 3 + [True] + [False] * 4


def test_a_sampler_between_the_modes_finds_them_with_few_good_samples(ring):
    found = parts.values(measured(between, ring))
    length = (CENTRES[0] - CENTRES[1]).norm().item()
    assert found["found"] == K and found["good"] == pytest.approx(2 * 3 * SD / length, abs=0.015)


def test_narrow_modes_and_uneven_ones_are_seen_where_the_benchmark_sees_nothing(ring):
    found = parts.values(measured(narrow, ring))
    assert found["found"] == K and found["good"] == 1 and found["width"] < 0.02
    report = measured(lopsided, ring)
    q = np.array([0.5] + 7 * [0.5 / 7])
    expected = float((q * np.log(q * K)).sum())
    assert report.metrics["found"].value == K
    assert report.metrics["unevenness"].low < expected < report.metrics["unevenness"].high


def test_the_interval_of_unevenness_covers_where_nothing_is_uneven_and_where_something_is():
    even = torch.full((K,), 10**6)
    q = torch.tensor([0.3, 0.2, *6 * [0.5 / 6]])
    truth = float((q * (q * K).log()).sum())
    drawn = torch.multinomial(q, 300 * 400, True, generator=torch.Generator().manual_seed(0)).view(400, 300)
    spans = [unevenness(mode, even) for mode in drawn]
    assert sum(e.low < truth < e.high for e in spans) / 400 > 0.92
    plain = [unevenness(Noise(i).integers("m", K, (300,)), even) for i in range(400)]
    assert (
        abs(sum(e.value for e in plain) / 400) < 0.002 and sum(e.low < 0 < e.high for e in plain) / 400 > 0.92
    )


def test_spread_is_that_of_the_rows_and_not_of_the_directions_they_lack():
    x = torch.zeros(20_000, 10)
    x[:, :2] = 0.3 * Noise(0).normal("x", (20_000, 2))
    assert spread_of(x, torch.zeros(1, 10), torch.zeros(20_000, dtype=torch.int64)) == pytest.approx(
        0.3, rel=0.02
    )
    near = sort_into(CENTRES, CENTRES[:3] + torch.tensor([0.0, 0.07]), 0.06)
    assert near.mode.tolist() == [0, 1, 2] and not near.good.any()


def test_what_has_no_modes_is_told(ring):
    asked, model = ModesFound(n=N), Sampler(exact, ring)
    assert misfit(asked, model, Rows(CENTRES)) is MODES and misfit(asked, model, ring) is None
    with pytest.raises(NothingToMeasure, match="the rows are the modes themselves"):
        measured(exact, Ring(sd=0.0))


def test_it_keeps_the_promises_of_a_diagnostic(ring, tmp_path):
    asked, report = ModesFound(n=400), measured(between, ring)
    assert parts.undeclared(asked, report) == parts.outside_intervals(report) == []
    assert parts.intervals_of_unknown_make(report) == parts.out_of_range(asked, report) == []
    pictures = parts.drawn_from_disk("modes", asked, parts.stored("modes", asked, report, tmp_path))
    assert set(pictures) == {"plane", "shares"} and all(map(parts.is_figure, pictures.values()))
