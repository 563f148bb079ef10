"""Two-sample tests of generators whose faults are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from latentrun.diagnostics.samples.two_sample import TwoSample
from latentrun.errors import InputError, Misfit, NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.manifolds import Euclidean
from latentrun.models.base import HasPrior, Model
from tests.planted import Deterministic, Gaussian, Rows, planted_run

DIM, N = 4, 600


def normal(n, seed, dim=DIM):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def gaussian():
    return Rows({"train": normal(2 * N, 0), "val": normal(10, 1), "test": normal(N, 2)})


def make(**changes) -> TwoSample:
    given = {
        "n": N,
        "classifiers": ["logistic", "mlp"],
        "components": 8,
        "widths": [0.5, 1.0],
        "permutations": 199,
        "shown": 5,
    }
    return TwoSample(**(given | changes))


def vae(decode, encode=lambda x: x, shape=(DIM,), dim=DIM):
    return Gaussian(encode, lambda x: torch.full((len(x), dim), 0.1), decode, dim, shape)


def values(report, name):
    return {
        key.partition(".")[2]: e.value for key, e in report.metrics.items() if key.partition(".")[0] == name
    }


def test_a_perfect_model_cannot_be_told(gaussian):
    report = make()(planted_run(vae(lambda z: z), gaussian), Noise(0))
    assert set(values(report, "accuracy")) == {"floor", "reconstructions", "prior_floor", "prior", "samples"}
    for pair in values(report, "accuracy"):
        for name, truth in (("accuracy", 0.5), ("auc", 0.5), ("mmd2", 0.0)):
            estimate = report.metrics[f"{name}.{pair}"]
            assert estimate.low < truth < estimate.high, (name, pair)
        assert (
            report.metrics[f"p_accuracy.{pair}"].value > 0.02
            and report.metrics[f"p_mmd2.{pair}"].value > 0.02
        )


def test_a_prior_that_misses_the_codes_is_told_from_the_decoders_faults(gaussian):
    # Codes lie at 3 x; the decoder is right there. Only what is drawn from N(0, I) is too narrow.
    report = make(classifiers=["mlp"])(planted_run(vae(lambda z: z / 3, lambda x: 3 * x), gaussian), Noise(0))
    accuracy, p = values(report, "accuracy"), values(report, "p_mmd2")
    assert (
        accuracy["samples"] > 0.8
        and accuracy["prior"] > 0.8
        and accuracy["reconstructions"] < 0.58
        and accuracy["floor"] < 0.58
    )
    assert (
        p["samples"] == p["prior"] == pytest.approx(1 / 200)
        and p["reconstructions"] > 0.02
        and p["floor"] > 0.02
    )


def test_a_decoders_fault_shows_in_reconstructions_and_not_between_what_is_decoded(gaussian):
    report = make(classifiers=["logistic"])(planted_run(vae(lambda z: z + 1), gaussian), Noise(0))
    accuracy, mmd = values(report, "accuracy"), values(report, "mmd2")
    # Shifted by 1 in each of 4 dimensions: distance 2, Bayes rate Phi(1) = 0.841.
    assert accuracy["samples"] == pytest.approx(0.841, abs=0.04) and accuracy[
        "reconstructions"
    ] == pytest.approx(0.841, abs=0.05)
    # What is decoded is told from the data, and neither from what else is decoded.
    assert accuracy["prior_floor"] < 0.56
    assert accuracy["prior"] < 0.56 and report.metrics["p_mmd2.prior"].value > 0.02
    assert mmd["samples"] == pytest.approx(mmd["reconstructions"], rel=0.2)
    # the same model with kernels of known width: closed form
    table = report.tables["mmd2"].query("pair == 'samples' and factor == 1")
    w2 = table["width"].item() ** 2
    assert table["width"].item() == pytest.approx(
        2.6, abs=0.15
    )  # the median distance of 4-dimensional normal points is 2.59
    expected = 2 * (w2 / (w2 + 2)) ** (DIM / 2) * (1 - np.exp(-DIM / (2 * (w2 + 2))))
    assert table["low"].item() < expected < table["high"].item()


def test_kernels_are_the_same_for_every_model(gaussian):
    first, second = (
        make()(planted_run(vae(decode), gaussian), Noise(0)) for decode in (lambda z: z, lambda z: 9 * z)
    )
    assert first.tables["mmd2"]["width"].equals(second.tables["mmd2"]["width"])
    assert first.metrics["accuracy.floor"] == second.metrics["accuracy.floor"]


def test_an_autoencoder_is_sampled_from_a_gaussian_and_a_generator_without_encoder_has_two_pairs(gaussian):
    report = make()(planted_run(Deterministic(lambda x: x, lambda z: z, DIM, (DIM,)), gaussian), Noise(0))
    assert (
        "Gaussian fitted" in report.notes[0]
        and report.metrics["accuracy.samples"].low < 0.5 < report.metrics["accuracy.samples"].high
    )

    class Generator(Model, HasPrior):
        def decode(self, z, space="z"):
            return z

        prior = phases = lambda self: None

        def sample_prior(self, n, noise):
            return noise.normal("prior", (n, self.latent_dim))

    report = make()(planted_run(Generator((DIM,), {"z": Euclidean(DIM)}), gaussian), Noise(0))
    assert set(values(report, "mmd2")) == {"floor", "samples"}

    class Bare(Model):
        decode = phases = lambda self, *rest: None

    with pytest.raises(Misfit, match="the model has neither"):
        make().check(Bare((DIM,), {"z": Euclidean(DIM)}), gaussian)


def test_rows_of_a_pair_are_disjoint_and_of_equal_size():
    # Every example is its own number, so shared rows can be counted.
    def number(first, n):
        return torch.arange(first, first + n, dtype=torch.float32)[:, None]

    data = Rows({"train": number(0, 90), "val": number(900, 5), "test": number(500, 41)})
    model = Deterministic(lambda x: x, lambda z: z, 1, (1,))
    asked = make(n=40)
    run = planted_run(model, data)
    pairs = asked._pairs(run, torch.arange(40), Noise(0), 40)
    for name in ("floor", "reconstructions", "prior_floor"):
        x, y = (set(rows[:, 0].tolist()) for rows in pairs[name])
        assert len(x) == len(y) and not x & y
    assert len(pairs["reconstructions"][0]) == 20 and len(pairs["samples"][0]) == len(pairs["prior"][1]) == 40
    report = asked(run, Noise(0))
    assert any("approximate" not in note for note in report.notes)
    assert "p_mmd2 is approximate" in " ".join(
        make(n=60)(planted_run(model, Rows(number(0, 60))), Noise(0)).notes
    )


def test_few_rows_are_said():
    with pytest.raises(NothingToMeasure, match="two sets of 3 examples cannot be compared: 4 are needed"):
        make()(planted_run(vae(lambda z: z), Rows(normal(3, 0))), Noise(0))
    report = make()(planted_run(vae(lambda z: z), Rows(normal(6, 0))), Noise(0))
    assert "accuracy.reconstructions" not in report.metrics and "accuracy.samples" in report.metrics
    constant = make(n=20)(planted_run(vae(lambda z: 0 * z), Rows(torch.zeros(30, DIM))), Noise(0))
    assert values(constant, "accuracy") == dict.fromkeys(
        ("floor", "reconstructions", "prior_floor", "prior", "samples"), 0.5
    )
    assert "are equal" in " ".join(constant.notes)


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_show_the_ends_of_the_score(channels):
    shape = (channels, 4, 5)
    x = {
        name: torch.rand(300, *shape, generator=torch.Generator().manual_seed(i))
        for i, name in enumerate(("train", "val", "test"))
    }
    model = vae(
        lambda z: torch.sigmoid(z[:, :1, None, None]).expand(-1, *shape),
        lambda x: x.flatten(1)[:, :DIM],
        shape,
    )
    diagnostic = make(n=300)
    report = diagnostic(planted_run(model, Rows(x)), Noise(0))
    made, data = report.arrays["made_samples"], report.arrays["data_samples"]
    assert report.arrays["shown_told_score"].tolist() == sorted(made, reverse=True)[:5]
    assert report.arrays["shown_missed_score"].tolist() == sorted(made)[:5]
    assert report.arrays["shown_false_score"].tolist() == sorted(data, reverse=True)[:5]
    assert report.arrays["shown_real_score"].tolist() == sorted(data)[:5]
    test = x["test"].flatten(1)
    for name in ("false", "real"):  # they are test examples; the others are flat pictures
        shown = torch.from_numpy(report.arrays[f"shown_{name}"]).flatten(1)
        assert (torch.cdist(shown, test, compute_mode="donot_use_mm_for_euclid_dist").amin(1) == 0).all()
    for name in ("told", "missed"):
        assert np.ptp(report.arrays[f"shown_{name}"], axis=(1, 2, 3)).max() == 0
    assert set(diagnostic.plot(report)) == {"tests", "scores", "examples"}
    assert report.metrics["accuracy.samples"].value > 0.95


def test_equal_noise_gives_equal_reports(gaussian):
    run = planted_run(vae(lambda z: z), gaussian)
    first, second = make()(run, Noise(4)), make()(run, Noise(4))
    assert first.metrics == second.metrics and first.tables["classifiers"].equals(
        second.tables["classifiers"]
    )


def test_empty_lists_are_refused():
    for key in ("classifiers", "widths"):
        with pytest.raises(InputError, match=f"two_sample.{key}"):
            make(**{key: []})
