"""Samples of the model, held against the data they were learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Count
from latentrun.data.base import Dataset, HasSupport, Oracle
from latentrun.diagnostics.base import Diagnostic, check_samples, outline_of
from latentrun.diagnostics.needs import ENCODER, GENERATOR, IMAGES, ORACLE, SUPPORT
from latentrun.diagnostics.samples.samples_plot import POINTS, sample_pictures
from latentrun.functional.clouds.neighbours import nearest
from latentrun.functional.noise import Noise
from latentrun.functional.spacing import evenly
from latentrun.functional.statistics.intervals import bootstrap, share_interval
from latentrun.functional.statistics.methods import EXAMPLES
from latentrun.functional.statistics.quantiles import mean_and_tail, ratio_of_medians
from latentrun.judgement import Again, Condition, Further, Rule, Weight, times
from latentrun.models.base import HasLikelihood, Model
from latentrun.run import Run
from latentrun.types import Estimate, Factor, Metric, Picture, Projection, Report

CLOSE = 0.05  # quantile of the held-out distances below which a sample counts as a copy or a duplicate


class Samples(Diagnostic):
    """What do samples look like, and do they copy training examples or leave the data?

    n codes from the prior (or from the Gaussian that stands in for it) are decoded. d(x) is the Euclidean
    distance of x to its nearest training example, over all dimensions, in data units. m = min(n, number of
    test rows) test rows, drawn without replacement, say what d is for examples the model has not seen; m
    samples are compared with them: ``distance_ratio`` = median d(sample) / median d(test): 1 like fresh data;
    far below 1 the samples are copies, or smoother than the data (a decoded mean carries no noise); above 1
    they lie off the data. ``copies`` = share of samples with d below the 5 % quantile of the test rows' d, or
    0: 0.05 for fresh data (more where the data hold duplicates, or lie on a grid of factors and so leave gaps
    that samples may fill). ``duplicates`` = the same for distances among m samples, against distances among
    the m test rows: above 0.05 the samples repeat themselves. With an oracle also the residual: distance to
    the nearest member of the data's family as a share of the picture's norm, over all n samples; and where it
    is known which examples are possible, the share of all n samples that are not: ``impossible.samples``, and
    ``impossible.draws`` of one draw from p(x|z) at each code, where the model has one.

    Intervals: order statistics for ``distance_ratio`` and percentiles; bootstrap over samples and test rows
    together for ``copies``, over pairs of them for ``duplicates`` (two that are each other's nearest have one
    distance), Wilson's where no resample moves them and for shares of all samples; Student's corrected for
    skewness for means. They hold for these training examples and this model.
    """

    uses = (GENERATOR, ENCODER, ORACLE, SUPPORT, IMAGES)
    metrics: ClassVar = {
        "distance_ratio": Metric(
            "median distance to the nearest training example, samples over test rows", 0, None, "one"
        ),
        "copies": Metric(
            "share of samples closer to a training example than 95 % of test rows are", 0, 1, "none"
        ),
        "duplicates": Metric(
            "share of samples closer to another sample than 95 % of test rows are to another", 0, 1, "none"
        ),
        "residual": Metric(
            "distance to the family as a share of the picture's norm; mean, percentiles over samples",
            0,
            None,
            "zero",
        ),
        "inside": Metric("share of samples whose fitted factors lie within the data's ranges", 0, 1, "one"),
        "impossible": Metric(
            "share that break a rule of the data, of samples and of draws from p(x|z) at their codes",
            0,
            1,
            "zero",
        ),
    }
    rules: ClassVar = (
        Rule(
            "samples_off_data",
            Weight.PROBLEM,
            (Condition("distance_ratio", over=1.5),),
            lambda m: (
                f"Samples lie {times(m['distance_ratio'])} as far from the training data as test rows do."
            ),
            (Further("task=diagnose diagnostic=[two_sample]"),),
        ),
        Rule(
            "samples_are_copies",
            Weight.PROBLEM,
            (Condition("distance_ratio", under=0.2), Condition("copies", over=0.5)),
            lambda m: (
                f"Samples are copies: {m['copies']:.0%} of them lie on a training example, or closer to one "
                "than nearly all test rows do."
            ),
            (Again("model.latent_dim", 0.5),),
        ),
        Rule(
            "impossible_samples",
            Weight.PROBLEM,
            (Condition("impossible.samples", over=0.01),),  # of data it is 0
            lambda m: (
                f"{m['impossible.samples']:.0%} of the samples could not be data: they break its rules."
            ),
            (Further("task=diagnose diagnostic=[impossible]"),),
        ),
        Rule(
            "impossible_draws",
            Weight.PROBLEM,
            (Condition("impossible.draws", over=0.01),),
            lambda m: (
                f"{m['impossible.draws']:.0%} of the draws from p(x|z) at codes of the prior could not be "
                "data: they break its rules."
            ),
            (Further("task=diagnose diagnostic=[impossible]"),),
        ),
    )

    def __init__(
        self,
        n: Annotated[int, Count(2)],
        k: Annotated[int, Count(1, 10_000)],
        resamples: Annotated[int, Count(100, 100_000)],
        grid: Annotated[int, Count(1, 10_000)],
        strips: Annotated[int, Count(1, 10_000)],
    ):
        self.n, self.k, self.resamples, self.grid, self.strips = n, k, resamples, grid, strips

    def check(self, model: Model, data: Dataset) -> None:
        check_samples(model)

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        z = run.sample_codes(self.n, noise)
        x = run.decode(z)
        train, test = run.x("train"), run.x("test")
        m = min(self.n, len(test))
        test = test[noise.permutation("test", len(test))[:m].to(test.device)]
        distances = measure_distances(x, train, test, self.k)
        metrics, table = self._compare(distances, noise), self._table(run, distances)
        notes = [
            run.sampler_note,
            f"distances are Euclidean, over all dimensions of x; {m} test rows are the measure",
        ]
        if m < self.n:
            notes.append(
                f"there are fewer test rows than samples: the comparisons use {m} of the {self.n} samples"
            )
        if isinstance(run.data, Oracle):
            metrics |= self._off_family(run.data.project(x), run.data.factors, table)
        if isinstance(run.data, HasSupport):
            metrics |= self._impossible(run, run.data, z, x, table, noise)
        tables = {"samples": table, "summary": summary(distances)}
        return Report(metrics, tables, self._arrays(run, x, distances, noise), notes=tuple(notes))

    def _compare(self, distances: Distances, noise: Noise) -> dict[str, Estimate]:
        """Samples against test rows: as many of them, drawn at random."""
        rows = noise.permutation("pairs", self.n)[: len(distances.test)].cpu()
        samples = distances.samples[rows]
        metrics = {
            "distance_ratio": ratio_of_medians(samples, distances.test),
            "copies": close_share(samples, distances.test, noise.at("training"), self.resamples),
        }
        if len(distances.test) > 1:
            among_samples, among_test = distances.among_samples.flatten(), distances.among_test.flatten()
            metrics["duplicates"] = close_share(
                among_samples, among_test, noise.at("others"), self.resamples, mutual=True
            )
        return metrics

    def _table(self, run: Run, distances: Distances) -> pd.DataFrame:
        """A row for each sample; the distance to another sample of the first m."""
        index = run.data.split("train").index
        columns = {
            "sample": np.arange(self.n),
            "neighbour": index[distances.neighbours[:, 0]].numpy(),
            "distance": distances.samples.numpy(),
        }
        table = pd.DataFrame(columns)
        table["other_sample"] = pd.Series(distances.among_samples.flatten().numpy())
        return table

    def _off_family(
        self, fits: Projection, factors: Sequence[Factor], table: pd.DataFrame
    ) -> dict[str, Estimate]:
        """The members of the family fitted to the samples: columns of the table, and how far the samples lie
        from them."""
        residual, inside = fits.residual.cpu().double(), fits.inside.cpu()
        table["residual"], table["inside"] = residual.numpy(), inside.numpy()
        table[[f"fitted.{factor.name}" for factor in factors]] = fits.factors.cpu().numpy()
        tail = mean_and_tail(residual, over="samples")
        metrics = {f"residual.{part}": estimate for part, estimate in tail.items()}
        return metrics | {"inside": share_interval(int(inside.sum()), len(inside), "samples")}

    def _impossible(
        self, run: Run, data: HasSupport, z: Tensor, x: Tensor, table: pd.DataFrame, noise: Noise
    ) -> dict[str, Estimate]:
        """The shares of the samples x, a column of the table, and of draws from p(x|z) that break a rule."""
        sources = {"samples": x}
        if isinstance(run.model, HasLikelihood):
            sources["draws"] = run.draw(z, noise)
        possible = {name: data.possible(values).cpu() for name, values in sources.items()}
        table["possible"] = possible["samples"].numpy()
        return {
            f"impossible.{name}": share_interval(int((~are).sum()), len(are), "samples")
            for name, are in possible.items()
        }

    def _arrays(self, run: Run, x: Tensor, distances: Distances, noise: Noise) -> dict[str, np.ndarray]:
        """What the pictures need."""
        train = run.x("train")
        # From the closest to the farthest, evenly: the first rows would show copies.
        places = evenly(self.n, self.strips)
        shown = distances.samples.argsort(stable=True)[places]
        arrays = {
            "samples": x[: self.grid].cpu().float().numpy(),
            "shown": x[shown.to(x.device)].cpu().float().numpy(),
            "neighbours": train[distances.neighbours[shown].to(train.device)].cpu().float().numpy(),
            "shown_distance": distances.nearest[shown].numpy(),
            "sample_distance": distances.samples.numpy(),
            "test_distance": distances.test.numpy(),
            "value_range": np.array(run.data.value_range, np.float64),
        }
        outline = outline_of(run.data)
        if outline:  # points of few dimensions
            test = run.x("test")
            rows = noise.permutation("data", len(test))[:POINTS].to(test.device)
            arrays["samples"] = x[:POINTS].cpu().float().numpy()
            arrays["data"] = test[rows].cpu().numpy()
        return arrays | outline

    # ---------------------------------------------------------------- pictures
    def plot(self, report: Report) -> dict[str, Picture]:
        return sample_pictures(report, CLOSE)


@dataclass(frozen=True)
class Distances:
    """Euclidean distances on the CPU: ``nearest (n, k)`` of the samples to their nearest training examples
    ``neighbours (n, k)``, rows of the split; ``test (m,)`` of test rows to the nearest training example;
    ``among_samples`` and ``among_test (m, 1)`` to the nearest other one of the first m samples, or of the
    test rows (empty for m = 1)."""

    nearest: Tensor
    neighbours: Tensor
    test: Tensor
    among_samples: Tensor
    among_test: Tensor

    @property
    def samples(self) -> Tensor:
        """Of the samples to the nearest training example, ``(n,)``."""
        return self.nearest[:, 0]


def measure_distances(x: Tensor, train: Tensor, test: Tensor, k: int) -> Distances:
    """Of samples ``x (n, *event_shape)`` and m <= n test rows."""
    distance, rows = (values.cpu() for values in nearest(x, train, k))
    m = len(test)
    among_samples, among_test = (
        nearest(examples[:m], examples[:m], 1, same=True)[0].cpu() for examples in (x, test)
    )
    return Distances(distance, rows, nearest(test, train, 1)[0][:, 0].cpu(), among_samples, among_test)


def close_share(
    samples: Tensor, test: Tensor, noise: Noise, resamples: int, mutual: bool = False
) -> Estimate:
    """The share of the distances ``samples (m,)`` below the 5 % quantile of ``test (m,)`` or 0: an exact copy
    is one whatever the data do. Two independent sets in random order, so their rows may be resampled
    together.

    ``mutual``: distances to the nearest other one of the same set. Two that are each other's nearest have the
    same, as nearly all of the closest are, so m distances say as much as m / 2: pairs of them are resampled,
    one beside the other in their order.
    """

    def share(rows: Tensor) -> Tensor:
        """Of resamples ``(B, n, 2 k)``, k numbers of either set a row."""
        samples, test = (part.flatten(1) for part in rows.chunk(2, dim=2))
        # So that the share expected of fresh data is 5 % exactly.
        rank = max(1, round(CLOSE * (test.shape[1] + 1)))
        close = (samples < test.kthvalue(rank, dim=1, keepdim=True).values) | (samples == 0)
        return close.double().mean(1)

    units, over = torch.stack((samples, test), 1), EXAMPLES
    value = share(units[None]).item()
    if mutual:
        whole = len(samples) // 2 * 2
        pairs, test_pairs = (values.sort().values[:whole].view(-1, 2) for values in (samples, test))
        order = noise.permutation("pairs", len(pairs)).cpu()
        units, over = torch.cat((pairs, test_pairs[order]), 1), f"pairs of {EXAMPLES}"
    found = bootstrap(share, units, noise, resamples, over)
    if found.low is None or found.high is None:  # none or all in every resample: as if the limit were given
        return share_interval(round(value * len(units)), len(units), over)
    return Estimate(value, min(found.low, value), max(found.high, value), found.method)


def summary(distances: Distances) -> pd.DataFrame:
    """How the distances of each kind are spread."""
    kinds = {
        "sample to training": distances.samples,
        "test to training": distances.test,
        "sample to sample": distances.among_samples.flatten(),
        "test to test": distances.among_test.flatten(),
    }
    quantiles = torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64)
    rows = [
        (name, len(values), *torch.quantile(values, quantiles).tolist(), values.mean().item())
        for name, values in kinds.items()
        if len(values)
    ]
    return pd.DataFrame(rows, columns=["distance", "n", "q05", "median", "q95", "mean"])
