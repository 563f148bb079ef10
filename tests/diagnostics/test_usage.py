"""Active means the same wherever a diagnostic says it."""

from __future__ import annotations

import torch

from latentrun.functional.noise import Noise
from latentrun.functional.usage import ACTIVE, DOUBTFUL, INACTIVE
from tests.conformance import parts
from tests.conformance.test_diagnostics import diagnostic
from tests.planted import Gaussian, Rows, planted_run

SAY = ("sparsity", "stationarity", "information_gain")
DRAW = Noise(9).at("usage")


def mixed_run(**training):
    """Variable 0 is used; 1 follows the prior and is not read; 2 follows the prior and yet the decoder reads
    it, so that its noise costs; 3 has a posterior of its own that nobody reads."""
    x = DRAW.normal("x", (200, 4))
    share = torch.tensor([1.0, 0.01, 0.01, 1.0])
    scale = torch.tensor([0.1, 0.99, 0.99, 0.1])
    reads = torch.tensor([1.0, 0.0, 60.0, 0.0])
    model = Gaussian(
        lambda x: x * share, lambda x: scale.expand(len(x), 4), lambda z: z * reads, 4, (4,), **training
    )
    return planted_run(model, Rows(x))


def states(name, run):
    report = diagnostic(name)(run, Noise(0).at(name))
    table = report.tables["variables"].set_index("variable").sort_index()
    return table["state"].tolist(), report


def test_three_diagnostics_call_the_same_variables_inactive():
    run = mixed_run()
    expected = [ACTIVE, INACTIVE, DOUBTFUL, DOUBTFUL]
    by_sparsity, sparsity = states("sparsity", run)
    by_stationarity, stationarity = states("stationarity", run)
    by_gain, gain = states("information_gain", run)
    assert by_sparsity == by_stationarity == expected
    assert [state == INACTIVE for state in by_gain] == [state == INACTIVE for state in expected]
    assert sparsity.metrics["inactive"].value == gain.metrics["inactive"].value == 1
    assert "1 of 4 variables are active, 1 inactive, 2 doubtful." in stationarity.notes[0]
    s = stationarity.tables["variables"]["s"]  # the averages leave the doubtful out
    assert stationarity.metrics["mean.active"].value == s[0]
    assert stationarity.metrics["mean.inactive"].value == s[1]


def test_without_sampling_the_gain_alone_decides_everywhere():
    run = mixed_run(sampled=False)
    assert (
        states("sparsity", run)[0] == states("stationarity", run)[0] == [ACTIVE, INACTIVE, ACTIVE, INACTIVE]
    )


def test_the_limits_are_the_same_in_every_yaml():
    limits = {}
    for name in SAY:
        spec = parts.spec("diagnostic", name)[name]
        limits[name] = {
            key: value for key, value in spec.items() if key.startswith("inactive_") or key == "rows"
        }
    assert limits["stationarity"] == limits["information_gain"] == limits["sparsity"]
    assert set(limits["sparsity"]) == {"inactive_scale2", "inactive_variance", "inactive_gain", "rows"}
