"""The spread of reconstruction errors over examples."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import pandas as pd
import torch

from latentrun.config.bounds import Ge
from latentrun.data.base import Oracle
from latentrun.data.formats.columns import decode
from latentrun.diagnostics.base import Diagnostic
from latentrun.diagnostics.needs import ENCODER, FACTORS, IMAGES, LABELS, ORACLE
from latentrun.functional.statistics.dependence import FLAT, targets
from latentrun.functional.statistics.intervals import (
    bootstrap_each,
    bootstrap_means,
    mean_and_tail,
    mean_interval,
)
from latentrun.functional.statistics.moments import central_powers, percentiles, shape_statistics
from latentrun.functional.statistics.probes import accuracy, combined, estimates, r2
from latentrun.plotting.columns import column_scores
from latentrun.plotting.differences import differences
from latentrun.plotting.histogram import distribution
from latentrun.plotting.images import strips
from latentrun.run import CHUNK
from latentrun.types import Estimate, Metric, Picture, Report

NORM = "units of x, ||x - xhat||_F over all data dimensions of an example"
BOOT = "; interval: bootstrap over examples"
PLAIN = "; interval: normal approximation over examples"
FAMILY = "share of the picture's norm, ||xhat - nearest member|| / ||xhat||"
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

    Intervals (95 %, over examples): normal approximation for means, percentile bootstrap with ``resamples``
    resamples for the rest; none for the maximum, for which the bootstrap is inconsistent. ``worst``: how many
    of the worst rows are kept; ``shown``: how many pictures, evenly spread over the ranks of the error.
    """

    requires = (ENCODER,)
    uses = (ORACLE, IMAGES, FACTORS, LABELS)
    metrics = {
        "error_mean": Metric(NORM + PLAIN, 0.0, None, "lower"),
        "error_median": Metric(NORM + BOOT, 0.0, None, "lower"),
        "error_sd": Metric(NORM + ", divisor N" + BOOT, 0.0, None, "none"),
        "error_skewness": Metric("pure number, m3 / m2^1.5" + BOOT, None, None, "none"),
        "error_excess_kurtosis": Metric(
            "pure number, m4 / m2^2 - 3; 0 for a normal" + BOOT, -2.0, None, "none"
        ),
        "error_p95": Metric(NORM + BOOT, 0.0, None, "lower"),
        "error_p99": Metric(NORM + BOOT, 0.0, None, "lower"),
        "error_p999": Metric(NORM + BOOT, 0.0, None, "lower"),
        "error_max": Metric(
            NORM + "; no interval: the bootstrap is inconsistent for a maximum", 0.0, None, "lower"
        ),
        "tail_ratio": Metric("pure number, 99.9 percentile / median of the error" + BOOT, 1.0, None, "lower"),
        "mse": Metric(
            "squared units of x, mean over examples and data dimensions" + PLAIN, 0.0, None, "lower"
        ),
        "unexplained": Metric(
            "share of the split's total variance, mse / mean variance of a data dimension" + BOOT,
            0.0,
            None,
            "lower",
        ),
        "residual": Metric(FAMILY + "; mean and percentiles over examples", 0.0, None, "zero"),
        "column_r2": Metric("R², median over real and ordinal columns" + BOOT, None, 1.0, "higher"),
        "column_accuracy": Metric("share of rows, mean over categorical columns" + BOOT, 0.0, 1.0, "higher"),
        "column_baseline": Metric(
            "as column_accuracy, for the commonest category of the training rows" + BOOT, 0.0, 1.0, "none"
        ),
    }

    def __init__(
        self,
        split: Literal["train", "val", "test"],
        worst: Annotated[int, Ge(1)],
        shown: Annotated[int, Ge(1)],
        resamples: Annotated[int, Ge(1)],
    ):
        self.split, self.worst, self.shown, self.resamples = split, worst, shown, resamples

    def __call__(self, run, noise):
        x, made, codes = run.x(self.split), run.reconstructions(self.split), run.latents(self.split)
        squares, totals = _squares(x, made)
        error = squares.sqrt()
        metrics = self._spread(error, noise) | self._share(squares, totals, x[0].numel(), noise)

        columns = {"index": codes.index.cpu().numpy(), "error": error.float().numpy()}
        if isinstance(run.data, Oracle):
            with torch.no_grad():
                residual = run.data.project(made).residual.cpu().double()
            columns["residual"] = residual.numpy()
            tail = mean_and_tail(residual, noise.at("residual"), self.resamples)
            metrics |= {f"residual.{part}": estimate for part, estimate in tail.items()}
        labels = None if codes.labels is None else codes.labels.cpu().numpy()
        known = targets(run.data.factors, run.data.label, codes.y.cpu().numpy(), labels)
        columns |= {
            factor.name: values.astype(np.int64 if factor.kind == "categorical" else np.float32)
            for factor, values in known
        }
        errors = pd.DataFrame(columns)

        order = error.argsort(descending=True, stable=True)
        top = order[: self.worst]
        worst = errors.iloc[top.numpy()].reset_index(drop=True)
        worst.insert(0, "rank", np.arange(1, len(worst) + 1))
        arrays = {"errors": error.float().numpy(), "index": columns["index"]}
        if run.data.is_image:
            spread = order.flip(0)[
                torch.linspace(0, len(order) - 1, min(self.shown, len(order))).round().long()
            ]
            arrays |= _pictures("shown", x, made, error, spread) | _pictures("worst", x, made, error, top)
            arrays["value_range"] = np.asarray(run.data.value_range, dtype=np.float32)
        tables = {"errors": errors, "worst": worst}
        if run.data.columns:
            tables["columns"], found = self._columns(run, x, made, noise)
            metrics |= found
        tables = {"summary": self._summary(metrics), **tables}
        return Report(metrics=metrics, tables=tables, arrays=arrays, notes=self._notes(len(error)))

    # ---------------------------------------------------------------- numbers
    def _spread(self, error, noise) -> dict[str, Estimate]:
        """Statistics of the errors ``(N,)``; shape and tail have no value where the errors do not vary or
        vanish."""
        noise = noise.to("cpu")
        quantiles = bootstrap_each(
            lambda rows: percentiles(rows, tuple(SHARES.values())), error.float(), noise, self.resamples
        )
        found = {"error_mean": mean_interval(error)}
        found |= {f"error_{name}": estimate for name, estimate in zip(SHARES, quantiles, strict=True)}
        sd = error.std(correction=0).item()
        if sd > FLAT * error.max().item():
            spread, skewness, kurtosis = bootstrap_means(
                shape_statistics, central_powers(error), noise, self.resamples
            )
            spread = (
                Estimate(sd, spread.low * sd, spread.high * sd) if spread.low is not None else Estimate(sd)
            )
        else:
            spread, skewness, kurtosis = Estimate(sd), Estimate(np.nan), Estimate(np.nan)
        found |= {"error_sd": spread, "error_skewness": skewness, "error_excess_kurtosis": kurtosis}
        found["error_max"] = Estimate(error.max().item())

        def ratio(rows):
            ends = percentiles(rows, (0.999, 0.5))
            return ends[:, :1] / ends[:, 1:]

        found["tail_ratio"] = bootstrap_each(ratio, error.float(), noise, self.resamples)[0]
        return {name: found[name] for name in self.metrics if name in found}

    def _share(self, squares, totals, dimensions: int, noise) -> dict[str, Estimate]:
        """Mean squared error per dimension and its share of the variance (the mean picture stays fixed in
        resamples)."""
        mse = mean_interval(squares / dimensions)
        if totals.sum() == 0:
            return {"mse": mse, "unexplained": Estimate(np.nan)}
        columns = torch.stack([squares, totals], dim=1)
        found = bootstrap_means(
            lambda means: means[:, :1] / means[:, 1:], columns, noise.to("cpu"), self.resamples
        )
        return {"mse": mse, "unexplained": found[0]}

    def _columns(self, run, x, made, noise) -> tuple[pd.DataFrame, dict[str, Estimate]]:
        """A score for each column of a table, and their means."""
        columns = run.data.columns
        truth, guess = decode(x, columns), decode(made, columns)
        training = decode(run.x("train"), columns)
        at = [column.start for column in columns]
        x, made = x[:, at].double().cpu().numpy(), made[:, at].double().cpu().numpy()
        own, base = [], []
        for i, column in enumerate(columns):
            if column.kind == "categorical":
                common = np.bincount(training[:, i].astype(np.int64)).argmax()
                own.append(accuracy(truth[:, i], guess[:, i]))
                base.append(accuracy(truth[:, i], np.full(len(truth), common)))
            else:
                own.append(r2(x[:, [i]], made[:, [i]]))
        ordered = [score for score, column in zip(own, columns, strict=True) if column.kind != "categorical"]
        named = [score for score, column in zip(own, columns, strict=True) if column.kind == "categorical"]
        # The median, for R² has no lower bound: a column that is nearly always 0 can have any.
        every = {"column_r2": combined(ordered, lambda values: values.nanquantile(0.5, 1))} if ordered else {}
        for name, scores in (("column_accuracy", named), ("column_baseline", base)):
            every |= {name: combined(scores, lambda values: values.mean(1))} if scores else {}
        found = estimates([*own, *base, *every.values()], noise.to("cpu"), self.resamples)
        baseline = iter(found[len(own) :])
        rows = []
        for column, e in zip(columns, found, strict=False):
            categorical = column.kind == "categorical"
            beside = next(baseline).value if categorical else 0.0
            rows.append(
                (
                    column.name,
                    column.kind,
                    "accuracy" if categorical else "R2",
                    e.value,
                    e.low,
                    e.high,
                    beside,
                )
            )
        table = pd.DataFrame(rows, columns=["column", "kind", "score", "value", "low", "high", "baseline"])
        return table, dict(zip(every, found[-len(every) :], strict=True))

    def _summary(self, metrics) -> pd.DataFrame:
        rows = [
            (name, e.value, e.low, e.high, self.metrics[name.partition(".")[0]].unit)
            for name, e in metrics.items()
        ]
        table = pd.DataFrame(rows, columns=["statistic", "value", "low", "high", "unit"])
        return table.astype({"value": float, "low": float, "high": float})

    def _notes(self, n: int) -> tuple[str, ...]:
        # the exact upper confidence limit of a percentile exists only while some of n draws likely lie above
        # it
        short = [name for name, share in (("99", 0.99), ("99.9", 0.999)) if share**n > 0.025]
        said = f"Errors of {n} examples of the {self.split} split, decoded from mean codes."
        if not short:
            return (said,)
        text = " and ".join(short)
        return (
            said,
            f"With {n} examples the upper end of the interval of the {text} percentile is too low: hardly "
            "an error lies beyond it.",
        )

    # ---------------------------------------------------------------- pictures
    def plot(self, report):
        arrays, label = report.arrays, r"error $\|x-\hat{x}\|_F$ (units of $x$)"
        names = {"median": "error_median", "95 %": "error_p95", "99 %": "error_p99", "99.9 %": "error_p999"}
        marks = {
            "mean": report.metrics["error_mean"].value,
            **{mark: report.metrics[name].value for mark, name in names.items()},
        }
        n = len(arrays["errors"])
        pictures = {
            "histogram": Picture(
                distribution(arrays["errors"], marks, label),
                f"Reconstruction errors of {n} examples of the {self.split} split: Frobenius norm of "
                "original minus reconstruction from the mean code. Left: histogram. Right: share of "
                "examples with at least that error, on a logarithmic axis, so that the tail can be read. "
                "Vertical lines: mean and percentiles.",
            )
        }
        if "columns" in report.tables:
            pictures["columns"] = Picture(
                column_scores(report.tables["columns"]),
                f"How well each column is reconstructed from the mean code, {n} examples of the "
                f"{self.split} split, with 95 % intervals. Left: share of the variance explained, of real "
                "columns and of the expected level of ordinal ones; 0 is as good as the mean. Right: share "
                "of rows whose category is the most likely one; the black mark is what always naming the "
                "commonest category of the training rows would get.",
            )
        if "shown_original" not in arrays:
            return pictures
        value_range = tuple(arrays["value_range"].tolist())
        x, made = arrays["shown_original"], arrays["shown_reconstruction"]
        columns = [f"{e:.3g}" for e in arrays["shown_error"]]
        pictures["examples"] = Picture(
            strips([("original", x), ("reconstruction", made)], value_range, tile=0.6, columns=columns),
            f"Originals over reconstructions from mean codes: {len(x)} examples of the {self.split} split, "
            "evenly spread over the ranks of the error from the smallest (left) to the largest (right). "
            "Under each column: its error (Frobenius norm of the difference). Colours from "
            f"{value_range[0]:g} to {value_range[1]:g}.",
        )
        x, made = arrays["worst_original"], arrays["worst_reconstruction"]
        pictures["worst"] = Picture(
            differences(
                x, {"reconstruction": made}, value_range, [f"{e:.3g}" for e in arrays["worst_error"]]
            ),
            f"The {len(x)} worst reconstructions of the {self.split} split, the worst on the left: "
            "original, reconstruction, and reconstruction minus original (in colour pictures the channel "
            "that is farthest off, pixel by pixel; red where the reconstruction is too high, blue where too "
            "low). Under each column: its error, the Frobenius norm of the difference.",
        )
        return pictures


def _squares(x, made) -> tuple[torch.Tensor, torch.Tensor]:
    """||x - x_hat||^2 and ||x - mean x||^2 of each row, ``(N,)`` float64 on the CPU; in chunks, to hold no
    third copy of x."""
    mean = x.mean(0, keepdim=True)
    pairs = zip(x.split(CHUNK), made.split(CHUNK), strict=True)
    found = [
        ((a - b).flatten(1).double().square().sum(1), (a - mean).flatten(1).double().square().sum(1))
        for a, b in pairs
    ]
    return torch.cat([e for e, _ in found]).cpu(), torch.cat([t for _, t in found]).cpu()


def _pictures(name: str, x, made, error, rows) -> dict[str, np.ndarray]:
    """Arrays of the given rows: originals, reconstructions, errors."""
    at = rows.to(x.device)
    return {
        f"{name}_original": x[at].cpu().float().numpy(),
        f"{name}_reconstruction": made[at].cpu().float().numpy(),
        f"{name}_error": error[rows].float().numpy(),
    }
