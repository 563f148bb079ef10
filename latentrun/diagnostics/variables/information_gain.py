"""What each latent variable tells about the example: how much worse the reconstruction is without it, beside
what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Count, Ge, Gt
from latentrun.diagnostics.base import Diagnostic, posterior_training
from latentrun.diagnostics.needs import FLAT, GAUSSIAN_POSTERIOR, IMAGES, LIKELIHOOD
from latentrun.diagnostics.usage import Criteria, usage_of
from latentrun.functional.distances.divergences import gaussian_kl
from latentrun.functional.gains import zeroing_gains
from latentrun.functional.noise import Noise
from latentrun.functional.paths.lines import axis_lines
from latentrun.functional.statistics.intervals import interval_columns, mean_interval
from latentrun.functional.usage import INACTIVE
from latentrun.models.base import HasLikelihood
from latentrun.run import CHUNK, Run
from latentrun.types import Estimate, Metric, Picture, Report

SOURCE = "Asperti, Sparsity in Variational Autoencoders, 2018, arXiv 1812.07238"
SQUARED = "squared data units summed over data dimensions, mean over examples"
AROUND = {"mean": "at the mean code", "zero": "at 0", "sample": "at one random draw from N(0, I)"}


@dataclass(frozen=True)
class Gains:
    """How much losses of ``n`` examples grow in one unit, float32: ``single (d, n)`` with one variable at 0,
    ``joint (n,)`` with all at 0."""

    single: Tensor
    joint: Tensor


class InformationGain(Diagnostic):
    """How much does each latent variable improve the reconstruction, and is it worth its divergence?

    For every variable i, on ``rows`` randomly chosen examples of a split,

        gain_i = mean over x of [error(x, dec(z with z_i = 0)) - error(x, dec(z))],

    the reconstruction gain of the source, for z ~ q(z|x) (one draw, the same for every variable) and for z =
    mu(x). Error: the squared error summed over data dimensions and, for a model with a likelihood, -ln p(x|z)
    in nats. Intervals (95 %) of means over examples, for this model. 0 is where the prior sits and not where
    the decoder does best: a gain may be negative.

    Beside it the mean KL(q(z_i|x) || N(0, 1)) in nats. What a variable saves the loss is its gain in nats,
    what it costs is its KL; where the gain is the smaller one training had better switch it off, the source's
    account of how variables collapse. The comparison is made example by example (z ~ q(z|x)): ``above`` where
    the interval of the mean of gain - KL lies above 0, ``below`` where it lies below, ``even`` where it holds
    0; ``inactive`` variables, by the criteria of ``sparsity``, have nothing to lose.

    ``gain.sum`` adds up the variables' own gains; ``gain.total`` is that of all at once, all at 0. They
    differ as far as variables stand in for each other or act together. ``most``: the least number of
    variables that hold 90 % of the positive gains.
    """

    requires = (GAUSSIAN_POSTERIOR, FLAT)
    uses = (LIKELIHOOD, IMAGES)
    metrics = {
        "gain": Metric(f"{SQUARED}: `total`, `sum`, `greatest` of z drawn from q(z|x)", source=SOURCE),
        "gain_mean": Metric(f"{SQUARED}: `total`, `sum`, `greatest` of z = mu(x)", source=SOURCE),
        "nats": Metric(
            "nats of -ln p(x|z), mean over examples: `total`, `sum`, `greatest` of z drawn from q(z|x)",
            source=SOURCE,
        ),
        "nats_mean": Metric(
            "nats of -ln p(x|z), mean over examples: `total`, `sum`, `greatest` of z = mu(x)", source=SOURCE
        ),
        "kl": Metric("nats per example, summed over latent variables, mean over examples", low=0),
        "above_kl": Metric(
            "latent variables whose gain exceeds their KL, both in nats", low=0, source=SOURCE
        ),
        "below_kl": Metric(
            "latent variables in use whose gain is less than their KL, both in nats", low=0, source=SOURCE
        ),
        "even_kl": Metric(
            "latent variables in use whose gain and KL do not differ by more than chance", low=0
        ),
        "inactive": Metric("latent variables, by the criteria of sparsity", low=0, source=SOURCE),
        "most": Metric("latent variables that hold 90 % of the sum of positive gains (squared error)", low=0),
    }

    def __init__(
        self,
        split: Literal["train", "val", "test"],
        rows: Annotated[int, Count(2)],
        inactive_scale2: Annotated[float, Ge(0)],
        inactive_variance: Annotated[float, Gt(0)],
        inactive_gain: Annotated[float, Gt(0)],
        shown: Annotated[int, Count(1, 10_000)],
        steps: Annotated[int, Count(2, 10_000)],
        extent: Annotated[float, Gt(0)],
        around: Literal["mean", "zero", "sample"],
    ):
        self.split, self.rows = split, rows
        self.criteria = Criteria(inactive_scale2, inactive_variance, inactive_gain)
        self.shown, self.steps, self.extent, self.around = shown, steps, extent, around

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        noise = noise.to(run.device)
        x, mean, scale = self._examples(run, noise)
        kl = gaussian_kl(mean, scale.log())
        z = mean + scale * noise.normal("z", tuple(mean.shape))
        gains = measure(run, z, x)
        gains |= {f"{unit}_mean": gain for unit, gain in measure(run, mean, x).items()}
        state = self.criteria.states(run, usage_of(run, self.split, self.rows))
        table = self._table(gains, kl, state == INACTIVE)
        path, position, pictures = self._strips(run, noise, table["variable"].to_numpy()[: self.shown])
        table["path_length"] = np.append(path, np.full(len(table) - len(path), np.nan))
        arrays = {}
        if run.data.is_image:
            arrays = {
                "traversal": pictures,
                "position": position,
                "value_range": np.array(run.data.value_range, np.float64),
            }
        metrics = gain_metrics(gains) | count_states(table["state"], "nats" in gains)
        metrics |= {
            "kl": mean_interval(kl.sum(1)),
            "inactive": Estimate(float((table["state"] == INACTIVE).sum())),
            "most": Estimate(float(fewest(table["gain"].to_numpy()))),
        }
        return Report(metrics, {"variables": table}, arrays, notes=self._notes(run, len(x), "nats" in gains))

    def _examples(self, run: Run, noise: Noise) -> tuple[Tensor, Tensor, Tensor]:
        """``x (n, *event)`` of the rows drawn, and mean and scale ``(n, d)`` of their posteriors."""
        x, latents = run.x(self.split), run.latents(self.split)
        rows = noise.permutation("rows", len(x))[: self.rows]
        return x[rows], latents.codes[rows], latents.posterior["scale"][rows]

    def _table(self, gains: dict[str, Gains], kl: Tensor, inactive: np.ndarray) -> pd.DataFrame:
        """A row for each variable, the one of largest gain first; ``inactive (d,)`` bool."""
        columns = {"variable": np.arange(kl.shape[1])}
        for name, gain in gains.items():
            columns |= interval_columns(name, [mean_interval(row) for row in gain.single])
        average = kl.double().mean(0).cpu().numpy()
        state = np.full(len(average), "used", object)
        table = pd.DataFrame({**columns, "kl": average})
        if "nats" in gains:
            surplus = interval_columns("surplus", [mean_interval(row) for row in gains["nats"].single - kl.T])
            table = table.assign(**surplus)
            state = np.select(
                [surplus["surplus_low"] > 0, surplus["surplus_high"] < 0], ["above", "below"], "even"
            )
        table["state"] = np.where(inactive, INACTIVE, state).astype(object)
        return table.sort_values("gain", ascending=False, kind="stable").reset_index(drop=True)

    def _strips(
        self, run: Run, noise: Noise, variables: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Each of k ``variables`` in turn at -extent ... extent, all others as ``around`` says: the length
        ``(k,)`` of what is decoded in data units, the places ``(T,)``, and the decoded examples ``(k, T,
        *event)``."""
        d, device = run.model.latent_dim, run.device
        origin = torch.zeros(d, device=device)
        best = torch.as_tensor(variables.copy(), device=device)
        t, lines = axis_lines(origin, origin + 1, self.extent, self.steps)
        others = {
            "mean": lambda: run.latents("train").codes.mean(0),
            "zero": lambda: origin,
            "sample": lambda: noise.normal("around", (d,)),
        }[self.around]()
        z = lines[best] + others * (1 - torch.eye(d, device=device))[best].unsqueeze(1)
        pictures = run.decode(z.flatten(0, 1)).unflatten(0, z.shape[:2])
        length = pictures.flatten(2).diff(dim=1).norm(dim=2).sum(1)
        return length.cpu().numpy(), t[0].cpu().double().numpy(), pictures.cpu().float().numpy()

    def _notes(self, run: Run, rows: int, likelihood: bool) -> tuple[str, ...]:
        notes = [
            f"Means over {rows:,} rows of the {self.split} split; squared errors summed over data "
            "dimensions, one draw of z for each row.",
            f"Traversal: one variable at {-self.extent:g} ... {self.extent:g} (the prior's standard "
            f"deviation is 1), all others {AROUND[self.around]}.",
        ]
        training = posterior_training(run)
        if not likelihood:
            notes.append(
                "The model has no likelihood: its gains are not in nats and are not compared with the KL."
            )
        if training.beta != 1:
            notes.append(
                f"The model was trained with beta = {training.beta:g}: a variable costs its loss that many "
                "times its KL in nats."
            )
        if training.kl != "full":
            notes.append(
                f"The model was trained with kl={training.kl}: its loss does not charge the KL given here."
            )
        if not training.sampled:
            notes.append(
                "The model was trained without sampling: its sigma is untrained, so only the gains of z = "
                "mu(x) say something."
            )
        return tuple(notes)

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.diagnostics.variables.information_gain_plot import against_kl, ordered, traversal

        table = report.tables["variables"]
        gain = (
            "How much the squared error, summed over data dimensions, grows when a latent variable is set to "
            "0; largest first. Bars: z drawn from q(z|x), with 95 % intervals of the mean over examples; "
            "diamonds: z = mu(x). Grey ground: inactive variables."
        )
        pictures = {"gain": Picture(ordered(table), gain)}
        if "nats" in table:
            text = (
                "What a variable saves and what it costs, in nats on a logarithmic axis (linear below 0.01): "
                "the growth of -ln p(x|z) when it is set to 0, with 95 % intervals over examples, and its "
                "mean KL (black dashes). Variables whose gain is clearly above their KL pay for themselves "
                "(blue); where it is below, the source expects them to collapse (orange)."
            )
            pictures["against_kl"] = Picture(against_kl(table), text)
        if "traversal" in report.arrays:
            text = (
                "Decoded codes that differ in one latent variable each, its value under the columns "
                f"(standard deviations of the prior), all others {AROUND[self.around]}. The variables of "
                "largest gain, largest first; beside each: its gain in squared data units."
            )
            pictures["traversal"] = Picture(traversal(table, report.arrays), text)
        return pictures


# ---------------------------------------------------------------- numbers
def losses(run: Run, z: Tensor, x: Tensor) -> Tensor:
    """``(1, n)`` squared errors summed over data dimensions, and where there is a likelihood ``(2, n)``, -ln
    p(x|z) in nats."""
    if not isinstance(run.model, HasLikelihood):
        return (run.decode(z) - x).square().flatten(1).sum(1)[None]
    law = run.model.likelihood(z)
    return torch.stack([(law.mean - x).square().flatten(1).sum(1), -law.log_prob(x)])


def measure(run: Run, z: Tensor, x: Tensor) -> dict[str, Gains]:
    """The gains of the codes ``z (n, d)`` of ``x (n, *event)`` by what they are of: ``gain`` in squared
    error, and where there is a likelihood ``nats``."""
    full, single = zeroing_gains(lambda z, x: losses(run, z, x), z, x, CHUNK)
    chunks = zip(z.split(CHUNK), x.split(CHUNK), strict=True)
    joint = torch.cat([losses(run, torch.zeros_like(a), b) for a, b in chunks], 1) - full
    return {unit: Gains(*parts) for unit, *parts in zip(("gain", "nats"), single, joint, strict=False)}


def fewest(gains: np.ndarray) -> int:
    """How many of the gains, largest first, hold 90 % of the sum of the positive ones; 0 where there is
    none."""
    gains = np.sort(gains.clip(0))[::-1].cumsum()
    return int(np.searchsorted(gains, 0.9 * gains[-1]) + 1) if gains[-1] > 0 else 0


# ---------------------------------------------------------------- the report
def gain_metrics(gains: dict[str, Gains]) -> dict[str, Estimate]:
    metrics = {}
    for name, gain in gains.items():
        metrics |= {
            f"{name}.total": mean_interval(gain.joint),
            f"{name}.sum": mean_interval(gain.single.sum(0)),
            f"{name}.greatest": max((mean_interval(row) for row in gain.single), key=lambda e: e.value),
        }
    return metrics


def count_states(state: pd.Series, in_nats: bool) -> dict[str, Estimate]:
    """How many variables gain more than, less than and as much as they cost, where that is known."""
    if not in_nats:
        return {}
    return {f"{name}_kl": Estimate(float((state == name).sum())) for name in ("above", "below", "even")}
