"""Straight paths through the emptiest regions of latent space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from latentrun.config.bounds import Between, Count, Gt
from latentrun.diagnostics.base import Diagnostic, Tracks, follow_tracks
from latentrun.diagnostics.needs import ENCODER, FLAT, IMAGES, ORACLE
from latentrun.errors import NothingToMeasure
from latentrun.functional.clouds.emptiness import Segments, emptiest
from latentrun.functional.clouds.whitening import Whitening, whitening
from latentrun.functional.noise import Noise
from latentrun.functional.paths.lines import segments
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

END = 0.2  # the first and the last fifth of a path are its ends


class EmptySpace(Diagnostic):
    """What is decoded along straight paths through the emptiest regions between codes?

    Codes (means of q(z|x)) are whitened. The *clearance* of a segment between two codes is the mean over it
    of the distance to the nearest code: a quarter of its length where no code is nearer than its own ends, as
    in many dimensions most segments are. ``clearance`` is that of the emptiest segment found, ``relative``
    its share of that quarter, ``widest`` the greatest distance.

    The search: all pairs among ``candidates`` codes chosen to cover the others (each the farthest from those
    before it); then the ends move to neighbouring codes while that helps. With no more codes than
    ``candidates`` it is exhaustive. No pair has more clearance than ``bound``: that of the best pair of
    candidates and their covering radius.

    Along it the decoded points are held against the data: with an oracle ``residual``, the distance to the
    family as a share of the norm, and the fitted factors (see ``traversal`` for monotonicity and leakage);
    without one ``distance`` to the nearest training example; ``absolute``: either in data units. ``rise``:
    mean of the inner three fifths over mean of the two outer ones, which lie nearer to codes.
    """

    requires = (ENCODER, FLAT)
    uses = (ORACLE, IMAGES)
    metrics: ClassVar = {
        "clearance": Metric(
            "whitened units to the nearest code, mean over the emptiest segment between two codes",
            0,
            None,
            "lower",
        ),
        "widest": Metric("whitened units to the nearest code, greatest on that segment", 0, None, "lower"),
        "relative": Metric(
            "clearance over what it would be if no code were nearer than the segment's own ends",
            0,
            1,
            "lower",
        ),
        "bound": Metric("whitened units: no segment between two codes has more clearance", 0, None, "none"),
        "residual": Metric(
            "distance to the family as a share of the picture's norm along that segment; mean, greatest",
            0,
            None,
            "zero",
        ),
        "distance": Metric(
            "data units to the nearest training example along that segment; mean, greatest", 0, None, "none"
        ),
        "absolute": Metric(
            "data units to the family, or to the nearest training example, on that segment; mean, greatest",
            0,
            None,
            "none",
        ),
        "rise": Metric(
            "mean residual (or distance) of the inner three fifths of the segment over that of the outer two",
            0,
            None,
            "one",
        ),
        "monotonicity": Metric(
            "|Spearman| of the fitted factor against position along that segment", 0, 1, "none"
        ),
        "leakage": Metric(
            "total variation of the other factors, mean, over that of the factor along that segment",
            0,
            None,
            "none",
        ),
    }

    def __init__(
        self,
        split: Literal["train", "val", "test"],
        codes: Annotated[int, Count(2)],
        flat: Annotated[float, Between(0, 1)],
        core: Annotated[float, Between(0, 1)],
        candidates: Annotated[int, Count(2)],
        probes: Annotated[int, Count(3, 10_000)],
        near: Annotated[int, Count(1, 10_000)],
        paths: Annotated[int, Count(1, 10_000)],
        apart: Annotated[float, Gt(0)],
        steps: Annotated[int, Count(5, 10_000)],
        min_change: Annotated[float, Between(0, 1)],
    ):
        self.split, self.codes, self.flat = split, codes, flat
        self.core, self.candidates, self.probes = core, candidates, probes
        self.near, self.paths, self.apart, self.steps, self.min_change = near, paths, apart, steps, min_change

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        latents = run.latents(self.split)
        rows = noise.to("cpu").permutation("codes", len(latents.codes))[: self.codes]
        codes, index = latents.codes.cpu()[rows], latents.index.cpu()[rows]
        white = whitening(codes.numpy(), self.flat)
        u = white.to(codes.double().numpy())
        if not u.shape[1]:
            raise NothingToMeasure("the codes do not move: there is nothing to measure")
        eligible = self._eligible(u)
        empty = emptiest(u, eligible, self.candidates, self.probes, self.paths, self.apart, self.near)
        if not len(empty.ends):
            raise NothingToMeasure("fewer than two codes to go between")
        start, end = (codes[side] for side in empty.ends.T)
        t, z = segments(start, end, self.steps)
        z = run.model.spaces["z"].project(z)
        names = [f"{a} to {b}" for a, b in index[torch.from_numpy(empty.ends)].tolist()]
        gap = cKDTree(u).query(white.to(z.double().numpy()))[0]
        tracks = follow_tracks(run, names, t, z.numpy(), gap, self.min_change)
        tables = tracks.tables | {"paths": path_table(tracks, empty, t)}
        return Report(
            metrics=path_metrics(tables, tracks.judgement.kind, empty.bound),
            tables=tables,
            arrays=tracks.arrays | {"value_range": np.array(run.data.value_range, np.float64)},
            notes=self._notes(codes, white, empty, len(eligible)),
        )

    def _eligible(self, u: np.ndarray) -> np.ndarray:
        """The codes that a path may join: the share ``core`` of them nearest to the mean."""
        norm = np.linalg.norm(u, axis=1)
        return np.flatnonzero(norm <= np.quantile(norm, self.core))

    def _notes(self, codes: Tensor, white: Whitening, empty: Segments, eligible: int) -> tuple[str, ...]:
        notes = [f"{len(codes):,} codes of the {self.split} split, {codes.shape[1]} latents"]
        if white.note:
            notes.append(white.note)
        total = eligible * (eligible - 1) // 2
        notes.append(
            f"{empty.pairs:,} of {total:,} pairs of codes were compared, then their ends moved to "
            f"neighbouring codes; no pair has more clearance than {empty.bound:.3g}"
        )
        notes.append("one path between two codes: its values have no sampling interval")
        return tuple(notes)

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.plotting.tracks import judged_curves, judged_strips

        steps, arrays, names = report.tables["steps"], report.arrays, list(report.tables["paths"]["path"])
        kind = "residual" if "residual" in steps else "distance"
        miss = "the residual" if kind == "residual" else "the distance to the nearest training example"
        pictures = {}
        if arrays["pictures"].ndim == 5:
            text = (
                f"Decoded along straight lines between two codes, emptiest first (the {self.split} rows they "
                f"belong to stand on the left). Beneath each picture: {miss}."
            )
            strips = judged_strips(names, arrays["pictures"], steps, kind, tuple(arrays["value_range"]))
            pictures["strips"] = Picture(strips, text)
        if kind == "residual":
            text = "Factors of the nearest member of the family (shaded: the range of the data), "
        else:
            text = "From top to bottom: "
        text += (
            f"{miss} and the distance of the code to the nearest code in whitened units, along each path; "
            "the emptiest is on the left."
        )
        curves = judged_curves(names, steps, kind, arrays["factor_range"], "share of the way")
        return pictures | {"along": Picture(curves, text)}


# ---------------------------------------------------------------- the report
def path_table(tracks: Tracks, empty: Segments, t: Tensor) -> pd.DataFrame:
    """The table of the paths with what the search says of them, a row a path at positions ``t (P, T)``."""
    table = tracks.tables["paths"].copy()
    for place, name in enumerate(("clearance", "widest", "length", "relative"), 1):
        table.insert(place, name, getattr(empty, name))
    absolute = tracks.judgement.absolute.view(t.shape).numpy()
    table["absolute_mean"], table["absolute_max"] = absolute.mean(1), absolute.max(1)
    miss, share = tracks.judgement.miss.view(t.shape).numpy(), t[0].numpy()
    outer = np.minimum(share, 1 - share) < END
    with np.errstate(divide="ignore", invalid="ignore"):
        table["rise"] = miss[:, ~outer].mean(1) / miss[:, outer].mean(1)
    return table


def path_metrics(tables: Mapping[str, pd.DataFrame], kind: str, bound: float) -> dict[str, Estimate]:
    """What is reported of the emptiest path, the first."""
    first = tables["paths"].iloc[0]
    numbers = {name: first[name] for name in ("clearance", "widest", "relative", "rise")}
    numbers["bound"] = bound
    for name in (kind, "absolute"):
        numbers |= {f"{name}.{part}": first[f"{name}_{part}"] for part in ("mean", "max")}
    if "factors" in tables:
        factors = tables["factors"]
        for row in factors[factors["path"] == first["path"]].itertuples():
            numbers |= {
                f"monotonicity.{row.factor}": row.monotonicity,
                f"leakage.{row.factor}": row.leakage,
            }
    return {name: Estimate(float(number)) for name, number in numbers.items()}
