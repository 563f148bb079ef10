"""The noise experiment: whom it disturbs, and when it goes on."""

from __future__ import annotations

import pytest
import torch

from latentrun.experiments.latent_noise import HELD, OVER, REMOVED, RISING, LatentNoise, NoiseState
from latentrun.functional.noise import Noise
from latentrun.types import Batch

N, D = 20_000, 4


def begun(kl=(2.0, 0.001, 3.0, 1.0), variable=None, increment=0.25, rise=6, hold=2, revive=3) -> NoiseState:
    settings = LatentNoise(variable, increment, rise, hold, revive, inactive_kl=0.01)
    state = NoiseState(settings, len(kl), lambda x: x)
    state.begin(Batch(torch.tensor([kl, kl])), Noise(0))
    return state


def row(gain: float, kl: float) -> dict[str, float]:
    return {"val/gain": gain, "val/variable_kl": kl}


def test_one_variable_is_disturbed_and_collapsed_ones_say_nothing():
    state = begun()
    assert int(state.variable) == 2 and state.used.tolist() == [True, False, True, True]
    state.scale.fill_(0.5)
    z = torch.randn(N, D, generator=torch.Generator().manual_seed(0))
    out = state.disturbed(z, Noise(0))
    assert torch.equal(out[:, [0, 3]], z[:, [0, 3]])
    added = out[:, 2] - z[:, 2]
    assert added.std().item() == pytest.approx(0.5, rel=0.02) and abs(added.mean().item()) < 0.02
    held = torch.stack([out[:, 1], z[:, 1]])
    assert (
        held[0].std().item() == pytest.approx(1.0, rel=0.02) and abs(torch.corrcoef(held)[0, 1].item()) < 0.03
    )
    zeroed = state.without(z, Noise(0))
    assert (zeroed[:, 2] == 0).all() and torch.equal(zeroed[:, [0, 1, 3]], out[:, [0, 1, 3]])


def test_without_noise_nothing_changes_but_the_collapsed_variables():
    state = begun(kl=(2.0, 1.0, 3.0, 1.0))
    z = torch.randn(50, D)
    assert torch.equal(state.disturbed(z, Noise(0)), z)


def test_a_named_variable_is_taken_even_where_it_had_collapsed():
    state = begun(variable=1)
    assert int(state.variable) == 1 and state.used.all()


def test_the_noise_rises_until_the_gain_is_below_the_kl_then_stays_then_goes():
    state, seen = begun(), []
    gains = [10.0, 8.0, 5.0, 0.9, 0.1, 0.0, 0.0, 0.5, 2.0]
    for gain in gains:
        assert state.finished() is None
        seen.append((int(state.stage), round(float(state.scale), 3)))
        state.decide(row(gain, 1.0))
    assert seen == [
        (RISING, 0.0), (RISING, 0.25), (RISING, 0.5), (RISING, 0.75), (HELD, 0.75), (HELD, 0.75),
        (REMOVED, 0.0), (REMOVED, 0.0), (REMOVED, 0.0),
    ]  # fmt: skip
    assert int(state.stage) == OVER and "gone" in state.finished()
    assert len(gains) <= sum(state.settings.lengths.values()) == 11


def test_a_variable_that_keeps_its_gain_is_disturbed_for_the_whole_rise():
    state = begun()
    for _ in range(6):
        assert int(state.stage) == RISING
        state.decide(row(10.0, 1.0))
    assert int(state.stage) == HELD and float(state.scale) == pytest.approx(1.25)


def test_before_there_is_noise_nothing_can_collapse():
    state = begun()
    state.decide(row(0.5, 1.0))  # worth less than it costs already
    assert int(state.stage) == RISING and float(state.scale) == 0.25
    control = begun(increment=0.0)
    for _ in range(5):
        control.decide(row(0.5, 1.0))
    assert int(control.stage) == RISING and float(control.scale) == 0.0
