"""What every diagnostic is: a question about one finished run, answered by a
:class:`~latentrun.types.Report`."""

from __future__ import annotations

import difflib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.data.base import Dataset, Oracle
from latentrun.diagnostics.needs import is_flat, lacking
from latentrun.errors import InputError, Misfit, unknown
from latentrun.functional.clouds.hulls import convex_hull
from latentrun.functional.clouds.neighbours import nearest
from latentrun.functional.clouds.whitening import Whitening, whitening
from latentrun.functional.factors import factor_table
from latentrun.functional.noise import Noise
from latentrun.functional.paths.lines import Reading, read
from latentrun.functional.paths.tracks import track_tables
from latentrun.functional.statistics.dependence import targets
from latentrun.functional.statistics.probes import Codes, centred, standardised
from latentrun.functional.ties import ranked
from latentrun.judgement import Rule
from latentrun.models.base import (
    HasEncoder,
    HasGaussianPosterior,
    HasGenerator,
    HasPosterior,
    Model,
    PosteriorTraining,
)
from latentrun.plotting.family import FEW, joined
from latentrun.plotting.sprite import thumbnails
from latentrun.run import Run
from latentrun.types import Metric, Need, Picture, Projection, Report


class Question(ABC):
    """What diagnostics and comparisons have in common. ``requires``: what it cannot work without (see
    :mod:`latentrun.diagnostics.needs`); ``metrics``: the meaning of every number it reports;
    ``console_table``: the table of its report that the console prints, where one says more than numbers."""

    requires: ClassVar[tuple[Need, ...]] = ()
    metrics: ClassVar[Mapping[str, Metric]] = {}
    console_table: ClassVar[str | None] = None

    @abstractmethod
    def plot(self, report: Report) -> dict[str, Picture]:
        """Draw the report; sees only the report, so pictures can be redrawn from disk."""

    def answers(self) -> str:
        """The question it answers: the first paragraph of its docstring, in one line."""
        return " ".join((inspect.getdoc(type(self)) or "").partition("\n\n")[0].split())


class Diagnostic(Question):
    """A callable built from config. Writes nothing, alters nothing, draws all randomness from ``noise``.

    ``uses``: what it exploits when it is there; ``animated``: whether one of its pictures moves. ``rules``:
    what its metrics mean in plain words, on top of the report and at the end of the run; a rule speaks of its
    own metrics alone.
    """

    uses: ClassVar[tuple[Need, ...]] = ()
    rules: ClassVar[tuple[Rule, ...]] = ()
    animated: ClassVar[bool] = False

    def check(self, model: Model, data: Dataset) -> None:
        """Hold settings that name something of the data or the model against them, before anything trains:
        InputError where one is wrong, Misfit where the diagnostic lacks something that ``requires`` has no
        word for.

        Called once both fit ``requires``. Every job of a sweep is checked: rows are read only where a setting
        names some."""
        del model, data  # nothing to hold against them

    def check_rows(self, data: Dataset) -> None:
        """Hold settings against the number of rows, which are read, before anything trains: InputError where
        one asks for more than there are."""
        del data  # cut to what there is

    @abstractmethod
    def __call__(self, run: Run, noise: Noise) -> Report:
        """Measure the run; NothingToMeasure where it turns out that there is nothing."""


def misfit(
    question: Question, model: Model, data: Dataset, training: Mapping[str, Any] | None = None
) -> Need | None:
    """What a diagnostic or comparison lacks here, None when it fits; ``training`` as in
    :func:`~latentrun.diagnostics.needs.lacking`."""
    return lacking(question.requires, model, data, training)


def check_factors(where: str, names: Sequence[str], data: Dataset) -> None:
    """InputError where a setting misspells a factor: the data have another of those it names, or one of
    nearly that name. Data that have none of them are data of another kind, for which the diagnostic has an
    answer too."""
    names_of_data = [factor.name for factor in data.factors]
    missing = [name for name in names if name not in names_of_data]
    for name in missing:
        if len(missing) < len(names) or difflib.get_close_matches(name, names_of_data, 1, 0.8):
            raise InputError(f"{where}: {unknown('factor', name, names_of_data)}")


def row_places(key: str, rows: Sequence[tuple[int, int]], index: Tensor) -> Tensor:
    """Where pairs of rows stand in the test split ``(L, 2)``, by its permanent ``index (N,)``; InputError,
    which names the setting ``key``, for one that does not."""
    wanted = torch.tensor(rows, device=index.device)
    matches = wanted[..., None] == index
    if not matches.any(-1).all():
        row = wanted[~matches.any(-1)][0].item()
        near = index[(index - row).abs().argmin()].item()
        raise InputError(f"{key}: row {row} is not in the test split; the nearest that is: {near}")
    return matches.int().argmax(-1)


def check_samples(model: Model) -> None:
    """Misfit where a model cannot be sampled from, not even with a stand-in for the prior."""
    if not isinstance(model, HasGenerator | HasEncoder):
        raise Misfit(
            "needs a model with a prior, or with an encoder to fit one to its codes; the model has neither"
        )


def posterior_training(run: Run) -> PosteriorTraining:
    """What training made of the posterior; of a model that has one."""
    assert isinstance(run.model, HasPosterior)
    return run.model.posterior_training


@dataclass(frozen=True)
class Judgement:
    """How far N examples lie from the data, ``miss (N,)`` float64 on the CPU. ``kind``: with an oracle the
    ``residual``, the distance to the nearest member of the family as a share of the example's norm, and its
    ``fits``; without one the Euclidean ``distance`` to the nearest training example, over all dimensions, in
    data units. ``absolute (N,)``: either as a distance in data units, which faint examples do not blow up."""

    kind: Literal["residual", "distance"]
    miss: Tensor
    absolute: Tensor
    fits: Projection | None


def common_units(run: Run) -> tuple[Callable[[np.ndarray, np.ndarray], Codes], str]:
    """How train and other codes are brought to common units, and which these are, in words: those of the
    prior, or of a curved latent space; other codes have none of their own."""
    if isinstance(run.model, HasGaussianPosterior):
        return Codes, "in the units of the prior"
    if not is_flat(run.model.spaces["z"]):
        return centred, "in the units of the latent space"
    return standardised, "standardised by their mean and sd"


def decoded(run: Run, z: np.ndarray) -> Tensor:
    """What codes ``(N, d)`` decode to, ``(N, *event_shape)``; codes beside the latent space are first brought
    onto it."""
    return run.decode(run.model.spaces["z"].project(torch.from_numpy(z).float().to(run.device)))


def whitened(run: Run, split: str, flat: float) -> Whitening:
    """The map that gives all codes of a split covariance 1; ``flat`` as in
    :func:`~latentrun.functional.clouds.whitening.whitening`."""

    def make() -> Whitening:
        return whitening(run.latents(split).codes.cpu().double().numpy(), flat)

    return run.once(("whitening", split, flat), make)


def judge(run: Run, x: Tensor) -> Judgement:
    """Hold decoded examples ``(N, *event_shape)`` against the data."""
    if isinstance(run.data, Oracle):
        fits = run.data.project(x)
        residual, norm = fits.residual.double().cpu(), x.flatten(1).double().norm(dim=1).cpu()
        return Judgement("residual", residual, residual * norm, fits)
    distance = nearest(x, run.x("train"), 1)[0][:, 0].cpu()
    return Judgement("distance", distance, distance, None)


def outline_of(data: Dataset) -> dict[str, np.ndarray]:
    """Of data of at most three dimensions the array ``outline (M, D)``, for pictures: curves of the family
    without noise as :func:`latentrun.plotting.family.joined` gives them, no row where none is known. Nothing
    of other data."""
    if len(data.event_shape) != 1 or data.event_shape[0] > FEW:
        return {}
    curves = data.outline() if isinstance(data, Oracle) else ()
    return {"outline": joined([curve.cpu().double().numpy() for curve in curves], data.event_shape[0])}


@dataclass(frozen=True)
class Tracks:
    """What is decoded along P paths of T points: how far it lies from the data, what an oracle reads off it
    (None without one), the tables of :func:`~latentrun.functional.paths.tracks.track_tables`, and for
    pictures the decoded ``pictures (P, T, *event_shape)`` and the ``factor_range (F, 2)`` of the data."""

    judgement: Judgement
    reading: Reading | None
    tables: dict[str, pd.DataFrame]
    arrays: dict[str, np.ndarray]


def follow_tracks(
    run: Run, names: Sequence[str], position: Tensor, z: np.ndarray, gap: np.ndarray, min_change: float
) -> Tracks:
    """Decode open paths with codes ``z (P, T, d)`` at ``position (P, T)`` and hold them against the data;
    ``gap (P, T)``: whitened distance of the codes to the nearest code; ``min_change`` as in
    :func:`~latentrun.functional.paths.lines.read`."""
    x = decoded(run, z.reshape(-1, z.shape[-1]))
    judged, reading = judge(run, x), None
    factors = run.data.factors
    if judged.fits is not None:
        closed = torch.zeros(len(z), dtype=torch.bool)
        reading = read(judged.fits, factors, position, closed, min_change)
    tables = track_tables(names, position.double().numpy(), z, gap, judged.kind, judged.miss, reading)
    ranges = [[factor.low, factor.high] for factor in factors] if reading else np.zeros((0, 2))
    arrays = {
        "pictures": x.unflatten(0, tuple(position.shape)).cpu().float().numpy(),
        "factor_range": np.array(ranges),
    }
    return Tracks(judged, reading, tables, arrays)


def cloud_of(run: Run, split: str, rows: np.ndarray) -> tuple[dict[str, pd.DataFrame], dict[str, np.ndarray]]:
    """What a picture of the codes of a split needs, so that a report holds it: table ``colours`` of the
    factors with their values ``targets (n, F)``, where there are any; of the codes ``rows`` the ``codes (n,
    d)`` and, where they can be turned, their ``code_pictures``; the ``axes`` of (at most three) latents of
    largest variance, and the hull of all codes in them: its corners ``shell`` and ``shell_facets`` between
    these."""
    latents = run.latents(split)
    z = latents.codes.cpu().double().numpy()
    axes = np.sort(ranked(z.var(0))[:3])
    labels = None if latents.labels is None else latents.labels.cpu().numpy()[rows]
    colours = targets(run.data.factors, run.data.label, latents.y.cpu().numpy()[rows], labels)
    tables, arrays = {}, {"axes": axes, "codes": z[rows].astype(np.float32)}
    if colours:
        tables["colours"] = factor_table([factor for factor, _ in colours])
        arrays["targets"] = np.stack([values for _, values in colours], axis=1).astype(np.float32)
    if run.data.is_image and len(axes) == 3:
        arrays["code_pictures"] = thumbnails(run.data.split(split).x, run.data.value_range, rows)
    shell = convex_hull(z[:, axes]) if len(axes) > 1 else None
    if shell is not None:
        place = np.full(len(z), -1)
        place[shell.vertices] = np.arange(len(shell.vertices))
        arrays |= {"shell": z[shell.vertices][:, axes], "shell_facets": place[shell.facets]}
    return tables, arrays
