"""Differences with known answers: exact constants, identical runs, planted seeds, rows in another order."""

import math

import numpy as np
import pytest
from scipy import stats

from latentrun.comparisons.metrics import Metrics
from latentrun.errors import InputError, NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.intervals import mean_interval
from latentrun.types import Estimate
from tests.comparisons.planted import planted
from tests.comparisons.test_base import Chosen

ERRORS = np.random.default_rng(0).gamma(2.0, size=20)


def compare(*runs, pair_on=(), shown=12):
    comparison = Metrics(pair_on=list(pair_on), shown=shown)
    return comparison, comparison(runs, Noise(0))


def row(report, **where):
    table = report.tables["differences"]
    for key, value in where.items():
        table = table[table[key] == value]
    return table.iloc[0]


def test_errors_that_differ_by_a_constant_give_it_and_no_interval():
    _, report = compare(planted("a", errors=ERRORS), planted("b", model="vae", errors=ERRORS + 0.25))
    found = report.metrics["error_difference.model=vae"]
    assert found.value == pytest.approx(0.25) and found.low is None
    assert found.method == "none: equal in all 20 examples"
    assert math.isnan(
        report.metrics["error_effect.model=vae"].value
    )  # nothing varies: no standardised effect
    assert report.tables["examples"].iloc[0][["n", "seeds", "share_lower"]].tolist() == [20, 1, 0.0]


def test_errors_example_by_example_are_a_paired_test():
    other = ERRORS + np.random.default_rng(1).normal(0.1, 0.3, 20)
    _, report = compare(planted("a", errors=ERRORS), planted("b", model="vae", errors=other))
    found, d = report.metrics["error_difference.model=vae"], other - ERRORS
    assert found == mean_interval(d) and found.low < d.mean() < found.high
    assert report.tables["examples"]["method"].tolist() == [found.method]
    assert report.metrics["error_effect.model=vae"].value == pytest.approx(d.mean() / d.std(ddof=1))


def test_identical_runs_differ_by_nothing():
    measured = {"reconstruction/mse": Estimate(2.0, 1.5, 2.5)}
    _, report = compare(
        planted("before", errors=ERRORS, measured=measured),
        planted("after", errors=ERRORS, measured=measured),
    )
    found = report.metrics["error_difference.after"]
    assert found.value == 0 and found.low is None
    mse = row(report, metric="reconstruction/mse")
    assert mse["difference"] == 0 and mse["low"] < 0 < mse["high"] and mse["better"] == ""


def test_rows_in_another_order_are_matched_by_index():
    order = np.random.default_rng(2).permutation(20)
    runs = (
        planted("a", errors=ERRORS),
        planted("b", model="vae", data=Chosen(order), errors=ERRORS[order] - 0.5, index=order),
    )
    _, report = compare(*runs)
    assert report.metrics["error_difference.model=vae"].value == pytest.approx(-0.5)
    assert report.metrics["error_difference.model=vae"].low is None  # the same in all, matched
    part = order[:6]
    _, report = compare(
        runs[0], planted("c", model="vae", data=Chosen(part), errors=ERRORS[part] - 0.5, index=part)
    )
    assert report.metrics["error_difference.model=vae"].value == pytest.approx(-0.5)
    assert report.tables["examples"].iloc[0]["n"] == 6


def test_disjoint_data_are_said_in_one_line_and_not_compared():
    a = planted("a", data=Chosen(range(10)), errors=ERRORS[:10], measured={"m/x": 1.0})
    b = planted(
        "b",
        model="vae",
        data=Chosen(range(10, 20)),
        errors=ERRORS[10:],
        index=range(10, 20),
        measured={"m/x": 2.0},
    )
    _, report = compare(a, b)
    assert (
        "Examples are not compared: the runs have no row of the test split in common: 'a', 'b'."
        in report.notes
    )
    assert report.tables["examples"].empty and row(report, metric="m/x")["difference"] == 1.0


def test_pairs_over_seeds_are_students_test():
    before, after = np.array([1.0, 2.0, 4.0]), np.array([2.0, 4.0, 7.0])  # differences 1, 2, 3
    runs = [planted("", s, measured={"m/x": v}) for s, v in enumerate(before)]
    runs += [planted("", s, model="vae", measured={"m/x": v}) for s, v in enumerate(after)]
    _, report = compare(*runs)
    found, expected = row(report, metric="m/x"), stats.ttest_rel(after, before)
    assert (
        found["difference"] == pytest.approx(2.0)
        and found["n"] == 3
        and found["method"] == "paired t over seeds"
    )
    interval = expected.confidence_interval()
    assert (found["low"], found["high"], found["p"]) == pytest.approx(
        (interval.low, interval.high, expected.pvalue)
    )
    assert found["effect"] == pytest.approx(2.0 / math.sqrt((before.var(ddof=1) + after.var(ddof=1)) / 2))


def test_only_common_seeds_are_paired_and_without_any_welch_takes_over():
    a = [planted("", s, measured={"m/x": 10.0 * s}) for s in (0, 1, 2)]
    b = [planted("", s, model="vae", measured={"m/x": 10.0 * s + 1 + 0.1 * s}) for s in (1, 2, 3)]
    found = row(compare(*a, *b)[1], metric="m/x")
    assert (
        found["n"] == 2
        and found["difference"] == pytest.approx(1.15)
        and found["value"] == pytest.approx(16.15)
    )
    c = [planted("", s, model="vae", measured={"m/x": 100.0 + s}) for s in (7, 8)]
    found = row(compare(*a, *c)[1], metric="m/x")
    expected = stats.ttest_ind([107, 108], [0, 10, 20], equal_var=False)
    assert found["method"] == "Welch t over seeds" and found["p"] == pytest.approx(expected.pvalue)


def test_one_run_each_combines_the_intervals_over_examples():
    runs = (
        planted("a", measured={"m/x": Estimate(1.0, 0.7, 1.3)}),
        planted("b", model="vae", measured={"m/x": Estimate(2.0, 1.6, 2.4)}),
    )
    found = row(compare(*runs)[1], metric="m/x")
    assert (found["difference"], found["low"], found["high"]) == pytest.approx(
        (1.0, 0.5, 1.5)
    )  # hypot(0.3, 0.4) = 0.5
    assert (
        found["method"] == "both intervals over examples"
        and found["better"] == "model=ae"
        and math.isnan(found["p"])
    )
    runs = planted("a", measured={"m/x": 1.0}), planted("b", model="vae", measured={"m/x": 2.0})
    assert math.isnan(row(compare(*runs)[1], metric="m/x")["low"])


def test_uneven_and_open_intervals_are_combined_end_by_end():
    """The lower end of a - b goes by the lower one of a and the upper one of b."""
    runs = (
        planted("a", measured={"m/x": Estimate(1.0, 0.9, 1.3), "m/open": Estimate(1.0, 0.5)}),
        planted(
            "b", model="vae", measured={"m/x": Estimate(2.0, 1.6, 3.2), "m/open": Estimate(2.0, 1.0, 5.0)}
        ),
    )
    report = compare(*runs)[1]
    found = row(report, metric="m/x")
    assert (found["low"], found["high"]) == pytest.approx(
        (1 - math.hypot(0.4, 0.3), 1 + math.hypot(1.2, 0.1))
    )
    found = row(report, metric="m/open")
    assert math.isnan(found["low"]) and found["high"] == pytest.approx(1 + math.hypot(3, 0.5))


@pytest.mark.parametrize(
    ("direction", "values", "better"),
    [
        ("higher", (1, 2), "vae"),
        ("lower", (1, 2), "ae"),
        ("one", (3, 1.1), "vae"),
        ("zero", (-5, -1), "vae"),
        ("none", (1, 2), None),
    ],
)
def test_who_is_better_goes_by_the_metrics_direction(direction, values, better):
    a, b = (Estimate(float(v), v - 1e-3, v + 1e-3) for v in values)
    runs = (
        planted("a", measured={"m/x": a}, directions={"m/x": direction}),
        planted("b", model="vae", measured={"m/x": b}),
    )
    assert row(compare(*runs)[1], metric="m/x")["better"] == (f"model={better}" if better else "")


def test_p_values_are_corrected_for_their_number():
    rng = np.random.default_rng(3)
    names = [f"m/x{i}" for i in range(5)]
    runs = [
        planted("", s, model=m, measured=dict(zip(names, rng.normal(size=5), strict=True)))
        for m in ("ae", "vae")
        for s in range(4)
    ]
    table = compare(*runs)[1].tables["differences"].sort_values("p")
    assert (
        table["p_holm"].iloc[0] == pytest.approx(min(1.0, 5 * table["p"].iloc[0]))
        and (table["p_holm"] >= table["p"]).all()
    )


def test_what_not_every_run_has_or_measured_otherwise_is_left_out():
    runs = (
        planted("a", measured={"m/x": 1.0, "m/y": 1.0, "k/z": 1.0}),
        planted("b", model="vae", measured={"m/x": 2.0, "k/z": 1.0}),
    )
    for run, split in zip(runs, ("test", "train"), strict=True):
        run.meta["diagnostics"] = {"k": {"config": {"split": split}}}
    _, report = compare(*runs)
    assert report.tables["differences"]["metric"].tolist() == ["m/x"]
    assert any(
        "k is left out, for it was measured with different settings: split is test in 'a', train in 'b'"
        in note
        for note in report.notes
    )


def test_pairing_on_everything_that_varies_leaves_no_groups():
    runs = [planted("", measured={"m/x": 1.0}, latent_dim=d) for d in (2, 3)]
    with pytest.raises(InputError, match="the runs form one group"):
        compare(*runs, pair_on=["model.latent_dim"])


def test_the_picture_shows_the_clearest_differences_first():
    runs = planted("a", measured={f"m/x{i}": Estimate(0.0, -1, 1) for i in range(5)}), planted(
        "b", model="vae", measured={f"m/x{i}": Estimate(float(i), i - 1, i + 1) for i in range(5)}
    )  # fmt: skip
    comparison, report = compare(*runs, shown=3)
    picture = comparison.plot(report)["differences"]
    titles = [ax.get_title() for ax in picture.figure.axes if ax.get_title()]
    assert titles == ["m/x4", "m/x3", "m/x2"] and "2 more metrics" in picture.caption


def test_runs_without_metrics_have_nothing_to_compare():
    said = "No run has metrics. Examples are not compared: 'a' has no reconstruction."
    with pytest.raises(NothingToMeasure, match=said):
        compare(planted("a"), planted("b", model="vae"))


def test_runs_without_a_common_metric_have_nothing_to_compare():
    runs = planted("a", measured={"m/x": 1.0}), planted("b", model="vae", measured={"m/y": 1.0})
    with pytest.raises(NothingToMeasure, match="The runs have no metric in common"):
        compare(*runs)
