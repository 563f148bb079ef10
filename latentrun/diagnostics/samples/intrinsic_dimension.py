"""The estimated dimension of data, codes and samples, at every scale."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Count, Each
from latentrun.data.base import Dataset, HasMembers, Oracle
from latentrun.diagnostics.base import Diagnostic
from latentrun.diagnostics.needs import ENCODER, GENERATOR, ORACLE
from latentrun.diagnostics.samples.intrinsic_dimension_plot import dimension_pictures
from latentrun.errors import InputError, NothingToMeasure
from latentrun.functional.clouds.dimension import levina_bickel, two_nn
from latentrun.functional.clouds.neighbours import nearest
from latentrun.functional.noise import Noise
from latentrun.models.base import HasEncoder, HasGenerator, Model
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

EACH = "one value for each set: `data` (test rows), their `codes`, `samples`"


class IntrinsicDimension(Diagnostic):
    """How many dimensions do data, codes and samples have, and at which scale?

    Of n test rows, of their codes, and of as many samples (codes drawn from the prior, decoded, without
    noise) the distances to the nearest others of the same set are taken. ``dimension`` is Levina and
    Bickel's estimate at the k-th neighbour, whose scale is the median distance to it; the table ``scales``
    has it for every number of ``neighbours``. ``two_nn`` is the estimate of Facco et al., at the smallest
    scale. There is no other answer than one for a scale: noise of standard deviation sigma makes the data as
    many-dimensional as the space they lie in wherever the scale is not well above sigma, and curvature and
    borders change the estimate at large ones. Where the truth is known it is drawn beside.

    Of rows that are equal one is kept; a set that is left with half its rows or fewer has no estimate.
    Intervals are over points, which share neighbours: too narrow for large k.
    """

    uses = (ENCODER, GENERATOR, ORACLE)
    metrics: ClassVar = {
        "dimension": Metric(
            f"dimensions, at the k-th neighbour, {EACH}",
            0,
            None,
            "none",
            "Levina & Bickel 2004, eq. 8; MacKay & Ghahramani 2005",
        ),
        "two_nn": Metric(f"dimensions, at the two nearest, {EACH}", 0, None, "none", "Facco et al. 2017"),
        "scale": Metric(
            f"median distance to the k-th neighbour, in units of x, or of the codes; {EACH}", 0, None, "none"
        ),
    }

    def __init__(
        self,
        n: Annotated[int, Count(4, 100_000)],
        k: Annotated[int, Count(3, 10_000)],
        neighbours: Annotated[list[int], Each(Count(3, 10_000))],
    ):
        if not neighbours:
            raise InputError("diagnostic.intrinsic_dimension.neighbours: at least one number is needed")
        self.n, self.k, self.neighbours = n, k, sorted({*neighbours, k})

    def check(self, model: Model, data: Dataset) -> None:
        del model, data

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        clouds = self._clouds(run, noise)
        n = len(clouds["data"])
        if n <= self.k:
            raise NothingToMeasure(f"{n} test rows have no {self.k}-th neighbour")
        metrics: dict[str, Estimate] = {}
        rows: list[dict] = []
        notes = [f"{n} rows of each set; distances are Euclidean, over all dimensions"]
        for name, cloud in clouds.items():
            distinct = cloud.flatten(1).unique(dim=0)
            if len(distinct) <= max(n / 2, self.k):
                notes.append(f"{name}: {n} rows, {len(distinct)} of them different: no dimension is given")
                continue
            distances = nearest(distinct, distinct, self.neighbours[-1], same=True)[0].cpu()
            metrics |= self._metrics(name, distances)
            rows += scale_rows(name, distances, self.neighbours)
        if not rows:
            raise NothingToMeasure("; ".join(notes[1:]))
        if isinstance(run.data, Oracle) and run.data.local_dims:
            known = " or ".join(map(str, run.data.local_dims))
            notes.append(f"the data without noise have {known} dimensions")
        return Report(metrics, {"scales": pd.DataFrame(rows)}, known_arrays(run), notes=tuple(notes))

    def _clouds(self, run: Run, noise: Noise) -> dict[str, Tensor]:
        """The sets ``(n, ...)``, by name."""
        test = run.x("test")
        rows = noise.permutation("rows", len(test))[: self.n].to(test.device)
        clouds = {"data": test[rows]}
        if isinstance(run.model, HasEncoder):
            codes = run.latents("test").codes
            clouds["codes"] = codes[rows.to(codes.device)]
        if isinstance(run.model, HasGenerator):
            clouds["samples"] = run.decode(run.sample_codes(len(rows), noise.at("samples")))
        return clouds

    def _metrics(self, name: str, distances: Tensor) -> dict[str, Estimate]:
        scale = Estimate(distances[:, self.k - 1].median().item())
        values = {
            "dimension": levina_bickel(distances, self.k),
            "two_nn": two_nn(distances),
            "scale": scale,
        }
        return {f"{metric}.{name}": value for metric, value in values.items()}

    # ---------------------------------------------------------------- pictures
    def plot(self, report: Report) -> dict[str, Picture]:
        return dimension_pictures(report)


def scale_rows(name: str, distances: Tensor, neighbours: list[int]) -> list[dict]:
    """A row for each number of neighbours that there are in ``distances (N, K)``."""
    return [
        {
            "set": name,
            "neighbours": k,
            "scale": distances[:, k - 1].median().item(),
            **levina_bickel(distances, k).columns("dimension"),
        }
        for k in neighbours
        if k <= distances.shape[1]
    ]


def known_arrays(run: Run) -> dict[str, np.ndarray]:
    """What is known of the data: dimensions of the family, and the standard deviation of the noise."""
    arrays = {"known": np.zeros(0, np.int64), "noise": np.zeros(0)}
    if isinstance(run.data, Oracle):
        arrays["known"] = np.array(run.data.local_dims, np.int64)
    if isinstance(run.data, HasMembers) and run.data.noise:
        arrays["noise"] = np.array([run.data.noise])
    return arrays
