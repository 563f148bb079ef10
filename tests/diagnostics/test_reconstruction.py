"""Errors of planted decoders are the planted ones."""

import math
import warnings

import numpy as np
import pytest
import torch
from scipy import stats

from latentrun.data.base import Oracle
from latentrun.diagnostics.base import misfit
from latentrun.diagnostics.decoder.reconstruction import Reconstruction
from latentrun.diagnostics.needs import ENCODER
from latentrun.functional.noise import Noise
from latentrun.manifolds import Euclidean
from latentrun.models.base import Model
from latentrun.types import Factor, Projection
from tests.planted import Deterministic, Rows, planted_run


def pictures(n=200, shape=(1, 6, 7)):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(0))


def report(decode, data, d=None, split="test", resamples=200):
    shape = data.event_shape
    d = d or math.prod(shape)
    model = Deterministic(lambda x: x.flatten(1), lambda z: decode(z.view(-1, *shape)), d, shape)
    diagnostic = Reconstruction(split=split, worst=5, shown=4, resamples=resamples)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return diagnostic, diagnostic(planted_run(model, data), Noise(0))


def test_identity_has_no_error():
    _, found = report(lambda x: x, Rows(pictures()))
    assert {
        name: found.metrics[name].value
        for name in ("error_mean", "error_max", "error_sd", "mse", "unexplained")
    } == dict.fromkeys(("error_mean", "error_max", "error_sd", "mse", "unexplained"), 0.0)
    assert math.isnan(found.metrics["error_skewness"].value) and math.isnan(found.metrics["tail_ratio"].value)


@pytest.mark.parametrize("shape", [(1, 6, 7), (3, 4, 5), (11,)])
def test_constant_offset_has_norm_c_root_d_everywhere(shape):
    _, found = report(lambda x: x + 0.25, Rows(pictures(shape=shape)))
    norm = 0.25 * math.sqrt(math.prod(shape))
    assert found.tables["errors"]["error"].to_numpy() == pytest.approx(np.full(200, norm), rel=1e-5)
    for name in ("error_mean", "error_median", "error_p95", "error_p99", "error_p999", "error_max"):
        assert found.metrics[name].value == pytest.approx(norm, rel=1e-5), name
    assert found.metrics["error_sd"].value == pytest.approx(0, abs=1e-6)
    assert found.metrics["mse"].value == pytest.approx(1 / 16, rel=1e-5)
    assert math.isnan(found.metrics["error_excess_kurtosis"].value)


def test_mean_picture_leaves_all_unexplained():
    x = pictures()
    _, found = report(lambda z: x.mean(0).expand_as(z), Rows(x))
    e = found.metrics["unexplained"]
    assert e.value == pytest.approx(1, abs=1e-6) and e.low is None  # as large in every resample
    assert found.metrics["mse"].value == pytest.approx(
        x.flatten(1).var(0, correction=0).mean().item(), rel=1e-5
    )


def test_statistics_of_known_errors_are_scipys_and_numpys():
    # one pixel of each picture is off by a planted lognormal amount: that amount is the norm
    x, amount = pictures(), torch.from_numpy(np.random.default_rng(1).lognormal(size=200)).float()
    where = dict(zip(map(float, x[:, 0, 0, 0]), amount, strict=True))

    def decode(z):
        made = z.clone()
        made[:, 0, 2, 3] += torch.stack([where[float(v)] for v in z[:, 0, 0, 0]])
        return made

    _, found = report(decode, Rows(x))
    value = {name: e.value for name, e in found.metrics.items()}
    e = amount.double().numpy()
    expected = {
        "error_mean": e.mean(),
        "error_median": np.median(e),
        "error_sd": e.std(),
        "error_skewness": stats.skew(e),
        "error_excess_kurtosis": stats.kurtosis(e),
        "error_p95": np.percentile(e, 95),
        "error_p99": np.percentile(e, 99),
        "error_p999": np.percentile(e, 99.9),
        "error_max": e.max(),
        "tail_ratio": np.percentile(e, 99.9) / np.median(e),
        "mse": (e**2).mean() / 42,
    }
    assert {name: value[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    without = {"error_max", "error_skewness", "error_excess_kurtosis"}
    one_end = {"error_p99", "error_p999", "tail_ratio"}  # 0.99 ** 200 = 0.13 > 0.025: none may lie beyond
    for name in expected.keys() - without:
        found_here = found.metrics[name]
        assert found_here.low < value[name], name
        assert found_here.high is None if name in one_end else value[name] < found_here.high, name
    assert all(found.metrics[name].low is None for name in without)
    worst = found.tables["worst"]
    assert worst["index"].tolist() == np.argsort(-e)[:5].tolist() and worst["rank"].tolist() == [
        1,
        2,
        3,
        4,
        5,
    ]
    assert set(found.tables["summary"]["statistic"]) == set(found.metrics)
    assert found.notes[1:] == tuple(
        f"The interval of the {percent} percentile has no upper end: the chance is {chance} that none of 200 "
        "examples lies beyond it."
        for percent, chance in (("99", "13%"), ("99.9", "82%"))  # 0.99 ** 200, 0.999 ** 200
    )


class Disc(Rows, Oracle):
    """Pictures whose family is: a constant picture of any brightness."""

    intrinsic_dim, betti = 1, (1,)

    def render(self, factors):
        return factors[:, :1].view(-1, 1, 1, 1).expand(-1, *self.event_shape)

    def project(self, x):
        mean = x.flatten(1).mean(1, keepdim=True)
        residual = (x.flatten(1) - mean).norm(dim=1) / x.flatten(1).norm(dim=1)
        return Projection(mean.double(), residual, torch.ones(len(x), dtype=torch.bool), torch.ones(len(x)))


def test_distance_of_reconstructions_from_the_family():
    y = torch.linspace(0.2, 1, 100).unsqueeze(1)
    x = y.view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()
    data = Disc(x, y, (Factor("brightness", "real", 0.2, 1),))
    tilt = torch.tensor([[1.5, 0.5], [0.5, 1.5]])
    _, flat = report(lambda z: 0.5 * z, data)
    _, off = report(lambda z: z * tilt, data)
    assert (
        flat.metrics["residual.mean"].value == pytest.approx(0, abs=1e-6)
        and flat.metrics["error_mean"].value > 0.1
    )
    for name in ("residual.mean", "residual.p95", "residual.p99"):
        assert off.metrics[name].value == pytest.approx(math.sqrt(0.25 / 1.25), rel=1e-5)
    assert off.tables["errors"]["brightness"].to_numpy() == pytest.approx(y[:, 0].numpy())


def test_tables_carry_factors_labels_and_the_row_numbers_of_the_split():
    parts = {"train": pictures(50), "val": pictures(20), "test": pictures(30)}
    labels = {name: torch.arange(len(x)) % 3 for name, x in parts.items()}
    _, found = report(lambda x: x + 1, Rows(parts, labels=labels), split="val")
    assert found.tables["errors"].columns.tolist() == ["index", "error", "class"]
    assert found.tables["errors"]["class"].tolist() == [i % 3 for i in range(20)]
    assert not any(name.startswith("residual") for name in found.metrics)


def test_pictures_from_the_report_alone_and_only_where_data_are_pictures():
    diagnostic, found = report(lambda x: 0.9 * x, Rows(pictures()))
    drawn = diagnostic.plot(found)
    assert set(drawn) == {"histogram", "examples", "worst"}
    assert found.arrays["shown_error"].tolist() == sorted(found.arrays["shown_error"].tolist())
    assert found.arrays["shown_error"][[0, -1]] == pytest.approx(
        [found.arrays["errors"].min(), found.arrays["errors"].max()]
    )
    assert found.arrays["worst_error"][0] == found.arrays["errors"].max()
    diagnostic, found = report(lambda x: 0.9 * x, Rows(pictures(shape=(11,))))
    assert set(diagnostic.plot(found)) == {"histogram"}


def test_needs_an_encoder():
    class Generator(Model):
        decode = phases = lambda self: None

    generator = Generator((1,), {"z": Euclidean(1)})
    assert misfit(Reconstruction("test", 1, 1, 10), generator, Rows(pictures())) is ENCODER
