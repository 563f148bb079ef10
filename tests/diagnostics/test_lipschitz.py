"""Steepness of planted maps, and of planted histories."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from latentrun.diagnostics.decoder.lipschitz import Lipschitz, exponent, largest_quotient
from latentrun.functional.noise import Noise
from latentrun.types import History
from tests.planted import Deterministic, Rows, planted_run

A = torch.tensor([[2.0, 0.0], [0.0, 0.5], [0.0, 0.0]])  # codes to examples
N = 40


def rows() -> Rows:
    return Rows(Noise(0).normal("z", (N, 2)) @ A.T)


def history(codes: np.ndarray) -> History:
    """Of codes ``(E, n, d)`` of the first n training rows."""
    epochs, n, _ = codes.shape
    none = np.zeros((epochs, n, 0), np.float32)
    steps = np.arange(1, epochs + 1)
    return History(
        np.arange(n),
        steps,
        codes.astype(np.float32),
        none,
        np.arange(1),
        steps,
        codes[:, :1],
        none[:, :1],
    )


def measured(encode, decode, data=None, **fields):
    data = rows() if data is None else data
    run = planted_run(Deterministic(encode, decode, 2, data.event_shape), data, **fields)
    return Lipschitz(n=30, iterations=40, share=0.5, least=5)(run, Noise(0))


def test_linear_maps_have_one_constant():
    report = measured(lambda x: x @ torch.linalg.pinv(A).T, lambda z: z @ A.T)
    values = {key: found.value for key, found in report.metrics.items()}
    # sigma_max of A, and of its pseudo-inverse 1 / 0.5.
    for name in ("encoder", "decoder"):
        assert values[f"upper.{name}"] == pytest.approx(2.0, rel=1e-5)
        assert values[f"lower.{name}"] == pytest.approx(2.0, rel=1e-4)
        assert values[f"slope.{name}.median"] == pytest.approx(2.0, rel=1e-4)
        assert values[f"tightness.{name}"] == pytest.approx(1.0, rel=1e-4)
        assert 1.0 < values[f"quotient.{name}"] <= 2.0 + 1e-5


def test_what_has_no_bound_is_said_and_a_tear_seen_by_pairs_alone():
    # Flat but for a jump by 4 at 0, as an encoder is that tears: no Jacobian shows it.
    torn = lambda x: torch.stack([torch.floor(x[:, 0] * 0.5) * 4, x[:, 1]], 1)  # noqa: E731
    x = torch.stack([torch.linspace(-0.9, 0.9, N), torch.zeros(N), torch.zeros(N)], 1)
    report = measured(torn, lambda z: z @ A.T, Rows(x))
    assert report.metrics["slope.encoder.median"].value == pytest.approx(1.0)
    assert report.metrics["quotient.encoder"].value > 40
    assert report.metrics["lower.encoder"].value == report.metrics["quotient.encoder"].value
    assert "upper.encoder" not in report.metrics and "Not bounded: " in " ".join(report.notes)
    assert report.metrics["upper.decoder"].value == pytest.approx(2.0)


def circle_on_a_line(epochs: int, grow: bool) -> tuple[Rows, History]:
    """A circle laid on a line: near the place where it is cut the code runs back over an arc of 1 / e rad
    after epoch e, ever more steeply (or of 1 rad at all times)."""
    n = 60
    angle = (np.arange(n) + 0.5) * 2 * math.pi / n
    x = np.stack([np.cos(angle), np.sin(angle)], 1)
    widths = 1 / np.arange(1, epochs + 1) if grow else np.ones(epochs)
    codes = []
    for width in widths:  # around the cut the code returns along a stretch of that width
        back = np.clip((2 * math.pi - angle) / width, 0, 1)
        codes.append(np.where(angle < 2 * math.pi - width, angle, (2 * math.pi - width) * back)[:, None])
    return Rows(torch.from_numpy(x).float()), history(np.stack(codes))


def test_an_encoder_that_steepens_has_the_exponent_of_its_growth():
    x = Noise(0).normal("x", (N, 3))
    near = x.clone()
    near[1] = near[0] + 0.01
    epochs, power = np.arange(1, 21), 0.7
    codes = np.tile(near[:, :2].numpy(), (20, 1, 1))
    codes[:, 1] = codes[:, 0]
    codes[:, 1, 0] += 0.5 * (epochs / 20) ** power  # the pair of neighbours is torn ever further apart
    report = measured(lambda x: x[:, :2], lambda z: z @ A.T, Rows(near), history=history(codes))
    assert report.metrics["growth.quotient"].value == pytest.approx(power, abs=1e-3)
    assert report.metrics["rise.quotient"].value == pytest.approx(20**power, rel=1e-3)
    first, second = report.tables["epochs"].iloc[-1][["first", "second"]]
    assert {first, second} == {0, 1}
    assert report.tables["epochs"]["quotient"].iloc[-1] == pytest.approx(
        0.5 / (0.01 * math.sqrt(3)), rel=1e-3
    )


def test_a_circle_cut_ever_more_sharply_grows_and_one_at_rest_does_not():
    for grow in (True, False):
        data, record = circle_on_a_line(30, grow)
        report = measured(lambda x: x, lambda z: torch.cat([z, z[:, :1]], 1)[:, :2], data, history=record)
        growth = report.metrics["growth.relative"]
        if grow:
            assert report.metrics["rise.relative"].value > 5
        else:
            assert abs(growth.value) < 1e-9 and report.metrics["rise.relative"].value == pytest.approx(1)


def test_larger_codes_alone_are_no_steeper_relative_to_their_spread():
    codes = Noise(0).normal("code", (N, 2)).numpy()
    grown = np.stack([codes * e for e in range(1, 13)])
    metrics = measured(lambda x: x[:, :2], lambda z: z @ A.T, history=history(grown)).metrics
    assert metrics["growth.quotient"].value == pytest.approx(1, abs=1e-4)
    assert abs(metrics["growth.relative"].value) < 1e-4


def test_too_few_epochs_tell_no_growth():
    codes = np.tile(Noise(0).normal("code", (N, 2)).numpy(), (3, 1, 1))
    report = measured(lambda x: x[:, :2], lambda z: z @ A.T, history=history(codes))
    assert "growth.quotient" not in report.metrics and "no growth is told" in " ".join(report.notes)


def test_quotients_leave_equal_points_out():
    points = torch.tensor([[0.0], [0.0], [1.0], [1.5]])
    images = torch.tensor([[0.0], [9.0], [2.0], [5.0]])
    assert largest_quotient(points, images) == (7.0, (1, 2))
    assert exponent(np.arange(1.0, 7), np.array([1.0, 3.0, 2.0, 5.0, 4.0, 6.0])).low is not None
