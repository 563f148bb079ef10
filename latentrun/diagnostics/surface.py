"""The surface that a decoder makes of its latent space, for all diagnostics that measure along it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from latentrun.diagnostics.needs import DIFFERENTIABLE
from latentrun.geometry.surface import Immersed
from latentrun.manifolds.chart import Chart, chart_of
from latentrun.run import Run
from latentrun.types import Need

CHART = Need("model", lambda model: chart_of(model.spaces["z"]) is not None, "a latent space with a chart")
SURFACE = (DIFFERENTIABLE, CHART)  # what such a diagnostic requires


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
