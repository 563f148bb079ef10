"""How probable the data are under the model."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, prod
from typing import Annotated, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Count, Each, Gt
from latentrun.data.base import HasMembers
from latentrun.diagnostics.base import Diagnostic, posterior_training
from latentrun.diagnostics.evidence.likelihood_measure import (
    Side,
    Weighed,
    by_members,
    by_quadrature,
    fixed_scale,
    in_chunks,
    weigh,
)
from latentrun.diagnostics.needs import EVIDENCE, GAUSSIAN_POSTERIOR, ORACLE
from latentrun.errors import InputError
from latentrun.functional.evidence import Quadrature
from latentrun.functional.noise import Noise
from latentrun.functional.spacing import evenly
from latentrun.functional.statistics.intervals import mean_interval
from latentrun.functional.statistics.mixtures import information
from latentrun.models.base import HasEvidence, HasGaussianPosterior, HasLevels, HasLogProb, HasPriorGrid
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

NATS = "nats per example, mean over examples"
IWAE = "Burda et al. 2016, arXiv 1509.00519, eq. 8"
SURGERY = "Hoffman & Johnson, ELBO surgery, NIPS workshop 2016"
FEW = 10  # effective draws: below, the mean of the weights is carried by too few to be trusted


@dataclass(frozen=True)
class Known:
    """log p(x) of N examples ``(N,)`` as far as it is known: ``exact`` from the model's own density,
    ``quadrature`` over its prior; ``oracle`` from the family of the data, which the model may not reach, at
    the model's ``scale``; ``source`` from that family and its own noise, where it has some."""

    exact: Tensor | None = None
    quadrature: Quadrature | None = None
    oracle: Quadrature | None = None
    source: Quadrature | None = None
    scale: float | None = None


class Likelihood(Diagnostic):
    """How probable are the data under the model, and how much of that does the evidence lower bound miss?

    All in nats per example, constants included (of a normal p(x|z) the ½ D ln 2 pi sigma²). Of up to ``rows``
    examples, the same in all runs on the same data, so that runs can be compared example by example.

    ``elbo`` = E_q(z|x) log p(x|z) - KL(q(z|x) || p(z)) = -(``reconstruction`` + ``kl``): the first by as many
    draws as ``draws`` has at most, the second as the model gives it (by draws where that lacks a term, see
    below; infinite where a draw has a prior of 0). ``iwae.K`` = E log 1/K sum_k p(x|z_k)
    p(z_k) / q(z_k|x), between the ELBO (K = 1) and log p(x) (Burda et al. 2016), averaged over disjoint
    groups of K of the same draws. For no K is it an estimate of log p(x) without a bias downwards: ``bias``
    is that of the largest K to first order in 1/K (Nowozin 2018), as the draws themselves show it. It is
    worth nothing where few draws carry the mean (``effective`` draws, (sum w)² / sum w², and ``few``, the
    share of examples with fewer than 10), and knows nothing of places that the posterior leaves out.

    Where a model gives weights that leave a term of the KL out (a group action on a prior that it does not
    leave alone), what they come to is called ``elbo_uncorrected`` and ``iwae_uncorrected``: no bounds of
    anything. ``outside``: the share of draws that the whole term rules out, where the prior is 0.

    ``quadrature``: log p(x) as a mean of p(x|z) over points that stand for equal shares of the prior, where
    the latent space has one dimension, or two or three and a ``lattice`` of so many points is allowed; their
    number is doubled until no example moves by ``tolerance``. ``log_prob``: exact, of models that have a
    density (of data on levels, with the noise that it asks for). ``oracle``: log of the mean of N(x; member,
    sigma² I) over all members of the data's family, sigma that of the model: what a model has whose decoder
    draws the family itself, from the family's own law. ``source``: the same with the standard deviation of
    the data's own noise, where they have some: the law they are drawn from, which no model exceeds on
    average. ``gap``: how far the oracle lies above, ``inference_gap`` = log p(x) - ELBO = KL(q(z|x) ||
    p(z|x)), where log p(x) is known.

    ``information``: I(index of the example; z), the active information of a Gaussian posterior, and
    ``kl_aggregate`` = KL(q(z) || p(z)), which add up to ``kl`` (Hoffman & Johnson 2016), as in the diagnostic
    `aggregate_posterior`.
    """

    requires = (EVIDENCE,)
    uses = (GAUSSIAN_POSTERIOR, ORACLE)
    metrics: ClassVar = {
        "elbo": Metric(f"evidence lower bound, {NATS}", better="higher"),
        "reconstruction": Metric(f"-log p(x|z), mean over z ~ q(z|x), {NATS}", better="lower"),
        "kl": Metric(f"KL(q(z|x) || p(z)), {NATS}"),
        "iwae": Metric(
            f"importance-weighted bound of log p(x) by K draws, {NATS}", None, None, "higher", IWAE
        ),
        "bias": Metric(
            f"log p(x) less its bound with most draws, to first order in 1 / draws, {NATS}",
            0,
            None,
            "lower",
            "Nowozin 2018, ICLR, proposition 1",
        ),
        "effective": Metric(
            "draws that carry the mean of the weights, mean over examples", 0, None, "higher"
        ),
        "few": Metric(f"share of examples with fewer than {FEW} effective draws", 0, 1, "lower"),
        "outside": Metric("share of draws where the prior is 0, mean over examples", 0, 1, "lower"),
        "elbo_uncorrected": Metric(f"the ELBO without a term of its KL, no bound, {NATS}"),
        "kl_uncorrected": Metric(f"the KL without that term, {NATS}"),
        "iwae_uncorrected": Metric(f"as iwae, of weights without that term, no bound, {NATS}"),
        "quadrature": Metric(f"log p(x) as a sum over parts of the prior, {NATS}", better="higher"),
        "quadrature_change": Metric(
            "nats by which an example moved at most when the points were last doubled", 0, None, "lower"
        ),
        "log_prob": Metric(f"log p(x), exact, {NATS}", better="higher"),
        "oracle": Metric(f"log p(x) of the data's own family at the model's sigma, {NATS}"),
        "source": Metric(f"log p(x) of the law that the data are drawn from, {NATS}"),
        "gap": Metric(f"oracle less `elbo`, `iwae`, `quadrature`, `log_prob`, {NATS}", better="lower"),
        "inference_gap": Metric(f"log p(x) - ELBO = KL(q(z|x) || p(z|x)), {NATS}", better="lower"),
        "information": Metric("I(index of the example; z), nats, at most ln N", 0, source=SURGERY),
        "kl_aggregate": Metric("KL(q(z) || p(z)), nats", better="zero", source=SURGERY),
        "bits": Metric("bits per data dimension: -`elbo`, -`iwae`, ... over D ln 2", better="lower"),
    }

    def __init__(
        self,
        split: Literal["train", "val", "test"],
        rows: Annotated[int, Count(2)],
        draws: Annotated[list[int], Each(Count(1))],
        points: Annotated[int, Count(2, 100_000_000)],
        lattice: Annotated[int, Count(0, 100_000_000)],
        tolerance: Annotated[float, Gt(0)],
    ):
        if not draws:
            raise InputError("diagnostic.likelihood.draws: at least one number of draws is needed")
        self.split, self.rows, self.points, self.tolerance = split, rows, points, tolerance
        self.draws, self.lattice = sorted(set(draws)), lattice

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        noise = noise.to(run.device)
        x, index = self._examples(run)
        examples, bounds, notes = {"index": index.cpu().numpy()}, [], []
        known = self._known(run, x, noise)
        if isinstance(run.model, HasEvidence):
            weighed = weigh(run.model, x, self.draws, noise)
            examples |= example_columns(weighed, run.model, x)
            bounds = bound_rows(weighed)
            notes += bound_notes(weighed, posterior_training(run).sampled)
        examples |= {name: value.cpu().numpy() for name, value in known_columns(known).items()}
        table = pd.DataFrame(examples)
        metrics = metrics_of(table, prod(run.data.event_shape)) | self._information(run, x, table, noise)
        if known.quadrature is not None:
            metrics["quadrature_change"] = Estimate(known.quadrature.change.max().item())
        metrics = {name: metrics[name] for name in sorted(metrics, key=place_of)}
        notes = [self._about(len(x), run), *notes, *self._known_notes(known), *run.model.caveats(run.data)]
        tables = {"examples": table} | ({"bounds": pd.DataFrame(bounds)} if bounds else {})
        return Report(metrics, tables, notes=tuple(notes))

    def _examples(self, run: Run) -> tuple[Tensor, Tensor]:
        """``x (N, *event_shape)`` and their row numbers in the source."""
        x, index = run.x(self.split), run.data.split(self.split).index
        at = evenly(len(x), self.rows)
        return x[at.to(x.device)], index[at]

    def _known(self, run: Run, x: Tensor, noise: Noise) -> Known:
        model, data = run.model, run.data
        exact = None
        if isinstance(model, HasLogProb):
            seen = model.dequantised(x, noise) if isinstance(model, HasLevels) else x
            exact = in_chunks(model.log_prob, seen)
        if not isinstance(model, HasEvidence):
            return Known(exact)
        quadrature = oracle = source = scale = None
        most = self.points if model.spaces["z"].dim < 2 else self.lattice
        if isinstance(model, HasPriorGrid) and most:
            quadrature = by_quadrature(model, model, x, most, self.tolerance)
        if isinstance(data, HasMembers):
            scale = fixed_scale(model, run.encode(x[:8]))
            if scale is not None:
                oracle = by_members(data.members, scale, x, self.points, self.tolerance)
            if data.noise > 0:
                source = by_members(data.members, data.noise, x, self.points, self.tolerance)
        return Known(exact, quadrature, oracle, source, scale)

    def _information(self, run: Run, x: Tensor, table: pd.DataFrame, noise: Noise) -> dict[str, Estimate]:
        """How the mean KL of a Gaussian posterior divides."""
        if not isinstance(run.model, HasGaussianPosterior) or "kl" not in table:
            return {}
        mean, scale = run.posterior(x)
        z = mean + scale * noise.normal("information", tuple(mean.shape))
        about_index = information(z, mean, scale)[0].cpu()
        rest = torch.from_numpy(table["kl"].to_numpy(copy=True)) - about_index
        return {"information": mean_interval(about_index), "kl_aggregate": mean_interval(rest)}

    # ---------------------------------------------------------------- words
    def _about(self, n: int, run: Run) -> str:
        return (
            f"Means over {n:,} examples of the {self.split} split, in nats per example with all constants of "
            f"p(x|z); bits per dimension over D = {prod(run.data.event_shape):,} dimensions."
        )

    def _known_notes(self, known: Known) -> list[str]:
        notes = []
        integrals = {"Quadrature": known.quadrature, "The oracle": known.oracle, "The source": known.source}
        for name, found in integrals.items():
            if found is None:
                continue
            change = found.change.max().item()
            far = "" if change < self.tolerance else f", not converged to {self.tolerance:g}"
            notes.append(
                f"{name}: {found.points:,} points; the last doubling moved no example by more than "
                f"{change:.2g} nats{far}."
            )
        if known.oracle is not None:
            notes.append(
                f"The oracle is the data's own law at the model's sigma, {known.scale:g}: another law, or a "
                "sigma that is learned, can come a little higher."
            )
        return notes

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.diagnostics.evidence.likelihood_plot import pictures

        return pictures(report)


# ---------------------------------------------------------------- example by example
def example_columns(weighed: Weighed, model: HasEvidence, x: Tensor) -> dict[str, np.ndarray]:
    """What the draws say of each example, by column. Where a term of the KL is left out of some weights, the
    model's own KL lacks it too, and the whole one is that of the draws."""
    columns: dict[str, Tensor] = {"reconstruction": weighed.reconstruction}
    kl = in_chunks(model.kl, x)
    if weighed.corrected is not None:
        columns["kl"] = kl if weighed.uncorrected is None else weighed.corrected.cost
        columns["elbo"] = -weighed.reconstruction - columns["kl"]
        columns |= {f"iwae_{size}": bound for size, bound in weighed.corrected.bounds.items()}
        columns |= {"effective": weighed.corrected.effective, "bias": weighed.corrected.bias}
    if weighed.uncorrected is not None:
        if weighed.corrected is not None:
            columns["outside"] = weighed.corrected.outside
        columns |= {"kl_uncorrected": kl, "elbo_uncorrected": -weighed.reconstruction - kl}
        columns |= {f"iwae_uncorrected_{size}": bound for size, bound in weighed.uncorrected.bounds.items()}
    return {name: values.cpu().numpy() for name, values in columns.items()}


def known_columns(known: Known) -> dict[str, Tensor]:
    columns = {}
    if known.exact is not None:
        columns["log_prob"] = known.exact
    if known.quadrature is not None:
        columns["quadrature"] = known.quadrature.value
    if known.oracle is not None:
        columns["oracle"] = known.oracle.value
    if known.source is not None:
        columns["source"] = known.source.value
    return columns


def metrics_of(table: pd.DataFrame, dimensions: int) -> dict[str, Estimate]:
    """Means over the examples of every column, and of differences of columns."""
    metrics = {}
    for column in table.columns.drop("index"):
        name, _, size = column.rpartition("_")
        metrics[f"{name}.{size}" if size.isdigit() else column] = mean_interval(
            table[column].to_numpy(copy=True)
        )
    best = most_draws(table)
    valued = {name: table[column] for name, column in best.items() if column in table}
    for name, values in valued.items():
        metrics[f"bits.{name}"] = mean_interval(-values.to_numpy(copy=True) / (dimensions * log(2)))
        if "oracle" in table:
            metrics[f"gap.{name}"] = mean_interval((table["oracle"] - values).to_numpy(copy=True))
    if "effective" in table:
        metrics["few"] = mean_interval((table["effective"] < FEW).to_numpy(dtype=float, copy=True))
    exact = next((name for name in ("log_prob", "quadrature") if name in table), None)
    if exact is not None and "elbo" in table:
        metrics["inference_gap"] = mean_interval((table[exact] - table["elbo"]).to_numpy(copy=True))
    return metrics


def most_draws(table: pd.DataFrame) -> dict[str, str]:
    """The columns of bounds and densities by what they are called, of ``iwae`` the one of most draws."""
    sizes = [int(name[5:]) for name in table.columns if name.startswith("iwae_") and name[5:].isdigit()]
    iwae = {"iwae": f"iwae_{max(sizes)}"} if sizes else {}
    return {"elbo": "elbo", **iwae, "quadrature": "quadrature", "log_prob": "log_prob"}


# ---------------------------------------------------------------- bound by bound
def bound_rows(weighed: Weighed) -> list[dict[str, object]]:
    """A row for each kind of weights and number of draws."""
    sides = {"corrected": weighed.corrected, "uncorrected": weighed.uncorrected}
    return [
        bound_row(kind, size, side)
        for kind, side in sides.items()
        if side is not None
        for size in side.bounds
    ]


def bound_row(kind: str, size: int, side: Side) -> dict[str, object]:
    values = side.bounds[size]
    value, low, high, method = mean_interval(values).cells()
    n = len(values)
    return {
        "weights": kind,
        "draws": size,
        "groups": side.groups[size],
        "bound": value,
        "low": low,
        "high": high,
        "method": method,
        "error": values.std().item() / n**0.5 if n > 1 else float("nan"),  # standard error over examples
    }


def bound_notes(weighed: Weighed, sampled: bool) -> list[str]:
    """What to know about the bounds."""
    notes = []
    if weighed.corrected is not None:
        side, most = weighed.corrected, max(weighed.corrected.bounds)
        few = (side.effective < FEW).double().mean().item()
        notes.append(
            f"The bound of K draws is a mean over all disjoint groups of K of the {most:,} draws of an "
            "example. With every K it lies below log p(x) on average: to first order, with most draws, by "
            f"{side.bias.mean().item():.2g} nats as far as these draws can tell, and by any amount more "
            f"where the posterior leaves out what they never meet. In {100 * few:.0f} % of the examples "
            f"fewer than {FEW} draws carry the mean, and there it lies lower than that."
        )
    if weighed.uncorrected is not None:
        notes.append(
            "`uncorrected` numbers leave out what the group action adds to the KL: they bound nothing, and "
            "no verdict goes by them."
        )
        if weighed.corrected is None:
            notes.append("The corrected ones do not exist for this model: its density is not known.")
    if not sampled:
        notes.append(
            "The model was trained without sampling: its posterior, and so every bound, is untrained."
        )
    return notes


def place_of(name: str) -> int:
    """Where a metric stands among those declared."""
    return list(Likelihood.metrics).index(name.partition(".")[0])
