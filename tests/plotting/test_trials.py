"""Pictures of a search show the trials and their best."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from latentrun.plotting.style import paper
from latentrun.report.trials import front, history, over_pairs, trials_drawn

VALUES = [5.0, 3.0, np.nan, 4.0, 1.0, 2.0]
TRIALS = pd.DataFrame(
    {
        "trial": range(6),
        "state": ["complete", "complete", "failed", "complete", "complete", "complete"],
        "a/error": VALUES,
        "b/score": [0.0, 2.0, np.nan, 3.0, 1.0, 2.0],
        "lr": [1e-4, 1e-3, 1e30, 1e-2, 3e-3, 5e-4],
        "d": [1, 2, 3, 4, 5, 6],
        "kind": list("xyxyxy"),
        "directory": "",
    }
)


@pytest.mark.parametrize(
    ("direction", "best"), [("minimize", [5, 3, 3, 1, 1]), ("maximize", [5, 5, 5, 5, 5])]
)
def test_history_shows_the_best_so_far_and_what_failed(direction, best):
    ax = history(TRIALS, "a/error", direction).axes[0]
    assert list(ax.lines[0].get_ydata()) == best and list(ax.lines[0].get_xdata()) == [0, 1, 3, 4, 5]
    assert [tuple(point) for point in ax.collections[0].get_offsets()] == [
        (0, 5),
        (1, 3),
        (3, 4),
        (4, 1),
        (5, 2),
    ]
    assert list(ax.collections[1].get_offsets()[:, 0]) == [2]


def test_values_that_span_orders_of_magnitude_have_a_log_axis():
    wide = TRIALS.assign(**{"a/error": [1.0, 10.0, np.nan, 1e3, 1e4, 2.0]})
    assert [history(each, "a/error", "minimize").axes[0].get_yscale() for each in (TRIALS, wide)] == [
        "linear",
        "log",
    ]


def test_the_front_is_what_no_trial_beats_in_both():
    found = (
        front(TRIALS[TRIALS["state"] == "complete"], ["a/error", "b/score"], ["minimize", "maximize"])
        .axes[0]
        .lines[0]
    )
    assert list(zip(*found.get_data(), strict=True)) == [(1, 1), (2, 2), (4, 3)]


def test_a_pair_of_settings_is_drawn_with_the_best_and_needs_no_surface():
    done = TRIALS[TRIALS["state"] == "complete"]
    ax = over_pairs(done, "a/error", "minimize", ["lr", "d"]).axes[0]
    assert ax.get_xscale() == "log" and ax.get_yscale() == "linear"
    assert tuple(ax.collections[-1].get_offsets()[0]) == (3e-3, 5)
    in_a_row = pd.concat([done] * 2, ignore_index=True).assign(lr=np.arange(10.0), d=np.arange(10.0))
    over_pairs(in_a_row, "a/error", "minimize", ["lr", "d"])  # no surface between points on one line


def test_what_there_is_decides_which_pictures_are_made():
    with paper():
        both = dict(trials_drawn(TRIALS, ["a/error", "b/score"], ["minimize", "maximize"]))
        none = dict(trials_drawn(TRIALS.assign(state="failed"), ["a/error"], ["minimize"]))
        alone = TRIALS[["trial", "state", "a/error", "kind", "directory"]]
        one = dict(trials_drawn(alone, ["a/error"], ["minimize"]))
    parts = ["a.error", "a.error.searched", "b.score", "b.score.searched", "a.error.pairs", "front"]
    assert list(both) == [f"trials.{part}" for part in parts]
    assert none == {} and list(one) == ["trials.a.error", "trials.a.error.searched"]
