"""Normal laws by geodesic distance, against Euclidean ones."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Count, Ge, Gt
from latentrun.diagnostics.base import Diagnostic
from latentrun.diagnostics.decoder.land_measure import (
    FEW,
    Fits,
    component_table,
    fit,
    gaussian_draws,
    land_draws,
    mass,
    plane,
)
from latentrun.diagnostics.needs import ENCODER, FLAT, IMAGES
from latentrun.diagnostics.surface import SURFACE, Decoded, surface_of
from latentrun.errors import InputError, NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.intervals import mean_interval, share_interval
from latentrun.geometry.energy import Settings
from latentrun.geometry.graph import Graph
from latentrun.geometry.land import Setting, scattered
from latentrun.run import Run
from latentrun.system.terminal import wait_for
from latentrun.types import Estimate, Metric, Picture, Report

LAND = "Arvanitidis, Hansen & Hauberg 2016, arXiv 1605.08398"
NATS = "nats per code, mean over test codes"
CODES = "test codes"
GRAPH = 1000  # codes in the graph, at most
PARTS = 4  # of an edge of it, on which its length is taken


class LandFit(Diagnostic):
    """Does a normal law by geodesic distance describe the codes better than a Euclidean one?

    LAND: p(z) = sum_k pi_k exp(-½ Log_k(z)' Gamma_k Log_k(z)) / C_k with respect to the measure of the
    surface that the decoder makes of its latent space, sqrt(det M) dz; Log_k(z) is the initial velocity of
    the shortest curve from mean k to z. Means and precisions are those of greatest likelihood for ``n`` codes
    of the training split, by expectation maximisation (see :mod:`latentrun.geometry.land`); so is the rival,
    a mixture of as many normal laws of the chart, whose shares it begins with. Both are held against ``n``
    test codes, in one measure: the density of the LAND is multiplied by sqrt(det M), so that both are
    densities by dz.

    ``gain``: mean over test codes of the difference, with the interval over codes, which says nothing of the
    error of the constants: that is ``constant_error``, from ``samples`` points that were not used in the fit.
    Curves that were not found are counted, and left out of both means. ``effective``: points that carry a
    constant, (sum w)² / sum w², of the component with fewest: with fewer than 30 no density is given.
    ``mass``: of a plane, the sum of each density over the places drawn, 1 where the constant is right, the
    plane wide and the places many enough.
    """

    requires = (ENCODER, FLAT, *SURFACE)
    uses = (IMAGES,)
    metrics: ClassVar = {
        "log_density": Metric(
            f"{NATS}: log p(z) by the measure dz of the chart, `land`, `gaussian`",
            better="higher",
            source=LAND,
        ),
        "gain": Metric(f"{NATS}: log p(z) of the LAND less that of the Gaussian mixture", better="higher"),
        "constant_error": Metric(
            "nats, standard error of log C from its points, to first order, greatest over components",
            0,
            None,
            "lower",
        ),
        "effective": Metric("points that carry a constant, least over components", 0, None, "higher"),
        "failed": Metric(
            "share of shortest curves that were not found: to `codes`, to `points`; of all components",
            0,
            1,
            "lower",
        ),
        "rounds": Metric(
            "rounds of expectation maximisation until the fit came to rest, or as many as may be"
        ),
        "mass": Metric("sum of a density over the plane that is drawn: `land`, `gaussian`", 0, None, "one"),
    }

    def __init__(
        self,
        n: Annotated[int, Count(10, 10_000)],
        components: Annotated[int, Count(1, 100)],
        samples: Annotated[int, Count(10, 100_000)],
        rounds: Annotated[int, Count(1, 1000)],
        tolerance: Annotated[float, Gt(0)],
        neighbours: Annotated[int, Ge(0)],
        pieces: Annotated[int, Count(1, 100)],
        nodes: Annotated[int, Count(3, 1000)],
        accuracy: Annotated[float, Gt(0)],
        iterations: Annotated[int, Count(1)],
        places: Annotated[int, Count(0, 200)],
        shown: Annotated[int, Count(1, 100)],
    ):
        self.n, self.components, self.samples, self.rounds = n, components, samples, rounds
        self.tolerance, self.neighbours, self.places, self.shown = tolerance, neighbours, places, shown
        if nodes < 2 * pieces + 1:
            least = 2 * pieces + 1
            raise InputError(f"diagnostic.land.nodes: {pieces} pieces need at least {least}, got {nodes}")
        # So fine that a curve has four of its points within the first piece, where its velocity is taken.
        self.curves = Settings(pieces, nodes, 2 * (nodes - 1) + 1, accuracy, iterations)

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        noise = noise.to("cpu")
        decoded = surface_of(run)
        train, test = (self._codes(decoded, split, noise) for split in ("train", "test"))
        codes, held = train[: self.n], test[: self.n]
        if len(codes) <= max(codes.shape[1], self.components):
            raise NothingToMeasure(
                f"{len(codes)} codes are too few for {self.components} components in {codes.shape[1]} "
                "dimensions"
            )
        if not bool((codes.double().std(0) > 0).all()):
            raise NothingToMeasure("the codes do not move in every direction: no normal law has a density")
        graph = None
        if self.neighbours:
            graph = Graph(decoded.surface, train[:GRAPH], self.neighbours, PARTS)
        points = scattered(decoded.surface, codes, self.samples, noise.at("points"))
        setting = Setting(decoded.surface, codes, points, self.curves, graph)
        wait_for(f"land: {self.components} components, {len(codes):,} codes, {self.samples:,} points")
        fits = fit(setting, held, self.components, self.rounds, self.tolerance, noise)
        effective = min(constant.effective for constant in fits.constants)
        metrics, arrays = self._metrics(fits, effective), {"codes": codes.cpu().float().numpy()}
        if codes.shape[1] == 2 and self.places > 1 and effective >= FEW:
            drawn = plane(decoded.surface, fits, torch.cat([codes, held]), self.places)
            arrays |= {f"plane_{name}": values for name, values in drawn.items()}
            for name in ("land", "gaussian"):
                metrics[f"mass.{name}"] = Estimate(mass(drawn[name], drawn["first"], drawn["second"]))
        if effective >= FEW:
            arrays |= self._shown(decoded, fits, noise)
        arrays["names"] = np.array(decoded.chart.names, dtype=str)
        tables = {"components": component_table(fits), "codes": code_table(fits)}
        return Report(metrics, tables, arrays, notes=self._notes(fits, effective, len(codes)))

    def _codes(self, decoded: Decoded, split: str, noise: Noise) -> Tensor:
        """Codes of a split in a random order."""
        codes = decoded.codes(split)
        return codes[noise.permutation(split, len(codes)).to(codes.device)]

    def _metrics(self, fits: Fits, effective: float) -> dict[str, Estimate]:
        known = torch.isfinite(fits.land_log)
        metrics = {}
        if effective >= FEW and known.any():
            land, gaussian = fits.land_log[known], fits.gaussian_log[known]
            metrics["log_density.land"] = mean_interval(land, CODES)
            metrics["log_density.gaussian"] = mean_interval(gaussian, CODES)
            metrics["gain"] = mean_interval(land - gaussian, CODES)
            metrics["constant_error"] = Estimate(max(constant.error for constant in fits.constants))
        metrics["effective"] = Estimate(effective)
        for name in ("codes", "points"):
            found = torch.cat([getattr(component, name).known for component in fits.land.components])
            metrics[f"failed.{name}"] = share_interval(int((~found).sum()), len(found), "curves")
        metrics["rounds"] = Estimate(float(len(fits.land.history)))
        return metrics

    def _shown(self, decoded: Decoded, fits: Fits, noise: Noise) -> dict[str, np.ndarray]:
        """What draws from both laws decode to."""
        arrays = {"value_range": np.array(decoded.run.data.value_range, np.float64)}
        draws = {"land": land_draws, "gaussian": gaussian_draws}
        for name, draw in draws.items():
            z = draw(fits, self.shown, noise.at("shown"))
            arrays |= {f"drawn_{name}": decoded.decode(z).cpu().float().numpy()}
        return arrays

    def _notes(self, fits: Fits, effective: float, codes: int) -> tuple[str, ...]:
        notes = [
            f"Both laws: {self.components} components, fitted to {codes:,} codes of the train split, held "
            f"against {len(fits.land_log):,} of the test split; constants by {self.samples:,} points"
        ]
        missing = int((~torch.isfinite(fits.land_log)).sum())
        if effective < FEW:
            notes.append(
                f"{effective:.0f} points carry a constant: too few for a density, more samples or fewer "
                "latents are wanted"
            )
        elif missing:
            notes.append(f"{missing} test codes were left out: no shortest curve to them was found")
        return tuple(notes)

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.diagnostics.decoder.land_plot import land_pictures

        return land_pictures(report)


def code_table(fits: Fits) -> pd.DataFrame:
    """A row for each test code."""
    return pd.DataFrame({"land": fits.land_log.numpy(), "gaussian": fits.gaussian_log.numpy()})
