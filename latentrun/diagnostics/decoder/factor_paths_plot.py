"""The best paths for each factor: what they decode to, and where they run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from latentrun.functional.factors import Target, read_factors
from latentrun.plotting.cloud import Layer, cloud
from latentrun.plotting.hull import hull_flat
from latentrun.plotting.images import strips
from latentrun.plotting.tracks import judged_curves
from latentrun.types import Picture, Report

CURVES = 8  # factors drawn at most


def factor_path_pictures(report: Report) -> dict[str, Picture]:
    """The best paths decoded, what happens along those of each kind, and where all of them run."""
    best, steps, arrays = report.tables["best"], report.tables["steps"], report.arrays
    drawn = best["factor"].isin(best["factor"].unique()[:CURVES]).to_numpy()
    best, x = best[drawn], arrays["pictures"][drawn]
    points = steps.groupby("path", sort=False)
    tracks = {path: points.get_group(path).iloc[arrays["drawn"]] for path in best["path"]}
    source = "read off test codes near the code of the decoded point"
    if "residual" in steps:
        source = "of the nearest member of the family"
    pictures = {}
    if x.ndim == 5:
        pictures["strips"] = Picture(
            best_strips(best, tracks, x, tuple(arrays["value_range"])),
            "The best path of each kind for each factor, decoded left to right, and its score (1: the "
            "factor passes through all its range and nothing else moves). Beneath each picture: the factor "
            f"{source}.",
        )
    for kind, rows in best.groupby("kind", sort=False):
        pictures[f"along_{kind}"] = along_picture(kind, list(rows["path"]), report, source)
    if len(arrays["axes"]) > 1:
        pictures["map"] = map_picture(report, tracks, x)
    return pictures


def best_strips(best: pd.DataFrame, tracks: Mapping[str, pd.DataFrame], x: np.ndarray, value_range) -> Figure:
    """Images ``(P, T, c, h, w)`` along paths, a row of ``best`` each: score beside them, the factor beneath
    each image. ``tracks``: the T points of each path."""
    labels = [f"{row.path.replace('_', ' ')}: {row.score:.2f}" for row in best.itertuples()]
    under = [
        [f"{value:.2g}".replace("-", "−") for value in tracks[row.path][f"fitted.{row.factor}"]]
        for row in best.itertuples()
    ]
    return strips(list(zip(labels, x, strict=True)), value_range, under=under)


def along_picture(kind: str, paths: Sequence[str], report: Report, source: str) -> Picture:
    """What happens along the best paths of a kind; ``source``: where the factors come from, in words."""
    steps = report.tables["steps"]
    measure, miss = "distance", "the distance to the nearest training example"
    if "residual" in steps:
        measure, miss = "residual", "the residual"
    steps, ranges = steps[steps["path"].isin(paths)], report.arrays["factor_range"]
    return Picture(
        judged_curves(paths, steps, measure, ranges, "share of the way"),
        f"Along the best {kind} path for each factor (one column a path): the factors {source} (shaded: the "
        f"range of the data), {miss} and the distance of the code to the nearest train code in whitened "
        "units.",
    )


# ---------------------------------------------------------------- among the codes
def map_picture(report: Report, tracks: Mapping[str, pd.DataFrame], x: np.ndarray) -> Picture:
    """Where the paths run among the codes."""
    arrays = report.arrays
    axes: list[int] = arrays["axes"].tolist()
    targets = list(zip(read_factors(report.tables["colours"]), arrays["targets"].T, strict=True))
    shell = (arrays["shell"], arrays["shell_facets"]) if "shell" in arrays else None
    text = "The best paths among the train codes and their hull"
    if len(axes) == 2:
        figure = flat_map(arrays["codes"], axes, targets, shell, tracks)
        target = first_number(targets)
        assert target is not None  # paths are for factors with an order, which are numbers
        text += f", coloured by {target[0].name}."
    else:
        images = arrays.get("code_pictures")
        value_range = tuple(arrays["value_range"])
        figure = turned_map(arrays["codes"], axes, targets, shell, tracks, x, images, value_range)
        if arrays["codes"].shape[1] > 3:
            text += ", in the three latents of largest variance"
        text += (
            "; they begin, with the least of their factor, at the larger point. Drag to turn; a click in the "
            "legend hides and shows a part; the menu chooses what colours the codes; a point that is touched "
            "tells its values."
        )
    return Picture(figure, text)


def flat_map(
    codes: np.ndarray,
    axes: Sequence[int],
    targets: Sequence[Target],
    shell: tuple[np.ndarray, np.ndarray] | None,
    tracks: Mapping[str, pd.DataFrame],
) -> Figure:
    """Paths, by name the table of their points, among codes ``(N, 2)`` coloured by the first factor that is a
    number, and their hull (corners and facets)."""
    corners, facets = shell or (np.zeros((0, 2)), np.zeros((0, 2), np.int64))
    places = {name: track[[f"z{i}" for i in axes]].to_numpy() for name, track in tracks.items()}
    target = first_number(targets)
    return hull_flat(np.asarray(axes), codes[:, axes], target, corners, facets, places, np.zeros((0, 2)))


def turned_map(
    codes: np.ndarray,
    axes: Sequence[int],
    targets: Sequence[Target],
    shell: tuple[np.ndarray, np.ndarray] | None,
    tracks: Mapping[str, pd.DataFrame],
    x: np.ndarray,
    images: np.ndarray | None,
    value_range: tuple[float, float],
) -> Any:
    """As :func:`flat_map`, of codes ``(N, d)`` in three latents, to be turned. ``x (P, T, c, h, w)`` and
    ``images (N, c, h, w)``: of the points of the paths and of the codes; without the latter none is shown."""
    layers = [Layer("hull", "surface", shell[0], facets=shell[1])] if shell else []
    decoded = [None] * len(tracks) if images is None else x
    for (name, track), path_images in zip(tracks.items(), decoded, strict=True):
        places = track[[f"z{i}" for i in axes]].to_numpy()
        layers.append(Layer(name, "path", places, texts=point_texts(track), images=path_images))
    return cloud(codes, targets, images=images, value_range=value_range, layers=layers, axes=axes)


def first_number(targets: Sequence[Target]) -> Target | None:
    """The first that is not a class."""
    return next((target for target in targets if target[0].kind != "categorical"), None)


def point_texts(track: pd.DataFrame) -> list[str]:
    """What each point of a path says: how far along it is, how far from the data, the factors read off."""
    measures = ("position", "residual", "distance")
    columns = [name for name in track if name in measures or name.startswith("fitted.")]
    names = [name.removeprefix("fitted.") for name in columns]
    return [
        "\n".join(f"{name}: {value:.3g}" for name, value in zip(names, row, strict=True))
        for row in track[columns].itertuples(index=False)
    ]
