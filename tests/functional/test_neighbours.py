"""Nearest neighbours against a k-d tree, and where float32 products fail."""

from __future__ import annotations

import pytest
import torch
from scipy.spatial import cKDTree

from latentrun.functional.clouds import neighbours
from latentrun.functional.clouds.neighbours import nearest


def rows(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dim", [1, 3, 40])
def test_agrees_with_a_tree(dim):
    q, p = rows(200, dim, 0), rows(900, dim, 1)
    distance, index = nearest(q, p, 6)
    expected, at = cKDTree(p.double().numpy()).query(q.double().numpy(), 6)
    assert torch.allclose(distance, torch.from_numpy(expected), rtol=1e-12, atol=1e-12)
    assert torch.equal(index, torch.from_numpy(at))
    assert distance.dtype == torch.float64


def test_rows_among_themselves_leave_themselves_out():
    p = rows(500, 4, 2)
    distance, index = nearest(p, p, 3, same=True)
    expected, at = cKDTree(p.double().numpy()).query(p.double().numpy(), 4)
    assert torch.allclose(distance, torch.from_numpy(expected[:, 1:]), atol=1e-12)
    assert torch.equal(index, torch.from_numpy(at[:, 1:]))


def test_a_duplicate_is_a_neighbour_at_distance_zero():
    p = torch.cat((rows(30, 5, 3), rows(30, 5, 3)))
    distance, index = nearest(p, p, 1, same=True)
    assert (distance == 0).all()
    assert torch.equal(index[:, 0], torch.arange(60).roll(30))


def test_copies_far_from_the_origin_are_exact():
    p = 1e4 + rows(800, 20, 4)
    distance, index = nearest(p[100:200], p, 1)
    assert (distance == 0).all()
    assert torch.equal(index[:, 0], torch.arange(100, 200))


@pytest.mark.parametrize(("size", "dtype"), [(1e-2, torch.float32), (1e-5, torch.float64)])
def test_a_cluster_finer_than_products_resolve_is_searched_again(size, dtype):
    # 300 points close to each other but 1e3 from the centre: |q|² + |p|² - 2 q·p in this precision cannot
    # order them.
    fine = size * rows(300, 3, 5).double()
    fine[:, 0] += 1e3
    p = torch.cat((fine, -fine))
    rough, _, sure = neighbours._search(fine, p, 2, None, dtype)
    expected = torch.from_numpy(cKDTree(p.numpy()).query(fine.numpy(), 2)[0])
    assert not sure.any() and not torch.allclose(rough, expected, atol=1e-12)
    assert torch.allclose(nearest(fine, p, 2)[0], expected, atol=1e-12)
    expected = torch.from_numpy(cKDTree(p.numpy()).query(p.numpy(), 3)[0])[:, 1:]
    assert torch.allclose(nearest(p, p, 2, same=True)[0], expected, atol=1e-12)


def test_many_at_the_same_distance():
    # 31 copies of 12 points on a sphere, seen from its centre: any k of the equally near will do, at the
    # right distance.
    p = torch.nn.functional.normalize(rows(12, 3, 6), dim=1).repeat(31, 1)
    distance, _ = nearest(torch.zeros(1, 3), p, 5)
    assert torch.allclose(distance, torch.ones(1, 5, dtype=torch.float64), atol=1e-6)


def test_chunks_do_not_matter(monkeypatch):
    q, p = rows(100, 7, 7), rows(150, 7, 8)
    whole = nearest(q, p, 4)
    monkeypatch.setattr(neighbours, "CELLS", 1000)
    parts = nearest(q, p, 4)
    assert torch.equal(whole[0], parts[0]) and torch.equal(whole[1], parts[1])


def test_k_is_cut_to_what_there_is_and_pictures_are_flattened():
    p = rows(4, 18, 9).view(4, 2, 3, 3)
    assert nearest(p, p, 10)[0].shape == (4, 4)
    assert nearest(p, p, 10, same=True)[0].shape == (4, 3)
    assert nearest(p[:1], p[:1], 1, same=True)[1].shape == (1, 0)
    assert nearest(p[:0], p, 2)[0].shape == (0, 2)
    expected = (p[0] - p[1]).double().norm()
    assert torch.isclose(nearest(p[:1], p[1:2], 1)[0][0, 0], expected)
