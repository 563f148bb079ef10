"""Samples of the model, held against the data they were learnt from."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Ge
from latentrun.data.base import Dataset, Oracle
from latentrun.diagnostics.base import Diagnostic, check_samples
from latentrun.diagnostics.needs import ENCODER, GENERATOR, IMAGES, ORACLE
from latentrun.functional.clouds.neighbours import nearest
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.intervals import bootstrap_each, mean_and_tail, mean_interval
from latentrun.models.base import Model
from latentrun.plotting.images import grid, strips
from latentrun.plotting.style import PALETTE, figure
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

CLOSE = 0.05  # quantile of the held-out distances below which a sample counts as a copy or a duplicate
PLOTTED = 3  # vector data of at most so many dimensions are drawn as points
POINTS = 2000  # training rows in that picture


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
    the nearest member of the data's family as a share of the picture's norm, over all n samples.

    Intervals: bootstrap over samples and test rows together (comparisons; for ``duplicates`` rough, as
    distances within a set depend on each other) and over samples (percentiles), normal approximation (means
    and shares of the oracle). They hold for these training examples and this model.
    """

    uses = (GENERATOR, ENCODER, ORACLE, IMAGES)
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
            "zero"
        ),
        "inside": Metric("share of samples whose fitted factors lie within the data's ranges", 0, 1, "one"),
    }

    def __init__(
        self,
        n: Annotated[int, Ge(2)],
        k: Annotated[int, Ge(1)],
        resamples: Annotated[int, Ge(100)],
        grid: Annotated[int, Ge(1)],
        strips: Annotated[int, Ge(1)],
    ):
        self.n, self.k, self.resamples, self.grid, self.strips = n, k, resamples, grid, strips

    def check(self, model: Model, data: Dataset) -> None:
        check_samples(model)

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        x = run.decode(run.sample_codes(self.n, noise))
        train, test = run.x("train"), run.x("test")
        m = min(self.n, len(test))
        test = test[noise.permutation("test", len(test))[:m].to(test.device)]
        notes = [
            run.sampler_note,
            f"distances are Euclidean, over all dimensions of x; {m} test rows are the measure",
        ]

        distance, index = (values.cpu() for values in nearest(x, train, self.k))
        held = nearest(test, train, 1)[0][:, 0].cpu()
        others, held_others = (nearest(rows[:m], rows[:m], 1, same=True)[0].cpu() for rows in (x, test))
        own = distance[:, 0]
        some = own[noise.permutation("pairs", self.n)[:m].cpu()]
        metrics = dict(
            zip(("distance_ratio", "copies"), self._against(some, held, noise.at("training")), strict=True)
        )
        if m > 1:
            metrics["duplicates"] = self._against(others[:, 0], held_others[:, 0], noise.at("others"))[1]
        if m < self.n:
            notes.append(
                f"there are fewer test rows than samples: the comparisons use {m} of the {self.n} samples"
            )

        rows = run.data.split("train").index
        table = pd.DataFrame(
            {"sample": np.arange(self.n), "neighbour": rows[index[:, 0]].numpy(), "distance": own.numpy()}
        )
        table["other_sample"] = pd.Series(others.flatten().numpy())
        if isinstance(run.data, Oracle):
            fits = run.data.project(x)
            residual, inside = fits.residual.cpu().double(), fits.inside.cpu()
            table["residual"], table["inside"] = residual.numpy(), inside.numpy()
            table[[f"fitted.{factor.name}" for factor in run.data.factors]] = fits.factors.cpu().numpy()
            tail = mean_and_tail(residual, noise.at("residual"), self.resamples)
            metrics |= {f"residual.{part}": estimate for part, estimate in tail.items()}
            metrics["inside"] = mean_interval(inside)
        ends = torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64)
        kinds = {
            "sample to training": own,
            "test to training": held,
            "sample to sample": others.flatten(),
            "test to test": held_others.flatten(),
        }
        summary = pd.DataFrame(
            [
                (name, len(d), *torch.quantile(d, ends).tolist(), d.mean().item())
                for name, d in kinds.items()
                if len(d)
            ],
            columns=["distance", "n", "q05", "median", "q95", "mean"],
        )

        # From the closest to the farthest, evenly: the first rows would show copies.
        shown = own.argsort()[torch.linspace(0, self.n - 1, min(self.strips, self.n)).round().long()]
        arrays = {
            "samples": x[: self.grid].cpu().float().numpy(),
            "shown": x[shown.to(x.device)].cpu().float().numpy(),
            "neighbours": train[index[shown].to(train.device)].cpu().float().numpy(),
            "shown_distance": distance[shown].numpy(),
            "sample_distance": own.numpy(),
            "test_distance": held.numpy(),
            "value_range": np.array(run.data.value_range, np.float64),
        }
        if x.ndim == 2 and x.shape[1] <= PLOTTED:
            arrays["samples"] = x.cpu().float().numpy()
            arrays["data"] = (
                train[noise.permutation("data", len(train))[:POINTS].to(train.device)].cpu().numpy()
            )
        return Report(
            metrics=metrics, tables={"samples": table, "summary": summary}, arrays=arrays, notes=tuple(notes)
        )

    def _against(self, own: Tensor, held: Tensor, noise: Noise) -> list[Estimate]:
        """Ratio of medians, and the share of ``own`` below the 5 % quantile of ``held`` or 0: an exact copy
        is one whatever the data do. Two independent sets ``(m,)`` in random order, so their rows may be
        resampled together."""
        rank = max(
            1, round(CLOSE * (len(held) + 1))
        )  # so that the share expected of fresh data is 5 % exactly

        def statistics(rows: Tensor) -> Tensor:
            own, held = rows.unbind(2)
            close = (own < held.kthvalue(rank, dim=1, keepdim=True).values) | (own == 0)
            return torch.stack((own.median(1).values / held.median(1).values, close.double().mean(1)), 1)

        return bootstrap_each(statistics, torch.stack((own, held), 1), noise, self.resamples)

    # ---------------------------------------------------------------- pictures
    def plot(self, report: Report) -> dict[str, Picture]:
        arrays = report.arrays
        found = {"distances": self._distances(report)}
        value_range = tuple(arrays["value_range"])
        source = report.notes[0]
        if arrays["samples"].ndim == 4:
            text = f"{len(arrays['samples'])} samples in no order: means of p(x|z), without noise ({source})."
            found["grid"] = Picture(grid(arrays["samples"], value_range), text)
            rows = [
                (f"{near[0]:.2f}", np.concatenate((own[None], others)))
                for near, own, others in zip(
                    arrays["shown_distance"], arrays["shown"], arrays["neighbours"], strict=True
                )
            ]
            k = arrays["neighbours"].shape[1]
            labels = ["sample", *(f"{i + 1}." for i in range(k))]
            found["neighbours"] = Picture(
                strips(rows, value_range, columns=labels, lead=1),
                f"Samples (left) and their {k} nearest training examples in data space, nearest "
                "first. The rows go evenly from the sample "
                "closest to a training example to the farthest of all samples; the number is the "
                "distance to the nearest.",
            )
        elif "data" in arrays:
            found["points"] = self._points(arrays["data"], arrays["samples"], source)
        return found

    def _distances(self, report: Report) -> Picture:
        own, held = report.arrays["sample_distance"], report.arrays["test_distance"]
        fig, axes = figure(1, 1, width=4.2, height=2.8)
        ax = axes[0, 0]
        top = np.quantile(np.concatenate((own, held)), 0.995)
        bins = np.linspace(0, top if top > 0 else 1.0, 41)
        for values, colour, label, fill in (
            (held, PALETTE[6], "test rows", True),
            (own, PALETTE[0], "samples", False),
        ):
            weights = np.full(len(values), 1 / len(values))
            style = (
                {"histtype": "stepfilled", "alpha": 0.5} if fill else {"histtype": "step", "linewidth": 1.5}
            )
            ax.hist(np.minimum(values, bins[-1]), bins, weights=weights, color=colour, label=label, **style)
        ax.axvline(
            np.quantile(held, CLOSE), color=PALETTE[1], linestyle="--", linewidth=1, label="5 % of test rows"
        )
        ax.set(xlabel="distance to the nearest training example", ylabel="share", xlim=(0, bins[-1]))
        ax.legend(fontsize=8, frameon=False)
        ratio = report.metrics["distance_ratio"]
        return Picture(
            fig,
            "Euclidean distance to the nearest training example, for samples and for test rows. "
            "Samples left of the dashed line are closer "
            f"than 95 % of test rows. Ratio of medians {ratio.value:.2f}{_between(ratio)}. The last "
            "bin holds what lies beyond.",
        )

    def _points(self, data: np.ndarray, samples: np.ndarray, source: str) -> Picture:
        d = data.shape[1]
        if d == 1:
            fig, axes = figure(1, 1, width=4.2, height=2.8)
            bins = np.histogram_bin_edges(np.concatenate((data, samples)), 50)
            axes[0, 0].hist(
                data[:, 0], bins, density=True, color=PALETTE[6], alpha=0.5, label="training data"
            )
            axes[0, 0].hist(
                samples[:, 0], bins, density=True, histtype="step", color=PALETTE[0], label="samples"
            )
            axes[0, 0].set(xlabel="x0", ylabel="density")
            axes[0, 0].legend(fontsize=8, frameon=False)
            return Picture(fig, f"Samples ({source}) over training data.")
        planes = [(i, j) for i in range(d) for j in range(i + 1, d)]
        fig, axes = figure(1, len(planes), width=3.0, height=3.0)
        for ax, (i, j) in zip(axes[0], planes, strict=True):
            ax.scatter(
                data[:, i],
                data[:, j],
                s=5,
                color="0.75",
                linewidths=0,
                label="training data",
                rasterized=True,
            )
            ax.scatter(
                samples[:, i],
                samples[:, j],
                s=5,
                color=PALETTE[0],
                linewidths=0,
                alpha=0.7,
                label="samples",
                rasterized=True,
            )
            ax.set(xlabel=f"x{i}", ylabel=f"x{j}")
            ax.set_aspect("equal", "datalim")
        fig.legend(
            *axes[0, 0].get_legend_handles_labels(),
            loc="outside upper center",
            ncols=2,
            markerscale=2,
            fontsize=8,
            frameon=False,
        )
        return Picture(
            fig, f"Samples ({source}) over up to {POINTS:,} training rows, in every plane of two components."
        )


def _between(estimate: Estimate) -> str:
    return "" if estimate.low is None else f" (95 % interval {estimate.low:.2f} to {estimate.high:.2f})"
