"""Shortest curves of the decoder's metric, between the codes that straight lines of a traversal join."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from latentrun.diagnostics.decoder.traversal_paths import UNITS
from latentrun.diagnostics.surface import graph_of, joined, require_surface, surface_of
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.functional.paths.lines import Paths
from latentrun.models.base import HasEncoder, Model
from latentrun.run import Run

BETWEEN = ("lines", "joins")  # kinds whose ends they have


def check_shortest(paths: Sequence[str], model: Model) -> None:
    """InputError where ``paths`` names ``shortest`` without the lines whose ends they have, Misfit where the
    model has no metric."""
    if "shortest" not in paths:
        return
    if "lines" not in paths:
        raise InputError("diagnostic.traversal.paths: shortest joins what lines join; name lines too")
    require_surface(model, "shortest")


def with_shortest(
    run: Run, kinds: list[Paths], chosen: Sequence[str], noise: Noise, notes: list[str]
) -> list[Paths]:
    """The paths, and where ``shortest`` is chosen, between the ends of the straight ones between two codes,
    the curves of least energy that the solver comes to; a pair for which it comes to none has no path."""
    lines = next((paths for paths in kinds if paths.kind in BETWEEN), None)
    if "shortest" not in chosen or lines is None:
        return kinds
    space, steps = surface_of(run), lines.z.shape[1]
    start, end = space.chart.coordinates(lines.z[:, [0, -1]].to(run.device)).unbind(1)
    ends = torch.stack([start, space.chart.near(start, end)], 1)
    encodes = isinstance(run.model, HasEncoder)
    graph = graph_of(space.surface, space.codes("train"), noise) if encodes else None
    found = joined(space.surface, graph, ends, 8 * (steps - 1) + 1)
    done = found.converged.nonzero()[:, 0]
    names = tuple(f"{lines.names[row]}, shortest" for row in done.tolist())
    failed = [name for name, good in zip(lines.names, found.converged.tolist(), strict=True) if not good]
    if failed:
        notes.append(f"shortest: no curve of least energy was come to for {', '.join(failed)}")
    points = space.chart.point(found.curve[done][:, ::8]).to(lines.z)
    position = torch.linspace(0, 1, steps).to(lines.parameter).expand(len(done), steps)
    curves = Paths("shortest", UNITS["shortest"], names, position, points, (False,) * len(names))
    return [*kinds, curves] if names else kinds
