"""Random walks in latent spaces where one knows which of them leave the codes and which change the picture
evenly."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from torch import Tensor

from latentrun.config.build import build
from latentrun.diagnostics.base import Diagnostic
from latentrun.errors import NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.manifolds import Manifold, space
from tests.planted import Deterministic, Rows, planted_run

SHIPPED = yaml.safe_load(
    (Path(__file__).parents[2] / "conf" / "diagnostic" / "random_walk.yaml").read_text()
)["random_walk"]


def measured(run, **changes):
    asked = build(SHIPPED | {"n": 80, "length": 40} | changes, Diagnostic, "random_walk")
    return asked, asked(run, Noise(0))


def value(report, name: str) -> float:
    return report.metrics[name].value


def decoder(function, codes: Tensor, sd=None):
    """A run with these codes; ``sd(z) (N,)`` of p(x|z)."""

    class Planted(Deterministic):
        def moments_at(self, z: Tensor) -> tuple[Tensor, ...]:
            mean = self.decode(z)
            return (mean,) if sd is None else (mean, sd(z).unsqueeze(1).expand_as(mean))

    d, width = codes.shape[1], function(codes[:1]).shape[1]
    padded = torch.nn.functional.pad(codes, (0, width - d))
    return planted_run(Planted(lambda x: x[:, :d], function, d, (width,)), Rows(padded))


def disc(n: int = 1000) -> Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(0))


def stretched(z: Tensor) -> Tensor:
    """A plane whose first direction is stretched by 0.2 to 1.8."""
    return torch.stack([z[:, 0] + 0.4 * (2 * z[:, 0]).sin(), z[:, 1], 0 * z[:, 0]], 1)


def test_the_walk_of_the_metric_is_as_even_as_its_draws_on_a_plane():
    """And the Euclidean one is not, where the plane is stretched one way."""
    run = decoder(lambda z: z @ torch.tensor([[4.0, 0.0, 0.0], [0.0, 0.5, 0.0]]), disc())
    _, report = measured(run)
    assert value(report, "stretch_unevenness.metric") == pytest.approx(0, abs=1e-4)
    assert value(report, "stretch_unevenness.brownian") == pytest.approx(0, abs=1e-4)
    assert value(report, "stretch_unevenness.euclidean") > 0.3
    assert value(report, "unevenness.metric") == pytest.approx(0.523, abs=0.02)  # of Rayleigh's law
    assert report.metrics["evener.metric"].low > 0.1
    changes = [value(report, f"change.{kind}") for kind in ("metric", "brownian")]
    assert changes[0] == pytest.approx(changes[1], rel=1e-3)


def test_where_all_is_alike_no_walk_is_evener():
    _, report = measured(decoder(lambda z: torch.nn.functional.pad(3 * z, (0, 1)), disc()))
    assert value(report, "evener.metric") == pytest.approx(0, abs=1e-4)
    assert value(report, "near.metric") == pytest.approx(value(report, "near.euclidean"), abs=1e-6)
    assert value(report, "outward.metric") == pytest.approx(value(report, "outward.euclidean"), abs=1e-4)


def test_a_walk_is_evener_with_the_metric_where_the_stretching_changes_from_place_to_place():
    _, report = measured(decoder(stretched, disc()), step=0.05)
    assert report.metrics["stretch_evener.metric"].low > 0.02
    assert report.metrics["evener.metric"].low > 0


def test_a_standard_deviation_that_grows_off_the_codes_is_a_wall_at_which_walks_of_the_metric_gather():
    """sd grows steeply from a circle of radius 2 on, which the Euclidean walk does not see. Steps of
    covariance 1/M without drift are a martingale, which slows down where M is large: it does not stay near
    0."""
    codes = disc() / disc().norm(dim=1, keepdim=True) * torch.linspace(0, 1, 1000).sqrt().unsqueeze(1) * 1.5

    def sd(z: Tensor) -> Tensor:
        return torch.nn.functional.softplus(8 * (z.norm(dim=1) - 2))

    def plane(z: Tensor) -> Tensor:
        return torch.nn.functional.pad(z, (0, 1))

    _, kept = measured(decoder(plane, codes, sd), length=100)
    _, free = measured(decoder(plane, codes), length=100)
    ends = {kind: walks["origin"] for kind, walks in kept.tables["walks"].groupby("walk")}
    assert ends["metric"].max() < 2.4 < ends["euclidean"].max()
    assert free.tables["walks"].groupby("walk")["origin"].max()["metric"] > 2.4
    assert kept.metrics["outward.metric"].low > 0
    assert (ends["metric"] > 1.7).mean() > 0.3 > (ends["brownian"] > 1.7).mean()
    assert value(kept, "deviation.euclidean") > value(kept, "deviation.metric") > 0
    assert "deviation.metric" not in free.metrics and "surface_unevenness.metric" in kept.metrics


def test_first_exits_and_shares_are_those_of_the_table():
    _, report = measured(decoder(lambda z: torch.nn.functional.pad(z, (0, 1)), disc()), step=0.5)
    walks = report.tables["walks"]
    some = walks[walks["walk"] == "euclidean"]
    assert (some["exit"] != 0).all()  # they start at codes
    assert value(report, "left.euclidean") == pytest.approx((some["exit"] > 0).mean())
    exits = some["exit"].where(some["exit"] > 0, 40)
    assert value(report, "exit.euclidean") == pytest.approx(exits.mean())
    times = report.tables["times"]
    last = times[(times["walk"] == "euclidean") & (times["step"] == 40)]
    assert last["near"].item() == pytest.approx(value(report, "near_end.euclidean"))
    assert times.loc[times["step"] == 0, "near"].eq(1).all()


def test_on_a_circle_walks_go_round_and_stay_at_the_codes():
    class Ring(Deterministic):
        def __init__(self):
            super().__init__(lambda x: x, lambda z: 2 * z, 2, (2,))
            self.spaces: dict[str, Manifold] = {"z": space("s1")}

    codes = disc(500) / disc(500).norm(dim=1, keepdim=True)
    asked, report = measured(planted_run(Ring(), Rows(codes)), step=0.5)
    assert value(report, "near.brownian") > 0.9 and "origin.metric" not in report.metrics
    assert abs(report.arrays["path_metric"]).max() > 3.2  # beyond half a turn, on the covering line
    assert set(asked.plot(report)) == {"walks", "times", "evenness"}


def test_where_nothing_changes_there_is_nothing_to_measure():
    with pytest.raises(NothingToMeasure, match="no metric"):
        measured(decoder(lambda z: torch.zeros(len(z), 3), disc()))
    with pytest.raises(NothingToMeasure, match="do not move"):
        measured(decoder(lambda z: torch.nn.functional.pad(z, (0, 1)), torch.zeros(50, 2)))


def test_of_variables_that_vary_as_much_the_first_two_are_drawn():
    """But for rounding."""
    asked = build(SHIPPED, Diagnostic, "random_walk")
    codes = Noise(3).normal("codes", (50, 1)).double() * torch.tensor([1.0, 1.0, 1.0 + 1e-9])
    data = SimpleNamespace(value_range=(0.0, 1.0))
    decoded = SimpleNamespace(chart=SimpleNamespace(names=("a", "b", "c")), run=SimpleNamespace(data=data))
    assert asked._arrays(decoded, {}, codes)["axes"].tolist() == ["a", "b"]
