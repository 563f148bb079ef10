"""Which latent variables are in use: variances, divergence and reconstruction gain of each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Count, Ge, Gt
from latentrun.diagnostics.base import Diagnostic, posterior_training
from latentrun.diagnostics.needs import FLAT, GAUSSIAN_POSTERIOR, GENERATOR, IMAGES
from latentrun.diagnostics.usage import Criteria, Measured, measure_usage, rows_of, squared_error, usage_of
from latentrun.functional.distances.divergences import gaussian_kl
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.intervals import interval_columns, mean_interval, ratio_interval
from latentrun.functional.usage import ACTIVE, DOUBTFUL, INACTIVE
from latentrun.judgement import Again, Condition, Further, Rule, Weight
from latentrun.judgement import count as counted
from latentrun.models.base import PosteriorTraining
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

SOURCE = "Asperti, Sparsity in Variational Autoencoders, 2018, arXiv 1812.07238"
PRUNING = (
    "zeroing_mse",
    "zeroing_relative",
    "pruned_error_ratio",
    "pruned_drawn_ratio",
)  # need inactive ones


@dataclass(frozen=True)
class Sample:
    """The examples of which the gain is taken, by ``rows (n,)`` of the split: ``x (n, *event)``, the codes
    ``z (n, d)`` that it is taken of, and codes ``drawn (n, d)`` from their posteriors."""

    rows: Tensor
    x: Tensor
    z: Tensor
    drawn: Tensor


class Sparsity(Diagnostic):
    """Which latent variables does the model use, and what does each contribute?

    For every variable i, over a split: var(mu_i) and the mean of sigma_i² (population moments, as numpy's
    var), the mean KL(q(z_i|x) || N(0, 1)) in nats, and the reconstruction gain

        gain_i = mean over x of ||x - dec(z with z_i = 0)||² - ||x - dec(z)||²,

    in squared data units summed over data dimensions, on ``rows`` examples, evenly spaced; z is mu(x), or
    with ``sampled`` a draw from q(z|x), the same draw for every variable. The gain may be negative: 0 is
    where the prior sits, not where the decoder does best.

    Inactive means mean sigma² > ``inactive_scale2``, var(mu) < ``inactive_variance``, and |gain| <=
    ``inactive_gain`` times the total variance of the data (summed over data dimensions). A variable for which
    the three disagree is doubtful; pruning keeps all but the inactive. ``ignored`` counts those of small
    gain, whatever their variances. Where the model was trained without sampling sigma got no gradient from
    the data, and without the full KL nothing fixes the scale of the codes: the gain alone decides.

    Zeroing test: ``samples`` codes drawn as the model's samples are decoded as they are and with the inactive
    variables at 0.
    """

    requires = (GAUSSIAN_POSTERIOR, FLAT)
    uses = (IMAGES, GENERATOR)
    metrics = {
        "active": Metric("latent variables", low=0, source=SOURCE),
        "inactive": Metric("latent variables", low=0, source=SOURCE),
        "doubtful": Metric(
            "latent variables", low=0, better="zero", source="the criteria of inactivity disagree"
        ),
        "ignored": Metric(
            "latent variables with hardly any gain, whatever their variances", low=0, source=SOURCE
        ),
        "zeroing_mse": Metric(
            "squared data units, mean over samples and data dimensions", low=0, better="zero", source=SOURCE
        ),
        "zeroing_relative": Metric(
            "part of the data's mean variance per dimension", low=0, better="zero", source=SOURCE
        ),
        "pruned_error_ratio": Metric(
            "squared error without inactive variables / with all, z as for the gain",
            low=0,
            better="one",
            source=SOURCE,
        ),
        "pruned_drawn_ratio": Metric(
            "the same for z drawn from q(z|x), where inactive variables are noise", low=0, better="one"
        ),
    }

    rules = (
        Rule(
            "collapsed",
            Weight.PROBLEM,
            (
                Condition("active", under=1, exact=True),
                Condition("doubtful", under=1, exact=True),
            ),
            lambda m: (
                f"Collapsed: none of {counted(m['inactive'], 'latent variable')} is in use; the decoder "
                "answers the same whatever the code."
            ),
            (Again("model.beta", 0.1), Again("training.optimizer.lr", 0.3)),
        ),
        Rule(
            "unused",
            Weight.HINT,
            (
                Condition("inactive", over=0, exact=True),
                Condition("active", over=0, exact=True),
            ),
            lambda m: (
                f"{m['inactive']:.0f} of {m['active'] + m['inactive'] + m['doubtful']:.0f} latent variables "
                "unused: the decoder does not need them."
            ),
            (Further("task=prune"),),
        ),
    )

    def __init__(
        self,
        split: Literal["train", "val", "test"],
        rows: Annotated[int, Count(2)],
        sampled: bool,
        inactive_scale2: Annotated[float, Ge(0)],
        inactive_variance: Annotated[float, Gt(0)],
        inactive_gain: Annotated[float, Gt(0)],
        samples: Annotated[int, Count(2)],
        shown: Annotated[int, Count(1, 10_000)],
    ):
        self.split, self.rows, self.sampled = split, rows, sampled
        self.criteria = Criteria(inactive_scale2, inactive_variance, inactive_gain)
        self.samples, self.shown = samples, shown

    # ---------------------------------------------------------------- measuring
    def __call__(self, run: Run, noise: Noise) -> Report:
        noise = noise.to(run.device)
        sample = self._sample(run, noise)
        measured = usage_of(run, self.split, self.rows)
        if self.sampled:
            measured = measure_usage(run, self.split, sample.rows, sample.z)
        state = self.criteria.states(run, measured)
        without, pictures = self._without(run, sample, measured.error, state, noise)
        tables = {"variables": variable_table(measured, self._kl(run), state)}
        return Report(
            metrics=count_states(state) | {"ignored": count(self.criteria.ignored(measured))} | without,
            tables=tables,
            arrays={"kept": kept(state), **pictures},
            notes=(
                *self._measure_notes(measured),
                *state_notes(state, posterior_training(run)),
                *self._pruning_notes(run, state),
            ),
        )

    def _sample(self, run: Run, noise: Noise) -> Sample:
        x, latents, rows = run.x(self.split), run.latents(self.split), rows_of(run, self.split, self.rows)
        mean, scale = latents.codes[rows], latents.posterior["scale"][rows]
        drawn = mean + scale * noise.normal("z", tuple(mean.shape))
        return Sample(rows, x[rows], drawn if self.sampled else mean, drawn)

    def _kl(self, run: Run) -> Tensor:
        """Mean KL of each variable ``(d,)`` in nats."""
        latents = run.latents(self.split)
        return gaussian_kl(latents.codes, latents.posterior["scale"].log()).mean(0)

    def _without(
        self, run: Run, sample: Sample, error: Tensor, state: np.ndarray, noise: Noise
    ) -> tuple[dict[str, Estimate], dict[str, np.ndarray]]:
        """The inactive variables set to 0 in samples of the model, in the codes ``z`` with errors ``error
        (n,)`` and in those drawn from q(z|x): metrics, and pictures of the samples."""
        if not (state == INACTIVE).any():
            return dict.fromkeys(PRUNING, Estimate(math.nan)), {}
        keep = torch.as_tensor(state != INACTIVE, device=sample.z.device).to(sample.z.dtype)
        codes = run.sample_codes(self.samples, noise.at("zeroing"))
        whole, zeroed = run.decode(codes), run.decode(codes * keep)
        moved = (zeroed - whole).square().flatten(1).mean(1)
        per_dimension = run.x(self.split).var(0, correction=0).sum().item() / sample.x[0].numel()
        z, drawn, x = sample.z, sample.drawn, sample.x
        metrics = {
            "zeroing_mse": mean_interval(moved),
            "zeroing_relative": mean_interval(moved / per_dimension if per_dimension else moved * math.nan),
            "pruned_error_ratio": ratio_interval(squared_error(run, z * keep, x), error),
            "pruned_drawn_ratio": ratio_interval(
                squared_error(run, drawn * keep, x), squared_error(run, drawn, x)
            ),
        }
        return metrics, self._pictures(run, whole, zeroed)

    def _pictures(self, run: Run, whole: Tensor, zeroed: Tensor) -> dict[str, np.ndarray]:
        if not run.data.is_image:
            return {}
        return {
            "samples": whole[: self.shown].cpu().numpy().astype(np.float32),
            "samples_zeroed": zeroed[: self.shown].cpu().numpy().astype(np.float32),
            "value_range": np.array(run.data.value_range, np.float32),
        }

    # ---------------------------------------------------------------- words
    def _measure_notes(self, measured: Measured) -> list[str]:
        z = "a draw from q(z|x)" if self.sampled else "μ(x)"
        return [
            "Gain and errors are in squared data units summed over data dimensions, KL in nats per variable; "
            f"the gain uses {len(measured.rows)} rows of the {self.split} split, z = {z}.",
            self.criteria.words(measured),
        ]

    def _pruning_notes(self, run: Run, state: np.ndarray) -> list[str]:
        notes = []
        if (state == INACTIVE).any():
            notes.append(
                f"Pruned to variables {kept(state).tolist()}: latentrun task=prune run=DIR writes that "
                f"model. Zeroing test: {run.sampler_note}."
            )
        else:
            notes.append(
                "No variable is inactive: there is nothing to zero or to prune, and those four numbers are "
                "empty."
            )
        return notes

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.diagnostics.variables.sparsity_plot import pictures

        return pictures(report)


# ---------------------------------------------------------------- the report
def kept(state: np.ndarray) -> np.ndarray:
    """The variables that pruning keeps, ``(k,)`` int64: all but the inactive."""
    return np.flatnonzero(state != INACTIVE).astype(np.int64)


def count(where: Tensor | np.ndarray) -> Estimate:
    return Estimate(float(where.sum()))


def count_states(state: np.ndarray) -> dict[str, Estimate]:
    """How many variables are in each state."""
    return {name: count(state == name) for name in (ACTIVE, INACTIVE, DOUBTFUL)}


def state_notes(state: np.ndarray, training: PosteriorTraining) -> list[str]:
    """By which criteria the states were given, and which variables are doubtful."""
    notes = []
    if not training.sampled:
        notes.append(
            "The model was trained without sampling: its sigma is untrained, so only the gain decides what "
            "is inactive."
        )
    elif training.kl != "full":
        notes.append(
            f"The model was trained with kl={training.kl}: nothing fixes the scale of its codes, so only the "
            "gain decides."
        )
    doubtful = np.flatnonzero(state == DOUBTFUL)
    if len(doubtful):
        notes.append(f"Doubtful variables: {', '.join(map(str, doubtful))}.")
    return notes


def variable_table(measured: Measured, kl: Tensor, state: np.ndarray) -> pd.DataFrame:
    """A row for each variable."""
    gain = interval_columns("gain", [mean_interval(row) for row in measured.gains])
    total = measured.data_variance
    return pd.DataFrame(
        {
            "variable": np.arange(len(state)),
            "var_mean": measured.usage.var_mean.double().cpu(),
            "mean_scale2": measured.usage.mean_scale2.double().cpu(),
            "kl": kl.double().cpu(),
            **gain,
            "gain_share": gain["gain"] / total if total else math.nan,
            "state": state,
        }
    )


# ---------------------------------------------------------------- numbers
