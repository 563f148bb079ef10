"""Points in groups."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from latentrun.functional.noise import Noise


@dataclass(frozen=True)
class Clusters:
    """``centers (K, d)`` and, of each of N points, the number of its cluster ``label (N,)``; ``spread (K,)``:
    mean distance of a cluster's points to its centre, 0 for a cluster of one."""

    centers: Tensor
    label: Tensor
    spread: Tensor


def kmeans(points: Tensor, k: int, noise: Noise) -> Clusters:
    """K-means of ``points (N, d)`` by Lloyd's steps from k-means++ (Arthur & Vassilvitskii 2007), started
    once; K = min(k, number of different points). The same to the last bit whenever it is repeated.

    >>> found = kmeans(torch.tensor([[0.0], [2.0], [9.0]]), 2, Noise(0))
    >>> found.centers.sort(0).values.T, found.spread.sort().values
    (tensor([[1., 9.]]), tensor([0., 1.]))
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    x = points.detach().double().cpu()
    k = min(k, len(x.unique(dim=0)))
    seed = int(noise.to("cpu").integers("kmeans", 2**31 - 1, (1,)))
    # Several threads add up their shares in the order in which they finish.
    with threadpool_limits(limits=1, user_api="openmp"):
        fitted = KMeans(k, n_init=1, random_state=seed).fit(x.numpy())
    centers, label = torch.from_numpy(fitted.cluster_centers_), torch.from_numpy(fitted.labels_).long()
    distance = (x - centers[label]).norm(dim=1)
    spread = distance.new_zeros(k).index_add_(0, label, distance) / label.bincount(minlength=k).clamp_min(1)
    return Clusters(centers.to(points), label.to(points.device), spread.to(points))
