"""Pictures of the hull of the codes and of what is decoded along and around it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from latentrun.functional.factors import Target, read_factors, with_difference
from latentrun.plotting.cloud import Layer, cloud
from latentrun.plotting.hull import hull_flat
from latentrun.plotting.images import strips
from latentrun.plotting.tracks import judged_curves, judged_strips
from latentrun.types import Picture, Report

KNOTS = "; black: the hull points of the strip's bins"


def measure_of(report: Report) -> tuple[str, str]:
    """How the paths were measured, ``residual`` or ``distance``, and its words in captions."""
    if "residual" in report.tables["steps"]:
        return "residual", "the residual"
    return "distance", "the distance to the nearest training example"


def path_strips(report: Report) -> Picture:
    kind, miss = measure_of(report)
    arrays, names = report.arrays, list(report.tables["paths"]["path"])
    drawn = judged_strips(
        names, arrays["pictures"], report.tables["steps"], kind, tuple(arrays["value_range"])
    )
    text = f"Decoded along the paths of the hull, left to right. Beneath each picture: {miss}."
    return Picture(drawn, text)


def along_paths(report: Report) -> Picture:
    kind, miss = measure_of(report)
    names, ranges = list(report.tables["paths"]["path"]), report.arrays["factor_range"]
    drawn = judged_curves(names, report.tables["steps"], kind, ranges, "share of the way")
    text = "Along each path of the hull: "
    if kind == "residual":
        text += "Factors of the nearest member of the family (shaded: the range of the data), "
    text += f"{miss} and the distance of the code to the nearest code in whitened units."
    return Picture(drawn, text)


def moved(report: Report) -> Picture:
    steps = report.tables["moved"]["step"].unique()
    names = ["hull points" if step == 0 else f"moved by {step:g}" for step in steps]
    rows = list(zip(names, report.arrays["moved"], strict=True))
    under = [[f"{value:.2g}" for value in row] for row in report.arrays["moved_miss"]]
    return Picture(
        strips(rows, tuple(report.arrays["value_range"]), under=under),
        "Decoded hull points of the codes (first row), and what they become when they are moved in random "
        "directions by such shares of the hull's radius. Beneath each picture: its distance from the data.",
    )


# ---------------------------------------------------------------- the hull
def hull(report: Report, pair: tuple[str, str]) -> Picture:
    """The codes in their two or three latents of largest variance, their hull and the paths; ``pair``:
    factors whose difference may colour the codes."""
    arrays, axes = report.arrays, report.arrays["axes"]
    steps = {}
    if "steps" in report.tables:
        steps = dict(list(report.tables["steps"].groupby("path", sort=False)))
    paths = {name: rows[[f"z{i}" for i in axes]].to_numpy() for name, rows in steps.items()}
    knots = np.zeros((0, len(axes)))
    if "knots" in arrays:
        knots = arrays["knots"].reshape(-1, arrays["codes"].shape[1])[:, axes]
    colours = hull_colours(report, pair)
    if len(axes) == 2:
        return flat_hull(arrays, colours, paths, knots)
    return turned_hull(arrays, colours, paths, knots, steps)


def hull_colours(report: Report, pair: tuple[str, str]) -> list[Target]:
    """What may colour the codes; the difference of the pair first, where there is one."""
    if "targets" not in report.arrays:
        return []
    factors = read_factors(report.tables["colours"])
    single = list(zip(factors, report.arrays["targets"].T, strict=True))
    every = with_difference(single, pair)
    return [*every[len(single) :], *single]


def flat_hull(
    arrays: Mapping[str, np.ndarray], colours: list[Target], paths: dict[str, np.ndarray], knots: np.ndarray
) -> Picture:
    axes = arrays["axes"]
    target = next((target for target in colours if target[0].kind != "categorical"), None)
    shell, facets = arrays["shell"], arrays["shell_facets"]
    figure = hull_flat(axes, arrays["codes"][:, axes], target, shell, facets, paths, knots)
    coloured = "" if target is None else f", coloured by {target[0].name}"
    dots = KNOTS if len(knots) else ""
    return Picture(figure, f"Codes{coloured}, their convex hull and the paths along it{dots}.")


def turned_hull(
    arrays: Mapping[str, np.ndarray],
    colours: list[Target],
    paths: dict[str, np.ndarray],
    knots: np.ndarray,
    steps: dict[str, pd.DataFrame],
) -> Picture:
    axes, examples = arrays["axes"], arrays.get("code_pictures")
    layers = [Layer("hull", "surface", arrays["shell"], facets=arrays["shell_facets"])]
    for i, (name, path) in enumerate(paths.items()):
        pictures = None if examples is None else arrays["pictures"][i]
        layers.append(Layer(name, "path", path, texts=step_texts(steps[name]), images=pictures))
    if len(knots):
        layers.append(Layer("hull points of bins", "points", knots, images=arrays.get("knot_pictures")))
    figure = cloud(
        arrays["codes"],
        colours,
        images=examples,
        value_range=tuple(arrays["value_range"]),
        layers=layers,
        axes=axes.tolist(),
    )
    text = "Codes, their convex hull and the paths along it, which begin at their larger point"
    if len(knots):
        text += KNOTS
    if arrays["codes"].shape[1] != 3:
        text += "; the three latents of largest variance"
    text += ". Drag to turn; a click in the legend hides and shows a part"
    if colours:
        text += "; the menu chooses what colours the codes"
    if examples is not None:
        text += (
            "; a point that is touched shows its picture: of a code the one encoded, of a path the one "
            "decoded"
        )
    return Picture(figure, f"{text}.")


def step_texts(steps: pd.DataFrame) -> list[str]:
    """What each point of a path says: how far along it is, how far from the data, the factors read off."""
    measures = ("position", "residual", "distance")
    columns = [name for name in steps if name in measures or name.startswith("fitted.")]
    names = [name.replace("fitted.", "fitted ") for name in columns]
    return [
        "\n".join(f"{name}: {value:.3g}" for name, value in zip(names, row, strict=True))
        for row in steps[columns].itertuples(index=False)
    ]
