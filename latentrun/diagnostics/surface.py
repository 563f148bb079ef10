"""The surface that a decoder makes of its latent space, for all diagnostics that measure along it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from latentrun.diagnostics.needs import DIFFERENTIABLE
from latentrun.errors import Misfit
from latentrun.functional.noise import Noise
from latentrun.geometry.energy import Geodesics, Settings
from latentrun.geometry.graph import Graph
from latentrun.geometry.shortest import shortest
from latentrun.geometry.surface import Immersed
from latentrun.manifolds.chart import Chart, chart_of
from latentrun.models.base import Model
from latentrun.run import Run
from latentrun.types import Need

CHART = Need("model", lambda model: chart_of(model.spaces["z"]) is not None, "a latent space with a chart")
SURFACE = (DIFFERENTIABLE, CHART)  # what such a diagnostic requires
NODES, NEIGHBOURS, PARTS = 1000, 8, 4  # of the graph of codes along which curves that are looked at begin too
TOLERANCE = 1e-4  # share by which a step may still lower their energy


@dataclass(frozen=True)
class Decoded:
    """A latent space as a ``surface`` in data space, with the metric of mean and, where it changes with z,
    standard deviation of p(x|z) (M = J_mu' J_mu + J_sigma' J_sigma, in squared data units per squared unit of
    the ``chart``)."""

    run: Run
    chart: Chart
    surface: Immersed

    def codes(self, split: str) -> Tensor:
        """The codes of a split in the chart, ``(N, dim)``."""
        return self.chart.coordinates(self.run.latents(split).codes)

    def decode(self, c: Tensor) -> Tensor:
        """The mean of p(x|z) at points of the chart ``(N, dim)``."""
        return self.run.decode(self.chart.point(c))

    def deviation(self, c: Tensor) -> Tensor | None:
        """Root of the mean over data dimensions of the variance of x given z, ``(N,)`` in data units, at
        points of the chart; None where it does not change with z."""

        def variance(z: Tensor) -> Tensor | None:
            moments = self.run.model.moments_at(z)
            return moments[1].flatten(1).square().mean(1) if len(moments) > 1 else None

        parts = self.run.chunked(variance, self.chart.point(c))
        return None if parts[0] is None else torch.cat(parts).sqrt()


def surface_of(run: Run) -> Decoded:
    """The surface of a run whose model meets ``SURFACE``."""

    def make() -> Decoded:
        chart = chart_of(run.model.spaces["z"])
        assert chart is not None  # as CHART asks
        return Decoded(run, chart, Immersed(lambda c: run.model.moments_at(chart.point(c)), chart.dim))

    return run.once("surface", make)


def require_surface(model: Model, paths: str) -> None:
    """Misfit, with the name of the ``paths`` that want it, where the model makes no surface."""
    for need in SURFACE:
        if not need.test(model):
            raise Misfit(f"needs {need.noun} for the paths `{paths}`; the model has none")


def graph_of(surface: Immersed, codes: Tensor, noise: Noise) -> Graph:
    """Ways through some of the ``codes (N, dim)``, along which curves that are looked at may begin."""
    rows = noise.to("cpu").permutation("nodes", len(codes))[:NODES].to(codes.device)
    return Graph(surface, codes[rows], NEIGHBOURS, PARTS)


def joined(surface: Immersed, graph: Graph | None, ends: Tensor, points: int) -> Geodesics:
    """The shortest curves between pairs ``ends (P, 2, dim)``, at so many points each: found to be looked at,
    not to be measured."""
    return shortest(surface, ends[:, 0], ends[:, 1], Settings(fine=points, tolerance=TOLERANCE), graph)
