"""The emptiest segment against brute force, and across a known gap."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from latentrun.functional.clouds.emptiness import emptiest, spread_out

PROBES = 16


def brute(codes: np.ndarray) -> tuple[set, float, float]:
    """Ends, clearance and greatest gap of the emptiest of all segments, one by one."""
    t, best = (np.arange(PROBES) + 0.5) / PROBES, (set(), -1.0, 0.0)
    for i in range(len(codes)):
        for j in range(i):
            gap = cdist(codes[i] + t[:, None] * (codes[j] - codes[i]), codes).min(1)
            if gap.mean() > best[1]:
                best = {i, j}, gap.mean(), gap.max()
    return best


def find(codes, candidates=1000, n=1, apart=1.0, near=16, eligible=None):
    return emptiest(
        codes, np.arange(len(codes)) if eligible is None else eligible, candidates, PROBES, n, apart, near
    )


@pytest.mark.parametrize(("k", "seed"), [(1, 0), (2, 0), (2, 1), (3, 2), (6, 3)])
def test_all_pairs_as_brute_force(k, seed):
    codes = np.random.default_rng(seed).standard_normal((60, k))
    found, (ends, clearance, widest) = find(codes), brute(codes)
    assert set(found.ends[0]) == ends
    assert found.clearance[0] == pytest.approx(clearance) and found.widest[0] == pytest.approx(widest)
    assert found.pairs == 60 * 59 // 2 and found.bound == pytest.approx(clearance)


@pytest.mark.parametrize("seed", range(4))
def test_few_candidates_come_close_and_the_bound_holds(seed):
    codes = np.random.default_rng(seed).standard_normal((120, 3))
    found, (_, clearance, _) = find(codes, candidates=25), brute(codes)
    assert found.pairs == 300
    assert 0.93 * clearance <= found.clearance[0] <= clearance + 1e-12
    assert clearance <= found.bound + 1e-12


def test_two_clusters_are_joined_across_the_gap():
    rng = np.random.default_rng(0)
    blobs = rng.uniform(-1, 1, (800, 3))
    two = blobs + np.where(np.arange(800) < 400, -4, 4)[:, None] * [1, 0, 0]
    one, found = find(blobs, candidates=100), find(two, candidates=100)
    a, b = two[found.ends[0]]
    assert a[0] * b[0] < 0
    # A gap of 6 is crossed: a distance of 3 in its middle, and 6 / 4 for all of it were its faces flat.
    assert found.widest[0] == pytest.approx(3, abs=0.35) and found.clearance[0] > 1.2
    # A full cube has none: only the thin space between neighbours.
    assert one.clearance[0] < 0.35 and one.clearance[0] < found.clearance[0] / 3


def test_further_paths_are_others_and_less_empty():
    codes = np.random.default_rng(5).standard_normal((300, 2))
    found = find(codes, n=5, apart=0.7)
    assert len(found.ends) == 5 and (np.diff(found.clearance) <= 0).all()
    ends = codes[found.ends]
    for i in range(5):
        for j in range(i):
            for pair in (ends[j], ends[j][::-1]):
                assert np.linalg.norm(ends[i] - pair, axis=1).max() > 0.7


def test_only_eligible_codes_are_ends_but_all_fill_space():
    codes = np.concatenate([np.random.default_rng(0).standard_normal((200, 2)), [[50.0, 0]]])
    found = find(codes, eligible=np.arange(200))
    assert found.ends.max() < 200
    # A code in the middle of the emptiest segment takes its emptiness.
    filled = np.concatenate([codes[:200], codes[found.ends[0]].mean(0, keepdims=True)])
    assert find(filled, eligible=np.arange(200)).clearance[0] < found.clearance[0]


def test_relative_is_one_where_only_the_ends_are_near():
    found = find(np.array([[0.0, 0], [2, 0]]))
    assert found.relative[0] == 1 and found.clearance[0] == pytest.approx(0.5) and found.length[0] == 2


def test_covering_codes():
    points = np.random.default_rng(0).standard_normal((400, 3))
    rows, radius = spread_out(points, 30)
    assert len(set(rows)) == 30
    assert radius == pytest.approx(cdist(points, points[rows]).min(1).max())
    # Chosen points are at least that far from each other.
    assert cdist(points[rows], points[rows])[np.triu_indices(30, 1)].min() >= radius
    assert spread_out(points[:5], 30)[1] == 0


@pytest.mark.parametrize("n", [0, 1])
def test_nothing_to_join(n):
    assert len(find(np.zeros((3, 2)), eligible=np.arange(n)).ends) == 0
