"""Planted bounds of log p(x): which latent space wins, and where nobody can say."""

import math
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


def test_nothing_beats_a_bound_by_log_p():
    """Bounds say e2, log p(x) says s1; beside a space of which there is a bound alone."""
    runs = [*zoo({"s1": {"s1": 1.0}}, known=3.0), *zoo({"s1": {"e2": 2.0}})]
    _, report = select(runs, "closest")
    ranking = report.tables["ranking"].set_index("space")
    assert ranking["by"].to_dict() == {"s1": "quadrature", "e2": "iwae_100"}
    assert ranking["behind"]["e2"] == pytest.approx(1.0, abs=0.01)
    assert ranking["slack"].to_dict() == {"s1": 0.0, "e2": math.inf}
    assert report.tables["confusion"]["winner"].tolist() == ["undecided"]
    both = [*zoo({"s1": {"s1": 1.0}}, known=3.0), *zoo({"s1": {"e2": 3.5}}, known=2.0)]
    assert select(both, "closest")[1].tables["confusion"]["winner"].tolist() == ["s1"]
    assert select(both, "iwae")[1].tables["confusion"]["winner"].tolist() == ["e2"]


def test_a_quadrature_that_still_moved_is_beaten_by_more_than_that():
    def winner(change):
        rough = zoo({"s1": {"e2": 1.0}}, known=2.5, change=change)
        runs = [*zoo({"s1": {"s1": 1.0}}, known=3.0), *rough]
        return select(runs, "closest")[1].tables["confusion"]["winner"].item()

    assert (winner(0.4), winner(0.6)) == ("s1", "undecided")


def test_a_space_that_holds_an_example_for_impossible_is_last():
    """Also where its other runs are the best of all."""
    good, bad = zoo({"s1": {"s1": 3.0}}), zoo({"s1": {"e2": 5.0}})
    _, report = select([*good, *bad[:2], *zoo({"s1": {"e2": -math.inf}})[2:]])
    ranking = report.tables["ranking"].set_index("space")
    assert ranking["rank"].to_dict() == {"s1": 1, "e2": 2} and ranking["value"]["e2"] == -math.inf
    assert report.tables["confusion"]["winner"].item() == "s1"
    assert report.tables["confusion"]["best.e2"].item() == 2
    assert any("in 1 of 3 runs it holds an example for impossible" in note for note in report.notes)
    _, report = select([*good, *zoo({"s1": {"e2": -math.inf}})])
    assert report.tables["ranking"]["space"].tolist() == ["s1", "e2"]
    assert not any("one run each" in note for note in report.notes)


def test_the_order_is_that_of_common_seeds():
    """s1 was lucky in a seed that e2 lacks."""
    lucky = [*zoo({"s1": {"s1": 1.0}})[:2], *zoo({"s1": {"s1": 10.0}})[2:]]  # 4 on average
    _, report = select([*lucky, *zoo({"s1": {"e2": 2.0}}, seeds=2)])
    assert report.tables["ranking"]["space"].tolist() == ["e2", "s1"]
    (lead,) = [estimate for name, estimate in report.metrics.items() if name.startswith("lead")]
    assert lead.value == pytest.approx(1.0, abs=0.01)


def test_another_model_on_the_same_space_need_not_be_beaten():
    own = {"data": {"manifold": "s1"}, "lies_on": SPACES["s1"], "jitter": 1e-3}
    twin = [bounded("power", seed, 3.0, SPACES["s1"], **own) for seed in range(3)]
    _, report = select([*zoo({"s1": {"s1": 3.0, "s2": 1.0}}), *twin])
    assert report.metrics["right"].value == 1.0


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
