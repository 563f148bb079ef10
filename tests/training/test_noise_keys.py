"""Which noise a step gets: new in every step of every epoch, the same in validation after every epoch."""

from __future__ import annotations

import torch
from torch import nn
from toys import Toy

from latentrun.functional.noise import Noise
from latentrun.training.loop import Loop
from latentrun.types import Objective, Phase
from tests.training.test_loop import points, settings


class Listening(Toy):
    """Writes down what it is dealt."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.steps, self.validations = [], []

    def loss(self, batch, noise, clock):
        self.steps.append((clock.epoch, clock.step, noise.normal("z", (3,)).tolist()))
        return {"loss": self.weight.square()}

    def monitor(self, batch, noise):
        self.validations.append(noise.normal("z", (3,)).tolist())
        return {"monitor": self.weight.square().expand(len(batch.x))}

    def phases(self):
        return (Phase("listening", (Objective("all", [self.weight], self.loss),), monitor=self.monitor),)


def dealt(epochs: int) -> Listening:
    model = Listening()
    list(Loop(model, points(100), settings(epochs=epochs), Noise(0), torch.device("cpu")).run())
    return model


def test_every_step_of_every_epoch_has_noise_of_its_own():
    steps = dealt(3).steps
    assert [step for _, step, _ in steps] == list(range(12)) and {epoch for epoch, _, _ in steps} == {0, 1, 2}
    assert len({tuple(numbers) for _, _, numbers in steps}) == 12


def test_validation_has_the_same_noise_after_every_epoch_and_another_than_the_steps():
    model = dealt(3)
    each = len(model.validations) // 3
    assert model.validations[:each] == model.validations[each : 2 * each] == model.validations[2 * each :]
    assert not {tuple(n) for _, _, n in model.steps} & {tuple(n) for n in model.validations}
