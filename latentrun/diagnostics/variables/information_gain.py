"""What each latent variable tells about the example: how much worse the reconstruction is without it, beside
what it costs."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Ge, Gt
from latentrun.diagnostics.base import Diagnostic
from latentrun.diagnostics.needs import GAUSSIAN_POSTERIOR, IMAGES, LIKELIHOOD
from latentrun.functional.distances.divergences import gaussian_kl
from latentrun.functional.gains import zeroing_gains
from latentrun.functional.noise import Noise
from latentrun.functional.paths.lines import axis_lines
from latentrun.functional.statistics.intervals import mean_interval
from latentrun.models.base import HasLikelihood
from latentrun.run import CHUNK, Run
from latentrun.types import Estimate, Metric, Picture, Report

SOURCE = "Asperti, Sparsity in Variational Autoencoders, 2018, arXiv 1812.07238"
KINDS = {"posterior": "z drawn from q(z|x)", "mean": "z = mu(x)"}
EACH = "for each of `posterior` (z drawn from q(z|x)) and `mean` (z = mu(x))"
SQUARED = "squared data units summed over data dimensions, mean over examples"
AROUND = {"mean": "at the mean code", "zero": "at 0", "sample": "at one random draw from N(0, I)"}


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
    0; variables with a mean KL under ``inactive_kl`` are ``inactive`` already and have nothing to lose.

    ``gain.sum`` adds up the variables' own gains; ``gain.total`` is that of all at once, all at 0. They
    differ as far as variables stand in for each other or act together. ``most``: the least number of
    variables that hold 90 % of the positive gains.
    """

    requires = (GAUSSIAN_POSTERIOR,)
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
        "inactive": Metric("latent variables with hardly any KL", low=0, source=SOURCE),
        "most": Metric("latent variables that hold 90 % of the sum of positive gains (squared error)", low=0),
    }

    def __init__(
        self,
        split: Literal["train", "val", "test"],
        rows: Annotated[int, Ge(2)],
        inactive_kl: Annotated[float, Ge(0)],
        shown: Annotated[int, Ge(1)],
        steps: Annotated[int, Ge(2)],
        extent: Annotated[float, Gt(0)],
        around: Literal["mean", "zero", "sample"],
    ):
        self.split, self.rows, self.inactive_kl = split, rows, inactive_kl
        self.shown, self.steps, self.extent, self.around = shown, steps, extent, around

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        noise = noise.to(run.device)
        x, latents = run.x(self.split), run.latents(self.split)
        some = noise.permutation("rows", len(x))[: self.rows]
        x, mean, scale = x[some], latents.codes[some], latents.posterior["scale"][some]
        kl = gaussian_kl(mean, scale.log())
        codes = {"posterior": mean + scale * noise.normal("z", tuple(mean.shape)), "mean": mean}

        metrics, columns, surplus = {}, {}, None
        for kind, z in codes.items():
            full, gains = zeroing_gains(lambda z, x: _errors(run, z, x), z, x, CHUNK)
            none = torch.cat(
                [
                    _errors(run, torch.zeros_like(a), b)
                    for a, b in zip(z.split(CHUNK), x.split(CHUNK), strict=True)
                ],
                1,
            )
            for name, own, total in zip(("gain", "nats"), gains, none - full, strict=False):
                name += "" if kind == "posterior" else "_mean"
                each = [mean_interval(row) for row in own]
                greatest = max(each, key=lambda e: e.value)
                metrics |= {
                    f"{name}.total": mean_interval(total),
                    f"{name}.sum": mean_interval(own.sum(0)),
                    f"{name}.greatest": greatest,
                }
                columns |= _columns(name, each)
            if kind == "posterior" and len(gains) > 1:
                surplus = [mean_interval(row) for row in gains[1] - kl.T]

        average = kl.double().mean(0)
        inactive = (average < self.inactive_kl).cpu().numpy()
        table = pd.DataFrame({"variable": np.arange(len(inactive)), **columns, "kl": average.cpu().numpy()})
        state = np.where(inactive, "inactive", "used").astype(object)
        if surplus is not None:
            table = table.assign(**_columns("surplus", surplus))
            sides = np.select(
                [table["surplus_low"] > 0, table["surplus_high"] < 0], ["above", "below"], "even"
            )
            state = np.where(inactive, "inactive", sides).astype(object)
            metrics |= {
                f"{name}_kl": Estimate(float((state == name).sum())) for name in ("above", "below", "even")
            }
        table["state"] = state
        metrics |= {"kl": mean_interval(kl.sum(1)), "inactive": Estimate(float(inactive.sum()))}
        table = table.sort_values("gain", ascending=False, kind="stable").reset_index(drop=True)
        metrics["most"] = Estimate(float(_most(table["gain"].to_numpy())))

        arrays = {}
        best = torch.as_tensor(table["variable"].to_numpy()[: self.shown].copy(), device=mean.device)
        t, pictures = self._strips(run, noise, best)
        moved = np.full(len(table), np.nan)
        moved[: len(best)] = pictures.flatten(2).diff(dim=1).norm(dim=2).sum(1).cpu().numpy()
        table["path_length"] = moved
        if run.data.is_image:
            arrays = {
                "traversal": pictures.cpu().float().numpy(),
                "position": t[0].cpu().double().numpy(),
                "value_range": np.array(run.data.value_range, np.float64),
            }
        return Report(
            metrics, {"variables": table}, arrays, notes=self._notes(run, len(some), surplus is not None)
        )

    def _strips(self, run: Run, noise: Noise, best: Tensor) -> tuple[Tensor, Tensor]:
        """Variable i at -extent ... extent, all others as ``around`` says: ``t (k, T)`` and decoded ``(k, T,
        *event)``."""
        d = run.model.latent_dim
        origin = torch.zeros(d, device=best.device)
        t, lines = axis_lines(origin, origin + 1, self.extent, self.steps)
        others = {
            "mean": lambda: run.latents("train").codes.mean(0),
            "zero": lambda: origin,
            "sample": lambda: noise.normal("around", (d,)),
        }[self.around]()
        z = lines[best] + others * (1 - torch.eye(d, device=best.device))[best].unsqueeze(1)
        return t[best], run.decode(z.flatten(0, 1)).unflatten(0, z.shape[:2])

    def _notes(self, run: Run, rows: int, likelihood: bool) -> tuple[str, ...]:
        notes = [
            f"Means over {rows:,} rows of the {self.split} split; squared errors summed over data "
            "dimensions, one draw of z for each row.",
            f"Traversal: one variable at {-self.extent:g} ... {self.extent:g} (the prior's standard "
            f"deviation is 1), all others {AROUND[self.around]}.",
        ]
        training = run.model.posterior_training
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
        from latentrun.diagnostics.variables.information_gain_plot import against_kl, ordered
        from latentrun.plotting.images import strips

        table, arrays = report.tables["variables"], report.arrays
        found = {
            "gain": Picture(
                ordered(table),
                "How much the squared error, summed over data dimensions, grows when a latent variable is "
                "set to 0; largest first. Bars: z drawn from q(z|x), with 95 % intervals of the mean over "
                "examples; diamonds: z = mu(x). Grey ground: inactive variables (mean KL under "
                f"{self.inactive_kl:g} nats).",
            )
        }
        if "nats" in table:
            found["against_kl"] = Picture(
                against_kl(table),
                "What a variable saves and what it costs, in nats on a logarithmic axis (linear below 0.01): "
                "the growth of -ln p(x|z) when it is set to 0, with 95 % intervals over examples, and its "
                "mean KL (black dashes). Variables whose gain is clearly above their KL pay for themselves "
                "(blue); where it is below, the source expects them to collapse (orange).",
            )
        if "traversal" in arrays:
            rows = table.head(len(arrays["traversal"]))
            labels = [f"z{row.variable}: {row.gain:.3g}" for row in rows.itertuples()]
            found["traversal"] = Picture(
                strips(
                    list(zip(labels, arrays["traversal"], strict=True)),
                    tuple(arrays["value_range"].tolist()),
                    columns=[f"{p:.3g}" for p in arrays["position"]],
                ),
                "Decoded codes that differ in one latent variable each, its value under the columns "
                f"(standard deviations of the prior), all others {AROUND[self.around]}. The variables of "
                "largest gain, largest first; beside each: its gain in squared data units.",
            )
        return found


def _errors(run: Run, z: Tensor, x: Tensor) -> Tensor:
    """``(1, n)`` squared errors summed over data dimensions, and where there is a likelihood ``(2, n)``, -ln
    p(x|z) in nats."""
    if not isinstance(run.model, HasLikelihood):
        return (run.decode(z) - x).square().flatten(1).sum(1)[None]
    law = run.model.likelihood(z)
    return torch.stack([(law.mean - x).square().flatten(1).sum(1), -law.log_prob(x)])


def _columns(name: str, estimates: list[Estimate]) -> dict[str, np.ndarray]:
    """``name, name_low, name_high`` of a table."""
    ends = {"": "value", "_low": "low", "_high": "high"}
    return {name + end: np.array([getattr(e, key) for e in estimates], float) for end, key in ends.items()}


def _most(gains: np.ndarray) -> int:
    """How many of the gains, largest first, hold 90 % of the sum of the positive ones; 0 where there is
    none."""
    gains = np.sort(gains.clip(0))[::-1].cumsum()
    return int(np.searchsorted(gains, 0.9 * gains[-1]) + 1) if gains[-1] > 0 else 0
