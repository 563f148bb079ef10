"""The noise experiment: whom it disturbs, and when it goes on."""

from __future__ import annotations

import pytest
import torch

from latentrun.experiments.latent_noise import HELD, OVER, REMOVED, RISING, LatentNoise
from latentrun.functional.noise import Noise

N, D = 20_000, 4


def begun(kl=(2.0, 0.001, 3.0, 1.0), variable=None, increment=0.25, rise=6, hold=2, revive=3) -> LatentNoise:
    memory = LatentNoise(variable, increment, rise, hold, revive, inactive_kl=0.01)
    memory.prepare(len(kl))
    memory.choose(torch.tensor(kl))
    return memory


def row(gain: float, kl: float) -> dict[str, float]:
    return {"val/gain": gain, "val/variable_kl": kl}


def test_one_variable_is_disturbed_and_collapsed_ones_say_nothing():
    memory = begun()
    assert int(memory.chosen) == 2 and memory.used.tolist() == [True, False, True, True]
    memory.scale.fill_(0.5)
    z = torch.randn(N, D, generator=torch.Generator().manual_seed(0))
    out = memory.disturbed(z, Noise(0))
    assert torch.equal(out[:, [0, 3]], z[:, [0, 3]])
    added = out[:, 2] - z[:, 2]
    assert added.std().item() == pytest.approx(0.5, rel=0.02) and abs(added.mean().item()) < 0.02
    held = torch.stack([out[:, 1], z[:, 1]])
    assert (
        held[0].std().item() == pytest.approx(1.0, rel=0.02) and abs(torch.corrcoef(held)[0, 1].item()) < 0.03
    )
    zeroed = memory.zeroed(out)
    assert (zeroed[:, 2] == 0).all() and torch.equal(zeroed[:, [0, 1, 3]], out[:, [0, 1, 3]])


def test_without_noise_nothing_changes_but_the_collapsed_variables():
    memory = begun(kl=(2.0, 1.0, 3.0, 1.0))
    z = torch.randn(50, D)
    assert torch.equal(memory.disturbed(z, Noise(0)), z)


def test_a_named_variable_is_taken_even_where_it_had_collapsed():
    memory = begun(variable=1)
    assert int(memory.chosen) == 1 and memory.used.all()


def test_the_noise_rises_until_the_gain_is_below_the_kl_then_stays_then_goes():
    memory, seen = begun(), []
    gains = [10.0, 8.0, 5.0, 0.9, 0.1, 0.0, 0.0, 0.5, 2.0]
    for gain in gains:
        assert memory.finished() is None
        seen.append((int(memory.stage), round(float(memory.scale), 3)))
        memory.decide(row(gain, 1.0))
    assert seen == [
        (RISING, 0.0), (RISING, 0.25), (RISING, 0.5), (RISING, 0.75), (HELD, 0.75), (HELD, 0.75),
        (REMOVED, 0.0), (REMOVED, 0.0), (REMOVED, 0.0),
    ]  # fmt: skip
    assert int(memory.stage) == OVER and "gone" in memory.finished()
    assert len(gains) <= memory.longest == 11


def test_a_variable_that_keeps_its_gain_is_disturbed_for_the_whole_rise():
    memory = begun()
    for _ in range(6):
        assert int(memory.stage) == RISING
        memory.decide(row(10.0, 1.0))
    assert int(memory.stage) == HELD and float(memory.scale) == pytest.approx(1.25)


def test_before_there_is_noise_nothing_can_collapse():
    memory = begun()
    memory.decide(row(0.5, 1.0))  # worth less than it costs already
    assert int(memory.stage) == RISING and float(memory.scale) == 0.25
    control = begun(increment=0.0)
    for _ in range(5):
        control.decide(row(0.5, 1.0))
    assert int(control.stage) == RISING and float(control.scale) == 0.0
