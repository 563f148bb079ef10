"""The law of lost variance, planted: kept exactly, broken, and open."""

import numpy as np
import pytest

from latentrun.comparisons.variance_loss_survey import VarianceLossSurvey, verdict
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.types import Estimate
from tests.comparisons.planted import planted, with_variance_loss


def survey(runs):
    comparison = VarianceLossSurvey(tolerance=0.05)
    return comparison, comparison(runs, Noise(0))


def sweep(ratio, kinds=("mean",), seeds=3):
    """Runs of three latent dimensions with delta_var = ratio(dim, seed) * mse."""
    runs = []
    for dim in (1, 2, 3):
        for seed in range(seeds):
            points = {kind: (0.1 / dim, ratio(dim, seed) * 0.1 / dim) for kind in kinds}
            runs.append(with_variance_loss(planted(f"{dim}-{seed}", seed, latent_dim=dim), points))
    return runs


def test_a_law_that_is_kept_exactly_holds_everywhere_with_slope_one():
    _, report = survey(sweep(lambda dim, seed: 1.0 + 1e-9 * seed, ("mean", "posterior")))
    for kind in ("mean", "posterior"):
        slope = report.metrics[f"slope.{kind}"]
        assert (slope.value, slope.low, slope.high) == pytest.approx((1, 1, 1), abs=1e-7)
        assert report.metrics[f"ratio.{kind}"].value == pytest.approx(1)
        assert report.metrics[f"holding.{kind}"].value == 1 and report.metrics[f"failing.{kind}"].value == 0
    assert report.tables["groups"]["law"].tolist() == ["holds"] * 6
    assert report.tables["runs"]["kind"].unique().tolist() == ["mean", "posterior"]  # samples have no error


def test_one_ratio_in_all_runs_of_a_group_decides_nothing():
    _, report = survey(sweep(lambda dim, seed: 1.3))
    assert report.tables["groups"]["law"].tolist() == ["undecided"] * 3
    assert report.metrics["ratio.mean"].method == "none: equal in all 9 runs"
    assert report.metrics["slope.mean"].method == "none: all runs lie on the line"


def test_a_broken_law_fails_in_the_groups_where_it_is_broken():
    _, report = survey(sweep(lambda dim, seed: {1: 1.0, 2: 1.3, 3: 0.8}[dim] + 0.001 * seed))
    found = report.tables["groups"].set_index("group")
    assert found["law"].to_dict() == {
        "model.latent_dim=1": "holds",
        "model.latent_dim=2": "fails",
        "model.latent_dim=3": "fails",
    }
    assert found["ratio"].tolist() == pytest.approx([1.001, 1.301, 0.801])
    assert report.metrics["failing.mean"].value == pytest.approx(2 / 3)
    x = report.tables["runs"]["mse"]
    assert report.metrics["slope.mean"].value == pytest.approx(
        (x * report.tables["runs"]["delta_var"]).sum() / (x**2).sum()
    )


def test_seeds_that_disagree_leave_it_undecided():
    _, report = survey(sweep(lambda dim, seed: (0.8, 1.0, 1.2)[seed]))
    assert report.tables["groups"]["law"].tolist() == ["undecided"] * 3
    assert report.tables["groups"]["ratio"].tolist() == pytest.approx([1.0] * 3)


def test_a_single_run_goes_by_its_own_interval():
    wide, narrow = (
        [with_variance_loss(planted(f"{d}", latent_dim=d), {"mean": (0.1, 0.1)}, width) for d in (1, 2)]
        for width in (0.1, 0.01)
    )
    assert survey(wide)[1].tables["groups"]["law"].tolist() == ["undecided"] * 2
    assert survey(narrow)[1].tables["groups"]["law"].tolist() == ["holds"] * 2


@pytest.mark.parametrize(
    ("low", "high", "law"),
    [
        (0.96, 1.04, "holds"),
        (0.94, 1.04, "undecided"),
        (1.06, 1.2, "fails"),
        (0.5, 0.94, "fails"),
        (0.5, 2.0, "undecided"),
        (None, None, "undecided"),
        (np.nan, np.nan, "undecided"),
    ],
)
def test_verdicts(low, high, law):
    assert verdict(Estimate(1.0, low, high), 0.05) == law


def test_other_settings_or_a_missing_diagnostic_are_refused_in_one_line():
    runs = sweep(lambda dim, seed: 1.0)
    with pytest.raises(InputError, match="^'bare' has no variance_loss$"):
        survey([*runs, planted("bare")])
    with pytest.raises(
        InputError,
        match="^variance_loss was measured with different settings: split is test in '1-0', train in 'x'$",
    ):
        survey([*runs, with_variance_loss(planted("x"), {"mean": (1.0, 1.0)}, split="train")])


def test_the_pictures_show_every_group_and_the_verdict():
    comparison, report = survey(sweep(lambda dim, seed: 1.0 + 0.1 * dim, ("mean", "posterior")))
    pictures = comparison.plot(report)
    law = pictures["law"].figure
    assert [text.get_text() for text in law.legends[0].get_texts()] == [
        f"model.latent_dim={dim}" for dim in (1, 2, 3)
    ]
    assert len(law.axes) == len(pictures["ratios"].figure.axes) == 2
