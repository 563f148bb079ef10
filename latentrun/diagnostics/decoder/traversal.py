"""Traversals: paths through latent space, decoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Between, Count, Each, Ge, Gt
from latentrun.data.base import Dataset, Oracle
from latentrun.diagnostics.base import Diagnostic, outline_of, row_places
from latentrun.diagnostics.decoder.traversal_geodesics import (
    axis_geodesics,
    centre_of,
    circles,
    direction_pairs,
    joining_geodesics,
    plane_geodesics,
    point_paths,
)
from latentrun.diagnostics.decoder.traversal_paths import (
    BENT,
    Frame,
    Kind,
    arc_paths,
    axis_paths,
    code_frame,
    existing,
    far_paths,
    latent_pairs,
    plane_paths,
    row_paths,
)
from latentrun.diagnostics.decoder.traversal_plot import traversal_pictures
from latentrun.diagnostics.decoder.traversal_shortest import check_shortest, with_shortest
from latentrun.diagnostics.decoder.traversal_walk import (
    Walk,
    column_changes,
    decoded,
    decoded_arrays,
    mean_unevenness,
    path_table,
    pictures_of,
    step_table,
)
from latentrun.diagnostics.needs import ENCODER, GENERATOR, IMAGES, ORACLE, is_flat
from latentrun.errors import Misfit
from latentrun.functional.noise import Noise
from latentrun.functional.paths.lines import Course, Paths, Reading, leading, purest, read
from latentrun.functional.ties import ranked
from latentrun.models.base import HasEncoder, Model
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

OF_PICTURES, OF_CURVES = 11, 101  # points on a path that is shown as pictures; as a curve, in few dimensions
Pair = tuple[Annotated[int, Ge(0)], Annotated[int, Ge(0)]]


class Traversal(Diagnostic):
    """What changes along paths through latent space, and has every factor a path of its own?

    Kinds of path: ``axes``, each latent in turn around the mean code; ``pairs``, straight lines through the
    mean in planes of two latents; ``lines``, straight lines between two codes; ``shortest``, the shortest
    curves of the decoder's metric between the same codes; ``angles``, arcs around the mean in those planes.
    Lengths are in whitened units: standard deviations of the training codes (means of q(z|x)); without an
    encoder the mean is 0 and the unit 1. On a curved latent space all others are made of its own geodesics
    through a code in the middle, exp(z, t v) with v in an orthonormal frame there: those that are closed go
    once round, lengths and distances (of coordinates, for ``gap``) are in the units of the space, and a
    finite factor gives a path of its own from point to point.

    With an oracle each decoded point is fitted by the nearest member of the data's family. For a factor f
    along a path: *monotonicity* = |Spearman| of the fitted f against the position, 0 where f covers less than
    ``min_change`` of its range (a drift too small to see is no path for f), undefined for closed paths and
    for categorical factors; *leakage* = mean over the other factors of their total variation, as shares of
    their ranges, divided by that of f. Cyclic factors are unwrapped first. ``monotonicity.f`` is the greatest
    over all straight paths (a maximum over many: the table ``best`` says how many); ``leakage.f`` is the
    least of the paths whose monotonicity is within ``slack`` of that, so that a crooked path that happens to
    win by one rank does not hide a clean one. Table ``best`` describes that path.
    """

    uses = (ENCODER, GENERATOR, ORACLE, IMAGES)
    metrics: ClassVar = {
        "monotonicity": Metric(
            "|Spearman| of the fitted factor against position, greatest over all straight paths",
            0,
            1,
            "higher",
        ),
        "leakage": Metric(
            "total variation of the other factors, mean, over that of the factor; least of its most "
            "monotone paths",
            0,
            None,
            "zero",
        ),
        "residual": Metric(
            "distance to the family as a share of the picture's norm, mean over all path points",
            0,
            None,
            "zero",
        ),
        "gap": Metric(
            "whitened units from path points to the nearest training code, mean over all path points",
            0,
            None,
            "none",
        ),
        "unevenness": Metric(
            "sd / mean of the steps ||x_t+1 - x_t|| of a path, mean over straight paths that move",
            0,
            None,
            "zero",
        ),
    }

    def __init__(
        self,
        paths: list[Kind],
        steps: Annotated[int, Count(3, 10_000)] | Literal["auto"],
        extent: Annotated[float, Gt(0)],
        pairs: list[Pair] | Literal["all"],
        directions: Annotated[list[float], Each(Between(0, 180))],
        lines: Annotated[int, Count(0, 10_000)],
        rows: list[Pair],
        radius: Annotated[float, Gt(0)],
        arcs: list[tuple[float, float]],
        min_change: Annotated[float, Between(0, 1)],
        slack: Annotated[float, Between(0, 1)],
        strips: Annotated[int, Count(1, 10_000)],
    ):
        self.paths, self.steps, self.extent, self.pairs = paths, steps, extent, pairs
        self.directions, self.lines, self.rows, self.radius = directions, lines, rows, radius
        self.arcs, self.min_change, self.slack, self.strips = arcs, min_change, slack, strips

    def check(self, model: Model, data: Dataset) -> None:
        check_shortest(self.paths, model)
        if self.rows and "lines" in self.paths:
            if not isinstance(model, HasEncoder):
                raise Misfit(
                    "needs an encoder for the rows that diagnostic.traversal.rows names; the model has none"
                )
            row_places("diagnostic.traversal.rows", self.rows, data.split("test").index)

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        notes: list[str] = []
        flat = is_flat(run.model.spaces["z"])
        frame = code_frame(run, whiten=flat)
        if flat and frame.codes is None:
            notes.append("the model has no encoder: paths run around 0 in units of 1")
        outline = outline_of(run.data)
        points = self.steps if self.steps != "auto" else OF_CURVES if outline else OF_PICTURES
        if flat:
            kinds = self._paths(run, frame, points, noise, notes)
        else:
            kinds = self._geodesics(run, points, noise, notes)
        walk = decoded(run, with_shortest(run, kinds, self.paths, noise, notes))
        paths, steps = path_table(walk), step_table(walk)
        metrics = mean_unevenness(paths)
        if frame.codes is not None:
            gap = walk.gap(frame.codes, frame.scale).cpu()
            paths["gap"], steps["gap"] = gap.mean(1).numpy(), gap.flatten().numpy()
            metrics["gap"] = Estimate(gap.mean().item())
        paths["drawn"] = self._drawn(walk, frame, notes)
        tables = {"paths": paths, "steps": steps}
        arrays = decoded_arrays(walk, run.data, paths["drawn"].to_numpy()) | outline
        if run.data.columns:
            arrays["courses"], tables["columns"] = column_changes(walk, run.data, paths["drawn"].to_numpy())
        if isinstance(run.data, Oracle):
            arrays["factor_range"] = np.array([[factor.low, factor.high] for factor in run.data.factors])
            metrics |= self._factors(run, walk, frame, tables, notes)
            if "best" in tables:
                rows = [walk.names.index(path) for path in tables["best"]["path"]]
                arrays["best_pictures"] = pictures_of(walk, run.data)[rows]
        if walk.closed.any():
            notes.append(
                "a closed path returns to where it began: of factors that are not cyclic no monotonicity is "
                "given for it"
            )
        notes.append("paths are fixed curves: their values have no sampling interval")
        return Report(metrics, tables, arrays, notes=tuple(notes))

    def _paths(self, run: Run, frame: Frame, points: int, noise: Noise, notes: list[str]) -> list[Paths]:
        """The paths of each kind; NothingToMeasure where there is none."""
        kinds, pairs = [], torch.zeros(0, 2, dtype=torch.int64)
        if {"pairs", "angles"} & set(self.paths):
            pairs = latent_pairs(self.pairs, frame.scale, notes)
        if "axes" in self.paths:
            kinds.append(axis_paths(frame, self.extent, points))
        if "pairs" in self.paths:
            kinds.append(plane_paths(frame, pairs, self.directions, self.extent, points))
        if "lines" in self.paths and self.rows and frame.codes is not None:
            kinds.append(row_paths(run, self.rows, points))
        elif "lines" in self.paths:
            kinds.append(far_paths(run, frame, self.lines, points, noise, notes))
        if "angles" in self.paths:
            kinds.append(arc_paths(frame, pairs, self.arcs, self.radius, points))
        return existing(kinds, notes)

    def _geodesics(self, run: Run, points: int, noise: Noise, notes: list[str]) -> list[Paths]:
        """The paths of each kind on a curved space."""
        centre, kinds = centre_of(run, noise), []
        pairs = direction_pairs(self.pairs, centre, notes)
        if "axes" in self.paths:
            kinds.append(axis_geodesics(centre, self.extent, points))
            kinds.append(point_paths(centre, points, notes))
        if "pairs" in self.paths:
            kinds.append(plane_geodesics(centre, pairs, self.directions, self.extent, points))
        if "lines" in self.paths and (self.rows or self.lines):
            kinds.append(joining_geodesics(run, centre, self.rows, self.lines, points, noise))
        if "angles" in self.paths:
            share = min(1.0, self.radius / self.extent)
            kinds.append(circles(centre, pairs, self.arcs, share, points))
        return existing(kinds, notes)

    def _drawn(self, walk: Walk, frame: Frame, notes: list[str]) -> np.ndarray:
        """Which paths are drawn ``(P,)``: of the axes those of largest variance."""
        drawn = np.ones(len(walk.names), bool)
        if "geodesics" in walk.kinds:
            drawn[np.flatnonzero(np.array(walk.kinds) == "geodesics")[self.strips :]] = False
        if "axes" in walk.kinds and len(frame.scale) > self.strips:
            drawn[ranked(frame.scale)[self.strips :]] = False
            notes.append(
                f"only the {self.strips} latents of largest code variance, of {len(frame.scale)}, are drawn"
            )
        return drawn

    # ---------------------------------------------------------------- what an oracle says
    def _factors(
        self, run: Run, walk: Walk, frame: Frame, tables: dict[str, pd.DataFrame], notes: list[str]
    ) -> dict[str, Estimate]:
        """Fit the family to every point and read residual, monotonicity and leakage off the fits: columns of
        the tables of paths and steps, the tables ``factors`` and ``best``."""
        assert isinstance(run.data, Oracle)  # as __call__ has seen
        fits = run.data.project(walk.x.flatten(0, 1))
        reading = read(fits, run.data.factors, walk.parameter, walk.closed, self.min_change)
        add_fits(reading, tables["paths"], tables["steps"])
        metrics = {"residual": Estimate(reading.residual.mean().item())}
        course, names = reading.course, [factor.name for factor in reading.ordered]
        if course is None:
            return metrics
        add_leading(course, names, tables["paths"])
        tables["factors"] = factor_rows(course, names, tables["paths"])
        straight = torch.from_numpy(np.flatnonzero(~tables["paths"]["kind"].isin(BENT)))
        if not len(straight):
            notes.append("no straight path was drawn: no monotonicity per factor")
            return metrics
        compared = walk.distinct(straight, frame)
        best = best_paths(course, names, tables["paths"], straight, self.slack, compared)
        tables["best"] = best
        notes.append(f"monotonicity per factor is the greatest of {compared} different straight paths")
        for metric, column in (("monotonicity", "greatest"), ("leakage", "leakage")):
            values = zip(best["factor"], best[column].tolist(), strict=True)
            metrics |= {f"{metric}.{factor}": Estimate(value) for factor, value in values}
        return metrics

    # ---------------------------------------------------------------- pictures
    def plot(self, report: Report) -> dict[str, Picture]:
        return traversal_pictures(report)


# ---------------------------------------------------------------- fitted factors in tables
def add_fits(reading: Reading, paths: pd.DataFrame, steps: pd.DataFrame) -> None:
    """Columns of the factors fitted to each point and of how far it lies from the family."""
    residual, inside = reading.residual, reading.inside
    steps[[f"fitted.{name}" for name in reading.names]] = reading.fitted.flatten(0, 1).numpy()
    steps["residual"], steps["inside"] = residual.flatten().numpy(), inside.flatten().numpy()
    paths["residual_mean"], paths["residual_max"] = residual.mean(1).numpy(), residual.amax(1).numpy()
    paths["inside"] = inside.double().mean(1).numpy()


def add_leading(course: Course, names: Sequence[str], paths: pd.DataFrame) -> None:
    """Columns of the factor, of those called ``names``, that each path orders best; empty where it orders
    none."""
    lead = leading(course)
    place = torch.arange(len(lead)), lead
    paths["factor"] = np.where(lead >= 0, np.array(names)[lead], "")
    paths["spearman"] = torch.where(lead >= 0, course.spearman[place], torch.nan).numpy()
    paths["monotonicity"] = paths["spearman"].abs()
    paths["leakage"] = torch.where(lead >= 0, course.leakage[place], torch.nan).numpy()


def factor_rows(course: Course, names: Sequence[str], paths: pd.DataFrame) -> pd.DataFrame:
    """A row for each path and ordered factor; these are called ``names``."""
    columns = {
        "path": np.repeat(paths["path"].to_numpy(), len(names)),
        "kind": np.repeat(paths["kind"].to_numpy(), len(names)),
        "factor": np.tile(names, len(paths)),
        "monotonicity": course.spearman.abs().flatten().numpy(),
    }
    columns |= {name: values.flatten().numpy() for name, values in vars(course).items()}
    return pd.DataFrame(columns)


def best_paths(
    course: Course, names: Sequence[str], paths: pd.DataFrame, straight: Tensor, slack: float, compared: int
) -> pd.DataFrame:
    """For each ordered factor the path that leaks least of the most monotone ones among the rows ``straight``
    of ``paths``, of which ``compared`` differ."""
    rows = purest(course, straight, slack)
    place = rows, torch.arange(len(names))
    columns = {
        "factor": names,
        "path": paths["path"].to_numpy()[rows],
        "greatest": course.spearman[straight].abs().amax(0).numpy(),
        "compared": compared,
    }
    columns |= {name: values[place].numpy() for name, values in vars(course).items()}
    return pd.DataFrame(columns | {"residual_mean": paths["residual_mean"].to_numpy()[rows]})
