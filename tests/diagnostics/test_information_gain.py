"""Information gain on decoders whose use of each variable is known."""

import math

import numpy as np
import pytest
import torch

from latentrun.diagnostics.base import misfit
from latentrun.diagnostics.variables.information_gain import InformationGain
from latentrun.functional.noise import Noise
from latentrun.models.base import HasGaussianPosterior, PosteriorTraining
from tests.planted import Deterministic, Gaussian, Rows, planted_run

N, D, d = 800, 36, 6
DRAW = Noise(5).at("information_gain")
SETTINGS = {
    "split": "test",
    "rows": N,
    "inactive_scale2": 0.8,
    "inactive_variance": 0.05,
    "inactive_gain": 1e-3,
    "shown": 3,
    "steps": 5,
    "extent": 2.25,
    "around": "mean",
}
LENGTHS = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 0.5])
W = (torch.linalg.qr(DRAW.normal("w", (D, d)).double()).Q * LENGTHS).float()
CODES = DRAW.normal("codes", (N, d))
ALL = torch.ones(d)
SCALE = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])


def linear(uses=ALL, scale=SCALE, event=(1, 6, 6), kind=Gaussian, **how):
    """x = W z, orthogonal columns; the pseudo-inverse is the encoder, and the decoder uses each variable
    ``uses`` times."""
    pseudo = torch.linalg.pinv(W)
    x = (CODES @ W.T).view(-1, *event)
    model = kind(
        lambda x: x.flatten(1) @ pseudo.T,
        lambda x: scale.expand(len(x), d),
        lambda z: ((z * uses) @ W.T).view(-1, *event),
        d,
        event,
        **how,
    )
    return planted_run(model, Rows(x, value_range=(-8.0, 8.0)))


def measure(run, **changes):
    diagnostic = InformationGain(**{**SETTINGS, **changes})
    report = diagnostic(run, Noise(0).at("test"))
    return diagnostic, report, report.tables["variables"].sort_values("variable", ignore_index=True)


def test_needs_a_gaussian_posterior():
    run = linear()
    assert misfit(InformationGain(**SETTINGS), run.model, run.data) is None
    assert (
        misfit(
            InformationGain(**SETTINGS), Deterministic(lambda x: x, lambda z: z, d, (1, 6, 6)), run.data
        ).noun
        == "a Gaussian posterior"
    )


def test_gains_of_a_linear_decoder_in_closed_form():
    """At the mean z_i costs |w_i|² mean mu_i²; sampled, what sigma added anyway comes off: |w_i|² (mean mu_i²
    - sigma_i²)."""
    _, report, table = measure(linear())
    square = LENGTHS.double().square() * CODES.double().square().mean(0)
    np.testing.assert_allclose(table["gain_mean"], square, rtol=1e-4)
    expected = (square - (LENGTHS * SCALE).double().square()).numpy()
    assert (
        (table["gain_low"] < expected) & (expected < table["gain_high"])
    ).sum() >= 5  # 95 % intervals of the six
    np.testing.assert_allclose(table["gain"], expected, rtol=0.05)
    # The decoder's noise has sd 1: half the squared error in nats, for both kinds of code.
    np.testing.assert_allclose(table["nats"], table["gain"] / 2, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(table["nats_mean"], table["gain_mean"] / 2, rtol=1e-4, atol=1e-4)
    kl = (CODES.double().square().mean(0) + SCALE**2 - 1) / 2 - SCALE.log()
    np.testing.assert_allclose(table["kl"], kl, rtol=1e-4)
    value = {name: e.value for name, e in report.metrics.items()}
    assert (
        value["gain_mean.sum"]
        == pytest.approx(square.sum().item(), rel=1e-4)
        == pytest.approx(value["gain_mean.total"], rel=1e-4)
    )
    assert value["gain_mean.greatest"] == pytest.approx(square.max().item(), rel=1e-4)
    assert value["kl"] == pytest.approx(kl.sum().item(), rel=1e-4)
    assert value["most"] == 4  # squares of 5, 4, 3, 2 of 55.25: 50 of 49.7


def test_the_order_is_that_of_the_gain():
    assert measure(linear())[1].tables["variables"]["variable"].tolist() == [4, 3, 2, 1, 0, 5]


def test_a_decoder_that_ignores_half_its_inputs():
    """Ignored variables gain exactly nothing; with a KL they are below it, without one they are inactive."""
    uses = torch.tensor([1.0, 0, 1, 0, 1, 0])
    _, report, table = measure(linear(uses=uses))
    assert (table.loc[[1, 3, 5], ["gain", "nats", "gain_mean"]] == 0).all(axis=None)
    assert table.loc[[1, 3, 5], ["gain_low", "gain_high"]].isna().all(axis=None)
    assert (table.loc[[0, 2, 4], "gain"] > 0).all()
    assert table["state"].tolist() == [
        "below",
        "below",
        "above",
        "below",
        "above",
        "below",
    ]  # |w_0| is 1: ½ nat is less than its KL
    assert report.metrics["below_kl"].value == 4 and report.metrics["above_kl"].value == 2


def test_gain_against_kl():
    """In nats |w|² (mean mu² - sigma²) / 2 against (mean mu² + sigma² - 1) / 2 - ln sigma: by length above,
    below, or equal."""
    scale = torch.full((d,), 0.3)
    second = CODES.double().square().mean(0)
    kl = (second + 0.09 - 1) / 2 - math.log(0.3)
    even = (2 * kl / (second - 0.09)).sqrt().float()
    uses = torch.stack([3 * even[0], 3 * even[1], 0.3 * even[2], 0.3 * even[3], even[4], even[5]])
    unit = W / LENGTHS
    pseudo = torch.linalg.pinv(unit * uses)
    model = Gaussian(
        lambda x: x @ pseudo.T, lambda x: scale.expand(len(x), d), lambda z: z @ (unit * uses).T, d, (D,)
    )
    _, report, table = measure(planted_run(model, Rows(CODES @ (unit * uses).T)))
    assert table["state"].tolist()[:4] == ["above", "above", "below", "below"]
    inside = (table["surplus_low"] < 0) & (table["surplus_high"] > 0)
    assert inside[4] or inside[5]  # 95 % intervals hold the true 0
    np.testing.assert_allclose(table["surplus"][4:], 0, atol=0.25)
    assert all(report.metrics[f"{name}_kl"].value >= 2 for name in ("above", "below"))
    np.testing.assert_allclose(table["surplus"], table["nats"] - table["kl"], atol=1e-5)


def test_variables_that_follow_the_prior_are_inactive_and_lose_nothing():
    scale = torch.ones(d)
    model = Gaussian(
        lambda x: torch.zeros(len(x), d),
        lambda x: scale.expand(len(x), d),
        lambda z: torch.zeros(len(z), D),
        d,
        (D,),
    )
    _, report, table = measure(planted_run(model, Rows(CODES @ W.T)))
    assert set(table["state"]) == {"inactive"}
    assert [
        report.metrics[name].value for name in ("inactive", "above_kl", "below_kl", "even_kl", "most")
    ] == [6, 0, 0, 0, 0]


def test_variables_that_stand_in_for_each_other():
    """x = w (z_0 + z_1) with z_0 = z_1 = c: each alone is worth |w|² c², both together 4 |w|² c² = twice the
    sum."""
    c = CODES[:, :1]
    w = W[:, :1].T
    model = Gaussian(
        lambda x: (x @ w.T / w.square().sum()).expand(-1, 2) / 2,
        lambda x: torch.full((len(x), 2), 0.01),
        lambda z: z.sum(1, True) @ w,
        2,
        (D,),
    )
    value = {name: e.value for name, e in measure(planted_run(model, Rows(2 * c @ w)))[1].metrics.items()}
    assert value["gain_mean.total"] == pytest.approx(4 * c.square().mean().item(), rel=1e-3)
    assert value["gain_mean.total"] == pytest.approx(2 * value["gain_mean.sum"], rel=1e-3)


@pytest.mark.parametrize("around", ["mean", "zero", "sample"])
def test_traversals_move_one_variable_and_hold_the_others(around):
    run = linear()
    diagnostic, report, _ = measure(run, around=around)
    pictures, position = report.arrays["traversal"], report.arrays["position"]
    assert pictures.shape == (3, 5, 1, 6, 6)
    np.testing.assert_allclose(position, [-2.25, -1.125, 0, 1.125, 2.25])
    others = {
        "mean": CODES.mean(0),
        "zero": torch.zeros(d),
        "sample": Noise(0).at("test").normal("around", (d,)),
    }[around]
    for i, shown in zip([4, 3, 2], pictures, strict=True):
        for t, picture in zip(position, shown, strict=True):
            z = others.clone()
            z[i] = t
            np.testing.assert_allclose(picture.ravel(), (W @ z).numpy(), atol=2e-5)
    # Straight lines of a linear decoder are |w_i| 2 extent long.
    np.testing.assert_allclose(
        report.tables["variables"]["path_length"][:3], 4.5 * LENGTHS[[4, 3, 2]], rtol=1e-4
    )
    assert report.tables["variables"]["path_length"][3:].isna().all()
    assert set(diagnostic.plot(report)) == {"gain", "against_kl", "traversal"}


class Encoding(Deterministic, HasGaussianPosterior):
    """A Gaussian posterior and a decoder without a likelihood."""

    posterior = Gaussian.posterior
    posterior_training = PosteriorTraining(True, "full", 1.0)

    def __init__(self, encode, scale, decode, latent_dim, event_shape):
        super().__init__(encode, decode, latent_dim, event_shape)
        self._scale = scale


def test_without_a_likelihood_there_are_no_nats_to_compare():
    diagnostic, report, table = measure(linear(event=(D,), kind=Encoding))
    np.testing.assert_allclose(table["gain_mean"], measure(linear())[2]["gain_mean"], rtol=1e-5)
    assert not {"nats", "surplus"} & set(table) and not {"above_kl", "nats.sum"} & set(report.metrics)
    assert set(table["state"]) == {"used"} and any("no likelihood" in note for note in report.notes)
    assert set(diagnostic.plot(report)) == {"gain"}


@pytest.mark.parametrize(
    ("how", "says"),
    [({"beta": 4.0}, "beta = 4"), ({"kl": "none"}, "kl=none"), ({"sampled": False}, "without sampling")],
)
def test_what_else_the_loss_charges_is_said(how, says):
    assert any(says in note for note in measure(linear(**how))[1].notes)
    assert not any(says in note for note in measure(linear())[1].notes)


def test_same_noise_same_report():
    first, second = measure(linear(), rows=50)[2], measure(linear(), rows=50)[2]
    assert first.equals(second)
