"""A map of latent space: what each place decodes to."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.distributions import Normal

from latentrun.config.bounds import Each, Ge
from latentrun.data.base import Dataset
from latentrun.diagnostics.base import Diagnostic, check_samples
from latentrun.diagnostics.needs import ENCODER, IMAGES, PRIOR
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.intervals import bootstrap_means
from latentrun.models.base import HasEncoder, HasPrior, Model, is_standard_normal
from latentrun.plotting.images import squares
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

MOST = 3  # variables that a map is drawn over


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
        wide: Annotated[int, Ge(2)],
        side: Annotated[int, Ge(2)],
        slices: Annotated[int, Ge(2)],
        pairs: Annotated[int, Ge(10)],
        resamples: Annotated[int, Ge(100)],
    ):
        self.over, self.wide, self.side, self.slices, self.pairs, self.resamples = (
            over,
            wide,
            side,
            slices,
            pairs,
            resamples,
        )

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
                f"latent_map.over: there is no latent {max(over)}; the model has {model.latent_dim}, "
                "counted from 0"
            )

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        d = run.model.latent_dim
        codes = (
            run.latents("train").codes
            if isinstance(run.model, HasEncoder)
            else torch.zeros(1, d, device=run.device)
        )
        over = self.over or sorted(
            codes.var(0, correction=0).argsort(descending=True, stable=True)[:MOST].tolist()
        )
        counts = {1: (1, 1, self.wide), 2: (1, self.wide, self.wide), 3: (self.slices, self.side, self.side)}[
            len(over)
        ]
        prior = isinstance(run.model, HasPrior) and is_standard_normal(run.model.prior())
        # From the last axis to the first: columns, rows from the top, squares.
        places = [self._places(codes[:, i], n, prior) for i, n in zip(over, reversed(counts), strict=False)]
        z = codes.mean(0).repeat(*counts, 1)
        for axis, (i, values) in enumerate(zip(over, places, strict=True)):
            values = values.flip(0) if axis == 1 else values
            z[..., i] = values.view([-1 if k == 2 - axis else 1 for k in range(3)])
        x = run.decode(z.flatten(0, 2)).unflatten(0, counts)

        flat = x.flatten(3).double()
        steps = torch.cat([(flat.diff(dim=axis)).norm(dim=-1).flatten() for axis in (1, 2)])
        test = run.x("test").flatten(1).double()
        noise = noise.to(run.device)
        a, b = (test[noise.integers(name, len(test), (self.pairs,))] for name in ("first", "second"))
        apart = (a - b).norm(dim=1)
        metrics = {}
        if apart.any():
            mean = bootstrap_means(
                lambda m: steps.mean().to(m.device) / m, apart.unsqueeze(1), noise, self.resamples
            )[0]
            metrics = {"step.mean": mean, "step.worst": Estimate((steps.max() / apart.mean()).item())}
        where = "quantiles of the prior N(0, 1)" if prior else "quantiles of the training codes"
        notes = [
            f"Places: {where}, {' x '.join(str(len(values)) for values in places)} of latent "
            f"{', '.join(map(str, over))}."
        ]
        if d > len(over):
            notes.append(
                f"The other {d - len(over)} latent variables stay at the "
                f"{'mean training code' if len(codes) > 1 else 'origin'}."
            )
        table = pd.DataFrame(
            [(i, k, v) for i, values in zip(over, places, strict=True) for k, v in enumerate(values.tolist())]
        )
        arrays = {"over": np.array(over), "value_range": np.array(run.data.value_range, np.float64)}
        if run.data.is_image:
            arrays["map"] = x.cpu().float().numpy()
        return Report(
            metrics,
            {"places": table.set_axis(["latent", "place", "value"], axis=1)},
            arrays,
            notes=tuple(notes),
        )

    def _places(self, codes: Tensor, n: int, prior: bool) -> Tensor:
        """n values that divide one variable into equal shares of samples."""
        shares = (torch.arange(n, device=codes.device, dtype=torch.float64) + 0.5) / n
        if prior:
            return Normal(torch.zeros_like(shares[0]), 1.0).icdf(shares).float()
        return torch.quantile(codes.double(), shares).float()

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        if "map" not in report.arrays:
            return {}
        over, table = report.arrays["over"].tolist(), report.tables["places"]
        values = [table.loc[table["latent"] == i, "value"].to_numpy() for i in over]
        titles = [f"z{over[2]} = {value:.2f}" for value in values[2]] if len(over) == MOST else [""]
        axes = [f"z{i}: {v[0]:.2f} to {v[-1]:.2f}" for i, v in zip(over[:2], values, strict=False)]
        caption = "What places of latent space decode to. " + " ".join(report.notes)
        if len(over) == MOST:
            caption += f" Each square is a slice at one value of z{over[2]}."
        return {
            "map": Picture(
                squares(report.arrays["map"], tuple(report.arrays["value_range"]), titles, axes), caption
            )
        }
