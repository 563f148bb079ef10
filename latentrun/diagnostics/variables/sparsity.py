"""Which latent variables are in use: variances, divergence and reconstruction gain of each."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Ge, Gt
from latentrun.diagnostics.base import Diagnostic
from latentrun.diagnostics.needs import GAUSSIAN_POSTERIOR, GENERATOR, IMAGES
from latentrun.functional.distances.divergences import gaussian_kl
from latentrun.functional.gains import zeroing_gains
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.intervals import mean_interval
from latentrun.run import CHUNK, Run
from latentrun.types import Estimate, History, Metric, Picture, Report

SOURCE = "Asperti, Sparsity in Variational Autoencoders, 2018, arXiv 1812.07238"


class Sparsity(Diagnostic):
    """Which latent variables does the model use, and what does each contribute?

    For every variable i, over a split: var(mu_i) and the mean of sigma_i² (population moments, as numpy's
    var), the mean KL(q(z_i|x) || N(0, 1)) in nats, and the reconstruction gain

        gain_i = mean over x of ||x - dec(z with z_i = 0)||² - ||x - dec(z)||²,

    in squared data units summed over data dimensions, on ``rows`` randomly chosen examples; z is mu(x), or
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

    requires = (GAUSSIAN_POSTERIOR,)
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
            "share of the data's mean variance per dimension", low=0, better="zero", source=SOURCE
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

    def __init__(
        self,
        split: Literal["train", "val", "test"],
        rows: Annotated[int, Ge(2)],
        sampled: bool,
        inactive_scale2: Annotated[float, Ge(0)],
        inactive_variance: Annotated[float, Gt(0)],
        inactive_gain: Annotated[float, Gt(0)],
        samples: Annotated[int, Ge(2)],
        shown: Annotated[int, Ge(1)],
    ):
        self.split, self.rows, self.sampled = split, rows, sampled
        self.inactive_scale2, self.inactive_variance, self.inactive_gain = (
            inactive_scale2,
            inactive_variance,
            inactive_gain,
        )
        self.samples, self.shown = samples, shown

    # ---------------------------------------------------------------- measuring
    def __call__(self, run: Run, noise: Noise) -> Report:
        noise = noise.to(run.device)
        x, latents = run.x(self.split), run.latents(self.split)
        mean, scale = latents.codes, latents.posterior["scale"]
        scale2 = scale.square().mean(0)
        variance, kl = mean.var(0, correction=0), gaussian_kl(mean, scale.log()).mean(0)
        data_variance = x.var(0, correction=0).sum().item()

        some = noise.permutation("rows", len(x))[: self.rows]
        drawn = mean[some] + scale[some] * noise.normal("z", (len(some), mean.shape[1]))
        z = drawn if self.sampled else mean[some]
        full, gains = (
            values[0]
            for values in zeroing_gains(lambda z, x: squared_error(run, z, x)[None], z, x[some], CHUNK)
        )
        gain = [mean_interval(row) for row in gains]

        ignored = gains.mean(1).abs() <= self.inactive_gain * data_variance
        votes = torch.stack([ignored, scale2 > self.inactive_scale2, variance < self.inactive_variance])
        training = run.model.posterior_training
        by_moments = training.sampled and training.kl == "full"
        if not by_moments:
            votes = votes[:1]
        inactive, doubtful = votes.all(0), votes.any(0) & ~votes.all(0)
        state = np.where(inactive.cpu(), "inactive", np.where(doubtful.cpu(), "doubtful", "active"))

        notes = [
            "Gain and errors are in squared data units summed over data dimensions, KL in nats per variable; "
            f"the gain uses {len(some)} rows of the {self.split} split, z = "
            f"{'a draw from q(z|x)' if self.sampled else 'mu(x)'}.",
            f"Inactive: mean sigma^2 > {self.inactive_scale2:g}, var(mu) < "
            f"{self.inactive_variance:g}, and |gain| at most "
            f"{self.inactive_gain:g} of the data's total variance "
            f"({self.inactive_gain * data_variance:.3g}). Doubtful: these "
            "disagree.",
        ]
        if not training.sampled:
            notes.append(
                "The model was trained without sampling: its sigma is untrained, so only the gain "
                "decides what is inactive."
            )
        elif not by_moments:
            notes.append(
                f"The model was trained with kl={training.kl}: nothing fixes the scale of its codes, "
                "so only the gain decides."
            )
        if (state == "doubtful").any():
            notes.append(f"Doubtful variables: {', '.join(map(str, np.flatnonzero(state == 'doubtful')))}.")

        keep = (~inactive).to(z.dtype)
        arrays = {"kept": np.flatnonzero(state != "inactive").astype(np.int64)}
        metrics = {
            name: Estimate(float((state == name).sum())) for name in ("active", "inactive", "doubtful")
        }
        metrics["ignored"] = Estimate(float(ignored.sum()))
        metrics |= self._without(run, noise, keep, z, drawn, x[some], full, data_variance, arrays)
        if not inactive.any():
            notes.append(
                "No variable is inactive: there is nothing to zero or to prune, and those four "
                "numbers are empty."
            )
        else:
            notes.append(
                f"Pruned to variables {arrays['kept'].tolist()}: latentrun task=prune run=DIR writes "
                "that model. "
                f"Zeroing test: {run.sampler_note}."
            )

        tables = {
            "variables": pd.DataFrame(
                {
                    "variable": np.arange(len(state)),
                    "var_mean": variance.double().cpu(),
                    "mean_scale2": scale2.double().cpu(),
                    "kl": kl.double().cpu(),
                    "gain": [g.value for g in gain],
                    "gain_low": np.array([g.low for g in gain], float),
                    "gain_high": np.array([g.high for g in gain], float),
                    "gain_share": [g.value / data_variance if data_variance else math.nan for g in gain],
                    "state": state,
                }
            )
        }
        if run.history is not None and run.history.epoch_scale.size:
            tables["evolution"] = evolution(run.history)
        else:
            notes.append("No record of the codes during training: their evolution is not shown.")
        return Report(metrics, tables, arrays, notes=tuple(notes))

    def _without(
        self,
        run,
        noise,
        keep: Tensor,
        z: Tensor,
        drawn: Tensor,
        x: Tensor,
        full: Tensor,
        data_variance: float,
        arrays: dict,
    ):
        """The inactive variables set to 0 in samples of the model, in the codes ``z`` with errors ``full``
        and in those ``drawn`` from q(z|x); pictures go into ``arrays``."""
        if keep.all():
            return {
                name: Estimate(math.nan)
                for name in ("zeroing_mse", "zeroing_relative", "pruned_error_ratio", "pruned_drawn_ratio")
            }
        codes = run.sample_codes(self.samples, noise.at("zeroing"))
        sample, zeroed = run.decode(codes), run.decode(codes * keep)
        if run.data.is_image:
            arrays["samples"] = sample[: self.shown].cpu().numpy().astype(np.float32)
            arrays["samples_zeroed"] = zeroed[: self.shown].cpu().numpy().astype(np.float32)
            arrays["value_range"] = np.array(run.data.value_range, np.float32)
        difference = (zeroed - sample).square().flatten(1).mean(1)
        per_dimension = data_variance / x[0].numel()
        return {
            "zeroing_mse": mean_interval(difference),
            "zeroing_relative": mean_interval(
                difference / per_dimension if per_dimension else difference * math.nan
            ),
            "pruned_error_ratio": ratio_interval(squared_error(run, z * keep, x), full),
            "pruned_drawn_ratio": ratio_interval(
                squared_error(run, drawn * keep, x), squared_error(run, drawn, x)
            ),
        }

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.diagnostics.variables.sparsity_plot import contributions, variances, zeroing
        from latentrun.plotting.evolution import over_training

        variables = (
            report.tables["variables"]
            .sort_values("kl", ascending=False, kind="stable")
            .reset_index(drop=True)
        )
        pictures = {
            "variances": Picture(
                variances(variables),
                "Variance of mu (blue) and mean sigma^2 (orange) of each latent variable, stacked; "
                "sorted by mean KL, largest first. "
                "The law var(mu) + mean sigma^2 = 1 is the dashed line. Hatched: inactive; grey dots "
                "over a bar: doubtful.",
            ),
            "contributions": Picture(
                contributions(variables),
                "Mean KL(q(z_i|x) || N(0, 1)) in nats and reconstruction gain of each latent "
                "variable: how much the squared error, "
                "summed over data dimensions, grows when the variable is set to 0 (whiskers: 95 % "
                "interval of the mean over "
                "examples). Sorted by KL; grey ground: inactive variables.",
            ),
        }
        if "evolution" in report.tables:
            wide = report.tables["evolution"].pivot(index="epoch", columns="variable")
            inactive = report.tables["variables"].set_index("variable")["state"].sort_index() == "inactive"
            values = {name: wide[name].to_numpy() for name in ("var_mean", "mean_scale2", "kl")}
            values["sum"] = values["var_mean"] + values["mean_scale2"]
            pictures["evolution"] = Picture(
                over_training(wide.index.to_numpy(), values, inactive.to_numpy()),
                "Variance of mu, mean sigma^2, their sum (by the law 1, dotted) and mean KL of each "
                "latent variable after every epoch, "
                "over a fixed set of training rows. Grey, dashed: variables that end up inactive; the "
                "others are coloured by their "
                "mean KL at the end.",
            )
        if "samples" in report.arrays:
            pictures["zeroing"] = Picture(
                zeroing(
                    report.arrays["samples"],
                    report.arrays["samples_zeroed"],
                    tuple(report.arrays["value_range"]),
                ),
                "Samples of the model, decoded as drawn (top) and with every inactive variable set to "
                "0 (below). The mean squared "
                f"difference is {report.metrics['zeroing_relative'].value:.2g} of the data's variance "
                "per pixel.",
            )
        return pictures


def squared_error(run: Run, z: Tensor, x: Tensor) -> Tensor:
    """||x - dec(z)||² ``(N,)``, summed over data dimensions."""
    return (run.decode(z) - x).square().flatten(1).sum(1)


def ratio_interval(above: Tensor, below: Tensor) -> Estimate:
    """mean(above) / mean(below) over the same examples, with the delta method's 95 % interval; NaN when below
    is 0."""
    bottom = below.double().mean()
    ratio = above.double().mean() / bottom
    around = mean_interval(ratio + (above.double() - ratio * below.double()) / bottom)
    return Estimate(ratio.item(), around.low, around.high)


def evolution(history: History) -> pd.DataFrame:
    """A row per epoch and variable: ``epoch, variable, var_mean, mean_scale2, kl`` over the history's fixed
    rows."""
    epochs, d = len(history.epochs), history.epoch_mean.shape[2]
    mean = history.epoch_mean.astype(np.float64)
    return pd.DataFrame(
        {
            "epoch": np.repeat(history.epochs, d),
            "variable": np.tile(np.arange(d), epochs),
            "var_mean": mean.var(1).ravel(),
            "mean_scale2": np.square(history.epoch_scale.astype(np.float64)).mean(1).ravel(),
            "kl": history.epoch_kl.astype(np.float64).mean(1).ravel(),
        }
    )
