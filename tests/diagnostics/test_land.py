"""A normal law by geodesic distance against a Euclidean one, where one knows which should win."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from latentrun.config.build import build
from latentrun.diagnostics.base import Diagnostic
from latentrun.errors import NothingToMeasure
from latentrun.functional.noise import Noise
from tests.planted import Deterministic, Rows, planted_run

SHIPPED = yaml.safe_load((Path(__file__).parents[2] / "conf" / "diagnostic" / "land.yaml").read_text())[
    "land"
]
SMALL = {"n": 150, "samples": 250, "places": 12, "neighbours": 0, "rounds": 4}


def measured(function, train: torch.Tensor, test: torch.Tensor, **changes):
    d, width = train.shape[1], function(train[:1]).shape[1]
    x = {"train": train, "val": test[:3], "test": test}
    rows = {split: torch.nn.functional.pad(codes, (0, width - d)) for split, codes in x.items()}
    model = Deterministic(lambda x: x[:, :d], function, d, (width,))
    asked = build(SHIPPED | SMALL | changes, Diagnostic, "land")
    return asked, asked(planted_run(model, Rows(rows)), Noise(0))


def normal(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))


def test_on_a_plane_neither_wins():
    weights = torch.tensor([[2.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    asked, report = measured(lambda z: z @ weights, normal(150, 1), normal(150, 2))
    assert report.metrics["gain"].value == pytest.approx(0, abs=0.02)
    assert report.metrics["mass.land"].value == pytest.approx(1, abs=0.05)
    assert report.metrics["mass.gaussian"].value == pytest.approx(1, abs=0.05)
    assert report.metrics["failed.codes"].value == 0
    land, gaussian = report.arrays["plane_land"], report.arrays["plane_gaussian"]
    assert np.abs(land - gaussian)[gaussian > -6].max() < 0.3
    assert set(asked.plot(report)) == {"densities", "gain"}


def test_codes_that_are_normal_on_a_stretched_surface_are_described_better_by_it():
    """The decoder has x_0 = sinh(z_0), and the codes are those of normal x; with the decoder of a plane they
    gain nothing."""

    def wrong(z: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(z, (0, 1))

    def right(z: torch.Tensor) -> torch.Tensor:
        return torch.stack([z[:, 0].sinh(), z[:, 1], 0 * z[:, 0]], 1)

    codes = [torch.stack([(4 * x[:, 0]).asinh(), x[:, 1]], 1) for x in (normal(150, 3), normal(150, 4))]
    better, plain = (measured(function, *codes, places=0)[1] for function in (right, wrong))
    assert better.metrics["gain"].low > 0.05
    assert plain.metrics["gain"].value == pytest.approx(0, abs=0.02)
    assert better.metrics["constant_error"].value < 0.05
    table = better.tables["codes"]
    assert (table["land"] - table["gaussian"]).mean() == pytest.approx(better.metrics["gain"].value)


def test_too_few_points_give_no_density():
    codes = torch.randn(150, 8, generator=torch.Generator().manual_seed(0))
    _, report = measured(lambda z: torch.nn.functional.pad(z, (0, 1)), codes, codes, samples=40)
    assert "gain" not in report.metrics and report.metrics["effective"].value < 30
    assert "too few for a density" in " ".join(report.notes)


def test_codes_that_do_not_move_have_no_law():
    codes = normal(150, 1) * torch.tensor([1.0, 0.0])
    with pytest.raises(NothingToMeasure, match="do not move"):
        measured(lambda z: torch.nn.functional.pad(z, (0, 1)), codes, codes)
