"""Distances and shares of generators whose faults are known."""

from __future__ import annotations

from zipfile import ZipFile

import numpy as np
import pytest
import torch

from latentrun.diagnostics.samples import fid
from latentrun.diagnostics.samples.fid import FID
from latentrun.errors import InputError, Misfit, NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.manifolds import Euclidean
from latentrun.models.base import HasPrior, Model
from tests.conformance import parts
from tests.planted import Deterministic, Gaussian, Rows, planted_run

DIM, N = 4, 1000
GIVEN = {
    "features": "pixels",
    "n": N,
    "groups": 10,
    "kept": N,
    "k_precision": 3,
    "k_coverage": 5,
    "components": 3,
    "classifier_rows": 2000,
    "classifier_steps": 300,
    "classifier_width": 16,
    "size": None,
    "channels": 1,
    "input_range": (0.0, 1.0),
    "resize": "tf1",
}


def make(**changes) -> FID:
    return FID(**(GIVEN | changes))


def normal(n, seed, dim=DIM):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def gaussian():
    return Rows({"train": normal(N, 0), "val": normal(10, 1), "test": normal(2 * N, 2)})


def vae(decode, encode=lambda x: x, dim=DIM, shape=None):
    return Gaussian(encode, lambda x: torch.full((len(x), dim), 0.1), decode, dim, shape or (dim,))


def measured(decode, data, noise=0, dim=DIM, **changes):
    return make(**changes)(planted_run(vae(decode, dim=dim), data), Noise(noise))


def within(estimate, truth):
    return estimate.low <= truth <= estimate.high


def test_a_perfect_model_is_at_the_floor(gaussian):
    report = measured(lambda z: z, gaussian)
    m = report.metrics
    assert {key.partition(".")[2] for key in m} == {"samples", "reconstructions", "floor", "floor_train"}
    for name in ("samples", "reconstructions", "floor", "floor_train"):
        assert within(m[f"fid_corrected.{name}"], 0) and within(m[f"kid.{name}"], 0)
        assert m[f"density.{name}"].value == pytest.approx(1, abs=0.06)
        assert 0 < m[f"fid.{name}"].value < 0.08 and m[f"coverage.{name}"].value > 0.93
        assert m[f"precision.{name}"].value > 0.85 and m[f"recall.{name}"].value > 0.85
    # what is decoded from the codes of the identity are the rows themselves
    assert m["fid.reconstructions"] == m["fid.floor"] and m["recall.reconstructions"] == m["recall.floor"]
    table = report.tables["summary"]
    assert list(table["set"]) == ["samples", "reconstructions", "floor", "floor_train"] and set(
        table["features"]
    ) == {"pixels"}
    assert (table[["d", "n", "kept"]] == [DIM, N, N]).all(axis=None) and table["fid"][0] == m[
        "fid.samples"
    ].value


@pytest.mark.parametrize(
    ("decode", "truth"),
    [
        (lambda z: z + 0.5, 4 * 0.25),  # a shift: its square, in each of four dimensions
        (lambda z: 1.5 * z, 4 * 0.25),  # sd 1.5 for 1
        (lambda z: 0 * z, 4.0),  # a point
        (lambda z: z * torch.tensor([1, 1, 1, 0.0]) - 0.1, 1 + 4 * 0.01),
    ],
    ids=["shift", "scale", "point", "flat"],
)
def test_known_distances(gaussian, decode, truth):
    report = measured(decode, gaussian)
    assert within(report.metrics["fid_corrected.samples"], truth)
    assert report.metrics["fid.samples"].value == pytest.approx(truth, rel=0.15)
    assert report.metrics["fid.floor"].value < 0.08  # whatever the model


def test_a_shift_beside_the_kernel_distance(gaussian):
    # E (a·b / d + 1)³ of independent normal rows with means p, q: the moments of a·b are known.
    def expected(p, q, d=DIM):
        t = d * p * q  # mean of a·b; its variance and third central moment
        variance, third = d * (1 + p * p + q * q), 6 * t
        return sum(
            c * m / d**j
            for j, (c, m) in enumerate(
                [(1, 1), (3, t), (3, variance + t * t), (1, third + 3 * t * variance + t**3)]
            )
        )

    truth = expected(0, 0) + expected(0.5, 0.5) - 2 * expected(0, 0.5)
    assert within(measured(lambda z: z + 0.5, gaussian).metrics["kid.samples"], truth)


def modes(n, seed):
    """Two clusters 20 apart."""
    x = normal(n, seed)
    x[:, 0] += torch.where(torch.arange(n) % 2 == 0, 10.0, -10.0)
    return x


def test_a_generator_that_misses_a_mode():
    data = Rows({"train": modes(N, 0), "val": modes(10, 1), "test": modes(2 * N, 2)})
    shift = torch.tensor([10.0, 0, 0, 0])
    whole, half = (
        make()(
            planted_run(
                Gaussian(
                    lambda x: x[:, [0, 1, 2, 3, 0]], lambda x: torch.ones(len(x), 1), decode, DIM + 1, (DIM,)
                ),
                data,
            ),
            Noise(0),
        ).metrics
        for decode in (lambda z: z[:, :DIM] + shift * z[:, DIM:].sign(), lambda z: z[:, :DIM] + shift)
    )
    assert half["recall.samples"].value == pytest.approx(0.5, abs=0.07) and half[
        "coverage.samples"
    ].value == pytest.approx(0.5, abs=0.04)
    assert whole["recall.samples"].value > 0.85 and whole["coverage.samples"].value > 0.9
    assert half["precision.samples"].value == pytest.approx(whole["precision.samples"].value, abs=0.04)
    assert (
        half["density.samples"].value == pytest.approx(1, abs=0.08)
        and whole["precision.samples"].value > 0.85
    )
    assert half["fid.samples"].value > 10 * whole["fid.samples"].value


def test_noise_and_copies(gaussian):
    noise = measured(lambda z: 6 * z, gaussian).metrics
    assert noise["precision.samples"].value < 0.3 and noise["density.samples"].value < 0.2
    assert noise["precision.reconstructions"].value < 0.3 < 0.8 < noise["precision.floor"].value
    train = gaussian.split("train").x
    # A generator that hands out training rows is at the floor in all of these: no distance tells copying.
    copies = measured(lambda z: train[(z[:, 0].abs() * 1e5).long() % N], gaussian).metrics
    assert within(copies["fid_corrected.samples"], 0) and copies["precision.samples"].value > 0.85
    assert copies["density.samples"].value == pytest.approx(1, abs=0.06)


def test_rows_of_the_sets_are_disjoint_and_n_is_cut():
    # Every example is its own number: shared rows and their count can be seen.
    def number(first, n):
        return torch.arange(first, first + n, dtype=torch.float32)[:, None]

    data = Rows({"train": number(0, 90), "val": number(900, 5), "test": number(500, 41)})
    seen = []
    asked = make(groups=4)
    gather = asked._gather

    def spy(features, source, n, groups):
        seen.append(source(0, n)[:, 0].tolist())
        return gather(features, source, n, groups)

    asked._gather = spy
    report = asked(planted_run(Deterministic(lambda x: x, lambda z: z, 1, (1,)), data), Noise(0))
    real, samples, reconstructions, floor, train = seen
    assert (
        all(len(set(rows)) == 20 for rows in seen)
        and not set(real) & set(floor)
        and min(real) >= 500 > max(train)
    )
    assert reconstructions == floor and report.tables["summary"]["n"].unique().tolist() == [20]
    assert "Gaussian fitted" in report.notes[0]


def test_examples_are_made_a_chunk_at_a_time_and_chunks_change_nothing(gaussian, monkeypatch):
    sizes = []
    measured(lambda z: sizes.append(len(z)) or z, gaussian, groups=None)
    assert max(sizes) <= fid.CHUNK < N and sum(sizes) == 2 * N
    first = measured(lambda z: z + 1, gaussian).metrics
    monkeypatch.setattr(fid, "CHUNK", 17)
    second = measured(lambda z: z + 1, gaussian).metrics
    for name in ("reconstructions", "floor", "floor_train"):  # samples are drawn a chunk at a time
        for metric in ("fid", "fid_corrected", "kid", "recall"):
            assert first[f"{metric}.{name}"].value == pytest.approx(
                second[f"{metric}.{name}"].value, rel=1e-9, abs=1e-9
            )
    assert first["fid.samples"].value == pytest.approx(second["fid.samples"].value, rel=0.1)


def test_kept_rows_bound_what_is_held(gaussian):
    report = measured(lambda z: z, gaussian, kept=50)
    assert (
        report.tables["summary"]["kept"].tolist() == [50] * 4
        and report.tables["summary"]["n"].tolist() == [N] * 4
    )
    full = measured(lambda z: z, gaussian)
    assert (
        report.metrics["fid.floor"] == full.metrics["fid.floor"]
        and report.metrics["recall.floor"] != full.metrics["recall.floor"]
    )
    once = measured(lambda z: z, gaussian, groups=None).metrics
    assert (
        once["fid.floor"].low is None and once["kid.floor"].low is None and "fid_corrected.floor" not in once
    )
    assert once["fid.floor"].value == pytest.approx(full.metrics["fid.floor"].value)


def test_without_an_encoder_and_with_few_rows(gaussian):
    class Generator(Model, HasPrior):
        def decode(self, z, space="z"):
            return z

        prior = phases = lambda self: None

        def sample_prior(self, n, noise):
            return noise.normal("prior", (n, self.latent_dim))

    report = make()(planted_run(Generator((DIM,), {"z": Euclidean(DIM)}), gaussian), Noise(0))
    assert list(report.tables["summary"]["set"]) == ["samples", "floor", "floor_train"] and set(
        make().plot(report)
    ) == {
        "distances",
        "reach",
    }
    with pytest.raises(NothingToMeasure, match="two sets of 7 examples are too small"):
        measured(lambda z: z, Rows(normal(15, 0)))
    assert "not to be trusted" in " ".join(measured(lambda z: z, Rows(normal(80, 0, 60)), dim=60).notes)

    class Bare(Model):
        decode = phases = lambda self, *rest: None

    with pytest.raises(Misfit, match="the model has neither"):
        make().check(Bare((DIM,), {"z": Euclidean(DIM)}), gaussian)


def test_features_of_a_classifier_are_the_same_for_every_model_and_are_learnt_once(monkeypatch):
    data = parts.data("digits")
    calls = []
    real = fid.trained
    monkeypatch.setattr(fid, "trained", lambda *given: calls.append(1) or real(*given))
    monkeypatch.setattr(fid, "_CLASSIFIERS", {})
    decoders = (lambda z: torch.sigmoid(z[:, :64]).view(-1, 1, 8, 8), lambda z: z.view(-1, 1, 8, 8))
    found = [
        make(features="classifier")(
            planted_run(vae(d, lambda x: x.flatten(1), 64, data.event_shape), data), Noise(0)
        )
        for d in decoders
    ]
    assert calls == [1] and found[0].metrics["fid.floor"] == found[1].metrics["fid.floor"]
    assert found[0].metrics["accuracy"].value > 0.9 and "labels" in found[0].notes[1]
    assert found[1].metrics["fid.reconstructions"] == found[1].metrics["fid.floor"]  # the identity
    assert found[0].metrics["fid.samples"].low > 10 * found[0].metrics["fid.floor"].value  # noise


def test_equal_noise_gives_equal_reports_and_other_noise_others(gaussian):
    one, two, other = (measured(lambda z: z, gaussian, noise, features="pca").metrics for noise in (4, 4, 5))
    assert one == two and one["fid.samples"] != other["fid.samples"]


def test_settings_are_held_against_the_data(gaussian, tmp_path):
    model = vae(lambda z: z)
    make(features="pca").check(model, gaussian)
    with pytest.raises(
        InputError, match=r"'pxels' is neither pixels, pca, classifier nor a file \(did you mean 'pixels'\?\)"
    ):
        make(features="pxels").check(model, gaussian)
    with pytest.raises(Misfit, match="needs labels"):
        make(features="classifier").check(model, gaussian)
    with pytest.raises(InputError, match="is no TorchScript file"):
        make(features=__file__).check(model, gaussian)
    with ZipFile(tmp_path / "net.pt", "w") as archive:  # the form of TorchScript
        archive.writestr("net/constants.pkl", b"")
    with pytest.raises(Misfit, match="need pictures"):
        make(features=str(tmp_path / "net.pt")).check(model, gaussian)
    with pytest.raises(InputError, match="at most 4,096 values"):
        make().check(model, Rows(torch.zeros(20, 3, 40, 40)))


def test_features_are_named_in_table_and_notes(gaussian):
    report = measured(lambda z: z, gaussian, features="pca")
    assert (
        set(report.tables["summary"]["features"]) == {"pca (3 components)"}
        and report.tables["summary"]["d"].tolist() == [3] * 4
    )
    x = gaussian.split("train").x.double()
    values = np.linalg.eigvalsh(np.cov(x.numpy().T))
    assert (
        f"pca (3 components), 3 numbers an example, {values[1:].sum() / values.sum():.1%} of the variance"
        in report.notes[1]
    )
