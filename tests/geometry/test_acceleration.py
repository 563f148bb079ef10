"""What the last steps of a slow iteration say of the next."""

from __future__ import annotations

import torch

from latentrun.geometry.acceleration import DEPTH, Memory


def slow(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """theta <- theta + A (b - theta) of P = 3 iterations, the spectrum of A from 0.05 to 0.9: A, b."""
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(3, n, n, dtype=torch.float64, generator=generator))[0]
    rates = torch.linspace(0.05, 0.9, n, dtype=torch.float64)
    return turn @ torch.diag(rates) @ turn.mT, torch.randn(3, n, dtype=torch.float64, generator=generator)


def distance(steps: int, accelerated: bool) -> torch.Tensor:
    """From the fixed point b after so many steps, of each iteration."""
    a, b = slow(DEPTH, 0)
    theta, every = torch.zeros_like(b), torch.arange(3)
    memory = Memory.of(theta)
    for _ in range(steps):
        step = (a @ (b - theta).unsqueeze(-1)).squeeze(-1)
        theta = theta + (memory.proposal(every, theta, step) if accelerated else step)
    return (theta - b).norm(dim=1)


def test_a_linear_iteration_ends_after_as_many_steps_as_it_has_dimensions():
    assert (100 * distance(DEPTH + 2, True) < distance(DEPTH + 2, False)).all()


def test_the_first_step_is_the_iterations_own_and_so_is_one_after_forgetting():
    theta, step = torch.zeros(2, 5, 3), torch.randn(2, 5, 3)
    memory, rows = Memory.of(theta), torch.arange(2)
    assert torch.equal(memory.proposal(rows, theta, step), step)
    memory.proposal(rows, theta + step, 0.9 * step)
    memory.forget(rows[:1])
    longer = memory.proposal(rows, theta + step, 0.8 * step)
    assert torch.equal(longer[0], 0.8 * step[0]) and not torch.equal(longer[1], 0.8 * step[1])


def test_a_step_that_is_no_number_stays_one():
    theta = torch.zeros(1, 2)
    memory, rows = Memory.of(theta), torch.arange(1)
    memory.proposal(rows, theta, torch.ones(1, 2))
    step = torch.tensor([[0.5, torch.inf]])
    assert torch.equal(memory.proposal(rows, theta + 1, step), step)
