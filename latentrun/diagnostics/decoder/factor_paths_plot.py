"""The best paths for each factor: what they decode to, and where they run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from latentrun.functional.factors import Target
from latentrun.plotting.cloud import Layer, cloud
from latentrun.plotting.hull import hull_flat
from latentrun.plotting.images import strips


def best_strips(best: pd.DataFrame, parts: Mapping[str, pd.DataFrame], x: np.ndarray, value_range) -> Figure:
    """Pictures ``(P, T, c, h, w)`` along paths, a row of ``best`` each: score beside them, the factor beneath
    each picture. ``parts``: the T points of each path."""
    labels = [f"{row.path.replace('_', ' ')}: {row.score:.2f}" for row in best.itertuples()]
    under = [
        [f"{value:.2g}".replace("-", "−") for value in parts[row.path][f"fitted.{row.factor}"]]
        for row in best.itertuples()
    ]
    return strips(list(zip(labels, x, strict=True)), value_range, under=under)


def path_map(
    codes: np.ndarray,
    axes: Sequence[int],
    targets: Sequence[Target],
    shell: tuple[np.ndarray, np.ndarray] | None,
    parts: Mapping[str, pd.DataFrame],
    x: np.ndarray | None,
    examples: np.ndarray | None,
    value_range: tuple[float, float],
):
    """Paths, by name the table of their points, among codes ``(N, d)`` coloured by factors and in their hull
    (corners and facets): flat for two latents ``axes``, to be turned for three. ``x (P, T, c, h, w)``,
    ``examples (N, c, h, w)``: pictures of the points of paths and of the codes, which three dimensions
    show."""
    places = {name: part[[f"z{i}" for i in axes]].to_numpy() for name, part in parts.items()}
    if len(axes) == 2:
        corners, facets = shell or (np.zeros((0, 2)), np.zeros((0, 2), np.int64))
        return hull_flat(
            np.asarray(axes), codes[:, axes], first_number(targets), corners, facets, places, np.zeros((0, 2))
        )
    layers = [Layer("hull", "surface", shell[0], facets=shell[1])] if shell else []
    decoded = [None] * len(parts) if x is None or examples is None else x
    layers += [
        Layer(name, "path", places[name], texts=_said(part), pictures=own)
        for (name, part), own in zip(parts.items(), decoded, strict=True)
    ]  # fmt: skip
    return cloud(codes, targets, pictures=examples, value_range=value_range, layers=layers, axes=axes)


def first_number(targets: Sequence[Target]) -> Target | None:
    """The first that is not a class."""
    return next((target for target in targets if target[0].kind != "categorical"), None)


def _said(part: pd.DataFrame) -> list[str]:
    """What each point of a path says: how far along it is, how far from the data, the factors read off."""
    columns = [
        name for name in part if name in ("position", "residual", "distance") or name.startswith("fitted.")
    ]
    return [
        "\n".join(
            f"{name.removeprefix('fitted.')}: {value:.3g}" for name, value in zip(columns, row, strict=True)
        )
        for row in part[columns].itertuples(index=False)
    ]
