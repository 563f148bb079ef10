"""Planted bounds: a group that is clearly better, one that is not, an oracle, and uncorrected numbers."""

import numpy as np
import pytest

from latentrun.comparisons.evidence import Evidence
from latentrun.errors import NothingToMeasure
from latentrun.functional.noise import Noise
from tests.comparisons.planted import bounded


def ask(runs, reference="best", rank_by="iwae", within=()):
    comparison = Evidence(rank_by, reference, list(within))
    return comparison, comparison(runs, Noise(0))


def sweep(**bounds):
    return [
        bounded(group, seed, bound + 0.1 * (seed - 1), oracle=5.0)
        for group, bound in bounds.items()
        for seed in range(3)
    ]


def test_a_row_a_group_in_the_order_of_the_sweep_and_the_oracle_last():
    _, report = ask(sweep(e2=1.0, s1=3.0, e1=-2.0))
    table = report.tables["groups"]
    assert table["group"].tolist() == ["model.latent=e2", "model.latent=s1", "model.latent=e1", "oracle"]
    assert table["n"].tolist()[:3] == [3, 3, 3]
    assert table["iwae_100"].tolist() == pytest.approx([1.0, 3.0, -2.0, 5.0])
    assert table["elbo"].tolist() == pytest.approx([0.0, 2.0, -3.0, 5.0])
    assert table["elbo_median"].tolist()[:3] == pytest.approx([0.0, 2.0, -3.0])
    assert table["iwae_100_sd"].tolist()[:3] == pytest.approx([0.1] * 3)
    half = 4.302652729911275 * 0.1 / np.sqrt(3)  # Student, two degrees of freedom
    assert (table["iwae_100_high"] - table["iwae_100"]).tolist()[:3] == pytest.approx([half] * 3)
    assert report.metrics["oracle"].value == pytest.approx(5.0)
    brief = report.tables[Evidence.console_table].set_index("group")["iwae_100: mean [95 %] median"]
    assert brief["model.latent=s1"] == "3 [2.75159, 3.24841] 3" and brief["oracle"] == "5"


def test_differences_are_to_the_best_or_to_the_first():
    best, first = (ask(sweep(e2=1.0, s1=3.0, e1=-2.0), reference)[1] for reference in ("best", "first"))
    rows = best.tables["differences"].query("metric == 'iwae_100'")
    assert rows["reference"].unique().tolist() == ["model.latent=s1"]
    assert rows["difference"].tolist() == pytest.approx([-2.0, -5.0])
    rows = first.tables["differences"].query("metric == 'iwae_100'").set_index("group")
    assert rows.loc["model.latent=s1", "difference"] == pytest.approx(2.0)


def test_what_seeds_or_examples_leave_open_is_undecided():
    """By examples the difference is 0.05 in each, by seeds it hangs on the seed; and the other way round."""
    rng = np.random.default_rng(1)
    by_seed = [bounded("e2", s, 1.0) for s in range(4)]
    by_seed += [bounded("s1", s, 1.05 + 0.4 * (-1) ** s, jitter=1e-3) for s in range(4)]
    _, report = ask(by_seed, "first")
    assert report.tables["differences"]["verdict"].unique().tolist() == ["undecided"]
    clear = [bounded("e2", s, 1.0, jitter=1e-3) for s in range(4)]
    clear += [bounded("s1", s, 2.0 + 0.01 * rng.normal(), jitter=1e-3) for s in range(4)]
    _, report = ask(clear, "first")
    assert report.tables["differences"]["verdict"].unique().tolist() == ["better"]
    assert "seeds" in report.tables["differences"]["method"].iloc[0]
    assert "examples" in report.tables["differences"]["method"].iloc[0]
    noisy = [
        bounded(group, s, bound, jitter=3.0) for group, bound in (("e2", 1.0), ("s1", 1.2)) for s in (0,)
    ]
    assert ask(noisy, "first")[1].tables["differences"]["verdict"].unique().tolist() == ["undecided"]


def test_uncorrected_numbers_are_labelled_and_rank_nothing():
    runs = [bounded("e2", s, 1.0 + s) for s in range(2)]
    runs += [bounded("s1", s, 0.5 + s, uncorrected=99.0) for s in range(2)]
    _, report = ask(runs)
    assert report.tables["groups"]["elbo_uncorrected"].tolist()[1] == 99.0
    assert np.isnan(report.tables["groups"]["elbo_uncorrected"].iloc[0])
    assert report.tables["differences"]["reference"].unique().tolist() == ["model.latent=e2"]
    assert any("no bounds" in note for note in report.notes)
    assert any("Of bounds (elbo, iwae_100) the difference is that of the bounds" in n for n in report.notes)


def test_an_oracle_for_each_sigma():
    runs = [
        bounded("e2", 0, 1.0, oracle=5.0),
        bounded("s1", 0, 1.0, oracle=5.0),
        bounded("e1", 0, 0.0, oracle=9.0),
    ]
    table = ask(runs)[1].tables["groups"]
    assert table["group"].tolist()[3:] == [
        "oracle, model.latent=e2; model.latent=s1",
        "oracle, model.latent=e1",
    ]
    assert table["elbo"].tolist()[3:] == pytest.approx([5.0, 9.0])


def test_groups_are_held_against_those_on_the_same_data_and_named_alike():
    runs = [
        bounded(group, seed, bound, oracle=oracle, data={"manifold": own})
        for own, oracle, bounds in (("s1", 4.0, {"e2": 1.0, "s1": 3.0}), ("s2", 9.0, {"e2": 7.0, "s1": 6.0}))
        for group, bound in bounds.items()
        for seed in range(3)
    ]
    _, report = ask(runs)
    rows = report.tables["differences"].query("metric == 'iwae_100'")
    assert rows["difference"].tolist() == pytest.approx([-2.0, -1.0])
    assert report.tables["groups"]["group"].tolist()[4:] == [
        "oracle, data.manifold=s1",
        "oracle, data.manifold=s2",
    ]
    _, report = ask(sweep(e2=1.0, s1=3.0), within=["model.latent"])
    assert "differences" not in report.tables  # each is alone


def test_nothing_to_rank_by():
    with pytest.raises(NothingToMeasure, match="quadrature"):
        ask(sweep(e2=1.0, s1=2.0), rank_by="quadrature")


def test_the_pictures_show_every_group():
    comparison, report = ask(sweep(e2=1.0, s1=3.0, e1=-2.0))
    pictures = comparison.plot(report)
    labels = [text.get_text() for text in pictures["groups"].figure.axes[0].get_yticklabels()]
    assert labels == ["model.latent=e2", "model.latent=s1", "model.latent=e1"]
    assert "differences" in pictures
