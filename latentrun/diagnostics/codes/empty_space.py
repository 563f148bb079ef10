"""Straight paths through the emptiest regions of latent space."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from scipy.spatial import cKDTree

from latentrun.config.bounds import Between, Ge, Gt
from latentrun.diagnostics.base import Diagnostic, judge
from latentrun.diagnostics.needs import ENCODER, IMAGES, ORACLE
from latentrun.functional.clouds.emptiness import emptiest
from latentrun.functional.clouds.whitening import whitening
from latentrun.functional.noise import Noise
from latentrun.functional.paths.lines import read, segments
from latentrun.functional.paths.tracks import track_tables
from latentrun.plotting.tracks import judged_curves, judged_strips
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
    without one ``distance`` to the nearest training example. ``rise``: mean of the inner three fifths over
    mean of the two outer ones, which lie nearer to codes.
    """

    requires = (ENCODER,)
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
        codes: Annotated[int, Ge(2)],
        flat: Annotated[float, Between(0, 1)],
        core: Annotated[float, Between(0, 1)],
        candidates: Annotated[int, Ge(2)],
        probes: Annotated[int, Ge(3)],
        near: Annotated[int, Ge(1)],
        paths: Annotated[int, Ge(1)],
        apart: Annotated[float, Gt(0)],
        steps: Annotated[int, Ge(5)],
        min_change: Annotated[float, Between(0, 1)],
    ):
        self.split, self.codes, self.flat, self.core, self.candidates, self.probes = (
            split,
            codes,
            flat,
            core,
            candidates,
            probes,
        )
        self.near, self.paths, self.apart, self.steps, self.min_change = near, paths, apart, steps, min_change

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        latents = run.latents(self.split)
        chosen = noise.to("cpu").permutation("codes", len(latents.codes))[: self.codes]
        codes, index = latents.codes.cpu()[chosen], latents.index.cpu()[chosen]
        white = whitening(codes.numpy(), self.flat)
        u = white.to(codes.double().numpy())
        notes = [
            f"{len(u):,} codes of the {self.split} split, {codes.shape[1]} latents",
            *([white.note] if white.note else []),
        ]
        if not u.shape[1]:
            return Report(notes=(*notes, "the codes do not move: there is nothing to measure"))
        norm = np.linalg.norm(u, axis=1)
        eligible = np.flatnonzero(norm <= np.quantile(norm, self.core))
        found = emptiest(u, eligible, self.candidates, self.probes, self.paths, self.apart, self.near)
        if not len(found.ends):
            return Report(notes=(*notes, "fewer than two codes to go between"))
        total = len(eligible) * (len(eligible) - 1) // 2
        notes.append(
            f"{found.pairs:,} of {total:,} pairs of codes were compared, then their ends moved to "
            "neighbouring codes; no pair has more "
            f"clearance than {found.bound:.3g}"
        )

        start, end = codes[found.ends[:, 0]], codes[found.ends[:, 1]]
        t, z = segments(start, end, self.steps)
        z = run.model.spaces["z"].project(z)
        x = run.decode(z.flatten(0, 1).to(run.device))
        judged = judge(run, x)
        closed = torch.zeros(len(z), dtype=torch.bool)
        reading = (
            None if judged.fits is None else read(judged.fits, run.data.factors, t, closed, self.min_change)
        )
        names = [f"{a} to {b}" for a, b in index[torch.from_numpy(found.ends)].tolist()]
        gap = cKDTree(u).query(white.to(z.double().numpy()))[0]
        tables = track_tables(names, t.double().numpy(), z.numpy(), gap, judged.kind, judged.miss, reading)
        paths = tables["paths"]
        paths.insert(1, "clearance", found.clearance)
        paths.insert(2, "widest", found.widest)
        paths.insert(3, "length", found.length)
        paths.insert(4, "relative", found.relative)
        paths["rise"] = self._rise(judged.miss.view(t.shape).numpy(), t[0].numpy())
        first = paths.iloc[0]
        metrics = {name: Estimate(float(first[name])) for name in ("clearance", "widest", "relative", "rise")}
        metrics["bound"] = Estimate(found.bound)
        metrics |= {
            f"{judged.kind}.{part}": Estimate(float(first[f"{judged.kind}_{part}"]))
            for part in ("mean", "max")
        }
        if "factors" in tables:
            for row in tables["factors"][tables["factors"]["path"] == names[0]].itertuples():
                metrics |= {
                    f"{name}.{row.factor}": Estimate(float(getattr(row, name)))
                    for name in ("monotonicity", "leakage")
                }
        arrays = {
            "pictures": x.unflatten(0, t.shape).cpu().float().numpy(),
            "value_range": np.array(run.data.value_range, np.float64),
        }
        arrays["factor_range"] = np.array(
            [[f.low, f.high] for f in run.data.factors] if reading else np.zeros((0, 2))
        )
        notes.append("one path between two codes: its values have no sampling interval")
        return Report(metrics=metrics, tables=tables, arrays=arrays, notes=tuple(notes))

    def _rise(self, miss: np.ndarray, t: np.ndarray) -> np.ndarray:
        outer = np.minimum(t, 1 - t) < END
        with np.errstate(divide="ignore", invalid="ignore"):
            return miss[:, ~outer].mean(1) / miss[:, outer].mean(1)

    # ---------------------------------------------------------------- pictures
    def plot(self, report: Report) -> dict[str, Picture]:
        if "paths" not in report.tables:
            return {}
        paths, steps, arrays = report.tables["paths"], report.tables["steps"], report.arrays
        kind = "residual" if "residual" in steps else "distance"
        miss = "the residual" if kind == "residual" else "the distance to the nearest training example"
        names = list(paths["path"])
        found = {}
        if arrays["pictures"].ndim == 5:
            found["strips"] = Picture(
                judged_strips(names, arrays["pictures"], steps, kind, tuple(arrays["value_range"])),
                f"Decoded along straight lines between two codes, emptiest first (the {self.split} "
                "rows they belong to stand on the left). "
                f"Beneath each picture: {miss}.",
            )
        found["along"] = Picture(
            judged_curves(names, steps, kind, arrays["factor_range"], "share of the way"),
            (
                "Factors of the nearest member of the family (shaded: the range of the data), "
                if kind == "residual"
                else "From top to bottom: "
            )
            + (
                f"{miss} and the distance of the code to the nearest code in whitened units, along each "
                "path; the emptiest is on the left."
            ),
        )
        return found
