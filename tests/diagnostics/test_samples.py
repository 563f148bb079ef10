"""Samples of generators whose faults are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from scipy.spatial import cKDTree
from torch.distributions import Independent, Normal

from latentrun.data.base import Oracle, take
from latentrun.diagnostics.samples.samples import Samples, close_share
from latentrun.errors import Misfit
from latentrun.functional.noise import Noise
from latentrun.manifolds import Euclidean
from latentrun.models.base import HasPrior, Model
from latentrun.types import Factor, Projection
from tests.planted import Deterministic, Rows, planted_run

DIM = 4


class Generator(Model, HasPrior):
    """A standard normal prior and a given decoder."""

    def __init__(self, decode, event_shape, dim=DIM):
        super().__init__(event_shape, {"z": Euclidean(dim)})
        self._decode = decode

    def decode(self, z, space="z"):
        return self._decode(z)

    def prior(self):
        return Independent(Normal(torch.zeros(self.latent_dim), 1.0), 1)

    def sample_prior(self, n, noise):
        return noise.normal("prior", (n, self.latent_dim))

    def phases(self):
        return ()


class Plane(Rows, Oracle):
    """Points (y0, y1, 0) for y in the unit square."""

    intrinsic_dim, betti = 2, (1,)

    def __init__(self, n=300):
        y = torch.rand(n, 2, generator=torch.Generator().manual_seed(5))
        super().__init__(self.render(y), y, (Factor("u", "real", 0, 1), Factor("v", "real", 0, 1)))

    def render(self, factors):
        return torch.cat((factors, torch.zeros_like(factors[:, :1])), 1)

    def project(self, x):
        factors = x[:, :2].double()
        inside = ((factors >= 0) & (factors <= 1)).all(1)
        return Projection(factors, (x[:, 2].abs() / x.norm(dim=1)).double(), inside, torch.ones(len(x)))


def normal(n: int, seed: int, dim: int = DIM) -> torch.Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))


def make(**changes) -> Samples:
    return Samples(**({"n": 800, "k": 3, "resamples": 500, "grid": 16, "strips": 5} | changes))


@pytest.fixture(scope="module")
def gaussian():
    return Rows({"train": normal(3000, 0), "val": normal(10, 1), "test": normal(800, 2)})


def run_of(decode, data, dim=DIM):
    return planted_run(Generator(decode, data.event_shape, dim), data)


def test_copies_of_training_examples_are_caught(gaussian):
    train = gaussian.split("train").x
    report = make()(run_of(lambda z: train[(z[:, 0].abs() * 1e4).long() % len(train)], gaussian), Noise(0))
    assert (report.tables["samples"]["distance"] == 0).all()
    assert report.metrics["copies"].value == 1
    assert report.metrics["distance_ratio"].value == 0
    assert report.metrics["copies"].method == "Wilson over examples" and report.metrics["copies"].low > 0.9


def test_fresh_data_look_like_fresh_data(gaussian):
    metrics = make()(run_of(lambda z: z, gaussian), Noise(3)).metrics
    assert metrics["duplicates"].value < 0.1  # 0.05; its interval is rough
    for name, truth in (("distance_ratio", 1), ("copies", 0.05)):
        assert metrics[name].low < truth < metrics[name].high, name
    assert (
        metrics["distance_ratio"].high - metrics["distance_ratio"].low < 0.2
    )  # and the interval says something


def test_intervals_cover_the_truth_as_often_as_they_say():
    # 80 data sets and models that draw from the same distribution: the truth is 1 and 0.05. (``duplicates``
    # is promised only roughly.) Binomial(80, 0.95) is below 69 once in 1,000.
    diagnostic = make(n=300, resamples=200)
    truth, hits = {"distance_ratio": 1, "copies": 0.05, "duplicates": 0.05}, {}
    for seed in range(80):
        data = Rows({split: normal(400, 7 * seed + i) for i, split in enumerate(("train", "val", "test"))})
        metrics = diagnostic(run_of(lambda z: z, data), Noise(seed)).metrics
        for name, value in truth.items():
            hits[name] = hits.get(name, 0) + (metrics[name].low <= value <= metrics[name].high)
    assert hits["distance_ratio"] >= 69 and hits["copies"] >= 69 and hits["duplicates"] >= 64, hits


def test_samples_off_the_data_are_far(gaussian):
    metrics = make()(run_of(lambda z: z + 5, gaussian), Noise(0)).metrics
    assert metrics["distance_ratio"].low > 3
    assert metrics["copies"].value == 0


def test_a_collapsed_generator_repeats_itself(gaussian):
    metrics = make()(run_of(lambda z: 0.001 * z, gaussian), Noise(0)).metrics
    assert metrics["duplicates"].value == 1
    assert metrics["copies"].value < 0.5  # its one picture is in no training set


def test_neighbours_are_those_of_a_tree_and_named_by_their_permanent_row():
    train = normal(400, 0)
    data = Rows({"train": train, "val": normal(5, 1), "test": normal(50, 2)})
    rows = data.split("train")
    order = torch.randperm(400, generator=torch.Generator().manual_seed(9))
    data._splits["train"] = take(rows, order)
    report = make(n=120)(run_of(lambda z: z, data), Noise(0))
    x = Noise(0).normal("prior", (120, DIM))
    distance, index = cKDTree(train.double().numpy()).query(x.double().numpy(), 1)
    assert np.allclose(report.tables["samples"]["distance"], distance, atol=1e-12)
    assert (report.tables["samples"]["neighbour"] == index).all()
    # Shown from the closest to the farthest.
    shown = report.arrays["shown_distance"][:, 0]
    assert shown[0] == distance.min() and shown[-1] == distance.max() and (np.diff(shown) > 0).all()
    found = np.linalg.norm(report.arrays["neighbours"] - report.arrays["shown"][:, None], axis=2)
    assert np.allclose(found, report.arrays["shown_distance"], atol=1e-6)
    assert any("50 of the 120 samples" in note for note in report.notes)


def test_residual_and_inside_in_closed_form():
    data = Plane()
    # Samples (u, v, h): u, v from N(0, 1) lie in the unit square with probability (Φ(1) - Φ(0))², h = |(u,
    # v)| gives a residual of 1 / √2 for all of them.
    run = run_of(lambda z: torch.cat((z[:, :2], z[:, :2].norm(dim=1, keepdim=True)), 1), data, 2)
    report = make(n=2000)(run, Noise(0))
    for part in ("mean", "p95", "p99"):
        assert report.metrics[f"residual.{part}"].value == pytest.approx(2**-0.5, rel=1e-5)
    inside = report.metrics["inside"]
    assert inside.low < 0.3413447**2 < inside.high
    assert np.allclose(report.tables["samples"][["fitted.u", "fitted.v"]], report.arrays["samples"][:, :2])


def test_samples_of_an_autoencoder_come_from_a_gaussian_fitted_to_its_codes(gaussian):
    model = Deterministic(lambda x: x, lambda z: z, DIM, (DIM,))
    report = make()(planted_run(model, gaussian), Noise(0))
    assert "Gaussian fitted" in report.notes[0]
    assert report.metrics["distance_ratio"].low < 1 < report.metrics["distance_ratio"].high


def test_a_model_that_cannot_be_sampled_is_refused(gaussian):
    class Bare(Model):
        def decode(self, z, space="z"):
            return z

        def phases(self):
            return ()

    with pytest.raises(Misfit, match="the model has neither"):
        make().check(Bare(gaussian.event_shape, {"z": Euclidean(DIM)}), gaussian)


def test_equal_noise_gives_equal_reports(gaussian):
    run = run_of(lambda z: z, gaussian)
    first, second = make()(run, Noise(4)), make()(run, Noise(4))
    assert first.metrics == second.metrics and first.tables["samples"].equals(second.tables["samples"])


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_pictures(channels):
    shape = (channels, 4, 4)
    x = torch.rand(200, *shape, generator=torch.Generator().manual_seed(0))
    run = run_of(lambda z: z[:, :1, None, None].sigmoid().expand(-1, *shape), Rows(x))
    diagnostic = make(n=60)
    report = diagnostic(run, Noise(0))
    pictures = diagnostic.plot(report)
    assert set(pictures) == {"distances", "grid", "neighbours"}
    labels = [text.get_text() for text in pictures["neighbours"].figure.axes[0].get_xticklabels()]
    assert labels == ["sample", "1.", "2.", "3."]
    assert report.arrays["samples"].shape == (16, *shape)
    assert "drawn from the model's prior" in pictures["grid"].caption


@pytest.mark.parametrize(("dim", "names"), [(1, {"points"}), (2, {"points"}), (3, {"points"}), (5, set())])
def test_pictures_of_vectors(dim, names):
    data = Rows({"train": normal(300, 0, dim), "val": normal(5, 1, dim), "test": normal(60, 2, dim)})
    diagnostic = make(n=50)
    pictures = diagnostic.plot(diagnostic(run_of(lambda z: z, data, dim), Noise(0)))
    assert set(pictures) == {"distances"} | names
    if dim > 1 and names:
        panels = pictures["points"].figure.axes  # test rows, samples
        assert [len(panel.collections[0].get_offsets()) for panel in panels] == [60, 50]


def test_histogram_holds_every_distance(gaussian):
    diagnostic = make()
    ax = diagnostic.plot(diagnostic(run_of(lambda z: 3 * z, gaussian), Noise(0)))["distances"].figure.axes[0]
    areas = []
    for patch in ax.patches:
        corners = patch.get_path().vertices
        areas.append(
            abs(
                np.dot(corners[:, 0], np.roll(corners[:, 1], 1))
                - np.dot(corners[:, 1], np.roll(corners[:, 0], 1))
            )
            / 2
        )
    width = ax.get_xlim()[1] / 40
    assert np.allclose(areas, width)


def test_the_shipped_values_fit(gaussian):
    from latentrun.config.build import build
    from latentrun.diagnostics.base import Diagnostic

    path = Path(__file__).parents[2] / "conf" / "diagnostic" / "samples.yaml"
    diagnostic = build(yaml.safe_load(path.read_text())["samples"], Diagnostic, "diagnostic.samples")
    report = diagnostic(run_of(lambda z: z, gaussian), Noise(0))
    assert len(report.tables["samples"]) == 1000


def test_distances_within_a_set_come_in_pairs_and_their_interval_covers():
    """Those that are each other's nearest have one distance: taken for two, 84 of 100 intervals hold the
    truth."""
    held, n, draws = {True: 0, False: 0}, 100, 300
    for i in range(draws):
        x = Noise(i).normal("x", (2, n, 10)).double()
        apart = (torch.cdist(x, x) + torch.diag(torch.full((n,), torch.inf))).amin(2)
        for mutual in held:
            found = close_share(*apart, Noise(i), 100, mutual)
            assert found.value == close_share(*apart, Noise(0), 10).value
            held[mutual] += found.low <= 0.05 <= found.high
    assert held[True] >= 0.92 * draws > held[False]
