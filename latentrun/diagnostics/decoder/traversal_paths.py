"""The kinds of path that a traversal takes through a latent space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from latentrun.diagnostics.base import row_places
from latentrun.errors import NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.functional.paths.lines import Paths, arcs, axis_lines, far_apart, plane_lines, segments
from latentrun.functional.ties import ranked
from latentrun.models.base import HasEncoder, HasGenerator
from latentrun.run import Run

PLANES_OF = 4  # `pairs: all` takes the pairs of so many latents, those of largest variance
PRIOR_SAMPLES = 1000  # codes between which lines run where there is no encoder
UNITS = {
    "axes": "position (sd of codes)",
    "pairs": "position (sd of codes)",
    "lines": "share of the way",
    "angles": "angle (degrees)",
    "shortest": "share of the way in data space",
    "geodesics": "distance from the centre",
    "turned": "distance from the centre",
    "joins": "share of the way",
    "circles": "angle (degrees)",
    "points": "number of the point",
}
BENT = ("angles", "shortest", "circles", "points")  # kinds that are not straight, or not connected
Kind = Literal["axes", "pairs", "lines", "angles", "shortest"]


@dataclass(frozen=True)
class Frame:
    """What paths are laid out by: ``mean (d,)`` and ``scale (d,)``, the length of a whitened unit of each
    latent; ``codes (N, d)``, those of the training examples, None where the model has no encoder."""

    mean: Tensor
    scale: Tensor
    codes: Tensor | None


def code_frame(run: Run, whiten: bool = True) -> Frame:
    """Mean and standard deviation of the training codes, 1 unless they are to ``whiten``; 0 and 1 without an
    encoder."""
    if not isinstance(run.model, HasEncoder):
        d = run.model.latent_dim
        return Frame(torch.zeros(d, device=run.device), torch.ones(d, device=run.device), None)
    codes = run.latents("train").codes
    if not whiten:
        return Frame(codes.mean(0), torch.ones_like(codes[0]), codes)
    scale = codes.std(0)
    # A latent that never moves keeps a length to divide by, far below all others.
    scale = scale.clamp(min=1e-6 * scale.max().item()) if scale.max() > 0 else torch.ones_like(scale)
    return Frame(codes.mean(0), scale, codes)


def existing(kinds: Sequence[Paths], notes: Sequence[str]) -> list[Paths]:
    """Those of which there is a path; NothingToMeasure where there is none."""
    kinds = [paths for paths in kinds if paths.names]
    if not kinds:
        reason = "no path of the chosen kinds exists in this latent space"
        raise NothingToMeasure("; ".join([reason, *notes]))
    return kinds


# ---------------------------------------------------------------- through the mean
def axis_paths(frame: Frame, extent: float, steps: int) -> Paths:
    """Each latent in turn around the mean."""
    names = tuple(f"z{i}" for i in range(len(frame.mean)))
    t, z = axis_lines(frame.mean, frame.scale, extent, steps)
    return Paths("axes", UNITS["axes"], names, t, z, (False,) * len(names))


def plane_paths(frame: Frame, pairs: Tensor, directions: Sequence[float], extent: float, steps: int) -> Paths:
    """Straight lines through the mean in the planes of the latent ``pairs (K, 2)``."""
    t, z = plane_lines(frame.mean, frame.scale, pairs, torch.tensor(directions), extent, steps)
    names = tuple(f"{plane} at {angle:g}°" for plane in _planes(pairs) for angle in directions)
    return Paths("pairs", UNITS["pairs"], names, t.flatten(0, 1), z.flatten(0, 1), (False,) * len(names))


def arc_paths(
    frame: Frame, pairs: Tensor, spans: Sequence[tuple[float, float]], radius: float, steps: int
) -> Paths:
    """Arcs around the mean in the planes of the latent ``pairs (K, 2)``, from and to an angle in degrees."""
    t, z = arcs(frame.mean, frame.scale, pairs, torch.tensor(spans).reshape(-1, 2), radius, steps)
    names = tuple(f"{plane} {a:g}° to {b:g}°" for plane in _planes(pairs) for a, b in spans)
    closed = tuple(abs(b - a) >= 360 for _ in _planes(pairs) for a, b in spans)
    return Paths("angles", UNITS["angles"], names, t.flatten(0, 1), z.flatten(0, 1), closed)


def latent_pairs(
    pairs: Sequence[tuple[int, int]] | Literal["all"], scale: Tensor, notes: list[str]
) -> Tensor:
    """Those of the ``pairs`` that a latent space of d latents has, ``(K, 2)``; says in ``notes`` what was
    left out. ``scale (d,)``: standard deviations of the codes."""
    if pairs == "all":
        leading = torch.from_numpy(ranked(scale)[:PLANES_OF]).sort().values
        if len(scale) > PLANES_OF:
            notes.append(f"pairs: all pairs of the {PLANES_OF} latents of largest code variance")
        return torch.combinations(leading) if len(leading) > 1 else leading.new_zeros(0, 2)
    fitting = [pair for pair in pairs if max(pair) < len(scale) and pair[0] != pair[1]]
    if len(fitting) < len(pairs):
        notes.append(
            f"pairs: {len(pairs) - len(fitting)} of {len(pairs)} do not fit {len(scale)} latents and were "
            "left out"
        )
    return torch.tensor(fitting, dtype=torch.int64, device=scale.device).reshape(-1, 2)


def _planes(pairs: Tensor) -> list[str]:
    return [f"z{a},z{b}" for a, b in pairs.tolist()]


# ---------------------------------------------------------------- between two codes
def row_paths(run: Run, rows: Sequence[tuple[int, int]], steps: int) -> Paths:
    """Straight lines between the codes of pairs of test rows, by their permanent index."""
    latents = run.latents("test")
    places = row_places("diagnostic.traversal.rows", rows, latents.index)
    names = tuple(f"{a} to {b}" for a, b in rows)
    return _line_paths(latents.codes[places[:, 0]], latents.codes[places[:, 1]], names, steps)


def far_paths(run: Run, frame: Frame, count: int, steps: int, noise: Noise, notes: list[str]) -> Paths:
    """At most ``count`` straight lines between codes of test rows, or prior samples, that lie far apart."""
    if isinstance(run.model, HasEncoder):
        latents = run.latents("test")
        z, index, origin = latents.codes, latents.index, "test codes"
    elif isinstance(run.model, HasGenerator):
        z, origin = run.sample_codes(PRIOR_SAMPLES, noise), f"{PRIOR_SAMPLES:,} prior samples"
        index = torch.arange(len(z), device=z.device)
    else:
        notes.append("lines: left out; the model has neither an encoder nor a prior")
        nowhere = frame.mean.new_zeros(0, len(frame.mean))
        return _line_paths(nowhere, nowhere, (), steps)
    d = z.shape[1]
    draws = noise.normal("directions", (max(1, -(-count // d)), d, d))
    pairs = far_apart((z - frame.mean) / frame.scale, draws, count)
    notes.append(
        f"lines: each joins the two of the {origin} that lie farthest apart along a random direction, among "
        "the 95 % nearest to the mean; directions are orthogonal, lengths whitened"
    )
    names = tuple(f"{a} to {b}" for a, b in index[pairs].tolist())
    return _line_paths(z[pairs[:, 0]], z[pairs[:, 1]], names, steps)


def _line_paths(start: Tensor, end: Tensor, names: tuple[str, ...], steps: int) -> Paths:
    return Paths("lines", UNITS["lines"], names, *segments(start, end, steps), (False,) * len(names))
