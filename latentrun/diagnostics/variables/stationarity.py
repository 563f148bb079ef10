"""The variance law of the Kullback-Leibler term: var(μ) + mean σ² = 1 for every latent variable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Count, Ge, Gt
from latentrun.diagnostics.base import Diagnostic, posterior_training
from latentrun.diagnostics.needs import FLAT, GAUSSIAN_POSTERIOR
from latentrun.diagnostics.usage import Criteria, usage_of
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.intervals import bootstrap_means, interval_columns
from latentrun.functional.usage import ACTIVE, DOUBTFUL, INACTIVE, Usage
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

SOURCE = "Asperti, A stationary condition for Variational Autoencoders, 2019, eq. (3)"


@dataclass(frozen=True)
class Law:
    """S_i = var(mu_i) + mean sigma_i² and M_i = mean mu_i² + mean sigma_i² of d variables, and their
    averages: of S over all, the active and the inactive variables, and of M over all."""

    s: list[Estimate]
    m: list[Estimate]
    mean: Estimate
    mean_active: Estimate
    mean_inactive: Estimate
    second_moment: Estimate


class Stationarity(Diagnostic):
    """Does var(μ) + mean σ² equal 1 for every latent variable?

    With averages over a split, S_i = var(mu_i) + mean sigma_i² and M_i = mean mu_i² + mean sigma_i². A
    decoder can undo any rescaling z_i -> c z_i, so a trained model sits where the KL is stationary in c: M_i
    = 1, active or not. No approximation is needed for that: the mean KL changes by ((c² - 1) M_i - ln c²) /
    2, whatever the spread of sigma. S_i equals M_i where mu_i has mean 0, and is the form in which the law is
    usually read.

    A mere rescaling would recover ½ sum_i (M_i - 1 - ln M_i) nats per example
    (``rescaling_loss.second_moment``); the same with S_i (``rescaling_loss``) once the means have been moved
    to 0. Both are 0 only where the law holds.

    Intervals: percentile bootstrap over examples (``resamples``). The spread over variables, the worst
    deviation and the rescaling losses have none, for resampling pushes quantities that cannot be negative
    upwards. ``spread`` is of these d variables, a sample of nothing, and divided by d: mean (S - 1)² = (mean
    S - 1)² + spread². Which variables are active and inactive is what ``sparsity`` says too: mean σ² >
    ``inactive_scale2``, var(mu) < ``inactive_variance`` and |gain| <= ``inactive_gain`` times the total
    variance of the data, on ``rows`` examples; those for which the three disagree belong to neither average.
    """

    requires = (GAUSSIAN_POSTERIOR, FLAT)
    metrics = {
        "mean": Metric(
            "var(μ) + mean σ², mean over latent variables (all, active, inactive)",
            low=0,
            better="one",
            source=SOURCE,
        ),
        "second_moment": Metric(
            "mean μ² + mean σ², mean over latent variables", low=0, better="one", source=SOURCE
        ),
        "spread": Metric(
            "standard deviation over latent variables of var(μ) + mean σ², divisor d",
            low=0,
            better="zero",
            source=SOURCE,
        ),
        "worst": Metric(
            "largest |var(μ) + mean σ² - 1| of any latent variable", low=0, better="zero", source=SOURCE
        ),
        "rescaling_loss": Metric(
            "nats per example, summed over latent variables",
            low=0,
            better="zero",
            source="½ sum (S - 1 - ln S)",
        ),
    }

    def __init__(
        self,
        split: Literal["train", "val", "test"],
        rows: Annotated[int, Count(2)],
        resamples: Annotated[int, Count(100, 100_000)],
        inactive_scale2: Annotated[float, Ge(0)],
        inactive_variance: Annotated[float, Gt(0)],
        inactive_gain: Annotated[float, Gt(0)],
    ):
        self.split, self.rows, self.resamples = split, rows, resamples
        self.criteria = Criteria(inactive_scale2, inactive_variance, inactive_gain)

    # ---------------------------------------------------------------- measuring
    def __call__(self, run: Run, noise: Noise) -> Report:
        latents = run.latents(self.split)
        mean, scale2 = latents.codes.double(), latents.posterior["scale"].double().square()
        measured = usage_of(run, self.split, self.rows)
        state = self.criteria.states(run, measured)
        law = variance_law(mean, scale2, state, noise, self.resamples)
        moments = Usage(mean.var(0, correction=0), scale2.mean(0))
        table = variable_table(moments, law, state)
        notes = self._notes(run, state, self.criteria.words(measured))
        return Report(law_metrics(law), {"variables": table}, notes=notes)

    def _notes(self, run: Run, state: np.ndarray, meaning: str) -> tuple[str, ...]:
        count = {name: int((state == name).sum()) for name in (ACTIVE, INACTIVE, DOUBTFUL)}
        doubt = f", {count[DOUBTFUL]} doubtful" if count[DOUBTFUL] else ""
        notes = [
            f"{count[ACTIVE]} of {len(state)} variables are active, {count[INACTIVE]} inactive{doubt}. "
            f"{meaning}",
            f"Averages over the {self.split} split; variances are population moments (divided by N). "
            "Intervals: bootstrap over its examples.",
        ]
        training = posterior_training(run)
        if not training.sampled:
            notes.append(
                "The model was trained without sampling: its sigma is untrained and the law need not hold."
            )
        if training.kl != "full":
            notes.append(
                f"The model was trained with kl={training.kl}: the law follows from the full KL term and "
                "need not hold."
            )
        return tuple(notes)

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.diagnostics.variables.stationarity_plot import law_line, per_variable

        table = report.tables["variables"]
        law = (
            "S = var(μ) + mean σ² of each latent variable with its 95 % bootstrap interval over "
            "examples; the dashed line is the law S = 1. Blue discs: active variables; orange "
            "triangles: doubtful ones; grey squares: inactive ones."
        )
        scatter = (
            "Mean σ² against the variance of μ, one point per latent variable; on the dashed line they "
            "add to 1. Active variables (blue discs) belong to the lower right, inactive ones (grey squares) "
            "to the upper left corner."
        )
        return {"law": Picture(per_variable(table), law), "scatter": Picture(law_line(table), scatter)}


# ---------------------------------------------------------------- numbers
def variance_law(mean: Tensor, scale2: Tensor, state: np.ndarray, noise: Noise, resamples: int) -> Law:
    """The law's two sides from ``mean`` and sigma² ``scale2 (N, d)``, bootstrapped over the N examples;
    ``state (d,)`` of each variable."""
    centre = mean.mean(0)
    active, inactive = (torch.as_tensor(state == name, device=mean.device) for name in (ACTIVE, INACTIVE))

    def sides(averages: Tensor) -> Tensor:
        """From averages ``(B, 3 d)`` of (mu - centre, (mu - centre)², sigma²): S and M of every variable,
        then averages over variables."""
        shift, square, sigma2 = averages.chunk(3, dim=1)
        s = square - shift.square() + sigma2
        m = square + 2 * centre * shift + centre.square() + sigma2
        means = [part.mean(1, keepdim=True) for part in (s, s[:, active], s[:, inactive], m)]
        return torch.cat([s, m, *means], dim=1)

    columns = torch.cat([mean - centre, (mean - centre).square(), scale2], dim=1)
    estimates = bootstrap_means(sides, columns, noise, resamples)
    d = mean.shape[1]
    return Law(estimates[:d], estimates[d : 2 * d], *estimates[2 * d :])


def rescaling_loss(s: np.ndarray) -> np.ndarray:
    """½ (S - 1 - ln S) nats: what the best rescaling of a variable with second moment S takes off its KL."""
    return (s - 1 - np.log(s)) / 2


# ---------------------------------------------------------------- the report
def law_metrics(law: Law) -> dict[str, Estimate]:
    s, m = (np.array([estimate.value for estimate in side]) for side in (law.s, law.m))
    return {
        "mean": law.mean,
        "mean.active": law.mean_active,
        "mean.inactive": law.mean_inactive,
        "second_moment": law.second_moment,
        "spread": Estimate(float(s.std())),
        "worst": Estimate(float(np.abs(s - 1).max())),
        "rescaling_loss": Estimate(float(rescaling_loss(s).sum())),
        "rescaling_loss.second_moment": Estimate(float(rescaling_loss(m).sum())),
    }


def variable_table(usage: Usage, law: Law, state: np.ndarray) -> pd.DataFrame:
    """A row for each variable."""
    s = interval_columns("s", law.s)
    return pd.DataFrame(
        {
            "variable": np.arange(len(state)),
            "var_mean": usage.var_mean.cpu(),
            "mean_scale2": usage.mean_scale2.cpu(),
            **s,
            "second_moment": np.array([estimate.value for estimate in law.m]),
            "rescaling_nats": rescaling_loss(s["s"]),
            "state": state,
        }
    )
