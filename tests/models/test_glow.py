"""The flow of pictures: its density is one, its codes are codes, and levels are what they are said to be."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from latentrun.errors import InputError, Misfit
from latentrun.functional.noise import Noise
from latentrun.models.glow import Glow
from latentrun.training.loop import EpochEnded, Loop, Stepped
from latentrun.training.settings import Training
from latentrun.types import Batch, Clock
from tests.conformance import parts
from tests.nn.test_invertible import jacobians, stirred
from tests.planted import TRAINING_VALUES, Rows

CLOCK = Clock("flow", 0, 0, 1)


def glow(shape=(1, 4, 4), value_range=(0.0, 1.0), **changes) -> Glow:
    torch.manual_seed(0)
    return Glow(
        shape,
        value_range,
        **({"levels": 256, "logit": 1e-6, "scales": 2, "steps": 2, "hidden": 4} | changes),
    )


def pictures(n: int, shape=(1, 4, 4), levels: int = 256) -> torch.Tensor:
    """Correlated values on even levels of [0, 1]."""
    x = Noise(1).normal("x", (n, *shape)) + Noise(1).normal("all", (n, 1, 1, 1))
    return (x.sigmoid() * (levels - 1)).round() / (levels - 1)


@pytest.mark.parametrize("logit", [None, 0.05])
def test_the_density_integrates_to_one_over_the_smallest_picture(logit):
    """1 x 2 x 2, by its law's own samples as proposals: E 1/q of samples in a box of known volume is that
    volume where p is the density of what is drawn, and every sample lies where the data may."""
    model = stirred(glow((1, 2, 2), (-1.0, 3.0), logit=logit, scales=1, levels=None), 0.2)
    with torch.no_grad():
        x = model.decode(model.sample_prior(60_000, Noise(0)))
        log_p = model.log_prob(x).double()
    if logit is not None:
        assert x.min() > -1.3 and x.max() < 3.3
    middle, half = x.double().median(0).values, 0.8 * x.double().std(0)
    inside = ((x - middle).abs() < half).flatten(1).all(1)
    volume = ((-log_p).exp() * inside).mean().item()
    assert inside.sum() > 3000 and volume == pytest.approx((2 * half).prod().item(), rel=0.05)


def test_the_density_is_a_change_of_variables_down_to_the_units_of_the_data():
    """Against the whole Jacobian of encode, levels and logit and range included."""
    model = stirred(glow((1, 2, 2), (-1.0, 3.0), scales=1)).double()
    x = -1 + 4 * pictures(20, (1, 2, 2)).double()
    jacobian = jacobians(model.encode, x)
    normal = -0.5 * model.encode(x).square().sum(1) - 2 * math.log(2 * math.pi)
    expected = normal + torch.linalg.slogdet(jacobian).logabsdet
    assert torch.allclose(model.log_prob(x), expected, atol=1e-6)


def test_codes_decode_to_what_they_were_made_of():
    model, x = stirred(glow((1, 8, 4)), 0.1), pictures(50, (1, 8, 4))
    model.calibrate(Batch(x), Noise(2))
    noisy = model.dequantised(x, Noise(3))
    with torch.no_grad():
        assert torch.allclose(model.decode(model.encode(noisy)), noisy, atol=1e-5)
        z = model.sample_prior(50, Noise(0))
        assert torch.allclose(model.encode(model.decode(z)), z, atol=2e-3)  # sigmoids are flat at their ends


def test_noise_fills_the_cell_of_a_level_and_no_more():
    model = glow(levels=5, value_range=(0.0, 2.0))
    assert model.step == pytest.approx(0.5)
    x = torch.full((2000, 1, 4, 4), 2.0)
    noise = (model.dequantised(x, Noise(0)) - x).flatten()
    assert (
        noise.min() > -0.25
        and noise.max() < 0.25
        and noise.var().item() == pytest.approx(0.25 / 12, rel=0.05)
    )
    # Outermost levels keep their cells within what has a density; beyond, it is 0.
    assert torch.isfinite(model.log_prob(model.dequantised(x[:8], Noise(1)))).all()
    assert torch.equal(model.log_prob(x[:8] + 0.6), torch.full((8,), -math.inf))
    assert glow(levels=None).step is None and glow(levels=None).dequantised(x, Noise(0)) is x


def test_bits_are_those_of_the_levels():
    """An untouched flow without logit is N(0, 1) on (k + u) / L - 1/2: its bits by hand."""
    model, x = glow(logit=None, steps=1, levels=16), pictures(400, levels=16)
    shares = (x * 15 + Noise(5).uniform("dequantisation", (400, 1, 4, 4))) / 16 - 0.5
    nats = (0.5 * shares.square() + 0.5 * math.log(2 * math.pi)).mean().item() + math.log(16)
    with torch.no_grad():
        assert model.monitor(Batch(x), Noise(5))["bits"].mean().item() == pytest.approx(
            nats / math.log(2), 1e-4
        )


def test_training_tells_correlated_pictures_and_a_stopped_one_goes_on_to_the_same_bits():
    x = pictures(256)
    data = Rows({"train": x, "val": x[:100], "test": x}, value_range=(0.0, 1.0))
    settings = Training(
        epochs=3,
        batch_size=64,
        optimizer=partial(torch.optim.Adam, lr=1e-2),
        scheduler=None,
        **TRAINING_VALUES,
    )

    def loop() -> Loop:
        return Loop(glow(), data, settings, Noise(0), torch.device("cpu"))

    whole, broken, after = loop(), loop(), loop()
    rows = [event.row for event in whole.run() if isinstance(event, EpochEnded)]
    assert rows[-1]["val/bits"] < rows[0]["val/bits"] < 8  # uniform noise on all levels has 8
    steps = 0
    for event in broken.run():
        steps += isinstance(event, Stepped)
        if steps == 6:
            break
    after.history.series = broken.history.series
    after.load_state_dict(broken.state_dict())
    list(after.run())
    state = whole.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in after.model.state_dict().items())


def test_what_does_not_fit_is_said_in_a_line():
    with pytest.raises(Misfit, match=r"glow needs pictures .* have shape \(2,\): use model=flow"):
        glow((2,))
    with pytest.raises(
        Misfit, match="3 scales halve the sides as often, which 28 x 28 pictures do not bear; use mo"
    ):
        glow((1, 28, 28), scales=3)
    with pytest.raises(Misfit, match="9 x 8 pictures do not bear; use data with even sides"):
        glow((1, 9, 8), scales=1)
    x = pictures(50, levels=17)
    data = Rows({"train": x, "val": x, "test": x}, value_range=(0.0, 1.0))
    glow(levels=17).check_rows(data)
    glow(levels=None).check_rows(data)
    with pytest.raises(InputError, match="is none of 256 even levels from 0 to 1; 17 fit: model.levels=17"):
        glow().check_rows(data)
    x = x + 0.01
    data = Rows({"train": x, "val": x, "test": x}, value_range=(0.0, 1.0))
    with pytest.raises(InputError, match="for continuous data model.levels=null"):
        glow().check_rows(data)
    assert parts.spec("model", "glow")["levels"] == 256
