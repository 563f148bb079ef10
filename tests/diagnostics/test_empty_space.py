"""Paths through gaps that are known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from latentrun.config.build import build
from latentrun.diagnostics.base import Diagnostic
from latentrun.errors import NothingToMeasure
from latentrun.functional.noise import Noise
from tests.planted import Deterministic, Rows, Span, planted_run

SHIPPED = yaml.safe_load(
    (Path(__file__).parents[2] / "conf" / "diagnostic" / "empty_space.yaml").read_text()
)["empty_space"]


def make(**changes) -> Diagnostic:
    return build(SHIPPED | {"core": 1.0, "candidates": 100} | changes, Diagnostic, "empty_space")


def factors(gap: float, n: int = 6000) -> torch.Tensor:
    """Points drawn evenly from [-1, 1]³ without those whose first coordinate is within gap / 2 of 0."""
    y = 2 * torch.rand(n, 3, generator=torch.Generator().manual_seed(0)) - 1
    y[:, 0] = torch.sign(y[:, 0]) * (gap / 2 + y[:, 0].abs() * (1 - gap / 2))
    return y


def value(report, name: str) -> float:
    return report.metrics[name].value


def test_the_path_crosses_the_gap_between_two_clusters():
    data = Span(factors(1.6))
    report = make()(data.run(), Noise(0))
    steps = report.tables["steps"]
    first = steps[steps["path"] == report.tables["paths"]["path"][0]]
    assert first["z0"].iloc[0] * first["z0"].iloc[-1] < 0
    # sd of the first factor is about 0.9: half the gap is 0.8 / 0.9 whitened units.
    assert value(report, "widest") == pytest.approx(0.8 / factors(1.6)[:, 0].std().item(), rel=0.25)
    # The ends are codes and named by their rows.
    start = int(first["path"].iloc[0].split(" to ")[0])
    assert np.allclose(first[["z0", "z1", "z2"]].iloc[0], data.split("train").y[start], atol=1e-5)
    blob = make()(Span(factors(0.0)).run(), Noise(0))
    assert value(blob, "clearance") < 0.5 * value(report, "clearance")
    assert value(report, "clearance") <= value(report, "bound")


def test_a_renderer_has_no_residual_and_reads_its_own_factors():
    y = factors(1.6)
    y[:, 1:] *= 0.01  # two flat plates: whitened they are as wide as before
    report = make(flat=0.0)(Span(y).run(), Noise(0))
    assert value(report, "residual.max") < 1e-5
    assert value(report, "monotonicity.correlation") == 1
    assert value(report, "leakage.correlation") < 0.02
    # The other factors cover too little to follow the path.
    assert value(report, "monotonicity.variance_x") == 0 and math.isnan(value(report, "leakage.variance_x"))


def test_a_decoder_that_fails_in_the_gap_is_seen():
    data = Span(factors(1.6))
    report = make()(data.run(lambda z: torch.where(z[:, 0].abs() < 0.8, 0.5, 0.05)), Noise(0))
    steps = report.tables["steps"]
    inside = steps["z0"].abs() < 0.8
    assert steps.loc[inside, "residual"].min() > steps.loc[~inside, "residual"].max()
    assert value(report, "rise") > 1.5 and value(report, "residual.max") > 0.3
    pictures = make().plot(report)
    assert set(pictures) == {"strips", "along"}
    labels = [text.get_text() for text in pictures["strips"].figure.axes[0].texts]
    assert np.allclose([float(label) for label in labels], steps["residual"], rtol=0.06)


def test_vectors_without_oracle_and_paths_that_differ():
    rng = np.random.default_rng(0)
    # Three clusters at the corners of a triangle: three gaps.
    corners = np.array([[0.0, 0], [10, 0], [5, 9]])
    z = torch.from_numpy(corners[np.arange(600) % 3] + rng.uniform(-1, 1, (600, 2))).float()
    run = planted_run(Deterministic(lambda x: x, lambda z: z, 2, (2,)), Rows(z))
    report = make(paths=3, apart=1.5)(run, Noise(0))
    gone = [frozenset(int(row) % 3 for row in path.split(" to ")) for path in report.tables["paths"]["path"]]
    assert set(gone) == {frozenset(pair) for pair in ((0, 1), (0, 2), (1, 2))}
    assert value(report, "distance.max") == pytest.approx(report.tables["steps"]["distance"][:11].max())
    assert set(make().plot(report)) == {"along"}


def test_outliers_are_no_ends():
    z = torch.cat([torch.randn(990, 2, generator=torch.Generator().manual_seed(0)), 30 + torch.zeros(1, 2)])
    run = planted_run(Deterministic(lambda x: x, lambda z: z, 2, (2,)), Rows(z))
    assert "990" in make()(run, Noise(0)).tables["paths"]["path"][0].split(" to ")
    assert "990" not in " ".join(make(core=0.99)(run, Noise(0)).tables["paths"]["path"])


def test_collapsed_codes_have_nothing_between_them():
    run = planted_run(Deterministic(lambda x: 0 * x, lambda z: z, 2, (2,)), Rows(torch.rand(40, 2)))
    with pytest.raises(NothingToMeasure, match="the codes do not move"):
        make()(run, Noise(0))


def test_a_single_code_among_outliers_has_no_other_to_go_to():
    run = planted_run(
        Deterministic(lambda x: x, lambda z: z, 1, (1,)), Rows(torch.tensor([[0.0], [1.0], [5.0]]))
    )
    with pytest.raises(NothingToMeasure, match="fewer than two codes to go between"):
        make(core=0.1)(run, Noise(0))
