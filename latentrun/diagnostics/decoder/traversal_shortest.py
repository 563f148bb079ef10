"""Shortest curves of the decoder's metric, between the codes that straight lines of a traversal join."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from latentrun.diagnostics.decoder.traversal_paths import UNITS
from latentrun.diagnostics.surface import SURFACE, surface_of
from latentrun.errors import InputError, Misfit
from latentrun.functional.noise import Noise
from latentrun.functional.paths.lines import Paths
from latentrun.geometry.energy import Settings
from latentrun.geometry.graph import Graph
from latentrun.geometry.shortest import shortest
from latentrun.models.base import HasEncoder, Model
from latentrun.run import Run

NODES, NEIGHBOURS, PARTS = 1000, 8, 4  # of the graph of train codes along which curves begin too
TOLERANCE = 1e-4  # share by which a step may still lower the energy of a curve
BETWEEN = ("lines", "joins")  # kinds whose ends they have


def check_shortest(paths: Sequence[str], model: Model) -> None:
    """InputError where ``paths`` names ``shortest`` without the lines whose ends they have, Misfit where the
    model has no metric."""
    if "shortest" not in paths:
        return
    if "lines" not in paths:
        raise InputError("diagnostic.traversal.paths: shortest joins what lines join; name lines too")
    for need in SURFACE:
        if not need.test(model):
            raise Misfit(f"needs {need.noun} for the paths `shortest`; the model has none")


def with_shortest(
    run: Run, kinds: list[Paths], chosen: Sequence[str], noise: Noise, notes: list[str]
) -> list[Paths]:
    """The paths, and where ``shortest`` is chosen, between the ends of the straight ones between two codes,
    the curves of least energy that the solver comes to; a pair for which it comes to none has no path."""
    lines = next((paths for paths in kinds if paths.kind in BETWEEN), None)
    if "shortest" not in chosen or lines is None:
        return kinds
    space, steps = surface_of(run), lines.z.shape[1]
    ends = space.chart.coordinates(lines.z[:, [0, -1]].to(run.device))
    start = ends[:, 0]
    graph = None
    if isinstance(run.model, HasEncoder):
        codes = space.codes("train")
        rows = noise.to("cpu").permutation("nodes", len(codes))[:NODES].to(codes.device)
        graph = Graph(space.surface, codes[rows], NEIGHBOURS, PARTS)
    settings = Settings(fine=8 * (steps - 1) + 1, tolerance=TOLERANCE)
    found = shortest(space.surface, start, space.chart.near(start, ends[:, 1]), settings, graph)
    done = found.converged.nonzero()[:, 0]
    names = tuple(f"{lines.names[row]}, shortest" for row in done.tolist())
    failed = [name for name, good in zip(lines.names, found.converged.tolist(), strict=True) if not good]
    if failed:
        notes.append(f"shortest: no curve of least energy was come to for {', '.join(failed)}")
    points = space.chart.point(found.curve[done][:, ::8]).to(lines.z)
    position = torch.linspace(0, 1, steps).to(lines.parameter).expand(len(done), steps)
    curves = Paths("shortest", UNITS["shortest"], names, position, points, (False,) * len(names))
    return [*kinds, curves] if names else kinds
