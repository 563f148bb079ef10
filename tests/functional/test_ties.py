"""Which of several equals comes does not hang on the last bit."""

import numpy as np
import pytest
import torch

from latentrun.functional.clouds.neighbours import nearest
from latentrun.functional.clouds.whitening import whitening
from latentrun.functional.jacobians import spectrum
from latentrun.functional.ties import largest, principal_axes, ranked, settled, weakest_axis

CUBE = np.stack(np.meshgrid(*[[-1.0, 1.0]] * 3, indexing="ij"), -1).reshape(-1, 3)


def jittered(values: np.ndarray, seed: int) -> np.ndarray:
    """Values as another processor might have rounded them."""
    return values + 1e-12 * np.random.default_rng(seed).standard_normal(values.shape)


@pytest.mark.parametrize("seed", range(5))
def test_the_first_of_equals_whatever_the_rounding(seed):
    values = jittered(np.array([1.0, 3.0, 2.0, 3.0, 1.0, np.nan]), seed)
    assert largest(values) == 1 and largest(torch.from_numpy(values)) == 1
    assert ranked(values).tolist() == [1, 3, 2, 0, 4, 5]
    assert ranked(-values[:5]).tolist() == [0, 4, 2, 1, 3]


def test_what_differs_is_not_taken_for_equal():
    assert largest(np.array([1.0, 1.0 + 1e-5])) == 1 and ranked(np.array([1.0, 1.0 + 1e-5])).tolist() == [
        1,
        0,
    ]
    assert largest(np.array([-2.0, -1.0])) == 1 and largest(np.array([1.0, np.inf])) == 1
    assert ranked(np.array([1.0, np.inf, -np.inf])).tolist() == [1, 0, 2]
    assert ranked(np.zeros(0)).tolist() == []


@pytest.mark.parametrize("seed", range(5))
def test_axes_of_equal_values_are_those_of_the_rule(seed):
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((4, 4)))[0]
    plane = turn[:, :2] @ np.linalg.qr(np.random.default_rng(seed + 9).standard_normal((2, 2)))[0]
    first = settled(np.array([2.0, 2.0, 1.0]), turn[:, :3])
    again = settled(np.array([2.0, 2.0 - 1e-9, 1.0]), np.column_stack([plane, -turn[:, 2]]))
    np.testing.assert_allclose(first, again, atol=1e-10)
    np.testing.assert_allclose(first.T @ first, np.eye(3), atol=1e-10)
    np.testing.assert_allclose(first[:, :2] @ first[:, :2].T, turn[:, :2] @ turn[:, :2].T, atol=1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_a_cube_is_whitened_along_its_own_axes(seed):
    white = whitening(jittered(CUBE, seed), flat=1e-3)
    np.testing.assert_allclose(white.axes, np.eye(3), atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_axes_of_distinct_values_are_numpys_but_for_the_sign(seed):
    x = np.random.default_rng(seed).standard_normal((50, 5)) * [5, 4, 3, 2, 1]
    values, axes = principal_axes(x.T @ x)
    plain_values, plain = np.linalg.eigh(x.T @ x)
    np.testing.assert_allclose(values, plain_values[::-1])
    np.testing.assert_allclose(np.abs((axes * plain[:, ::-1]).sum(0)), 1)
    assert (axes[np.abs(axes).argmax(0), range(5)] > 0).all()


def test_the_weakest_of_equal_directions_is_that_of_the_first_coordinate():
    turns = torch.linalg.qr(torch.randn(20, 3, 3, dtype=torch.float64))[0]
    j = torch.diag(torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64))
    columns = (turns @ j).permute(2, 0, 1)  # whatever turns the images, the arguments keep their axes
    axis = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64).expand(20, 3)
    torch.testing.assert_close(spectrum(columns).weakest, axis, atol=1e-7, rtol=0)
    values = torch.tensor([[1.0, 1.0, 2.0]], dtype=torch.float64)
    swapped = torch.eye(3, dtype=torch.float64)[[2, 1, 0]][None]
    torch.testing.assert_close(weakest_axis(values, swapped)[0], torch.tensor([0.0, 1.0, 0.0]).double())


def test_a_decoder_that_forgets_two_arguments_is_weakest_along_the_first_of_them():
    columns = torch.zeros(3, 4, 6)
    columns[0] = torch.randn(4, 6)  # nothing changes along z1 and z2
    axis = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64).expand(4, 3)
    torch.testing.assert_close(spectrum(columns).weakest, axis)


@pytest.mark.parametrize("shuffled", [False, True])
def test_of_points_equally_far_the_first_rows_come(shuffled):
    grid = torch.cartesian_prod(torch.arange(5.0), torch.arange(5.0))
    order = torch.randperm(25) if shuffled else torch.arange(25)
    distance, index = nearest(torch.tensor([[2.0, 2.0]]), grid[order], k=3)
    rim = (order[:, None] == torch.tensor([7, 11, 13, 17])).any(1).nonzero()[:2, 0]
    assert distance.tolist() == [[0.0, 1.0, 1.0]] and index[0, 1:].tolist() == rim.tolist()


def test_of_many_copies_the_first_rows_come():
    copies = torch.ones(1000, 3)
    assert nearest(torch.zeros(2, 3), copies, k=3)[1].tolist() == [[0, 1, 2]] * 2
    assert nearest(copies, copies, k=2, same=True)[1][[0, 1, 5]].tolist() == [[1, 2], [0, 2], [0, 1]]
