"""How the latent space is laid onto the factors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Count
from latentrun.data.base import Dataset, Oracle
from latentrun.diagnostics.base import Diagnostic
from latentrun.diagnostics.codes.manifold_fit_paths import Loops, View, closes, path_table, with_values
from latentrun.diagnostics.needs import EMBEDDING, ENCODER, FACTORS, ORACLE
from latentrun.errors import Misfit, NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.functional.paths.tears import closed_steps, continuity
from latentrun.functional.spacing import evenly
from latentrun.functional.statistics.circular import factor_distance
from latentrun.functional.statistics.dependence import pearson, rank_estimate, spearman
from latentrun.functional.statistics.intervals import bootstrap_means, mean_interval
from latentrun.models.base import HasEmbedding, Model
from latentrun.run import Run
from latentrun.types import Estimate, Factor, Metric, Picture, Report

SHOWN = 2000  # points of a scatter plot
PATHS = "mean over closed paths"


class ManifoldFit(Diagnostic):
    """Is the latent space laid onto the factors without folds and tears, and as far apart as they are?

    *Distances*: of pairs of rows, none in two of them, the geodesic distance of the codes against that of the
    factors: ``distance_rank`` (Spearman) and ``distance_linear`` (Pearson). That of the factors is the
    geodesic distance on the manifold whose coordinates they are; where the data have none, each factor counts
    as a share of its range, cyclic ones the short way round. Pairs without a path between them are left out.

    *Closed paths* of each cyclic factor, rendered by the oracle, the others fixed as in ``paths`` rows; those
    that do not close are left out (on a Moebius strip one turn leads to the other side). The code's angle is
    that on the circle of its space, of a torus or product the one that it goes round most often; where there
    is none, that around the centre of its path, in the plane in which that spreads most: a crescent has its
    centre outside. ``winding``: how often the code goes round, without its sign: 1 for a circle laid onto a
    circle, 2 for a double cover, 0 where it turns back, as it must on a line. ``circular_correlation`` of
    this angle with the factor, along the path, whatever origin and sense (Jammalamadaka & SenGupta 2001); 0
    where the path has no inside.

    *Tears*: a code that must leave a place and arrive at it from the other side jumps, however fine the path.
    ``jump_coarse``, ``jump_fine``: the largest step between neighbours over the median step, with ``points``
    points and with ``refinement`` times as many. ``persistence``: the largest fine step over the largest
    coarse one, 1 / ``refinement`` where the code follows, 1 where it is torn. ``half``: the least share of
    the circle on which the code makes half of its way, 1/2 where it goes evenly: a network is continuous, and
    goes back steeply where another map would jump. ``torn``: share of the paths where persistence is nearer
    to 1, as ratios go, or ``half`` below 0.1, of those on which the code moves. ``tear``: the largest fine
    step as a share of the distance of the two points of the path farthest apart; table ``paths`` says at
    which value of the factor.

    *Embedding*: of a model whose latent space is the image of hidden variables, how good that map is, see
    :class:`~latentrun.functional.embedding_quality.EmbeddingQuality`, of a curve also ``Course`` and of what
    has more dimensions ``Cover`` there; of one that was learned how often it was learned anew
    (``restarts``), for it folded or tore, and whether it is ``good`` at last (1 or 0).
    """

    requires = (ENCODER,)
    uses = (FACTORS, ORACLE, EMBEDDING)
    metrics: ClassVar = {
        "distance_rank": Metric(
            "Spearman correlation of geodesic distances of codes with distances of factors, pairs of rows",
            -1,
            1,
            "higher",
        ),
        "distance_linear": Metric("Pearson correlation of these distances", -1, 1, "higher"),
        "winding": Metric(
            f"times that the code goes round while the factor does once, {PATHS}", 0, None, "one"
        ),
        "once": Metric("share of closed paths on which the code goes round once", 0, 1, "higher"),
        "circular_correlation": Metric(
            f"|rho| of the code's angle and the factor, {PATHS}",
            0,
            1,
            "higher",
            "Jammalamadaka & SenGupta 2001, eqs. 8.2.2, 8.2.4",
        ),
        "jump_coarse": Metric(f"largest step of the code over the median step, {PATHS}", 0, None, "one"),
        "jump_fine": Metric(f"the same on the refined path, {PATHS}", 0, None, "one"),
        "persistence": Metric(f"largest step of the refined path over that of the path, {PATHS}", 0, 1),
        "half": Metric(
            f"least share of the circle on which the code makes half of its way, {PATHS}", 0, 0.5, "higher"
        ),
        "torn": Metric("share of closed paths on which the code jumps, or nearly so", 0, 1, "lower"),
        "tear": Metric(
            f"largest step of the refined path over its greatest distance, {PATHS}", 0, 1, "lower"
        ),
        "embedding": Metric("of the map from hidden variables to the latent space, by name"),
    }

    def __init__(
        self,
        split: Literal["train", "val", "test"],
        pairs: Annotated[int, Count(4, 10_000_000)],
        paths: Annotated[int, Count(1, 10_000)],
        points: Annotated[int, Count(8, 100_000)],
        refinement: Annotated[int, Count(2, 1000)],
        embedding: Annotated[int, Count(8, 20_000)],
        resamples: Annotated[int, Count(100, 100_000)],
    ):
        self.split, self.pairs, self.paths, self.points = split, pairs, paths, points
        self.refinement, self.embedding, self.resamples = refinement, embedding, resamples

    def check(self, model: Model, data: Dataset) -> None:
        if not ordered(data.factors) and not isinstance(model, HasEmbedding):
            raise Misfit("needs factors that have an order, or an embedding of the latent space")

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        metrics: dict[str, Estimate] = {}
        tables: dict[str, pd.DataFrame] = {}
        arrays: dict[str, np.ndarray] = {}
        notes: list[str] = []
        if ordered(run.data.factors):
            apart, note = self._distances(run, noise)
            notes.append(note)
            metrics |= distance_metrics(apart, noise, self.resamples)
            arrays["distances"] = apart[:SHOWN].cpu().float().numpy()
        cyclic = [factor for factor in run.data.factors if factor.kind == "cyclic"]
        if cyclic and isinstance(run.data, Oracle):
            notes += self._around(run, cyclic, metrics, tables, arrays)
        elif cyclic:
            notes.append("The data have no oracle that renders closed paths of their cyclic factors.")
        metrics |= self._embedding(run, noise, tables)
        if not metrics:
            raise NothingToMeasure("no factor has an order, and the latent space is no embedding")
        return Report(metrics, tables, arrays, notes=tuple(notes))

    def _distances(self, run: Run, noise: Noise) -> tuple[Tensor, str]:
        """Distances ``(M, 2)`` of codes and of factors of pairs of rows, float64, and what those of factors
        are."""
        latents = run.latents(self.split)
        m = min(self.pairs, len(latents.codes) // 2)
        if m < 4:
            raise NothingToMeasure(
                f"{len(latents.codes)} rows of the {self.split} split are too few: 8 are needed"
            )
        a, b = noise.permutation("pairs", len(latents.codes))[: 2 * m].to(run.device).view(2, m)
        codes = run.model.spaces["z"].distance(latents.codes[a], latents.codes[b]).double()
        of_factors, note = apart_by_factors(run.data, latents.y[a].double(), latents.y[b].double())
        apart = torch.stack([codes, of_factors.to(codes)], 1)
        return apart[apart[:, 1].isfinite()], note

    def _around(
        self,
        run: Run,
        cyclic: Sequence[Factor],
        metrics: dict[str, Estimate],
        tables: dict[str, pd.DataFrame],
        arrays: dict[str, np.ndarray],
    ) -> list[str]:
        """Everything about closed paths; what is to be said of those that are not closed."""
        rows, notes, latents = [], [], run.latents(self.split)
        space = run.model.spaces["z"]
        for factor in cyclic:
            loops, note = self._loops(run, factor)
            notes += note
            if not len(loops.z):
                continue
            found = continuity(loops.z, self.refinement, space.distance)
            views = [View.of(path, space) for path in loops.z]
            rows.append(path_table(loops, found, views, self.refinement))
            metrics |= path_metrics(rows[-1], factor.name)
            y = latents.y[:, run.data.factors.index(factor)].double()
            first = views[0]
            arrays[f"step.{factor.name}"] = closed_steps(loops.z[:1], space.distance)[0].cpu().numpy()
            arrays[f"value.{factor.name}"] = loops.values.cpu().numpy()
            # In the plane and by the angle, or along the line that the path lies on.
            arrays[f"seen.{factor.name}"] = first.seen(loops.z[0]).cpu().numpy()
            shown = torch.stack([y, first.read(latents.codes)], 1)[:SHOWN]
            arrays[f"angle.{factor.name}"] = shown.cpu().numpy()
        if rows:
            tables["paths"] = pd.concat(rows, ignore_index=True)
        return notes

    def _loops(self, run: Run, factor: Factor) -> tuple[Loops, list[str]]:
        """The refined paths of a factor, and what is to be said where some do not close."""
        assert isinstance(run.data, Oracle)
        split, column = run.data.split(self.split), run.data.factors.index(factor)
        # Where there is no other factor all paths are one.
        chosen = evenly(len(split.y), self.paths if len(run.data.factors) > 1 else 1)
        closed = closes(run.data, split.y[chosen].to(run.device), column).cpu()
        base = chosen[closed]
        notes = []
        if len(base) < len(chosen):
            notes.append(
                f"{len(chosen) - len(base)} of {len(chosen)} paths of {factor.name} do not close and are "
                "left out: its least value and its greatest are not one point."
            )
        t = torch.arange(self.points * self.refinement, dtype=torch.float64) / (self.points * self.refinement)
        values = factor.low + (factor.high - factor.low) * t
        y = with_values(split.y[base], column, values)
        codes = [run.encode(run.data.render(path.to(run.device))) for path in y]
        z = torch.stack(codes) if codes else torch.empty(0, len(values), run.model.spaces["z"].ambient_dim)
        return Loops(factor, values, split.index[base], z), notes

    def _embedding(self, run: Run, noise: Noise, tables: dict[str, pd.DataFrame]) -> dict[str, Estimate]:
        if not isinstance(run.model, HasEmbedding):
            return {}
        found = run.model.embedding_quality(self.embedding, noise.at("embedding"))
        if not found:
            return {}
        rows = [
            {"space": space, "quantity": name, "value": value}
            for space, values in found.items()
            for name, value in values.items()
        ]
        tables["embedding"] = pd.DataFrame(rows)
        several = len(found) > 1
        return {
            f"embedding.{row['space']}.{row['quantity']}"
            if several
            else f"embedding.{row['quantity']}": Estimate(float(row["value"]))
            for row in rows
        }

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.diagnostics.codes.manifold_fit_plot import pictures

        return pictures(report)


# ---------------------------------------------------------------- numbers
def ordered(factors: Sequence[Factor]) -> list[int]:
    """The places of the factors between whose values there is a distance."""
    return [i for i, factor in enumerate(factors) if factor.kind != "categorical"]


def distance_metrics(apart: Tensor, noise: Noise, resamples: int) -> dict[str, Estimate]:
    """Correlations of distances ``(M, 2)``."""
    values = apart.cpu().numpy()
    codes, factors = values[:, :1], values[:, 1:]
    rank = rank_estimate(float(spearman(codes, factors)[0, 0]), len(values))
    linear = float(pearson(codes, factors)[0, 0])
    if not np.isfinite(linear):
        return {"distance_rank": rank, "distance_linear": Estimate(linear, method="none: not finite")}
    unit = (apart - apart.mean(0)) / apart.std(0)
    columns = torch.cat([unit, unit.square(), unit.prod(1, keepdim=True)], 1)

    def correlation(m: Tensor) -> Tensor:
        variance = (m[:, 2:4] - m[:, :2].square()).prod(1)
        return ((m[:, 4] - m[:, 0] * m[:, 1]) / variance.sqrt()).clamp(-1, 1).unsqueeze(1)

    found = bootstrap_means(correlation, columns, noise.at("linear"), resamples, "pairs")[0]
    return {"distance_rank": rank, "distance_linear": found}


def apart_by_factors(data: Dataset, a: Tensor, b: Tensor) -> tuple[Tensor, str]:
    """Distances ``(M,)`` of members with factors ``a`` and ``b (M, F)``, and what they are, in a sentence."""
    along = data.factor_distance(a, b) if isinstance(data, Oracle) else None
    if along is not None:
        return along, "Distances of factors are those along the manifold whose coordinates they are."
    columns = ordered(data.factors)
    shares = factor_distance(a[:, columns], b[:, columns], [data.factors[i] for i in columns])
    return shares, "Distances of factors: each factor as a share of its range."


def path_metrics(table: pd.DataFrame, factor: str) -> dict[str, Estimate]:
    """Means over the paths of one factor."""
    columns = {name: table[name].to_numpy(float) for name in table.columns if name in ManifoldFit.metrics}
    columns["once"] = (table["winding"] == 1).to_numpy(float)
    # Two values that occur make a share; equal ones have no interval.
    return {f"{name}.{factor}": mean_interval(values.copy(), "paths") for name, values in columns.items()}
