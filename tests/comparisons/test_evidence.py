"""Planted bounds: a group that is clearly better, one that is not, an oracle, and uncorrected numbers."""

from dataclasses import replace
from zlib import crc32

import numpy as np
import pandas as pd
import pytest

from latentrun.comparisons.evidence import Evidence
from latentrun.comparisons.symmetry_selection import SymmetrySelection
from latentrun.errors import InputError, NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.manifolds import Euclidean, Sphere
from latentrun.types import Estimate, Report
from tests.comparisons.planted import planted

ROWS = 40
SPREAD = np.random.default_rng(0).normal(size=ROWS)  # of the examples, the same in all runs


def run_of(group, seed, bound, space=None, oracle=None, uncorrected=None, bias=0.0, data=None, jitter=0.0):
    """A run whose bound is ``bound`` on average: examples differ by SPREAD in all runs, and by ``jitter``
    otherwise."""
    rng = np.random.default_rng(crc32(f"{group} {seed}".encode()))
    noise = rng.normal(size=ROWS)
    values = bound + SPREAD - SPREAD.mean() + jitter * (noise - noise.mean())
    examples = pd.DataFrame({"index": np.arange(ROWS), "elbo": values - 1.0, "iwae_100": values})
    metrics = {
        "elbo": Estimate(values.mean() - 1.0),
        "iwae.10": Estimate(values.mean() - 0.5),
        "iwae.100": Estimate(values.mean()),
        "bias": Estimate(bias),
    }
    if oracle is not None:
        metrics["oracle"] = Estimate(oracle)
    if uncorrected is not None:
        metrics["elbo_uncorrected"] = Estimate(uncorrected)
    run = planted(f"{group}-{seed}", seed, latent=group)
    run.model.spaces["z"] = Euclidean(2) if space is None else space
    config = run.config if data is None else {**run.config, "data": data}
    meta = {**run.meta, "data_hash": "one", "diagnostics": {"likelihood": {"config": {"split": "test"}}}}
    report = Report(metrics, {"examples": examples})
    return replace(run, config=config, meta=meta, reports={"likelihood": report})


def ask(runs, reference="best", rank_by="iwae", within=()):
    comparison = Evidence(rank_by, reference, list(within))
    return comparison, comparison(runs, Noise(0))


def sweep(**bounds):
    return [
        run_of(group, seed, bound + 0.1 * (seed - 1), oracle=5.0)
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
    by_seed = [run_of("e2", s, 1.0) for s in range(4)]
    by_seed += [run_of("s1", s, 1.05 + 0.4 * (-1) ** s, jitter=1e-3) for s in range(4)]
    _, report = ask(by_seed, "first")
    assert report.tables["differences"]["verdict"].unique().tolist() == ["undecided"]
    clear = [run_of("e2", s, 1.0, jitter=1e-3) for s in range(4)]
    clear += [run_of("s1", s, 2.0 + 0.01 * rng.normal(), jitter=1e-3) for s in range(4)]
    _, report = ask(clear, "first")
    assert report.tables["differences"]["verdict"].unique().tolist() == ["better"]
    assert "seeds" in report.tables["differences"]["method"].iloc[0]
    assert "examples" in report.tables["differences"]["method"].iloc[0]
    noisy = [run_of(group, s, bound, jitter=3.0) for group, bound in (("e2", 1.0), ("s1", 1.2)) for s in (0,)]
    assert ask(noisy, "first")[1].tables["differences"]["verdict"].unique().tolist() == ["undecided"]


def test_uncorrected_numbers_are_labelled_and_rank_nothing():
    runs = [run_of("e2", s, 1.0 + s) for s in range(2)]
    runs += [run_of("s1", s, 0.5 + s, uncorrected=99.0) for s in range(2)]
    _, report = ask(runs)
    assert report.tables["groups"]["elbo_uncorrected"].tolist()[1] == 99.0
    assert np.isnan(report.tables["groups"]["elbo_uncorrected"].iloc[0])
    assert report.tables["differences"]["reference"].unique().tolist() == ["model.latent=e2"]
    assert any("no bounds" in note for note in report.notes)


def test_an_oracle_for_each_sigma():
    runs = [
        run_of("e2", 0, 1.0, oracle=5.0),
        run_of("s1", 0, 1.0, oracle=5.0),
        run_of("e1", 0, 0.0, oracle=9.0),
    ]
    table = ask(runs)[1].tables["groups"]
    assert table["group"].tolist()[3:] == [
        "oracle, model.latent=e2; model.latent=s1",
        "oracle, model.latent=e1",
    ]
    assert table["elbo"].tolist()[3:] == pytest.approx([5.0, 9.0])


def test_groups_are_held_against_those_on_the_same_data_and_named_alike():
    runs = [
        run_of(group, seed, bound, oracle=oracle, data={"manifold": own})
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


# ---------------------------------------------------------------- which space
SPACES = {"e2": Euclidean(2), "s1": Sphere(1), "s2": Sphere(2)}


def zoo(bounds, seeds=3, bias=0.0, jitter=1e-3):
    """Runs of every space on data of several manifolds: ``bounds[manifold][space]``."""
    return [
        run_of(space, seed, bound, SPACES[space], bias=bias, data={"manifold": own}, jitter=jitter)
        for own, by_space in bounds.items()
        for space, bound in by_space.items()
        for seed in range(seeds)
    ]


def select(runs):
    comparison = SymmetrySelection("iwae", "data.manifold")
    return comparison, comparison(runs, Noise(0))


def test_the_space_that_beats_all_others_wins_and_is_held_against_the_truth():
    comparison, report = select(
        zoo({"s1": {"e2": 1.0, "s1": 3.0, "s2": 2.0}, "s2": {"e2": 2.0, "s1": 1.0, "s2": 2.00005}})
    )
    table = report.tables["confusion"]
    assert table["own"].tolist() == ["s1", "s2"]
    assert table["winner"].tolist() == ["s1", "undecided"]
    assert table["best.s1"].tolist() == [3, 0]
    value = {name: e.value for name, e in report.metrics.items()}
    assert (value["right"], value["wrong"], value["undecided"]) == (0.5, 0.0, 0.5)
    assert value["lead.data.manifold=s1"] == pytest.approx(1.0, abs=0.01)
    assert report.tables["ranking"]["space"].tolist()[:3] == ["s1", "s2", "e2"]
    assert comparison.plot(report).keys() == {"ranking", "confusion"}


def test_one_seed_says_so():
    several, single = (select(zoo({"s1": {"e2": 1.0, "s1": 3.0}}, seeds=n))[1] for n in (2, 1))
    assert not any("these trainings" in note for note in several.notes)
    assert any("these trainings" in note for note in single.notes)


def test_a_wrong_winner_is_wrong():
    _, report = select(zoo({"s1": {"e2": 3.0, "s1": 1.0}}))
    assert report.metrics["wrong"].value == 1.0 and report.metrics["right"].value == 0.0


def test_a_bound_that_may_be_loose_is_not_beaten():
    _, report = select(zoo({"s1": {"e2": 1.0, "s1": 1.3}}, bias=0.4))
    assert report.tables["confusion"]["winner"].tolist() == ["undecided"]
    _, report = select(zoo({"s1": {"e2": 1.0, "s1": 1.3}}, bias=0.1))
    assert report.tables["confusion"]["winner"].tolist() == ["s1"]


def test_data_whose_manifold_is_not_known_have_a_winner_and_no_truth():
    runs = [replace(run, config={**run.config, "data": {}}) for run in zoo({"s1": {"e2": 1.0, "s1": 3.0}})]
    _, report = select(runs)
    assert report.tables["confusion"]["winner"].tolist() == ["s1"]
    assert not {"right", "wrong", "undecided"} & report.metrics.keys()


def test_groups_on_different_data_do_not_meet():
    with pytest.raises(NothingToMeasure, match="same data"):
        select([run for run in zoo({"s1": {"s1": 1.0}, "s2": {"s1": 2.0}})])
    with pytest.raises(InputError, match="'bare' has no likelihood"):
        select([*zoo({"s1": {"s1": 1.0, "e2": 1.0}}), planted("bare")])
