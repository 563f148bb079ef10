"""Streamed bounds against those of all weights at once."""

import math

import pytest
import torch

from latentrun.functional.evidence import RunningBound, RunningWeights, doubled, log_mean


@pytest.mark.parametrize("blocks", [[60], [1] * 60, [7] * 8 + [4], [59, 1], [13, 30, 17]], ids=str)
@pytest.mark.parametrize("size", [1, 5, 12, 60])
def test_blocks_of_any_size_give_the_bound_of_all_draws(blocks, size):
    log_weight = 3 * torch.randn(60, 4, dtype=torch.float64)
    bound = RunningBound(size, 4)
    for block in log_weight.split(blocks):
        bound.add(block)
    groups = log_weight.unflatten(0, (60 // size, size)).logsumexp(1) - math.log(size)
    torch.testing.assert_close(bound.value, groups.mean(0))
    assert bound.groups == 60 // size


def test_a_group_that_is_not_full_counts_for_nothing():
    bound = RunningBound(4, 1)
    bound.add(torch.zeros(6, 1))
    assert bound.groups == 1 and bound.value.item() == 0
    assert RunningBound(4, 1).value.isnan().all()


def test_effective_draws_and_bias():
    even, one = RunningWeights([8], 1), RunningWeights([8], 1)
    for _ in range(4):
        even.add(torch.full((2, 1), 700.0))  # exp(700) has no place in float32
    one.add(torch.tensor([[0.0]] + [[-200.0]] * 7))
    assert even.effective.item() == pytest.approx(8) and even.bias.item() == pytest.approx(0, abs=1e-12)
    assert one.effective.item() == pytest.approx(1) and one.bias.item() == pytest.approx(0.5 * (1 - 1 / 8))


def test_weights_of_zero_are_no_trouble():
    bound = RunningWeights([2], 2)
    bound.add(torch.tensor([[-torch.inf, -torch.inf], [0.0, -torch.inf]]))
    assert bound.bounds[2].value[0].item() == pytest.approx(-math.log(2))
    assert bound.bounds[2].value[1].item() == -math.inf
    assert bound.effective.tolist() == [1.0, 0.0] and bound.bias[1].item() == math.inf


def test_a_mean_over_points_does_not_hang_on_the_blocks():
    points, x = torch.randn(50, 1), torch.randn(3)
    density = lambda z: -(x[:, None] - z[:, 0]).square()  # noqa: E731
    whole = log_mean(density, points, 50)
    torch.testing.assert_close(log_mean(density, points, 7), whole)
    torch.testing.assert_close(whole, (density(points).exp().mean(1)).log().double())


def test_doubling_ends_where_nothing_moves_or_where_it_must():
    calls = []

    def value(n):
        calls.append(n)
        return torch.tensor([1.0 / n, 0.0])

    assert doubled(value, 4, 1000, 0.01).points == 128 and calls == [4, 8, 16, 32, 64, 128]
    stopped = doubled(value, 4, 20, 1e-9)
    assert stopped.points == 16 and stopped.change.max().item() == pytest.approx(1 / 16)
    assert doubled(value, 4, 4, 1.0).change.isinf().all()
