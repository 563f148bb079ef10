"""Random walks through latent space, with and without the metric of the decoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch

from latentrun.config.bounds import Between, Count, Gt
from latentrun.diagnostics.base import Diagnostic
from latentrun.diagnostics.decoder.random_walk_measure import (
    Cloud,
    Followed,
    follow,
    paired_metrics,
    time_table,
    walk_metrics,
    walk_table,
)
from latentrun.diagnostics.needs import ENCODER, IMAGES, is_flat
from latentrun.diagnostics.surface import SURFACE, Decoded, surface_of
from latentrun.errors import NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.functional.spacing import evenly
from latentrun.functional.statistics.intervals import mean_interval
from latentrun.functional.ties import ranked
from latentrun.geometry.walks import KINDS, Walker, Walks, matched_scale, walk
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

PARTS = "`euclidean`, `metric`, `brownian`"
ODDITY = "Arvanitidis et al. 2018, arXiv 1710.11379, section 5"


class RandomWalk(Diagnostic):
    """How do random walks in latent space change the picture, and do they stay near the codes?

    ``n`` walks of ``length`` steps of each of three kinds start at the same codes and have the same normal
    draws: ``euclidean``, Brownian motion of the chart; ``metric``, steps of covariance s² M^-1, M the metric
    of the decoder (of mean and, where it changes with z, standard deviation of p(x|z)); ``brownian``, steps
    along geodesics with such velocities, which tend to the Brownian motion of the surface (see
    :class:`~latentrun.geometry.walks.Walker`). Euclidean steps are ``step`` times the codes' spread long,
    root mean square; s is such that the root mean square length of a step in data space, to first order, has
    the same mean over the starts in all kinds.

    ``change``: ||x_t+1 - x_t|| of the mean of p(x|z); ``unevenness``: sd / mean of these steps within a walk.
    The draws alone make some: 0.52 for equal stretching in two dimensions, 0.76 in one. ``stretch``
    unevenness is that of the steps over the lengths of their draws: 0 where a walk changes the picture as
    evenly as its draws. ``surface_unevenness`` is that of steps of mean and standard deviation together,
    where the latter changes with z: what M is made of. ``evener`` and ``stretch_evener``: how much less it is
    than in the Euclidean walk from the same start.

    A point is near the codes where the nearest is no farther than the nearest other one is for the share
    ``near`` of codes. ``origin``, ``outward``, ``beyond``: distances from 0 of flat latent spaces, where the
    prior has its mean, as shares of that within which the same share of codes lies. Distances are straight
    ones in latent space. A walk whose next point cannot be had, as nothing finite is decoded there, stops and
    stays where it is; eigenvalues of M below ``floor`` times their mean at the starts count as so much.
    ``cut``: where it is not small, Brownian steps are too long for the curvature, and ``step`` should be
    smaller.
    """

    requires = (ENCODER, *SURFACE)
    uses = (IMAGES,)
    metrics: ClassVar = {
        "unevenness": Metric(f"sd / mean of the data-space steps of a walk, mean over walks: {PARTS}", 0),
        "stretch_unevenness": Metric(
            f"sd / mean of data-space steps over the lengths of their draws, mean over walks: {PARTS}", 0
        ),
        "surface_unevenness": Metric(
            f"the same of steps of mean and standard deviation of p(x|z), mean over walks: {PARTS}", 0
        ),
        "evener": Metric(
            "unevenness of the Euclidean walk from the same start less that of `metric`, `brownian`, mean "
            "over walks",
            source=ODDITY,
        ),
        "stretch_evener": Metric("the same of stretch_unevenness, mean over walks"),
        "change": Metric(f"data units, data-space step, mean over steps and walks: {PARTS}", 0),
        "near": Metric(f"share of the points of a walk that are near codes, mean over walks: {PARTS}", 0, 1),
        "near_end": Metric(f"share of walks whose last point is near codes: {PARTS}", 0, 1),
        "left": Metric(f"share of walks with a point that is not near codes: {PARTS}", 0, 1),
        "exit": Metric(
            f"steps to the first point that is not near codes, all of them where there is none, mean over "
            f"walks: {PARTS}",
            0,
        ),
        "gap": Metric(
            f"distance of the last point to the nearest code over that up to which it is near, median over "
            f"walks: {PARTS}",
            0,
        ),
        "way": Metric(
            f"distance of the last point from the first over the codes' spread, median over walks: {PARTS}", 0
        ),
        "origin": Metric(
            f"distance of the last point from 0 over that of the codes, median over walks: {PARTS}", 0
        ),
        "outward": Metric(
            f"distance from 0 of the last point less that of the first, over that of the codes, median over "
            f"walks: {PARTS}"
        ),
        "beyond": Metric(f"share of walks that end farther from 0 than the codes lie: {PARTS}", 0, 1),
        "deviation": Metric(
            "data units, standard deviation of x given z, root mean square over dimensions, mean over points "
            f"and walks, or over codes: {PARTS}, `codes`",
            0,
        ),
        "stopped": Metric(f"share of walks that could not go on: {PARTS}", 0, 1, "lower"),
        "floored": Metric(
            f"share of steps where the metric was held at the floor, mean over walks: {PARTS}", 0, 1, "lower"
        ),
        "cut": Metric(
            f"share of steps that would have bent by more than their length, mean over walks: {PARTS}",
            0,
            1,
            "lower",
        ),
    }

    def __init__(
        self,
        split: Literal["train", "val", "test"],
        codes: Annotated[int, Count(2)],
        n: Annotated[int, Count(2, 100_000)],
        length: Annotated[int, Count(2, 100_000)],
        step: Annotated[float, Gt(0)],
        floor: Annotated[float, Between(0, 1, open_=True)],
        near: Annotated[float, Between(0, 1)],
        drawn: Annotated[int, Count(1, 100)],
        shown: Annotated[int, Count(1, 20)],
        frames: Annotated[int, Count(2, 100)],
    ):
        self.split, self.codes, self.n, self.length, self.step = split, codes, n, length, step
        self.floor, self.near, self.drawn, self.shown, self.frames = floor, near, drawn, shown, frames

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        noise = noise.to("cpu")
        decoded = surface_of(run)
        z = run.latents(self.split).codes
        z = z[noise.permutation("codes", len(z))[: self.codes].to(z.device)]
        if len(z) < 2:
            raise NothingToMeasure("walks need two codes to start from")
        cloud = Cloud.of(z, self.near, is_flat(run.model.spaces["z"]))
        if not cloud.spread > 0:
            raise NothingToMeasure("the codes do not move: there is no cloud to walk in")
        start = decoded.chart.coordinates(z[: self.n])
        walkers = self._walkers(decoded, start, cloud)
        walks = {name: walk(walker, start, self.length, noise) for name, walker in walkers.items()}
        measured = {kind: follow(decoded, some, cloud) for kind, some in walks.items()}
        return Report(
            metrics=self._metrics(decoded, measured, cloud),
            tables={"times": time_table(measured, cloud), "walks": walk_table(measured, cloud)},
            arrays=self._arrays(decoded, walks, decoded.chart.coordinates(z)),
            notes=self._notes(walkers, measured, cloud, len(z)),
        )

    def _walkers(self, decoded: Decoded, start: torch.Tensor, cloud: Cloud) -> dict[str, Walker]:
        """The three kinds, with steps of matching length."""
        metric = decoded.surface.metric(start)
        metric = metric[torch.isfinite(metric).flatten(1).all(1)]
        mean = metric.double().diagonal(dim1=1, dim2=2).mean().item() if len(metric) else 0.0
        if not mean > 0:
            raise NothingToMeasure("nothing that is decoded changes around the codes: they have no metric")
        step = self.step * cloud.spread / start.shape[1] ** 0.5
        scales = {"euclidean": step, "metric": matched_scale(metric, step)}
        scales["brownian"] = scales["metric"]
        return {kind: Walker(decoded.surface, kind, scales[kind], self.floor * mean) for kind in KINDS}

    def _metrics(
        self, decoded: Decoded, measured: Mapping[str, Followed], cloud: Cloud
    ) -> dict[str, Estimate]:
        metrics = {}
        for kind, followed in measured.items():
            metrics |= walk_metrics(kind, followed, cloud)
            if kind != "euclidean":
                metrics |= paired_metrics(kind, followed, measured["euclidean"])
        deviation = decoded.deviation(decoded.chart.coordinates(cloud.z))
        if deviation is not None:
            metrics["deviation.codes"] = mean_interval(deviation.cpu(), "codes")
        order = list(self.metrics)
        return {
            name: metrics[name] for name in sorted(metrics, key=lambda m: order.index(m.partition(".")[0]))
        }

    def _arrays(
        self, decoded: Decoded, walks: Mapping[str, Walks], codes: torch.Tensor
    ) -> dict[str, np.ndarray]:
        """What pictures need: two coordinates of codes and of some walks, and what is decoded along a few."""
        axes = torch.from_numpy(np.sort(ranked(codes.double().var(0))[:2]))
        names = np.array([decoded.chart.names[i] for i in axes.tolist()], dtype=str)
        arrays = {"axes": names, "codes": codes[:, axes].cpu().float().numpy()}
        at = evenly(self.length + 1, self.frames)
        for kind, some in walks.items():
            arrays[f"path_{kind}"] = some.path[: self.drawn][..., axes].cpu().float().numpy()
            points = some.path[: self.shown, at]
            x = decoded.decode(points.flatten(0, 1)).unflatten(0, points.shape[:2])
            arrays[f"frames_{kind}"] = x.cpu().float().numpy()
        value_range = np.array(decoded.run.data.value_range, np.float64)
        return arrays | {"frame_steps": at.numpy(), "value_range": value_range}

    def _notes(
        self, walkers: Mapping[str, Walker], measured: Mapping[str, Followed], cloud: Cloud, codes: int
    ) -> tuple[str, ...]:
        walker = walkers["metric"]
        notes = [
            f"{len(measured['metric'].gap)} walks of {self.length} steps of each kind, from codes of the "
            f"{self.split} split; Euclidean steps have standard deviation {walkers['euclidean'].scale:.3g} "
            f"along each coordinate, those of the others {walker.scale:.3g} data units along each direction",
            f"near codes: within {cloud.limit:.3g} latent units of one of {codes:,}",
        ]
        stopped = {kind: int(followed.stopped.sum()) for kind, followed in measured.items()}
        if any(stopped.values()):
            words = ", ".join(f"{count} {kind}" for kind, count in stopped.items() if count)
            notes.append(f"walks that could not go on, and stayed where they were: {words}")
        if any(followed.floored.any() for followed in measured.values()):
            notes.append(f"eigenvalues of the metric below {walker.floor:.3g} counted as so much")
        return tuple(notes)

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.diagnostics.decoder.random_walk_plot import walk_pictures

        return walk_pictures(report)
