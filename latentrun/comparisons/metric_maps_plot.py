"""Maps of several decoders in the same shades."""

from __future__ import annotations

from collections.abc import Mapping

from latentrun.functional.factors import read_factors
from latentrun.plotting.planes import maps_of
from latentrun.types import Picture, Report


def maps(report: Report, kinds: Mapping[str, tuple[str, bool]]) -> Picture:
    """A row for each group; a column for each of ``kinds`` that one has, with its label and whether its
    shades may be logarithmic."""
    arrays, groups = report.arrays, [str(name) for name in report.arrays["drawn"]]
    numbers = range(len(groups))
    names = [name for name in kinds if any(f"map_{name}_{number}" in arrays for number in numbers)]
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
        [kinds[name][0] for name in names],
        [kinds[name][1] for name in names],
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
