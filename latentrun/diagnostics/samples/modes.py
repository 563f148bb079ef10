"""Modes of a known law: which of them samples find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Count
from latentrun.data.base import Dataset, Oracle
from latentrun.diagnostics.base import Diagnostic, check_samples
from latentrun.diagnostics.needs import ENCODER, GENERATOR
from latentrun.diagnostics.samples.modes_plot import mode_pictures
from latentrun.errors import NothingToMeasure
from latentrun.functional.clouds.modes import REACH, Sorted, sort_into, spread_of, unevenness
from latentrun.functional.noise import Noise
from latentrun.functional.spacing import evenly
from latentrun.functional.statistics.intervals import mean_interval, share_interval
from latentrun.functional.ties import principal_axes
from latentrun.models.base import Model
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Need, Picture, Report

DRAWN = 2500  # samples in a picture at most
EACH = "one value for the samples and one for test rows (data)"
BENCHMARK = "Srivastava et al. 2017, arXiv 1705.07761, section 4.1"


def has_modes(data: Dataset) -> bool:
    """Whether the family of the data is a finite number of members: its one factor is a category."""
    factors = data.factors
    finite = len(factors) == 1 and factors[0].kind == "categorical" and len(factors[0].classes) > 1
    return isinstance(data, Oracle) and finite


MODES = Need("data", has_modes, "a family of finitely many members (modes), such as points on a ring")


@dataclass(frozen=True)
class Modes:
    """Of the k modes of the data: ``names``, ``centres (k, D)``, how many training rows each has, ``rows
    (k,)``, and their ``spread``, a standard deviation in units of the data."""

    names: tuple[str, ...]
    centres: Tensor
    rows: Tensor
    spread: float


class ModesFound(Diagnostic):
    """Do samples find every mode of the data, as often as the data have them, and stay close to them?

    Of data whose family is a finite number of members, the modes, around which rows are scattered (points on
    a ring or a grid). n samples are decoded; each belongs to the mode whose centre is nearest, and is *good*
    within 3 standard deviations of it. The standard deviation is that of the training rows around their
    modes, where it is largest among all directions. Of a two-dimensional normal 1 - exp(-9/2) = 0.989 are
    good, of one in three dimensions 0.971.

    ``found``: modes with at least one good sample, as the benchmark counts them: one good sample in 2,500 is
    enough, so read ``unevenness`` beside it. ``good``: share of good samples. ``unevenness``: KL of the
    shares of samples in each mode against those of the data. ``width``: mean squared distance of good samples
    from their modes over that of good test rows: below 1 each mode is drawn too narrow, 0 a point. Each for
    as many test rows too, ``data``: what a perfect model has. Intervals (95 %) over samples, for this model.
    """

    requires = (MODES,)
    uses = (GENERATOR, ENCODER)
    metrics: ClassVar = {
        "found": Metric(f"modes with at least one good sample; {EACH}", 0, None, "higher", BENCHMARK),
        "share_found": Metric(f"share of modes with at least one good sample; {EACH}", 0, 1, "higher"),
        "good": Metric(
            f"share of samples within 3 standard deviations of a mode; {EACH}", 0, 1, "higher", BENCHMARK
        ),
        "unevenness": Metric(
            f"KL of samples against data over modes, nats, without the excess of few samples; {EACH}",
            None,
            None,
            "zero",
            "Lin et al. 2018, arXiv 1712.04086, section 4.1",
        ),
        "width": Metric(
            "mean squared distance of good samples from their modes over that of good test rows",
            0,
            None,
            "one",
        ),
    }

    def __init__(self, n: Annotated[int, Count(2)]):
        self.n = n

    def check(self, model: Model, data: Dataset) -> None:
        check_samples(model)

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        modes = self._modes(run)
        radius = REACH * modes.spread
        samples = run.decode(run.sample_codes(self.n, noise)).flatten(1)
        test = run.x("test").flatten(1)
        test = test[evenly(len(test), self.n).to(test.device)]
        made, data = (sort_into(modes.centres, x, radius) for x in (samples, test))
        of_samples, of_data = self._judged(made, modes), self._judged(data, modes)
        metrics = {}
        for name, estimate in of_samples.items():
            metrics |= {name: estimate, f"{name}.data": of_data[name]}
        squared = data.distance[data.good].square().mean()
        metrics["width"] = mean_interval(made.distance[made.good].square() / squared, "good samples")
        tables = {"modes": self._table(made, data, modes)}
        return Report(
            metrics, tables, self._arrays(samples, test, made, modes), notes=self._notes(run, modes)
        )

    def _modes(self, run: Run) -> Modes:
        data = run.data
        assert isinstance(data, Oracle)  # as it requires
        names = data.factors[0].classes
        every = torch.arange(len(names), dtype=torch.float64, device=run.device)
        centres = data.render(every[:, None]).flatten(1)
        x, mode = run.x("train").flatten(1), data.split("train").y[:, 0].round().long()
        rows = mode.bincount(minlength=len(names)).cpu()
        if not (rows > 0).all():
            raise NothingToMeasure("a mode has no training row")
        spread = spread_of(x, centres, mode)
        if not spread > 1e-6 * float(centres.std() + 1e-30):
            raise NothingToMeasure("the rows are the modes themselves: no sample would be as close to one")
        return Modes(names, centres, rows, spread)

    def _judged(self, rows: Sorted, modes: Modes) -> dict[str, Estimate]:
        k = len(modes.names)
        found = int((rows.good_counts(k) > 0).sum())
        return {
            "found": Estimate(float(found)),
            "share_found": Estimate(found / k),
            "good": share_interval(int(rows.good.sum()), len(rows.good)),
            "unevenness": unevenness(rows.mode, modes.rows),
        }

    # ---------------------------------------------------------------- telling
    def _table(self, made: Sorted, data: Sorted, modes: Modes) -> pd.DataFrame:
        """A row for each mode: shares of the training rows, of the samples and of test rows in it, and how
        many samples are good."""
        k = len(modes.names)
        return pd.DataFrame(
            {
                "mode": modes.names,
                "training": (modes.rows / modes.rows.sum()).numpy(),
                "samples": (made.counts(k) / len(made.mode)).numpy(),
                "test": (data.counts(k) / len(data.mode)).numpy(),
                "good": made.good_counts(k).numpy(),
            }
        )

    def _arrays(self, samples: Tensor, test: Tensor, made: Sorted, modes: Modes) -> dict[str, np.ndarray]:
        """What a picture in the plane needs: of data with more dimensions the two along which the centres
        spread most."""
        axes = torch.eye(samples.shape[1], 2, dtype=torch.float64)
        if samples.shape[1] > 2:
            apart = modes.centres.double() - modes.centres.double().mean(0)
            axes = torch.from_numpy(principal_axes(apart.T @ apart)[1][:, :2])
        flat = {"samples": samples[:DRAWN], "data": test[:DRAWN], "centres": modes.centres}
        arrays = {name: (x.double() @ axes.to(x.device)).float().cpu().numpy() for name, x in flat.items()}
        return arrays | {
            "good": made.good[:DRAWN].numpy(),
            "radius": np.array(REACH * modes.spread),
            "turned": np.array(samples.shape[1] > 2),
        }

    def _notes(self, run: Run, modes: Modes) -> tuple[str, ...]:
        notes = [
            run.sampler_note,
            f"{len(modes.names)} modes; standard deviation of the training rows around them "
            f"{modes.spread:.4g}, in units of the data; {self.n:,} samples",
        ]
        apart = torch.nn.functional.pdist(modes.centres.double()).min().item()
        if apart < 2 * REACH * modes.spread:
            notes.append(f"modes overlap: two are {apart:.3g} apart, less than 6 standard deviations")
        return tuple(notes)

    def plot(self, report: Report) -> dict[str, Picture]:
        return mode_pictures(report)
