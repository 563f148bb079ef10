"""Which runs belong together, and which rows are the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from latentrun.comparisons.base import alike, common_rows, groups, positions, reports
from latentrun.config.settings import groups as grouped
from latentrun.config.settings import settings, varied
from latentrun.data.base import take
from latentrun.errors import InputError, NothingToMeasure
from tests.comparisons.planted import DATA, planted, with_variance_loss
from tests.planted import Rows

X = DATA.split("test").x


class Chosen(Rows):
    """The given rows of :data:`X`, in the given order."""

    def __init__(self, rows, x=X):
        super().__init__(x)
        self.chosen = torch.as_tensor(rows)

    def _load(self):
        return {name: take(split, self.chosen) for name, split in super()._load().items()}


def test_groups_are_the_settings_that_vary_but_not_the_seed():
    runs = [planted(f"{d}-{seed}", seed, latent_dim=d) for d in (2, 3) for seed in (0, 1, 2)]
    found = groups(runs)
    assert [group.name for group in found] == ["model.latent_dim=2", "model.latent_dim=3"]
    assert [list(group.runs) for group in found] == [[(0,), (1,), (2,)]] * 2
    assert found[1].runs[(2,)].name == "3-2"


def test_settings_that_follow_from_an_option_do_not_tell_groups_apart():
    runs = [planted("a", model="ae", latent_dim=2), planted("b", model="vae", latent_dim=2, beta=1.0)]
    assert [group.name for group in groups(runs)] == ["model=ae", "model=vae"]
    runs.append(planted("c", model="vae", latent_dim=2, beta=4.0))
    assert [group.name for group in groups(runs)] == [
        "model=ae, model.beta=None",
        "model=vae, model.beta=1.0",
        "model=vae, model.beta=4.0",
    ]


def test_runs_are_paired_on_more_than_the_seed():
    runs = [
        planted("", seed, model=model, latent_dim=d)
        for model in ("ae", "vae")
        for d in (2, 3)
        for seed in (0, 1)
    ]
    found = groups(runs, ["model.latent_dim"])
    assert [group.name for group in found] == ["model=ae", "model=vae"]
    assert set(found[0].runs) == set(found[1].runs) == {(2, 0), (2, 1), (3, 0), (3, 1)}
    with pytest.raises(InputError, match="no run has the setting 'latent_dim'"):
        groups(runs, ["latent_dim"])


def test_where_only_the_seed_varies_it_tells_the_groups_apart():
    assert [group.name for group in groups([planted("a", 0), planted("b", 1)])] == ["seed=0", "seed=1"]


def test_repetitions_are_groups_of_their_own():
    assert [group.name for group in groups([planted("before"), planted("after")])] == ["before", "after"]
    found = groups([planted(f"{when}{seed}", seed) for when in ("before", "after") for seed in (0, 1)])
    assert [group.name for group in found] == ["repeat=1", "repeat=2"]
    assert [[run.name for run in group.runs.values()] for group in found] == [
        ["before0", "before1"],
        ["after0", "after1"],
    ]


def test_varied_settings_of_flat_rows():
    rows = [
        {"model": "a", "seed": 0, "model.x": 1, "same": 2},
        {"model": "b", "seed": 1, "model.y": 1, "same": 2},
    ]
    assert varied(rows) == ["model", "seed"]
    assert varied([{"model.x": 1, "seed": 0}, {"model.x": 2, "seed": 0}]) == ["model.x"]


def test_a_seed_of_the_data_that_is_that_of_the_run_tells_no_groups_apart():
    rows = [{"seed": s, "data.parameter": p, "data.seed": s} for p in "tu" for s in (0, 1)]
    assert varied(rows) == ["seed", "data.parameter"]
    found = grouped(rows, list("abcd"), [])
    assert [group.name for group in found] == ["data.parameter=t", "data.parameter=u"]
    rows[0]["data.seed"] = 5  # chosen by itself
    assert varied(rows) == ["seed", "data.parameter", "data.seed"]


def test_rows_are_matched_by_their_number_in_one_order():
    a, b, c = np.array([7, 3, 5, 1]), np.array([5, 9, 7]), np.array([7, 5])
    assert [at.tolist() for at in positions([a, b, c])] == [[2, 0], [0, 2], [1, 0]]
    assert [len(at) for at in positions([a, np.array([2])])] == [0, 0]


def test_rows_in_another_order_are_still_the_same_examples():
    order = torch.randperm(20)
    runs = [planted("a"), planted("b", data=Chosen(order)), planted("c", data=Chosen(order[:7]))]
    at = common_rows(runs, "test")
    found = [run.data.split("test").x[rows] for run, rows in zip(runs, at, strict=True)]
    assert len(at[0]) == 7 and all(torch.equal(x, found[0]) for x in found)


def test_data_without_a_common_row_or_with_other_examples_are_refused_in_one_line():
    with pytest.raises(InputError, match="^the runs have no row of the test split in common: 'a', 'b'$"):
        common_rows([planted("a", data=Chosen(range(10))), planted("b", data=Chosen(range(10, 20)))], "test")
    with pytest.raises(
        InputError, match="^the data of 'b' are not those of 'a': rows of the same number differ$"
    ):
        common_rows([planted("a"), planted("b", data=Rows(X + 1e-6))], "test")
    with pytest.raises(InputError, match="rows of the same number differ"):
        common_rows([planted("a"), planted("b", data=Rows(torch.zeros(20, 3)))], "test")


def test_diagnostics_with_other_settings_are_not_alike():
    runs = [
        with_variance_loss(planted(name), {"mean": (1.0, 1.0)}, split=split)
        for name, split in (("a", "test"), ("b", "train"))
    ]
    assert alike(runs, "variance_loss") == "split is test in 'a', train in 'b'"
    assert alike(runs[:1] * 2, "variance_loss") is None


def test_what_a_diagnostic_skipped_in_one_run_is_nothing_to_compare():
    entry = {"status": "skipped", "notes": ["the codes do not move: there is nothing to measure"]}
    a, b = planted("a"), replace(planted("b"), meta={"diagnostics": {"density": entry}})
    with pytest.raises(InputError, match="'a' has no density"):
        reports([a, b], "density")
    with pytest.raises(NothingToMeasure, match="density was skipped for 'b': the codes do not move"):
        reports([b], "density")


def test_a_variant_names_the_settings_that_follow_from_it():
    chosen = (("line", "vae", "e1"), ("ring", "manifold_vae", "s1"), ("arc", "manifold_vae", "i1"))
    rows = [
        settings({"model": {"scale": scale, "latent": latent}}, {"variant": variant, "model": model})
        for scale in (0.1, 0.03)
        for variant, model, latent in chosen
    ]
    assert varied(rows) == ["variant", "model.scale"]
    assert [group.name for group in grouped(rows[:3], ["a", "b", "c"], [])] == [
        "variant=line",
        "variant=ring",
        "variant=arc",
    ]
