"""A map of latent space: what each place decodes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.distributions import Normal

from latentrun.config.bounds import Count, Each, Ge
from latentrun.data.base import Dataset
from latentrun.diagnostics.base import Diagnostic, check_samples
from latentrun.diagnostics.needs import ENCODER, FLAT, IMAGES, PRIOR
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.functional.spacing import middles
from latentrun.functional.statistics.intervals import bootstrap_means
from latentrun.functional.ties import ranked
from latentrun.models.base import HasEncoder, HasPrior, Model, is_standard_normal
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

MOST = 3  # variables that a map is drawn over


@dataclass(frozen=True)
class Grid:
    """Places of a map: the latent variables ``over``, one to three, with their values ``places``, and the
    codes ``z (slices, rows, columns, d)``: the first variable along the columns, the second along the rows
    from below, the third from square to square."""

    over: list[int]
    places: list[Tensor]
    z: Tensor


class LatentMap(Diagnostic):
    """What does each place of a low-dimensional latent space decode to, and how fast does it change from
    place to place?

    A grid over the at most three latent variables whose codes vary most, or over those that ``over`` names;
    all others stay at the mean training code (at 0 without an encoder). Along each the places are the
    quantiles (k - 1/2) / n of N(0, 1) for a model with that prior, so that each stands for an equal share of
    samples, else those of the training codes. Two variables: one square of ``wide`` x ``wide`` places; three:
    ``slices`` squares of ``side`` x ``side``, one for each value of the third; one: a row.

    ``step``: Euclidean distance between what neighbours within a square decode to, over the mean distance of
    ``pairs`` random pairs of test examples: 0 where the decoder is constant, near 1 where neighbours are as
    unlike as any two examples. ``mean`` over neighbours, with a 95 % bootstrap interval over the pairs (the
    places are fixed), and ``worst``. Compare equal numbers of places.
    """

    requires = (FLAT,)
    uses = (ENCODER, PRIOR, IMAGES)
    metrics: ClassVar = {
        "step": Metric(
            "distance of neighbours on the map over the mean distance of two test examples: `mean`, `worst`",
            0,
            None,
            "none",
        ),
    }

    def __init__(
        self,
        over: Annotated[list[int], Each(Ge(0))] | None,
        wide: Annotated[int, Count(2, 10_000)],
        side: Annotated[int, Count(2, 10_000)],
        slices: Annotated[int, Count(2, 10_000)],
        pairs: Annotated[int, Count(10, 10_000)],
        resamples: Annotated[int, Count(100, 100_000)],
    ):
        self.over, self.wide, self.side, self.slices = over, wide, side, slices
        self.pairs, self.resamples = pairs, resamples

    def check(self, model: Model, data: Dataset) -> None:
        check_samples(model)
        over = self.over
        if over is None:
            return
        if not 0 < len(over) <= MOST or len(set(over)) < len(over):
            raise InputError(
                f"latent_map.over: must name one to {MOST} latent variables, none twice, got {over}"
            )
        if max(over) >= model.latent_dim:
            raise InputError(
                f"latent_map.over: there is no latent {max(over)}; the model has {model.latent_dim}, counted "
                "from 0"
            )

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        d = run.model.latent_dim
        encodes = isinstance(run.model, HasEncoder)
        codes = run.latents("train").codes if encodes else torch.zeros(1, d, device=run.device)
        prior = isinstance(run.model, HasPrior) and is_standard_normal(run.model.prior())
        over = self.over or moving_most(codes)
        counts = {1: (self.wide,), 2: (self.wide, self.wide), 3: (self.side, self.side, self.slices)}
        values = [places(codes[:, i], n, prior) for i, n in zip(over, counts[len(over)], strict=True)]
        grid = place(codes.mean(0), over, values)
        x = run.decode(grid.z.flatten(0, 2)).unflatten(0, grid.z.shape[:3])
        arrays = {"over": np.array(over), "value_range": np.array(run.data.value_range, np.float64)}
        if run.data.is_image:
            arrays["map"] = x.cpu().float().numpy()
        metrics = self._steps(x, run.x("test"), noise.to(run.device))
        notes = self._notes(grid, prior, len(codes))
        return Report(metrics, {"places": place_table(grid)}, arrays, notes=notes)

    def _steps(self, x: Tensor, test: Tensor, noise: Noise) -> dict[str, Estimate]:
        """Distances of neighbours on the map ``x (slices, rows, columns, *event)`` over those of random pairs
        of ``test`` examples; none where all of these are equal."""
        flat = x.flatten(3).double()
        steps = torch.cat([flat.diff(dim=axis).norm(dim=-1).flatten() for axis in (1, 2)])
        test = test.flatten(1).double()
        a, b = (test[noise.integers(name, len(test), (self.pairs,))] for name in ("first", "second"))
        apart = (a - b).norm(dim=1)
        if not apart.any():
            return {}
        (mean,) = bootstrap_means(
            lambda means: steps.mean().to(means.device) / means,
            apart.unsqueeze(1),
            noise,
            self.resamples,
            "pairs of examples",
        )
        return {"step.mean": mean, "step.worst": Estimate((steps.max() / apart.mean()).item())}

    def _notes(self, grid: Grid, prior: bool, codes: int) -> tuple[str, ...]:
        where = "quantiles of the prior N(0, 1)" if prior else "quantiles of the training codes"
        counts = " x ".join(str(len(values)) for values in grid.places)
        notes = [f"Places: {where}, {counts} of latent {', '.join(map(str, grid.over))}."]
        others = grid.z.shape[-1] - len(grid.over)
        if others:
            at = "mean training code" if codes > 1 else "origin"
            notes.append(f"The other {others} latent variables stay at the {at}.")
        return tuple(notes)

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.plotting.images import squares

        if "map" not in report.arrays:
            return {}
        over, table = report.arrays["over"].tolist(), report.tables["places"]
        values = [table.loc[table["latent"] == i, "value"].to_numpy() for i in over]
        titles = [f"z{over[2]} = {value:.2f}" for value in values[2]] if len(over) == MOST else [""]
        axes = [f"z{i}: {v[0]:.2f} to {v[-1]:.2f}" for i, v in zip(over[:2], values, strict=False)]
        caption = "What places of latent space decode to. " + " ".join(report.notes)
        if len(over) == MOST:
            caption += f" Each square is a slice at one value of z{over[2]}."
        drawn = squares(report.arrays["map"], tuple(report.arrays["value_range"]), titles, axes)
        return {"map": Picture(drawn, caption)}


# ---------------------------------------------------------------- the grid
def moving_most(codes: Tensor) -> list[int]:
    """The latent variables, at most three, whose ``codes (N, d)`` vary most."""
    return sorted(ranked(codes.var(0, correction=0))[:MOST].tolist())


def places(codes: Tensor, n: int, prior: bool) -> Tensor:
    """n values ``(n,)`` that divide one variable into equal shares of samples: those of N(0, 1), or of its
    ``codes (N,)``."""
    shares = middles(n).to(codes.device)
    if prior:
        return Normal(torch.zeros_like(shares[0]), 1.0).icdf(shares).float()
    return torch.quantile(codes.double(), shares).float()


def place(centre: Tensor, over: list[int], values: list[Tensor]) -> Grid:
    """Codes at all combinations of ``values`` of the variables ``over``, all others as in ``centre (d,)``."""
    counts = [len(v) for v in values] + [1] * (MOST - len(values))
    z = centre.repeat(*reversed(counts), 1)
    for axis, (i, along) in enumerate(zip(over, values, strict=True)):
        # Rows are counted from the top.
        along = along.flip(0) if axis == 1 else along
        z[..., i] = along.view([-1 if k == 2 - axis else 1 for k in range(3)])
    return Grid(over, values, z)


def place_table(grid: Grid) -> pd.DataFrame:
    """A row for each value of each variable."""
    rows = [
        (i, k, value)
        for i, values in zip(grid.over, grid.places, strict=True)
        for k, value in enumerate(values.tolist())
    ]
    return pd.DataFrame(rows, columns=["latent", "place", "value"])
