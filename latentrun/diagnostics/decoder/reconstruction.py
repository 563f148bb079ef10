"""The spread of reconstruction errors over examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Count
from latentrun.data.base import Dataset, Oracle
from latentrun.data.formats.columns import decode
from latentrun.diagnostics.base import Diagnostic
from latentrun.diagnostics.decoder.reconstruction_plot import reconstruction_pictures
from latentrun.diagnostics.needs import ENCODER, FACTORS, IMAGES, LABELS, ORACLE
from latentrun.functional.noise import Noise
from latentrun.functional.spacing import evenly
from latentrun.functional.statistics.dependence import FLAT, targets
from latentrun.functional.statistics.intervals import bootstrap_means, interval_columns, mean_interval
from latentrun.functional.statistics.moments import central_powers, shape_statistics
from latentrun.functional.statistics.probes import Score, accuracy, combined, estimates, r2
from latentrun.functional.statistics.quantiles import (
    mean_and_tail,
    quantile_interval,
    quantile_ratio,
    ranks,
)
from latentrun.run import CHUNK, Run
from latentrun.types import Column, Estimate, Latents, Metric, Picture, Report

NORM = "units of x, ||x - xhat||_F over all data dimensions of an example"
FAMILY = "part of the picture's norm, ||xhat - nearest member|| / ||xhat||"
HEAVY = "none: of heavy tails none would cover"
SHARES = {"median": 0.5, "p95": 0.95, "p99": 0.99, "p999": 0.999}


class Reconstruction(Diagnostic):
    """How well are examples reconstructed, and how are the errors spread?

    x_hat = decode(mean code of x). The error of an example is the Frobenius norm e = ||x - x_hat||_F, summed
    over all data dimensions (of pictures: channels and pixels) and not divided by their number. The
    statistics of e run over the rows of ``split``. ``unexplained`` = sum |x - x_hat|^2 / sum |x - mean x|^2
    over rows and dimensions: 0 perfect, 1 as good as always answering the split's mean picture. Data of a
    known family also get the distance of the reconstructions from that family. Tables get a score for each
    column: R² = 1 - sum (x - x_hat)^2 / sum (x - mean x)^2 of real and ordinal ones (of the expected level),
    for categorical ones the share of rows whose category is the most likely one, beside the share that the
    commonest category of the training rows would get.

    Intervals (95 %, over examples): Student's corrected for skewness for means, order statistics for
    percentiles and ``tail_ratio`` (with an open end where there are too few examples for the 99.9
    percentile), percentile bootstrap with ``resamples`` resamples for ratios and R². None for the maximum,
    skewness and kurtosis: of heavy tails no interval of these covers as it should (a bootstrap of the
    kurtosis of 2,375 lognormal values 70 %). ``worst``: how many of the worst rows are kept; ``shown``: how
    many pictures, evenly spread over the ranks of the error.
    """

    requires = (ENCODER,)
    uses = (ORACLE, IMAGES, FACTORS, LABELS)
    metrics: ClassVar = {
        "error_mean": Metric(NORM, 0.0, None, "lower"),
        "error_median": Metric(NORM, 0.0, None, "lower"),
        "error_sd": Metric(NORM + ", divisor N", 0.0, None, "none"),
        "error_skewness": Metric("pure number, m3 / m2^1.5", None, None, "none"),
        "error_excess_kurtosis": Metric("pure number, m4 / m2^2 - 3; 0 for a normal", -2.0, None, "none"),
        "error_p95": Metric(NORM, 0.0, None, "lower"),
        "error_p99": Metric(NORM, 0.0, None, "lower"),
        "error_p999": Metric(NORM, 0.0, None, "lower"),
        "error_max": Metric(NORM, 0.0, None, "lower"),
        "tail_ratio": Metric("pure number, 99.9 percentile / median of the error", 1.0, None, "lower"),
        "mse": Metric("squared units of x, mean over examples and data dimensions", 0.0, None, "lower"),
        "unexplained": Metric(
            "part of the split's total variance, mse / mean variance of a data dimension",
            0.0,
            None,
            "lower",
        ),
        "residual": Metric(FAMILY + "; mean and percentiles over examples", 0.0, None, "zero"),
        "column_r2": Metric("R², median over real and ordinal columns", None, 1.0, "higher"),
        "column_accuracy": Metric("share of rows, mean over categorical columns", 0.0, 1.0, "higher"),
        "column_baseline": Metric(
            "as column_accuracy, for the commonest category of the training rows", 0.0, 1.0, "none"
        ),
    }

    def __init__(
        self,
        split: Literal["train", "val", "test"],
        worst: Annotated[int, Count(1, 10_000)],
        shown: Annotated[int, Count(1, 10_000)],
        resamples: Annotated[int, Count(1, 100_000)],
    ):
        self.split, self.worst, self.shown, self.resamples = split, worst, shown, resamples

    # ---------------------------------------------------------------- measuring
    def __call__(self, run: Run, noise: Noise) -> Report:
        x, made, codes = run.x(self.split), run.reconstructions(self.split), run.latents(self.split)
        squares, totals = squared_errors(x, made)
        error = squares.sqrt()
        metrics = self._spread(error, noise.to("cpu")) | self._share(squares, totals, x[0].numel(), noise)
        columns = {"index": codes.index.cpu().numpy(), "error": error.float().numpy()}
        if isinstance(run.data, Oracle):
            with torch.no_grad():
                residual = run.data.project(made).residual.cpu().double()
            columns["residual"] = residual.numpy()
            tail = mean_and_tail(residual)
            metrics |= {f"residual.{part}": estimate for part, estimate in tail.items()}
        errors = pd.DataFrame(columns | factor_columns(run.data, codes))

        order = error.argsort(descending=True, stable=True)
        worst = errors.iloc[order[: self.worst].numpy()].reset_index(drop=True)
        worst.insert(0, "rank", np.arange(1, len(worst) + 1))
        tables = {"errors": errors, "worst": worst}
        arrays = {"errors": columns["error"], "index": columns["index"]}
        if run.data.is_image:
            ranks = evenly(len(order), self.shown)
            arrays |= example_arrays("shown", x, made, error, order.flip(0)[ranks])
            arrays |= example_arrays("worst", x, made, error, order[: self.worst])
            arrays["value_range"] = np.asarray(run.data.value_range, dtype=np.float32)
        if run.data.columns:
            tables["columns"], scores = self._columns(run, x, made, noise)
            metrics |= scores
        tables = {"summary": self._summary(metrics), **tables}
        return Report(metrics, tables, arrays, notes=self._notes(len(error)))

    # ---------------------------------------------------------------- numbers
    def _spread(self, error: Tensor, noise: Noise) -> dict[str, Estimate]:
        """Statistics of the errors ``(N,)``; shape and tail have no value where the errors do not vary or
        vanish."""
        statistics = {
            "error_mean": mean_interval(error),
            **{f"error_{name}": quantile_interval(error, share) for name, share in SHARES.items()},
            **self._shape(error, noise),
            "error_max": Estimate(error.max().item(), method="none: nothing bounds a maximum"),
            "tail_ratio": quantile_ratio(error, 0.999, 0.5),
        }
        return {name: statistics[name] for name in self.metrics if name in statistics}

    def _shape(self, error: Tensor, noise: Noise) -> dict[str, Estimate]:
        """Standard deviation, skewness and kurtosis of the errors ``(N,)``."""
        sd = error.std(correction=0).item()
        spread, skewness, kurtosis = Estimate(sd), Estimate(np.nan), Estimate(np.nan)
        if sd > FLAT * error.max().item():
            powers = central_powers(error)
            [share] = bootstrap_means(
                lambda means: shape_statistics(means)[:, :1], powers, noise, self.resamples
            )
            if share.low is not None and share.high is not None:
                spread = Estimate(sd, share.low * sd, share.high * sd, share.method)
            _, *shape = shape_statistics(powers.mean(0, keepdim=True))[0].tolist()
            skewness, kurtosis = (Estimate(value, method=HEAVY) for value in shape)
        return {"error_sd": spread, "error_skewness": skewness, "error_excess_kurtosis": kurtosis}

    def _share(self, squares: Tensor, totals: Tensor, dimensions: int, noise: Noise) -> dict[str, Estimate]:
        """Mean squared error per dimension and its share of the variance (the mean example stays fixed in
        resamples)."""
        mse = mean_interval(squares / dimensions)
        if totals.sum() == 0:
            return {"mse": mse, "unexplained": Estimate(np.nan)}
        columns = torch.stack([squares, totals], dim=1)
        [unexplained] = bootstrap_means(
            lambda means: means[:, :1] / means[:, 1:], columns, noise.to("cpu"), self.resamples
        )
        return {"mse": mse, "unexplained": unexplained}

    def _columns(
        self, run: Run, x: Tensor, made: Tensor, noise: Noise
    ) -> tuple[pd.DataFrame, dict[str, Estimate]]:
        """A score for each column of a table, and their means."""
        columns = run.data.columns
        scores, baselines = column_scores(columns, x, made, run.x("train"))
        overall = overall_scores(columns, scores, baselines)
        together = [*scores.values(), *baselines.values(), *overall.values()]
        estimated = iter(estimates(together, noise.to("cpu"), self.resamples))
        by_column, by_baseline, by_metric = (
            {name: next(estimated) for name in names} for names in (scores, baselines, overall)
        )
        nothing = Estimate(0.0)  # the R² of always answering the mean
        table = {
            "column": [column.name for column in columns],
            "kind": [column.kind for column in columns],
            "score": ["accuracy" if column.kind == "categorical" else "R2" for column in columns],
            **interval_columns("value", list(by_column.values())),
            "baseline": [by_baseline.get(column.name, nothing).value for column in columns],
        }
        return pd.DataFrame(table).rename(columns={"value_low": "low", "value_high": "high"}), by_metric

    def _summary(self, metrics: Mapping[str, Estimate]) -> pd.DataFrame:
        """A row for each number, with its unit."""
        columns = {
            "statistic": list(metrics),
            **interval_columns("value", list(metrics.values())),
            "method": [estimate.method for estimate in metrics.values()],
            "unit": [self.metrics[name.partition(".")[0]].unit for name in metrics],
        }
        return pd.DataFrame(columns).rename(columns={"value_low": "low", "value_high": "high"})

    def _notes(self, n: int) -> tuple[str, ...]:
        about = f"Errors of {n} examples of the {self.split} split, decoded from mean codes."
        return about, *(
            f"The interval of the {100 * share:g} percentile has no upper end: the chance is "
            f"{share**n:.0%} that none of {n} examples lies beyond it."
            for share in SHARES.values()
            if ranks(n, share)[1] > n
        )

    # ---------------------------------------------------------------- pictures
    def plot(self, report: Report) -> dict[str, Picture]:
        return reconstruction_pictures(report, self.split)


def squared_errors(x: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
    """||x - x_hat||^2 and ||x - mean x||^2 of each row, ``(N,)`` float64 on the CPU; in chunks, to hold no
    third copy of x."""
    mean = x.mean(0, keepdim=True)
    squares, totals = [], []
    for rows, made_rows in zip(x.split(CHUNK), made.split(CHUNK), strict=True):
        squares.append((rows - made_rows).flatten(1).double().square().sum(1))
        totals.append((rows - mean).flatten(1).double().square().sum(1))
    return torch.cat(squares).cpu(), torch.cat(totals).cpu()


def factor_columns(data: Dataset, codes: Latents) -> dict[str, np.ndarray]:
    """The factors and labels of the examples, by name."""
    labels = None if codes.labels is None else codes.labels.cpu().numpy()
    return {
        factor.name: values.astype(np.int64 if factor.kind == "categorical" else np.float32)
        for factor, values in targets(data.factors, data.label, codes.y.cpu().numpy(), labels)
    }


def example_arrays(name: str, x: Tensor, made: Tensor, error: Tensor, rows: Tensor) -> dict[str, np.ndarray]:
    """Arrays of the given rows: originals, reconstructions, errors."""
    place = rows.to(x.device)
    return {
        f"{name}_original": x[place].cpu().float().numpy(),
        f"{name}_reconstruction": made[place].cpu().float().numpy(),
        f"{name}_error": error[rows].float().numpy(),
    }


# ---------------------------------------------------------------- columns of tables
def column_scores(
    columns: Sequence[Column], x: Tensor, made: Tensor, train: Tensor
) -> tuple[dict[str, Score], dict[str, Score]]:
    """How well each column is reconstructed; for categorical ones also how often the commonest category of
    the training rows is right. Encoded rows ``(N, D)``."""
    truth, answer, training = (decode(rows, columns) for rows in (x, made, train))
    starts = [column.start for column in columns]
    numbers, made_numbers = (rows[:, starts].double().cpu().numpy() for rows in (x, made))
    scores, baselines = {}, {}
    for i, column in enumerate(columns):
        if column.kind == "categorical":
            commonest = np.bincount(training[:, i].astype(np.int64)).argmax()
            scores[column.name] = accuracy(truth[:, i], answer[:, i])
            baselines[column.name] = accuracy(truth[:, i], np.full(len(truth), commonest))
        else:
            scores[column.name] = r2(numbers[:, [i]], made_numbers[:, [i]])
    return scores, baselines


def overall_scores(
    columns: Sequence[Column], scores: Mapping[str, Score], baselines: Mapping[str, Score]
) -> dict[str, Score]:
    """The metrics over all columns of a kind, where there are some."""
    categorical = [scores[column.name] for column in columns if column.kind == "categorical"]
    numeric = [scores[column.name] for column in columns if column.kind != "categorical"]
    overall = {}
    if numeric:
        # The median, for R² has no lower bound: a column that is nearly always 0 can have any.
        overall["column_r2"] = combined(numeric, lambda values: values.nanquantile(0.5, 1))
    if categorical:
        overall["column_accuracy"] = combined(categorical, lambda values: values.mean(1))
        overall["column_baseline"] = combined(list(baselines.values()), lambda values: values.mean(1))
    return overall
