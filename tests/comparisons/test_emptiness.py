"""Emptiness of planted codes: known distances, known curves, groups that differ and groups that do not."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from latentrun.comparisons.emptiness import Emptiness
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.types import Report
from tests.comparisons.planted import planted

N = 4001


def with_density(run, gap: float, miss: float, name: str = "residual", pictures: bool = False):
    """The run with distances evenly from 0 to ``gap`` in its hull, to half of it in the core, and decoded
    points at 0 to ``miss``."""
    spread = np.linspace(0, 1, N)
    points = pd.concat(
        [
            pd.DataFrame({"kind": kind, "gap": gap, name: times * miss * spread})
            for kind, times in (("near", 0.1), ("empty", 1.0))
        ]
    )
    arrays = {"gap_hull": gap * spread, "gap_core": gap / 2 * spread}
    if pictures:
        arrays |= {"value_range": np.array([0.0, 1.0])}
        arrays |= {f"shown_{kind}": np.full((3, 1, 4, 4), miss) for kind in ("near", "empty")}
        arrays |= {f"shown_{kind}_miss": np.array([0.0, 0.5, 1.0]) * miss for kind in ("near", "empty")}
    return replace(run, reports={"density": Report(tables={"points": points}, arrays=arrays)})


def runs(widen: float = 2.0, shake: float = 0.0, **more):
    """Two groups of three seeds, the second with ``widen`` times the distances of the first."""
    return [
        with_density(
            planted(f"{option}-{seed}", seed, model=option), times * (1 + shake * seed), 0.4 * times, **more
        )
        for option, times in (("vae", 1.0), ("ae", widen))
        for seed in range(3)
    ]


def test_known_distances_come_back():
    report = Emptiness(points=101)(runs(), Noise(0))
    for group, times in (("model=vae", 1), ("model=ae", 2)):
        assert report.metrics[f"gap.{group}"].value == pytest.approx(0.5 * times)
        assert report.metrics[f"gap_core.{group}"].value == pytest.approx(0.25 * times)
        assert report.metrics[f"miss_empty.{group}"].value == pytest.approx(0.2 * times)
        assert report.metrics[f"miss_near.{group}"].value == pytest.approx(0.02 * times)
        assert report.metrics[f"gap.{group}"].method.startswith("none: equal in all")  # seeds agree
    curves = report.tables["curves"]
    hull = curves[(curves["what"] == "hull") & (curves["group"] == "model=ae")]
    np.testing.assert_allclose(hull["share"], 1 - hull["place"] / 2, atol=2 / N)
    # The area under the curve is the mean distance.
    assert np.trapezoid(hull["share"], hull["place"]) == pytest.approx(1.0, abs=0.01)
    assert "miss_prior.model=ae" not in report.metrics


def test_seeds_make_the_interval_and_one_run_has_none():
    report = Emptiness(points=11)(runs(shake=0.1), Noise(0))
    found = report.metrics["gap.model=vae"]
    half = 4.302653 * 0.05 / np.sqrt(3)  # Student, 2 degrees of freedom; the means are 0.5, 0.55, 0.6
    assert (found.value, found.low, found.high) == pytest.approx((0.55, 0.55 - half, 0.55 + half), rel=1e-4)
    alone = Emptiness(points=11)(runs()[2:4], Noise(0))
    assert all(estimate.low is None for estimate in alone.metrics.values())


def test_pictures_stand_side_by_side_and_what_does_not_compare_is_said():
    comparison = Emptiness(points=11)
    report = comparison(runs(pictures=True), Noise(0))
    assert set(comparison.plot(report)) == {"emptiness", "decoded", "pictures"}
    assert report.arrays["shown_1_empty"].mean() == pytest.approx(0.8)
    assert set(comparison.plot(comparison(runs(), Noise(0)))) == {"emptiness", "decoded"}
    mixed = [*runs()[:3], with_density(planted("other", 0, model="ae"), 1, 1, "distance")]
    with pytest.raises(InputError, match="different units"):
        comparison(mixed, Noise(0))
