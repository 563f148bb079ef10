"""Maps of several decoders in the same shades."""

from __future__ import annotations

from latentrun.diagnostics.decoder.metric_map_plot import DRAWN
from latentrun.functional.factors import read_factors
from latentrun.plotting.planes import maps_of
from latentrun.types import Picture, Report


def maps(report: Report) -> Picture:
    """A row for each group; a column for each map that one has."""
    arrays, groups = report.arrays, [str(name) for name in report.arrays["drawn"]]
    numbers = range(len(groups))
    names = [name for name in DRAWN if any(f"map_{name}_{number}" in arrays for number in numbers)]
    factor = read_factors(report.tables["colour"])[0] if "colour" in report.tables else None
    targets = [
        None if factor is None or f"values_{number}" not in arrays else (factor, arrays[f"values_{number}"])
        for number in numbers
    ]
    figure = maps_of(
        [[arrays.get(f"map_{name}_{number}") for name in names] for number in numbers],
        [arrays[f"ends_{number}"] for number in numbers],
        [arrays[f"codes_{number}"] for number in numbers],
        [str(name) for name in arrays["names"]],
        targets,
        [DRAWN[name] for name in names],
        groups,
    )
    coloured = "" if factor is None else f", coloured by {factor.name.replace('_', ' ')}"
    return Picture(
        figure,
        "The decoder of the first run of each group over its latent space: magnification, the logarithm of "
        "the data volume that a unit of latent volume is decoded to, and the standard deviation of x given z "
        "where it changes; shades are the same in all rows and end at 1 and 99 % of all maps. Points: "
        f"held-out codes{coloured}.",
    )
