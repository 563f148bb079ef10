"""Planted bounds of log p(x): which latent space wins, and where nobody can say."""

from dataclasses import replace

import pytest

from latentrun.comparisons.symmetry_selection import SymmetrySelection
from latentrun.errors import InputError, NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.manifolds import space
from tests.comparisons.planted import DATA, bounded, planted

SPACES = {name: space(name) for name in ("e2", "s1", "s2", "t2")}


def zoo(bounds, seeds=3, jitter=1e-3, **changes):
    """Runs of every space on data of several manifolds: ``bounds[manifold][space]``."""
    return [
        bounded(
            name,
            seed,
            bound,
            SPACES[name],
            data={"manifold": own},
            lies_on=space(own),
            jitter=jitter,
            **changes,
        )
        for own, by_space in bounds.items()
        for name, bound in by_space.items()
        for seed in range(seeds)
    ]


def select(runs, rank_by="iwae"):
    comparison = SymmetrySelection(rank_by)
    return comparison, comparison(runs, Noise(0))


def test_the_space_that_beats_all_others_wins_and_is_held_against_the_truth():
    comparison, report = select(
        zoo({"s1": {"e2": 1.0, "s1": 3.0, "s2": 2.0}, "s2": {"e2": 2.0, "s1": 1.0, "s2": 2.00005}})
    )
    table = report.tables["confusion"]
    assert table["truth"].tolist() == ["s1", "s2"]
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


def test_a_bound_that_few_draws_carry_is_not_beaten():
    loose = zoo({"s1": {"e2": 1.0, "s1": 3.0}}, few=0.2)
    assert select(loose)[1].tables["confusion"]["winner"].tolist() == ["undecided"]
    assert select(zoo({"s1": {"e2": 1.0, "s1": 3.0}}, few=0.05))[1].metrics["right"].value == 1


def test_what_is_known_is_ranked_by_and_has_no_bias():
    """Bounds say e2, log p(x) says s1; beside a space of which there is a bound alone."""
    runs = [
        *zoo({"s1": {"s1": 1.0}}, known=3.0, bias=0.4, few=1.0),
        *zoo({"s1": {"e2": 2.0}}),
    ]
    _, report = select(runs, "closest")
    assert report.tables["confusion"]["winner"].tolist() == ["s1"]
    ranking = report.tables["ranking"].set_index("space")
    assert ranking["by"].to_dict() == {"s1": "quadrature", "e2": "iwae_100"}
    assert ranking["behind"]["e2"] == pytest.approx(1.0, abs=0.01) and ranking["bias"]["s1"] == 0
    assert select(runs, "iwae")[1].tables["confusion"]["winner"].tolist() == ["undecided"]


def test_a_torus_is_the_product_of_two_circles():
    _, report = select(zoo({"s1xs1": {"t2": 3.0, "s2": 1.0}}))
    assert report.metrics["right"].value == 1.0


def test_data_whose_manifold_is_not_known_have_a_winner_and_no_truth():
    runs = [replace(run, data=DATA) for run in zoo({"s1": {"e2": 1.0, "s1": 3.0}})]
    _, report = select(runs)
    assert report.tables["confusion"]["winner"].tolist() == ["s1"]
    assert not {"right", "wrong", "undecided"} & report.metrics.keys()


def test_groups_on_different_data_do_not_meet():
    with pytest.raises(NothingToMeasure, match="same data"):
        select([run for run in zoo({"s1": {"s1": 1.0}, "s2": {"s1": 2.0}})])
    with pytest.raises(InputError, match="'bare' has no likelihood"):
        select([*zoo({"s1": {"s1": 1.0, "e2": 1.0}}), planted("bare")])
