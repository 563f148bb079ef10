"""Errors that forgive displacement, for decoders whose fault is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from latentrun.diagnostics.base import misfit
from latentrun.diagnostics.decoder.invariant_error import InvariantError, factor_error
from latentrun.diagnostics.needs import IMAGES
from latentrun.functional.images.ellipses import Ellipses, normal
from latentrun.functional.noise import Noise
from latentrun.types import Factor
from tests.conformance import parts
from tests.functional.test_registration import planted
from tests.planted import Deterministic, Rows, Span, planted_run

N = 60


def ellipses(size=32) -> torch.Tensor:
    """Smooth ellipses with two bumps beside them, so that no motion leaves a picture as it is."""
    draws = torch.rand(N, 3, generator=torch.Generator().manual_seed(0))
    factors = torch.stack([1.2 * draws[:, 0] - 0.6, 1.6 + 2 * draws[:, 1], 1 + draws[:, 2]], 1)
    x = Ellipses(size, 7.0, [(0, 1)] * 3, normal).render(factors.double()).float()
    return 0.8 * x + 0.4 * x.roll((size // 6, -size // 8), (2, 3))


def moved(x: torch.Tensor, right: float, up: float, degrees: float) -> torch.Tensor:
    """By scipy: quintic splines."""
    a, (h, w) = math.radians(degrees), x.shape[2:]
    back = np.array([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]])
    middle = np.array([(h - 1) / 2, (w - 1) / 2])
    offset = middle - back @ (middle + np.array([-up, right]))
    planes = [
        ndimage.affine_transform(p, back, offset, order=5, mode="nearest")
        for p in x.flatten(0, 1).double().numpy()
    ]
    return torch.from_numpy(np.stack(planes)).float().view(x.shape)


def report(x, made, shift=2.0, angle=10.0):
    data = Rows(x, torch.arange(len(x)).float()[:, None])
    model = Deterministic(
        lambda x: x.flatten(1),
        lambda z: made.view(len(x), -1).view_as(x)[: len(z)],
        x[0].numel(),
        x.shape[1:],
    )
    diagnostic = InvariantError("test", shift, angle, worst=5, resamples=200)
    return diagnostic, diagnostic(planted_run(model, data), Noise(0))


def value(found, name):
    return found.metrics[name].value


@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 32, 26)])
def test_displacement_is_forgiven(shape):
    x = ellipses()[..., : shape[2]].repeat(1, shape[0], 1, 1)
    made = moved(x, -0.7, 0.4, -5.0)
    _, found = report(x, made)
    assert value(found, "error_mean") > 0.3 and value(found, "aligned_error_mean") < 0.1 * value(
        found, "error_mean"
    )
    assert value(found, "gain") > 0.99 and value(found, "gain_swapped") < 0.9
    assert value(found, "shift") == pytest.approx(math.hypot(0.7, 0.4), abs=0.02)
    assert value(found, "angle") == pytest.approx(5, abs=0.1)
    assert value(found, "at_limit") == 0
    assert value(found, "error_mean") == pytest.approx(
        (x - made).flatten(1).norm(dim=1).mean().item(), rel=1e-5
    )
    _, narrow = report(x, made, shift=0.1, angle=1.0)
    assert value(narrow, "at_limit") == 1 and value(narrow, "aligned_error_mean") > value(
        found, "aligned_error_mean"
    )


def test_pictures_displaced_each_its_own_way_gain_more_than_with_errors_of_others():
    x, made, *_ = planted(n=N, h=30, w=36)
    _, found = report(x, made)
    assert value(found, "gain") > 0.99 and found.metrics["gain_swapped"].high < 0.6


def test_blur_is_not():
    x = ellipses()
    made = torch.from_numpy(ndimage.gaussian_filter(x.numpy(), (0, 0, 1.5, 1.5), mode="nearest"))
    _, found = report(x, made)
    assert value(found, "error_mean") > 0.3 and value(found, "gain") < 0.02
    assert value(found, "aligned_error_mean") == pytest.approx(value(found, "error_mean"), rel=0.02)


def test_errors_without_direction_gain_as_much_as_those_of_others():
    x = ellipses()
    made = x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    _, found = report(x, made)
    assert found.metrics["gain"].low < value(found, "gain_swapped") < found.metrics["gain"].high


def test_identity_has_no_error_and_no_gain():
    x = ellipses()
    _, found = report(x, x)
    assert [value(found, name) for name in ("error_mean", "aligned_error_p99", "shift", "angle")] == [
        0,
        0,
        0,
        0,
    ]
    assert math.isnan(value(found, "gain"))


def test_table_and_pictures():
    x = ellipses()
    diagnostic, found = report(x, moved(x, 0.5, 0.0, 3.0) * torch.linspace(0.8, 1, N)[:, None, None, None])
    errors = found.tables["errors"]
    assert (errors["aligned_error"] <= errors["error"]).all()
    assert found.arrays["worst"].tolist() == errors["error"].sort_values(ascending=False).index[:5].tolist()
    off = found.arrays["worst_original"] - found.arrays["worst_aligned"]
    norms = np.sqrt((off**2).sum((1, 2, 3)))
    assert norms == pytest.approx(errors["aligned_error"].to_numpy()[found.arrays["worst"]], rel=1e-4)
    drawn = diagnostic.plot(found)
    assert set(drawn) == {"errors", "worst"}
    labels = [text.get_text() for text in drawn["worst"].figure.axes[0].get_yticklabels()]
    assert labels == ["original", "reconstruction", "difference", "aligned", "difference"]


def span(decode) -> tuple:
    y = 2 * torch.rand(200, 3, generator=torch.Generator().manual_seed(3)) - 1
    data = Span(y)
    model = Deterministic(
        lambda x: x.flatten(1) @ data.basis[:3].T, lambda z: decode(data, z), 3, data.event_shape
    )
    return y, InvariantError("test", 0.0, 0.0, worst=3, resamples=200)(planted_run(model, data), Noise(0))


def test_factors_in_closed_form():
    # The first factor is off by 0.3, the second halved; half a unit is added outside the family.
    def decode(data, z):
        z = torch.stack([z[:, 0] + 0.3, z[:, 1] / 2, z[:, 2]], 1)
        return data.render(z) + 0.5 * data.basis[3].view(4, 4)

    y, found = span(decode)
    assert value(found, "factor_error.correlation") == pytest.approx(0.15, rel=1e-4)  # of a range of 2
    assert value(found, "factor_error.variance_x") == pytest.approx(y[:, 1].abs().mean().item() / 4, rel=1e-4)
    assert value(found, "factor_error.variance_y") == pytest.approx(0, abs=1e-5)
    size, square = y.norm(dim=1), 0.09 + y[:, 1].square() / 4  # the basis is orthonormal
    assert value(found, "family_error_mean") == pytest.approx((square.sqrt() / size).mean().item(), rel=1e-4)
    assert value(found, "relative_error_mean") == pytest.approx(
        ((square + 0.25).sqrt() / size).mean().item(), rel=1e-4
    )
    assert value(found, "family_error_median") == pytest.approx(np.median(square.sqrt() / size), rel=1e-4)


def test_what_leaves_the_factors_alone_is_forgiven_up_to_the_family():
    _, found = span(lambda data, z: data.render(z) + 0.5 * data.basis[3].view(4, 4))
    assert (
        value(found, "error_mean") == pytest.approx(0.5, rel=1e-5) and value(found, "family_error_p99") < 1e-5
    )
    _, same = span(lambda data, z: data.render(z))
    assert value(same, "family_error_p99") < 1e-5 and value(same, "factor_error.variance_x") < 1e-5


def test_heatmaps_rendered_from_their_codes_have_the_factors_planted():
    data = parts.small("heatmaps")
    rows = data.split("test")
    truth = dict(zip(map(float, rows.x.flatten(1).sum(1)), rows.y, strict=True))
    assert len(truth) == len(rows.x)

    def decode(z):
        y = torch.stack([truth[float(v)] for v in z.view(-1, 1, 36, 36).flatten(1).sum(1)]).double()
        return data.render(y * torch.tensor([1, 1.1, 1])).float()

    model = Deterministic(lambda x: x.flatten(1), decode, 36 * 36, data.event_shape)
    found = InvariantError("test", 1.0, 5.0, worst=3, resamples=200)(planted_run(model, data), Noise(0))
    expected = (0.1 * rows.y[:, 1] / 4.8).mean().item()
    assert value(found, "factor_error.variance_x") == pytest.approx(expected, rel=1e-3)
    assert value(found, "factor_error.correlation") < 1e-4
    assert value(found, "family_error_mean") == pytest.approx(value(found, "relative_error_mean"), rel=1e-3)


def test_cyclic_and_categorical_factors():
    angle = Factor("angle", "cyclic", 0.0, 360.0)
    assert factor_error(angle, np.array([350.0, 10.0, 0.0]), np.array([10.0, 725.0, 180.0])) == pytest.approx(
        [20 / 360, 5 / 360, 0.5]
    )
    kind = Factor("kind", "categorical", 0.0, 2.0, categories=("a", "b", "c"))
    assert factor_error(kind, np.array([0.0, 1.0, 2.0]), np.array([0.0, 2.0, 2.0])).tolist() == [0, 1, 0]
    assert np.isnan(factor_error(Factor("flat", "real", 1.0, 1.0), np.ones(2), np.ones(2))).all()


def test_needs_pictures():
    data = Rows(torch.rand(9, 5))
    model = Deterministic(lambda x: x, lambda z: z, 5, (5,))
    assert misfit(InvariantError("test", 1.0, 1.0, 1, 100), model, data) is IMAGES
