"""Planted codes whose labels can be told at known rates."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support
from sklearn.neighbors import KNeighborsClassifier

from latentrun.diagnostics.codes.knn import KNN, factor_columns
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.types import Factor
from tests.planted import Deterministic, Gaussian, Rows, planted_run

SIZES = {"train": 4000, "val": 10, "test": 4000}
DEFAULTS = {"train_rows": 10000, "k": 11, "neighbours": [1, 3, 51], "factors": "all", "resamples": 200}


def measure(x, labels, scale=False, data=None, **options):
    """Report on codes that are the rows ``x`` themselves; ``scale``: with a posterior, so that their unit is
    the prior's."""
    d = x["train"].shape[1]
    same = (lambda v: v, lambda z: z)
    model = Gaussian(same[0], torch.ones_like, same[1], d, (d,)) if scale else Deterministic(*same, d, (d,))
    diagnostic = KNN(split="test", **{**DEFAULTS, **options})
    return diagnostic, diagnostic(planted_run(model, data or Rows(x, labels=labels)), Noise(0))


def normals(distance, d=2, sizes=SIZES, share=0.5):
    """Codes of two classes, N(0, I) and N(distance e_1, I), the second with probability ``share``."""
    labels = {
        name: (Noise(i).uniform("label", (n,)) < share).long() for i, (name, n) in enumerate(sizes.items())
    }
    x = {name: Noise(i).normal("x", (n, d)) for i, (name, n) in enumerate(sizes.items())}
    for name in x:
        x[name][:, 0] += distance * labels[name]
    return x, labels


def over(report, reader, k, score="accuracy"):
    table = report.tables["over_k"].set_index(["reader", "k"])
    return table.loc[(reader, k), score]


# ---------------------------------------------------------------- known rates
def test_two_normal_classes_reach_the_bayes_rate():
    """For N(0, I) against N(m, I) with equal shares the best accuracy is Phi(|m| / 2)."""
    _, found = measure(*normals(2.0), scale=True, k=201)
    accuracy = found.metrics["accuracy"]
    assert accuracy.low < norm.cdf(1.0) < accuracy.high
    assert (
        found.metrics["macro_f1"].low < norm.cdf(1.0) < found.metrics["macro_f1"].high
    )  # equal shares: both are told alike


def test_one_neighbour_errs_twice_as_often_where_labels_are_coins():
    """Labels that are 1 with probability p everywhere: with k = 1 the error is 2 p (1 - p), with many
    neighbours min(p, 1 - p)."""
    x, labels = normals(0.0, share=0.2)
    _, found = measure(x, labels, scale=True, k=1, neighbours=[301])
    nearest = found.metrics["accuracy"]
    p = labels["train"].double().mean().item() * 0.5 + labels["test"].double().mean().item() * 0.5
    assert nearest.low - 0.01 < 1 - 2 * p * (1 - p) < nearest.high + 0.01
    assert over(found, "codes", 301) == pytest.approx(found.metrics["accuracy.majority"].value, abs=1e-3)


def test_one_neighbour_of_normal_classes_errs_by_the_integral_of_cover_and_hart():
    x, labels = normals(2.0, d=1)
    _, found = measure(x, labels, scale=True, k=1)
    z = np.linspace(-8, 10, 20001)
    f, g = norm.pdf(z) / 2, norm.pdf(z, 2.0) / 2
    error = np.trapezoid(2 * f * g / (f + g), z)  # E[2 eta (1 - eta)]
    assert found.metrics["accuracy"].low < 1 - error < found.metrics["accuracy"].high


def test_labels_that_have_nothing_to_do_with_the_codes_are_guessed():
    x, labels = normals(0.0)
    _, found = measure(x, labels, scale=True)
    for score in ("accuracy", "macro_f1"):
        assert found.metrics[score].low < 0.5 < found.metrics[score].high
    share = max((labels["test"] == c).double().mean().item() for c in (0, 1))
    assert found.metrics["accuracy.majority"].value in (pytest.approx(share), pytest.approx(1 - share))
    assert (
        found.metrics["macro_f1.majority"].value < 0.35
    )  # one class is never named: (2 s / (1 + s) + 0) / 2


def test_separate_classes_are_told_without_a_mistake():
    _, found = measure(*normals(30.0), scale=True)
    assert found.metrics["accuracy"].value == found.metrics["macro_f1"].value == 1
    assert 0.998 < found.metrics["accuracy"].low < 1  # Wilson's interval: 4,000 rows are not all rows
    assert (found.tables["classes"][["precision", "recall", "f1"]] == 1).all(axis=None)


def test_answers_and_scores_are_scikit_learns():
    sizes = {"train": 600, "val": 5, "test": 400}
    x = {name: Noise(i).normal("x", (n, 3)) for i, (name, n) in enumerate(sizes.items())}
    labels = {name: (2 * v[:, 0] + v[:, 1].square()).clamp(0, 4).long() for name, v in x.items()}
    _, found = measure(x, labels, scale=True, k=7, neighbours=[1, 2, 8])
    for k in (1, 2, 7, 8):  # even numbers tie: the lowest class wins
        answer = KNeighborsClassifier(k).fit(x["train"], labels["train"]).predict(x["test"])
        assert over(found, "codes", k) == pytest.approx((answer == labels["test"].numpy()).mean())
        assert over(found, "codes", k, "macro_f1") == pytest.approx(
            f1_score(labels["test"], answer, average="macro")
        )
    answer = KNeighborsClassifier(7).fit(x["train"], labels["train"]).predict(x["test"])
    assert np.array_equal(found.arrays["predicted"], answer[found.arrays["index"]])
    whole = np.zeros((5, 5), int)
    table = found.tables["confusion"]
    whole[table["truth"], table["predicted"]] = table["rows"]
    assert np.array_equal(whole, confusion_matrix(labels["test"], answer))
    expected = precision_recall_fscore_support(labels["test"], answer)
    for column, values in zip(("precision", "recall", "f1", "rows"), expected, strict=True):
        assert found.tables["classes"][column].to_numpy() == pytest.approx(values)


# ---------------------------------------------------------------- units
def test_codes_without_a_posterior_are_standardised_and_others_not():
    x, labels = normals(3.0)
    x = {name: v * torch.tensor([1e-3, 1.0]) for name, v in x.items()}  # the latent that knows is small
    _, plain = measure(x, labels)
    _, prior = measure(x, labels, scale=True)
    assert plain.metrics["accuracy"].value > 0.91 and prior.metrics["accuracy"].value < 0.7
    assert any("standardised" in note for note in plain.notes) and any(
        "units of the prior" in note for note in prior.notes
    )


# ---------------------------------------------------------------- the factors beside the codes
class Labelled(Rows):
    """Rows whose label is one of the factors."""

    def __init__(self, x, y, factors, labels, label):
        super().__init__(x, y, factors, labels)
        self.label = label


def with_factors(**options):
    """Label: whether a > 0.5, told by factor a; b and the angle know nothing, the codes know nothing."""
    x = {name: Noise(7 + i).normal("x", (n, 2)) for i, (name, n) in enumerate(SIZES.items())}
    y = {name: Noise(i).uniform("y", (n, 3)) for i, (name, n) in enumerate(SIZES.items())}
    labels = {name: (v[:, 0] > 0.5).long() for name, v in y.items()}
    y = {name: torch.cat([v, labels[name][:, None]], 1) for name, v in y.items()}
    factors = (
        Factor("a", "real", 0, 1),
        Factor("b", "real", 0, 1),
        Factor("angle", "cyclic", 0, 1),
        Factor("side", "categorical", 0, 1, categories=("left", "right")),
    )
    return measure(x, labels, data=Labelled(x, y, factors, labels, "side"), **options)


def test_true_factors_say_what_could_be_known():
    _, alone = with_factors(factors=["a"])
    assert alone.metrics["accuracy.factors"].value > 0.99 and alone.metrics["accuracy"].value < 0.55
    _, blind = with_factors(factors=["b", "angle"])
    assert blind.metrics["accuracy.factors"].low < 0.5 < blind.metrics["accuracy.factors"].high
    _, every = with_factors()
    assert (
        0.9 < every.metrics["accuracy.factors"].value < alone.metrics["accuracy.factors"].value
    )  # the label itself is not among them
    assert any("a, b, angle, standardised" in note for note in every.notes)
    assert alone.tables["classes"]["class"].tolist() == ["left", "right"]


def test_factors_become_numbers_that_can_be_compared():
    """Two classes are equally far from each other whatever their codes, and angles close at their ends."""
    factors = [
        Factor("c", "categorical", 0, 2, categories=tuple("xyz")),
        Factor("angle", "cyclic", 0, 360),
        Factor("a", "real", 0, 1),
    ]
    columns = factor_columns(
        list(enumerate(factors)), np.array([[0.0, 0.0, 0.3], [2.0, 360.0, 0.3], [1.0, 90.0, 0.3]])
    )
    expected = [[1, 0, 0, 1, 0, 0.3], [0, 0, 1, 1, 0, 0.3], [0, 1, 0, 0, 1, 0.3]]
    np.testing.assert_allclose(columns, expected, atol=1e-12)


def test_a_factor_that_is_not_there_is_named():
    with pytest.raises(
        InputError, match=r"diagnostic\.knn\.factors: unknown factor 'angl' \(did you mean 'angle'\?\)"
    ):
        with_factors(factors=["angl"])
    with pytest.raises(InputError, match="unknown factor 'side'"):  # the label does not predict itself
        with_factors(factors=["side"])


def test_data_with_labels_alone_have_no_factors_beside():
    _, found = measure(*normals(2.0))
    assert set(found.metrics) == {"accuracy", "macro_f1", "accuracy.majority", "macro_f1.majority"}


# ---------------------------------------------------------------- awkward labels
def test_more_neighbours_than_rows():
    x, labels = normals(3.0, sizes={"train": 6, "val": 2, "test": 50})
    _, found = measure(x, labels, k=50, neighbours=[1, 400])
    assert found.tables["over_k"]["k"].tolist() == [1, 6, 0]
    assert found.metrics["accuracy"].value == found.metrics["accuracy.majority"].value  # all six vote
    assert any("k was cut" in note for note in found.notes)


def test_one_class_only():
    x, labels = normals(1.0, share=-1.0)
    diagnostic, found = measure(x, labels)
    assert (
        found.metrics["accuracy"].value
        == found.metrics["macro_f1"].value
        == found.metrics["accuracy.majority"].value
        == 1
    )
    assert any("only one class" in note for note in found.notes)
    assert set(diagnostic.plot(found)) == {"over_k", "confusion", "regions"}


def test_a_class_that_no_train_row_has():
    x, labels = normals(5.0)
    labels["test"] = labels["test"].clone()
    labels["test"][:100] = 2
    _, found = measure(x, labels)
    assert found.metrics["accuracy"].value <= 1 - 100 / 4000
    last = found.tables["classes"].iloc[2]
    assert (last["train_rows"], last["rows"], last["recall"]) == (0, 100, 0) and math.isnan(last["precision"])
    assert any("Never predicted" in note and note.endswith(" 2.") for note in found.notes)


def test_a_rare_class_is_outvoted_by_many_neighbours():
    x, labels = normals(30.0, share=0.004)
    rare = int(labels["train"].sum())
    assert 5 < rare < 25
    _, found = measure(x, labels, scale=True, k=1, neighbours=[2 * rare + 3])
    assert found.metrics["macro_f1"].value == 1 and over(found, "codes", 2 * rare + 3, "macro_f1") < 0.51
    assert over(found, "codes", 2 * rare + 3) > 0.99  # which accuracy does not show
    assert any(f"smallest class has {rare} train rows" in note for note in found.notes)


def test_equal_codes_give_one_answer():
    x, labels = normals(1.0)
    _, found = measure({name: torch.zeros_like(v) for name, v in x.items()}, labels)
    assert len(set(found.arrays["predicted"].tolist())) == 1


# ---------------------------------------------------------------- pictures
@pytest.mark.parametrize(
    ("d", "names"),
    [(1, {"regions"}), (2, {"regions"}), (3, {"regions", "layers"}), (6, {"regions", "layers"})],
)
def test_pictures_for_every_dimension(d, names):
    diagnostic, found = measure(*normals(2.0, d=d, sizes={"train": 300, "val": 5, "test": 200}))
    pictures = diagnostic.plot(found)
    assert set(pictures) == {"over_k", "confusion"} | names
    assert ("grid" in found.arrays) == (d == 2)


def test_the_cloud_is_coloured_by_truth_and_answer_and_rings_the_mistakes():
    x, labels = normals(1.5, d=4, sizes={"train": 300, "val": 5, "test": 200})
    x = {name: (v / 12 + 0.4).clamp(0, 1).view(-1, 1, 2, 2) for name, v in x.items()}
    model = Deterministic(lambda v: v.flatten(1)[:, :3], lambda z: z, 3, (1, 2, 2))
    asked = KNN(split="test", **DEFAULTS)
    found = asked(planted_run(model, Rows(x, labels=labels)), Noise(0))
    figure = asked.plot(found)["layers"].figure
    assert [button.label for button in figure.layout.updatemenus[0].buttons] == [
        "true class",
        "predicted class",
        "answer",
    ]
    wrong = found.arrays["truth"] != found.arrays["predicted"]
    assert [trace.name for trace in figure.data] == ["codes", "wrongly predicted"] and 0 < wrong.sum() < 200
    rings = figure.data[1]
    assert np.column_stack([rings.x, rings.y, rings.z]) == pytest.approx(
        found.arrays["codes"][wrong], abs=1e-4
    )
    assert figure.data[0].customdata[int(np.flatnonzero(wrong)[0])].endswith("answer: wrong")
    assert found.arrays["codes"] == pytest.approx(
        found.arrays["pictures"].reshape(200, 4)[:, :3] / 255, abs=0.003
    )


def test_the_map_of_decisions_is_the_classifier():
    """Classes on two sides of z_0 = 1 (and a scale of its own for each latent): the map changes there, not
    along z_1."""
    x, labels = normals(0.0)
    labels = {name: (v[:, 0] > 1).long() for name, v in x.items()}
    x = {name: v * torch.tensor([1.0, 100.0]) for name, v in x.items()}
    _, found = measure(x, labels)
    grid, extent = found.arrays["grid"], found.arrays["extent"]
    across = np.linspace(extent[0], extent[1], grid.shape[1])
    inner = grid[grid.shape[0] // 3 : -grid.shape[0] // 3]  # where codes are many
    assert (inner[:, across < 0.7] == 0).all() and (inner[:, (across > 1.3) & (across < 2.5)] == 1).all()
    assert extent[3] - extent[2] > 50 * (extent[1] - extent[0])


def test_the_matrix_of_many_classes_shows_those_most_mistaken():
    from latentrun.diagnostics.codes.knn_plot import confusion

    truth = np.arange(30)
    table = pd.DataFrame(
        {
            "truth": [*truth, 29],
            "predicted": [*truth, 28],
            "rows": [5] * 29 + [4, 6],
            "share": [1.0] * 29 + [0.4, 0.6],
        }
    )
    fig, drawn = confusion(table, [f"c{i}" for i in truth])
    assert drawn == 20 and [text.get_text() for text in fig.axes[0].get_yticklabels()][-2:] == ["c28", "c29"]
