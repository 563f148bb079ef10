"""The variance law on codes constructed to obey it, or to break it by a known factor."""

import math
import statistics

import numpy as np
import pytest
import torch

from latentrun.diagnostics.variables.stationarity import Law, Stationarity, law_metrics, rescaling_loss
from latentrun.functional.distances.divergences import gaussian_kl
from latentrun.functional.noise import Noise
from latentrun.types import Estimate
from tests.planted import Gaussian, Rows, planted_run

N, d = 500, 4
SHARES = torch.tensor(
    [0.9, 0.99, 0.5, 0.001], dtype=torch.float64
)  # var(mu) of each variable; the last is inactive
DRAW = Noise(5).at("stationarity")


def law_run(c=1.0, shift=0.0, **how):
    """Codes with var(mu) = SHARES exactly and mean sigma² = 1 - SHARES (sigma differs from row to row), times
    c, plus shift."""
    codes = DRAW.normal("codes", (N, d)).double()
    codes = (codes - codes.mean(0)) / codes.std(0, correction=0) * SHARES.sqrt()
    scale2 = 0.5 + DRAW.uniform("scale", (N, d)).double()
    scale2 = scale2 / scale2.mean(0) * (1 - SHARES)
    x = torch.cat([codes, scale2], 1).float()
    model = Gaussian(
        lambda x: c * x[:, :d] + shift,
        lambda x: c * x[:, d:].sqrt(),
        lambda z: torch.cat([z, torch.zeros_like(z)], 1),
        d,
        (2 * d,),
        **how,
    )
    return planted_run(model, Rows(x))


def measure(run):
    diagnostic = Stationarity(
        split="test",
        rows=N,
        resamples=500,
        inactive_scale2=0.8,
        inactive_variance=0.05,
        inactive_gain=1e-3,
    )
    return diagnostic, diagnostic(run, Noise(0).at("test"))


def test_the_law_holds_exactly_for_codes_made_to_obey_it():
    diagnostic, report = measure(law_run())
    table = report.tables["variables"]
    np.testing.assert_allclose(table["s"], 1, atol=1e-5)
    assert table["state"].tolist() == ["active"] * 3 + ["inactive"]
    for name in ("mean", "mean.active", "mean.inactive", "second_moment"):
        assert report.metrics[name].value == pytest.approx(1, abs=1e-5)
    for name in ("spread", "worst", "rescaling_loss"):
        assert report.metrics[name].value == pytest.approx(0, abs=2e-5)
    assert set(diagnostic.plot(report)) == {"law", "scatter"}


@pytest.mark.parametrize("c", [0.6, 1.3])
def test_rescaled_codes_have_s_equal_c_squared(c):
    report = measure(law_run(c))[1]
    np.testing.assert_allclose(report.tables["variables"]["s"], c**2, rtol=1e-5)
    assert report.metrics["worst"].value == pytest.approx(abs(c**2 - 1), rel=1e-4)
    assert report.metrics["rescaling_loss"].value == pytest.approx(
        d * (c**2 - 1 - math.log(c**2)) / 2, rel=1e-4
    )


def test_rescaling_loss_is_the_kl_that_the_best_rescaling_saves():
    """Against the KL itself, minimised over c on a grid, although sigma varies over the rows."""
    run = law_run(1.25, shift=0.3)
    latents, table = run.latents("test"), measure(run)[1].tables["variables"]
    mean, log_scale = latents.codes.double(), latents.posterior["scale"].double().log()
    grid = torch.linspace(0.4, 1.6, 2401, dtype=torch.float64)[:, None, None]
    after = gaussian_kl(mean * grid, log_scale + grid.log()).mean(1).min(0).values
    saved = gaussian_kl(mean, log_scale).mean(0) - after
    np.testing.assert_allclose(rescaling_loss(table["second_moment"].to_numpy()), saved, atol=1e-6)


def test_a_shift_changes_the_second_moment_but_not_s():
    report = measure(law_run(shift=0.5))[1]
    table = report.tables["variables"]
    np.testing.assert_allclose(table["s"], 1, atol=1e-5)
    np.testing.assert_allclose(table["second_moment"], 1.25, atol=1e-5)
    assert report.metrics["rescaling_loss.second_moment"].value == pytest.approx(
        d * (0.25 - math.log(1.25)) / 2, rel=1e-3
    )


def test_intervals_have_the_width_of_the_sampling_error():
    """For Gaussian mu of variance v and sigma² nearly constant, sd(S) = v sqrt(2 / N)."""
    table = measure(law_run())[1].tables["variables"]
    width = (table["s_high"] - table["s_low"]) / (2 * 1.96)
    expected = SHARES.numpy() * math.sqrt(2 / N)
    np.testing.assert_allclose(width[:2], expected[:2], rtol=0.2)
    assert ((table["s_low"] <= table["s"]) & (table["s"] <= table["s_high"])).all()


def test_says_where_the_law_need_not_hold():
    notes = measure(law_run(sampled=False, kl="none"))[1].notes
    assert any("untrained" in note for note in notes) and any("kl=none" in note for note in notes)
    assert not any("need not hold" in note for note in measure(law_run())[1].notes)


def test_one_variable_and_no_inactive_ones():
    x = DRAW.normal("single", (N, 1))
    run = planted_run(Gaussian(lambda x: 0.9 * x, lambda x: 0.4 + 0 * x, lambda z: z, 1, (1,)), Rows(x))
    diagnostic, report = measure(run)
    assert report.metrics["mean"].value == pytest.approx(
        0.81 * float(x.double().var(correction=0)) + 0.16, rel=1e-5
    )
    assert math.isnan(report.metrics["mean.inactive"].value) and report.metrics["mean.inactive"].low is None
    assert report.metrics["spread"].value == 0
    assert len(diagnostic.plot(report)) == 2


def test_the_spread_is_the_standard_deviation_over_variables_with_divisor_d():
    one = Estimate(1.0)
    law = Law([Estimate(s) for s in (0.5, 1.0, 1.8)], [one] * 3, one, one, one, one)
    spread = law_metrics(law)["spread"].value
    assert spread == pytest.approx(statistics.pstdev([0.5, 1.0, 1.8]))
    assert np.square([-0.5, 0, 0.8]).mean() == pytest.approx(0.1**2 + spread**2)
