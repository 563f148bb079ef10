"""Traversals along shortest curves of the decoder's metric."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from latentrun.errors import InputError, Misfit
from latentrun.functional.noise import Noise
from tests.diagnostics.test_traversal import make
from tests.planted import Deterministic, Rows, planted_run


def over_a_hill():
    """Codes on a circle about a hill that the decoder climbs."""
    angle = 2 * math.pi * torch.arange(200) / 200
    z = torch.stack([angle.cos(), angle.sin()], 1)

    def decode(z):
        return torch.cat([z, 4 * torch.exp(-4 * z.square().sum(1, keepdim=True))], 1)

    return planted_run(Deterministic(lambda x: x[:, :2], decode, 2, (3,)), Rows(decode(z)))


def test_they_go_round_a_hill_evenly_and_the_lines_over_it():
    report = make(paths=["lines", "shortest"], rows=[(0, 90)])(over_a_hill(), Noise(0))
    paths = report.tables["paths"].set_index("kind")
    assert paths.loc["shortest", "path"] == "0 to 90, shortest"
    assert paths.loc["shortest", "unevenness"] < 0.05 < 0.4 < paths.loc["lines", "unevenness"]
    assert paths.loc["shortest", "gap"] < 0.5 * paths.loc["lines", "gap"]
    assert report.metrics["unevenness"].value == pytest.approx(paths.loc["lines", "unevenness"])
    steps = report.tables["steps"]
    ends = {kind: steps[steps["kind"] == kind][["z0", "z1"]].to_numpy()[[0, -1]] for kind in paths.index}
    assert np.allclose(ends["lines"], ends["shortest"], atol=1e-6)
    assert "shortest" in make().plot(report)


def test_a_pair_that_the_solver_does_not_finish_has_no_path():
    run = over_a_hill()
    torn = Deterministic(lambda x: x[:, :2], lambda z: torch.where(z[:, :1] < 0, torch.nan, z), 2, (2,))
    report = make(paths=["lines", "shortest"], rows=[(0, 90), (3, 20)])(planted_run(torn, run.data), Noise(0))
    paths = report.tables["paths"]
    assert paths.loc[paths["kind"] == "shortest", "path"].tolist() == ["3 to 20, shortest"]
    assert any("for 0 to 90" in note for note in report.notes)


def test_they_need_lines_and_a_metric():
    run = over_a_hill()
    with pytest.raises(InputError, match="name lines too"):
        make(paths=["shortest"]).check(run.model, run.data)
    run.model.differentiable = False
    with pytest.raises(Misfit, match="a differentiable decoder for the paths"):
        make(paths=["lines", "shortest"]).check(run.model, run.data)
