"""Where the map from factors to pictures, and on to codes, loses a factor: the fold."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
import torch

from latentrun.config.bounds import Between, Count, Gt
from latentrun.data.base import Dataset
from latentrun.diagnostics.base import Diagnostic, check_factors, whitened
from latentrun.diagnostics.decoder.injectivity_corner import ENDS, Corner, against_all
from latentrun.diagnostics.decoder.injectivity_measure import (
    UNITS,
    Combinations,
    Maps,
    combinations,
    least_table,
    measure,
    overall,
    pair_table,
    point_table,
    real_factors,
    worst_pairs,
)
from latentrun.diagnostics.decoder.injectivity_plot import injectivity_pictures
from latentrun.diagnostics.needs import ENCODER, FACTORS, FLAT, GAUSSIAN_POSTERIOR, IMAGES, ORACLE
from latentrun.errors import NothingToMeasure, unknown
from latentrun.functional.clouds.collisions import collisions
from latentrun.functional.clouds.whitening import Whitening
from latentrun.functional.noise import Noise
from latentrun.models.base import Model
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report


def space_metrics(space: str) -> dict[str, Metric]:
    """What is said of the derivatives in one space of :data:`UNITS`."""
    better = "none" if space == "image" else "higher"  # the images are given: they are no model's merit
    per_range = f"{UNITS[space]} per range of a factor: least singular value"
    meaning = {
        "least": Metric(f"{per_range}, least over points", 0, None, better),
        "median": Metric(f"{per_range}, median over points", 0, None, better),
        "condition": Metric("greatest over least singular value, median over points", 1, None, "none"),
        "corner": Metric(
            "least singular value in the corner (geometric mean) over the median of all points",
            0,
            None,
            "one",
        ),
        "rank": Metric("share of points whose least singular value is below the corner's mean", 0, 1, "none"),
        "factor_corner": Metric(
            "change by the factor in the corner (geometric mean) over the median of all", 0, None, "one"
        ),
        "factor_rank": Metric(
            "share of points where the factor changes less than in the corner", 0, 1, "none"
        ),
        "alignment": Metric(
            "|component along the factor| of what shows least, mean over the corner", 0, 1, "none"
        ),
    }
    return {f"{space}_{name}": metric for name, metric in meaning.items()}


def collision_metric(space: str) -> Metric:
    """What is said of pairs of points in one space."""
    better = "none" if space == "image" else "higher"
    return Metric(f"{UNITS[space]} per range of a factor: least over pairs far apart", 0, None, better)


def image_metrics() -> dict[str, Metric]:
    """What is said of the images alone."""
    return {
        **space_metrics("image"),
        "image_factor_relative": Metric(
            "as image_factor_corner, of changes as shares of the picture's norm", 0, None, "none"
        ),
        "image_collision": collision_metric("image"),
    }


class Injectivity(Diagnostic):
    """Where do factors no longer show in the picture and in the code?

    At every combination y of factors in the data, with x = render(y) and z = encode(x) (mean of q(z|x)): J =
    d x / d y and d z / d y along the real factors, each in shares of its range so that the columns can be
    compared; other factors are held at their value. The *least* singular value of J is how much the mixture
    of factors that shows least changes the picture or the code; its right singular vector is that mixture. J
    is exact: forward mode through the renderer (float64) and the encoder (the model's own precision: below
    about 1e-6 of the greatest, a singular value of codes is rounding).

    ``image``: in data units, Euclidean over all dimensions; it says nothing of the model. ``latent``: z in
    whitened units (rotated to the principal axes of the train codes, divided by their standard deviations),
    comparable between models. ``posterior``: z in standard deviations of q(z|x) at that x: how well a code
    tells two combinations apart.

    The corner: points where the factors ``corner`` are within the share ``within`` of their range from the
    named ends. ``_corner``: 1 where the corner is like the rest; ``_rank``: 0 where no point is worse;
    ``_factor_corner`` and ``_factor_rank``: the same for the column of ``factor`` alone, the change it makes;
    ``_alignment``: 1 where what shows least in the corner is that factor alone; ``image_factor_relative``:
    ``_factor_corner`` of changes as shares of ||x||, for a corner whose pictures are brighter than the rest.
    Means of singular values and norms in the corner are geometric.

    ``_collision``: the least ||x - x'|| / ||y - y'|| over all pairs with ||y - y'|| >= ``beyond`` (a class is
    as far from another as a factor's ends), in the unit of the singular values: far below ``_least`` where
    the map is injective near each of two points and yet sends them to the same place.

    The numbers are of this model on these points: nothing is sampled, so they have no interval.
    """

    requires = (ENCODER, FLAT, FACTORS, ORACLE)
    uses = (GAUSSIAN_POSTERIOR, IMAGES)
    metrics: ClassVar = {
        "raw": Metric(
            "as image_least and latent_least, but per unit of each factor instead of per range",
            0,
            None,
            "none",
        ),
        **image_metrics(),
        **space_metrics("latent"),
        "latent_collision": collision_metric("latent"),
        **space_metrics("posterior"),
    }

    def __init__(
        self,
        points: Annotated[int, Count(2)],
        factor: str | None,
        corner: dict[str, str],
        within: Annotated[float, Between(0, 1)],
        flat: Annotated[float, Between(0, 1)],
        beyond: Annotated[float, Gt(0)],
        shown: Annotated[int, Count(1, 10_000)],
    ):
        for name, end in corner.items():
            if end not in ENDS:
                raise unknown(f"diagnostic.injectivity.corner.{name}", end, ENDS)
        self.points, self.factor, self.corner = points, factor, Corner(corner, within)
        self.flat, self.beyond, self.shown = flat, beyond, shown

    def check(self, model: Model, data: Dataset) -> None:
        check_factors("diagnostic.injectivity.factor", [self.factor] if self.factor else [], data)
        check_factors("diagnostic.injectivity.corner", list(self.corner.ends), data)

    # ---------------------------------------------------------------- measuring
    def __call__(self, run: Run, noise: Noise) -> Report:
        real = real_factors(run.data.factors)
        if not real:
            raise NothingToMeasure(
                "the data have no real factor that varies: there is nothing to differentiate by"
            )
        points = combinations(run, real, self.points, noise)
        white = whitened(run, "train", self.flat)
        maps = measure(run, points, white)
        table, metrics, notes = point_table(points, maps), overall(maps.spectra), self._notes(points, white)
        tables = {"points": table}
        arrays = {
            "names": np.array(points.names, dtype=str),
            "ranges": torch.stack([points.low, points.high], 1)[real].numpy(),
            "value_range": np.array(run.data.value_range, np.float64),
        }
        inside, note = self.corner.points(points.names, points.real_share)
        notes.append(note)
        if inside is not None:
            metrics |= against_all(table, inside, self.factor)
            tables["regions"] = self.corner.regions(table, points.names, points.real_share)
            if run.data.is_image and self.factor in points.names:
                arrays |= self.corner.sweep(run, self.factor, points.y[inside].median(0).values)
        spaces = [least_table(table, space, len(points.factors), self.shown) for space in maps.spectra]
        tables["least"] = pd.concat(spaces, ignore_index=True)
        self._collide(points, maps, white, metrics, tables, arrays, notes)
        return Report(metrics, tables, arrays, notes=tuple(notes))

    def _notes(self, points: Combinations, white: Whitening) -> list[str]:
        """What was differentiated by, and what was left out."""
        names = points.names
        notes = [
            f"{len(points.y):,} combinations of factors; derivatives along {', '.join(names)}, per full "
            "range of each"
        ]
        held = [factor.name for factor in points.factors if factor.name not in names]
        if held:
            notes.append(f"held at their value: {', '.join(held)}")
        if white.note:
            notes.append(white.note)
        if len(white.sd) < len(names):
            notes.append(
                f"codes vary in {len(white.sd)} directions, factors in {len(names)}: some mixture is lost "
                "everywhere"
            )
        return notes

    def _collide(
        self,
        points: Combinations,
        maps: Maps,
        white: Whitening,
        metrics: dict[str, Estimate],
        tables: dict[str, pd.DataFrame],
        arrays: dict[str, np.ndarray],
        notes: list[str],
    ) -> None:
        """Add the pairs of combinations that lie apart and that images, and codes, tell apart least."""
        pairs = []
        codes = torch.from_numpy(white.to(maps.z.numpy())).to(maps.x)
        for space, values in (("image", maps.x), ("latent", codes)):
            ratio, partner = (
                result.cpu() for result in collisions(points.share.to(maps.x.device), values, self.beyond)
            )
            if not ratio.isfinite().any():
                notes.append(f"no two combinations are {self.beyond:g} apart")
                break
            metrics[f"{space}_collision"] = Estimate(ratio.min().item())
            first, second = worst_pairs(ratio, partner, self.shown)
            one, other = points.y[first], points.y[second]
            pairs.append(pair_table(space, points.factors, ratio[first], one, other))
            arrays[f"pairs_{space}"] = maps.x[torch.stack([first, second])].cpu().numpy()
        if pairs:
            tables["collisions"] = pd.concat(pairs, ignore_index=True)

    # ---------------------------------------------------------------- pictures
    def plot(self, report: Report) -> dict[str, Picture]:
        return injectivity_pictures(report, self.factor, self.corner.ends, self.beyond)
