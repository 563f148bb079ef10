"""Geodesics of planted decoders against straight lines."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from latentrun.diagnostics.decoder.geodesics import BROKEN, COMPARED, FAILED, GeodesicPairs
from latentrun.diagnostics.decoder.geodesics_measure import Cloud, even, traits
from latentrun.errors import InputError, Misfit, NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.geometry.surface import Immersed
from latentrun.manifolds import Manifold, space
from tests.planted import Deterministic, Rows, Span, planted_run


def make(**changes) -> GeodesicPairs:
    values = {
        "pairs": 20,
        "across": "any",
        "rows": [],
        "codes": 2000,
        "tail": 0.99,
        "nodes": 300,
        "neighbours": 8,
        "pieces": 8,
        "times": 33,
        "tolerance": 1e-5,
        "iterations": 100,
        "steps": 6,
        "judged": 15,
        "shown": 3,
    }
    return GeodesicPairs(**(values | changes))


class Planted(Deterministic):
    """Codes are the data; a given decoder, with a standard deviation where one is given."""

    def __init__(self, decode, d=2, sd=None, event=None):
        super().__init__(lambda x: x.flatten(1)[:, :d], decode, d, event or (d,))
        self._sd = sd

    def moments_at(self, z: Tensor) -> tuple[Tensor, ...]:
        mean = self.decode(z)
        return (mean,) if self._sd is None else (mean, self._sd(z).expand_as(mean))


def ring(n=600):
    """Points about the unit circle; classes: its quarters."""
    noise = Noise(0).at("ring")
    angle = 2 * math.pi * noise.uniform("angle", (n,))
    r = 1 + 0.08 * noise.normal("r", (n,))
    z = torch.stack([r * angle.cos(), r * angle.sin()], 1)
    return z, (angle / (math.pi / 2)).long()


def hole(z):
    return 3 * torch.exp(-4 * z.square().sum(1, keepdim=True))


@pytest.fixture(scope="module")
def data():
    z, labels = ring()
    return Rows(z, labels=labels)


@pytest.fixture(scope="module")
def curved(data):
    """What is decoded with a standard deviation that is high where there are no codes."""
    return make(pairs=60)(planted_run(Planted(lambda z: z, sd=hole), data), Noise(0))


def test_geodesics_go_round_an_empty_region_that_straight_lines_cross(curved):
    metrics = curved.metrics
    assert metrics["failed"].value == 0 and metrics["length_ratio"].high < 0.95
    assert metrics["near.geodesic"].value > metrics["near.straight"].value + 0.2
    assert metrics["near.gain"].low > 0.1 and metrics["gap.gain"].high < -0.1
    assert metrics["unevenness.geodesic"].value < 0.05 < metrics["unevenness.straight"].value
    assert metrics["sd.gain"].high < 0
    table = curved.tables["pairs"]
    # Opposite codes: round the hole, past at least one more quarter.
    far = table[(table["label_from"] - table["label_to"]).abs() == 2]
    assert (far["class_changes_geodesic"] >= 2).all() and len(far) > 5
    assert (table["length_ratio"] <= 1 + 1e-5).all() and (table["energy_ratio"] <= 1 + 1e-5).all()
    assert table["length_geodesic"].to_numpy() == pytest.approx(
        np.sqrt(2 * table["energy_geodesic"]), rel=1e-3
    )
    for name in ("length", "near", "gap"):
        gain = metrics[f"{name}.geodesic"].value - metrics[f"{name}.straight"].value
        assert metrics[f"{name}.gain"].value == pytest.approx(gain)


def test_with_a_flat_decoder_they_are_the_straight_lines(data):
    turned = torch.tensor([[0.6, 0.8], [-1.6, 1.2]])
    report = make()(planted_run(Planted(lambda z: z @ turned), data), Noise(0))
    assert report.metrics["length_ratio"].value == pytest.approx(1, abs=1e-5)
    for name in ("near", "gap", "unevenness", "class_changes"):
        assert report.metrics[f"{name}.gain"].value == pytest.approx(0, abs=1e-3)
    assert not any(name.startswith(("sd", "residual")) for name in report.metrics)
    lengths = report.tables["pairs"]["length_straight"]
    z, rows = data.split("test").x, report.tables["pairs"][["from", "to"]].to_numpy(copy=True)
    assert lengths.to_numpy() == pytest.approx(
        ((z[rows[:, 0]] - z[rows[:, 1]]) @ turned).norm(dim=1).numpy(), rel=1e-5
    )


def test_shares_and_gaps_are_those_of_even_points_along_the_curve():
    """Codes at 0 and 1 on a line, a limit of 0.25: half of the way from one to the other is near."""
    cloud = Cloud(torch.tensor([[0.0], [1.0]]), torch.tensor([3, 5]), 0.25)
    t = torch.linspace(0, 1, 129)[:, None].square()  # slow first: many points in a short piece
    seen = traits(Immersed(lambda z: 2 * z, 1), t[None], cloud, lambda c: c, lambda c: None)
    assert seen.near[0].item() == pytest.approx(0.5, abs=0.01)
    assert seen.gap[0].item() == pytest.approx(0.5, abs=0.01)
    assert seen.length[0].item() == pytest.approx(2, rel=1e-5)
    assert seen.class_changes is not None and seen.class_changes.tolist() == [1] and seen.sd is None
    assert seen.unevenness[0].item() == pytest.approx(1 / math.sqrt(3), rel=0.02)  # of steps like 2 t
    assert even(t[None], 3)[0, 1].item() == pytest.approx(0.5, abs=1e-3)
    apart = Cloud.of(torch.tensor([[0.0], [1.0], [3.0]]), None, 0.5)
    assert apart.limit == 1.0


def test_codes_are_drawn_once_and_pairs_across_classes_as_asked(data):
    run = planted_run(Planted(lambda z: z), data)
    table = make(across="different")(run, Noise(0)).tables["pairs"]
    assert (table["label_from"] != table["label_to"]).all() and len(table) == 20
    rows = table[["from", "to"]].to_numpy().ravel()
    assert len(np.unique(rows)) == len(rows)
    same = make(across="same", pairs=500)(run, Noise(0))
    assert (same.tables["pairs"]["label_from"] == same.tables["pairs"]["label_to"]).all()
    assert len(same.tables["pairs"]) < 300 and "fewer than 500" in same.notes[0]
    given = make(rows=[(3, 7), (12, 12)])(run, Noise(0)).tables["pairs"]
    assert given[["from", "to"]].to_numpy().tolist() == [[3, 7], [12, 12]]
    assert given["status"].tolist() == [COMPARED, "no length"]
    with pytest.raises(InputError, match=r"geodesics.rows: row 600 .* nearest that is: 599"):
        make(rows=[(3, 600)]).check(run.model, run.data)
    unlabelled = Rows(data.split("test").x)
    with pytest.raises(Misfit, match="the data have none"):
        make(across="same").check(run.model, unlabelled)
    with pytest.raises(NothingToMeasure, match="different classes"):
        one_class = Rows(data.split("test").x, labels=torch.zeros(600, dtype=torch.long))
        make(across="different")(planted_run(Planted(lambda z: z), one_class), Noise(0))


def test_what_is_not_finite_or_not_done_is_counted_and_not_averaged_in(data):
    def torn(z):
        return torch.where(z.norm(dim=1, keepdim=True) < 0.3, torch.nan, z)

    report = make(pairs=60)(planted_run(Planted(torn, sd=hole), data), Noise(0))
    table = report.tables["pairs"]
    assert set(table["status"]) == {COMPARED, BROKEN}
    kept = table[table["status"] == COMPARED]
    assert report.metrics["length_ratio"].value == pytest.approx(kept["length_ratio"].mean())
    assert all(math.isfinite(estimate.value) for estimate in report.metrics.values())
    assert any(BROKEN in note for note in report.notes)
    hurried = make(iterations=1, tolerance=1e-12)(planted_run(Planted(lambda z: z, sd=hole), data), Noise(0))
    assert hurried.metrics["failed"].value > 0.5
    assert (hurried.tables["pairs"]["status"] == FAILED).mean() == hurried.metrics["failed"].value
    assert any("Not converged" in note for note in hurried.notes)


def test_a_decoder_that_is_constant_or_nowhere_finite_is_refused_or_counted(data):
    with pytest.raises(NothingToMeasure, match="no curve has a length"):
        make()(planted_run(Planted(torch.ones_like), data), Noise(0))
    report = make()(planted_run(Planted(lambda z: z + torch.nan), data), Noise(0))
    assert set(report.metrics) == {"failed", "limit"} and report.metrics["failed"].value == 1
    make().plot(report)


@pytest.mark.parametrize("d", [1, 64])
def test_one_dimension_and_many_are_measured(d):
    x = Noise(0).normal("x", (40, d))
    report = make(pairs=3)(
        planted_run(Planted(lambda z: torch.cat([z, z[:, :1].sin()], 1), d), Rows(x)), Noise(0)
    )
    assert report.metrics["failed"].value == 0 and 0.9 < report.metrics["length_ratio"].value <= 1 + 1e-5
    assert set(make().plot(report)) == ({"ratios"} if d == 1 else {"plane", "ratios"})


def test_cyclic_coordinates_go_the_shorter_way_round():
    class Round(Deterministic):
        def __init__(self):
            super().__init__(lambda x: x, lambda z: z, 2, (2,))
            self.spaces: dict[str, Manifold] = {"z": space("s1")}

    angle = torch.linspace(0, 2 * math.pi, 201)[:-1]
    data = Rows(torch.stack([angle.cos(), angle.sin()], 1))
    report = make(rows=[(5, 190)])(planted_run(Round(), data), Noise(0))
    row = report.tables["pairs"].iloc[0]
    assert row["length_geodesic"] == pytest.approx(15 / 200 * 2 * math.pi, rel=1e-4)
    assert row["near_straight"] == 1


def test_with_an_oracle_decoded_points_are_judged_and_pictures_drawn():
    y = 2 * torch.rand(300, 3, generator=torch.Generator().manual_seed(1)) - 1
    y = y / y.norm(dim=1, keepdim=True)
    run = Span(y).run(off=lambda z: 2 * torch.exp(-4 * z.square().sum(1)))
    report = make(pairs=30)(run, Noise(0))
    assert report.tables["pairs"]["residual_geodesic"].notna().sum() == 15
    assert report.metrics["residual.gain"].high < -0.005 and report.metrics["residual.geodesic"].value < 0.4
    pictures = make().plot(report)
    assert set(pictures) == {"plane", "decoded", "ratios"}
    assert report.arrays["pictures_geodesic"].shape == (3, 6, 1, 4, 4)
    # Both rows of a pair begin and end with the same pictures.
    for at in (0, -1):
        assert report.arrays["pictures_geodesic"][:, at] == pytest.approx(
            report.arrays["pictures_straight"][:, at], abs=1e-5
        )
