"""Paths for factors along the shortest curves of the decoder's metric."""

from __future__ import annotations

import numpy as np
import torch

from latentrun.diagnostics.surface import graph_of, joined
from latentrun.functional.clouds.whitening import Whitening
from latentrun.functional.noise import Noise
from latentrun.functional.paths.cloud import Cloud
from latentrun.functional.paths.curves import resampled
from latentrun.functional.paths.search import Curves, Effort, Finder, straight
from latentrun.geometry.surface import Immersed
from latentrun.run import Run

POINTS = 4  # of a curve, for each of its knots


def shortest_paths(run: Run, white: Whitening, cloud: Cloud, noise: Noise) -> Finder:
    """The kind of path that runs between the ends of straight ones, along the shortest curves of the metric
    that the decoder makes of the whitened codes of ``cloud``.

    Knots are evenly spaced by whitened length. A pair of ends for which the solver comes to no curve has no
    path.
    """
    codes = torch.from_numpy(cloud.field.u).to(run.device, torch.float32)
    mean = torch.from_numpy(white.mean).to(codes)
    axes = torch.from_numpy(white.sd[:, None] * white.axes.T).to(codes)
    surface = Immersed(lambda u: run.model.moments_at(mean + u @ axes), len(axes))
    graph = graph_of(surface, codes, noise)

    def confine(cloud: Cloud, knots: np.ndarray, effort: Effort) -> np.ndarray:
        """The shortest curves ``(P, knots, k)`` between the ends of curves ``(P, K, k)``."""
        if not len(knots):
            return np.zeros((0, effort.knots, knots.shape[2]))
        ends = torch.from_numpy(knots[:, [0, -1]]).to(codes)
        found = joined(surface, graph, ends, POINTS * (effort.knots - 1) + 1)
        curves = found.curve[found.converged].double().cpu().numpy()
        return resampled(curves, np.linspace(0, 1, effort.knots))

    def find(cloud: Cloud, factor: int, effort: Effort, noise: Noise) -> Curves:
        """Between the ends of the best straight paths: it is these that were compared."""
        seeds = straight(cloud, factor, effort, noise)
        knots = confine(cloud, seeds.knots, effort)
        nothing = "" if len(knots) else "no shortest curve was come to"
        return Curves(knots, seeds.compared, seeds.why or nothing)

    return Finder(find, confine)
