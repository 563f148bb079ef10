"""Exact densities of held-out examples."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, prod
from typing import Annotated, ClassVar

import pandas as pd
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from latentrun.config.bounds import Count
from latentrun.diagnostics.base import Diagnostic
from latentrun.diagnostics.evidence.log_likelihood_plot import density_picture
from latentrun.diagnostics.needs import LABELS, LOG_PROB
from latentrun.errors import NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.functional.spacing import evenly
from latentrun.functional.statistics.intervals import difference_interval, interval_columns, mean_interval
from latentrun.models.base import HasLevels, HasLogProb
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

SPLITS = ("train", "test")
NATS = "nats per example, mean over examples"
WIDE = 2048  # dimensions up to which the baseline has a full covariance
NEAR = 1e-3  # of a level: how far a value may be from one


@dataclass(frozen=True)
class Densities:
    """log p of N rows of a split, of the model and of the normal fitted to the training rows, each ``(N,)``
    float64 in nats, with all constants, and the rows' ``index`` and ``labels`` (or None)."""

    model: Tensor
    baseline: Tensor
    index: Tensor
    labels: Tensor | None


@dataclass(frozen=True)
class Cells:
    """What noise rows get: of one ``step`` between levels that begin at ``low``; None for none."""

    low: float
    step: float | None

    @property
    def log_step(self) -> float:
        return 0.0 if self.step is None else log(self.step)

    def filled(self, x: Tensor, noise: Noise) -> Tensor:
        """Rows on levels, spread evenly over the cells around these; NothingToMeasure where they are on
        none."""
        if self.step is None:
            return x
        level = (x - self.low) / self.step
        if (level - level.round()).abs().max() > NEAR or level.min() < -NEAR:
            raise NothingToMeasure(
                f"values are not even levels, {self.step:.4g} apart, from {self.low:g} on: set "
                "diagnostic.log_likelihood.levels to their number, or to null"
            )
        u = noise.to(x.device).uniform("levels", tuple(x.shape))
        return self.low + self.step * (level.round() + u - 0.5)

    def unit(self, d: int) -> str:
        """What log p means, in words."""
        if self.step is None:
            return f"log p is a density of x in data units, over D = {d:,} dimensions; bits can be below 0."
        return (
            f"log p is that of x with uniform noise of one step between levels ({self.step:.4g}), in cells "
            f"of that width in each of D = {d:,} dimensions: bits bound those of the levels from above."
        )


class LogLikelihood(Diagnostic):
    """How probable are held-out examples under a model that knows its density exactly?

    ``log_prob`` = log p(x) in nats per example, of up to ``rows`` rows of the training and of the test split,
    evenly spaced; ``bits`` = -log p(x) / (D ln 2), bits per data dimension; ``gap`` = mean of the training
    rows less that of the test rows. ``baseline``: log p of the test rows under the normal with mean and full
    covariance of all training rows (of the diagonal alone beyond 2,048 dimensions, or where there are fewer
    than two training rows for each); ``gain`` = log_prob less that, example by example. ``class``: log_prob
    of the test rows of each class. ``zero``: share of the test rows whose density is 0 or not finite; means
    are over the others.

    These are densities of x in data units: they change with the unit, and bits below 0 mean no more than a
    density above 1. Data on ``levels`` even levels (256 for pictures; null where they are on none, or where
    the model says its own) get uniform noise of one step of them on every value, and log p becomes log p(x +
    noise) + D log step: the mean bounds the log probability of the levels themselves from below, so bits
    bound theirs from above (Theis et al. 2016, arXiv 1511.01844, section 3.1) and compare with published
    ones, if the model was trained on such rows.

    Intervals: Student's corrected for skewness, over examples; Welch's for ``gap``.
    """

    requires = (LOG_PROB,)
    uses = (LABELS,)
    metrics: ClassVar = {
        "log_prob": Metric(f"{NATS}, log p of `train`, `test`", better="higher"),
        "bits": Metric("bits per data dimension, of `train`, `test`: -log p over D ln 2", better="lower"),
        "gap": Metric("nats per example, mean log p of training less that of test rows", better="zero"),
        "baseline": Metric(f"{NATS}, log p of test rows under a normal fitted to the training rows"),
        "gain": Metric(f"{NATS}, log p of test rows less that of the baseline", better="higher"),
        "class": Metric(f"{NATS}, log p of test rows of the class", better="higher"),
        "zero": Metric("share of test rows of density 0, or none that is finite", 0, 1, "zero"),
    }

    def __init__(self, rows: Annotated[int, Count(2)], levels: Annotated[int, Count(2, 65_536)] | None):
        self.rows, self.levels = rows, levels

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        cells = self._cells(run)
        law, words = baseline(cells.filled(run.x("train"), noise.at("train")))
        found = {split: self._densities(run, split, law, cells, noise) for split in SPLITS}
        d = prod(run.data.event_shape)
        kept = {split: finite(densities) for split, densities in found.items()}
        if not all(len(densities.model) for densities in kept.values()):
            raise NothingToMeasure("the model gives no row a density above 0")
        metrics = {f"log_prob.{split}": mean_interval(kept[split].model) for split in reversed(SPLITS)}
        metrics |= {
            f"bits.{split}": mean_interval(-kept[split].model / (d * log(2))) for split in reversed(SPLITS)
        }
        test = kept["test"]
        metrics |= {
            "gap": difference_interval(kept["train"].model, test.model),
            "baseline": mean_interval(test.baseline),
            "gain": mean_interval(test.model - test.baseline),
            "zero": mean_interval((~found["test"].model.isfinite()).double()),
        }
        by_class = self._by_class(run, test)
        metrics |= {f"class.{name}": estimate for name, estimate in by_class.items()}
        tables = {
            "examples": pd.concat([example_table(split, found[split]) for split in SPLITS], ignore_index=True)
        }
        if by_class:
            columns = {"class": list(by_class)} | interval_columns("log_prob", [*by_class.values()])
            tables["classes"] = pd.DataFrame(columns)
        return Report(metrics, tables, notes=(cells.unit(d), words))

    def _cells(self, run: Run) -> Cells:
        """Of the levels that the model says, else of those of the settings."""
        low, high = run.data.value_range
        step = run.model.step if isinstance(run.model, HasLevels) else None
        if step is None and self.levels is not None:
            step = (high - low) / (self.levels - 1)
        return Cells(low, step)

    def _densities(
        self, run: Run, split: str, law: MultivariateNormal, cells: Cells, noise: Noise
    ) -> Densities:
        assert isinstance(run.model, HasLogProb)
        rows, whole = run.data.split(split), run.x(split)
        at = evenly(len(whole), self.rows)
        x = cells.filled(whole[at.to(whole.device)], noise.at(split, "rows"))
        size = prod(run.data.event_shape) * cells.log_step
        model = torch.cat(run.chunked(run.model.log_prob, x)).double().cpu() + size
        normal = torch.cat(run.chunked(lambda part: law.log_prob(part.flatten(1).double()), x)).cpu() + size
        labels = None if rows.labels is None else rows.labels[at]
        return Densities(model, normal, rows.index[at], labels)

    def _by_class(self, run: Run, test: Densities) -> dict[str, Estimate]:
        """log p of the test rows of each class that occurs, by its name."""
        if test.labels is None:
            return {}
        factor = next(factor for factor in run.data.factors if factor.name == run.data.label)
        present = {name: test.labels == i for i, name in enumerate(factor.classes)}
        return {name: mean_interval(test.model[rows]) for name, rows in present.items() if rows.any()}

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        return {"densities": density_picture(report.tables["examples"], report.metrics, report.notes[0])}


def finite(densities: Densities) -> Densities:
    """The rows whose density under the model is finite and above 0."""
    rows = densities.model.isfinite()
    labels = None if densities.labels is None else densities.labels[rows]
    return Densities(densities.model[rows], densities.baseline[rows], densities.index[rows], labels)


def baseline(x: Tensor) -> tuple[MultivariateNormal, str]:
    """The normal with mean and covariance of rows ``x (N, *event_shape)``, float64, and its words."""
    flat = x.flatten(1).double()
    n, d = flat.shape
    full = d <= WIDE and n >= 2 * d
    covariance = torch.cov(flat.T).reshape(d, d) if full else torch.diag(flat.var(0))
    # A little width in every direction: rows may lie in a plane.
    width = 1e-9 * float(1 + covariance.trace() / d)
    eye = torch.eye(d, dtype=flat.dtype, device=flat.device)
    scale = torch.linalg.cholesky(covariance + width * eye)
    words = "full covariance" if full else "the diagonal of the covariance alone"
    return MultivariateNormal(
        flat.mean(0), scale_tril=scale
    ), f"Baseline: a normal with {words} of {n:,} rows."


def example_table(split: str, densities: Densities) -> pd.DataFrame:
    """A row for each example."""
    columns = {"split": split, "index": densities.index.numpy(), "log_prob": densities.model.numpy()}
    return pd.DataFrame(columns | {"baseline": densities.baseline.numpy()})
