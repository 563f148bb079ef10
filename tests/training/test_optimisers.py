"""What an objective's step moves, and what it leaves alone."""

from functools import partial
from types import SimpleNamespace

import torch

from latentrun.training.optimisers import Optimisers
from latentrun.training.recorder import STEP_TIMES, log_spaced
from latentrun.types import Objective, Phase


def test_a_step_moves_the_objectives_own_parameters_alone():
    """Two objectives share a parameter and so an optimiser; the loss of one reads what the other moves."""
    own, shared, others = (torch.nn.Parameter(torch.ones(2)) for _ in range(3))
    objectives = (
        Objective("one", [own, shared], lambda *_: {"loss": (own * shared * others).sum()}),
        Objective("other", [shared, others], lambda *_: {"loss": others.sum()}),
    )
    settings = SimpleNamespace(optimizer=partial(torch.optim.SGD, lr=0.5), optimizers={}, scheduler=None)
    optimisers = Optimisers(Phase("both", objectives), settings)
    optimisers.update(objectives[0], (own * shared * others).sum(), clip=None)
    assert own.tolist() == shared.tolist() == [0.5, 0.5] and others.tolist() == [1.0, 1.0]


def test_steps_are_recorded_evenly_on_a_logarithmic_axis():
    steps = sorted(log_spaced(100_000))
    assert steps[:3] == [1, 2, 3] and steps[-1] == 100_000 and STEP_TIMES / 2 < len(steps) <= STEP_TIMES
    ratios = [b / a for a, b in zip(steps[30:-1], steps[31:], strict=True)]
    assert max(ratios) < 1.2 and min(ratios) > 1.05
