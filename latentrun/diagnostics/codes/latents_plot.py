"""Pictures of codes and of what they say about the factors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from latentrun.functional.factors import Target, with_difference
from latentrun.plotting.cloud import cloud
from latentrun.plotting.matrix import matrices
from latentrun.plotting.scatter import along, axis_pairs, projections
from latentrun.plotting.shapes import on_shape
from latentrun.types import Factor, Picture

WIDE = 6  # factors side by side in one picture


def amount(n: int, total: int, codes: str) -> str:
    """How many codes are drawn: "50 of 90 mean codes of the test split, drawn at random"."""
    return f"all {total} {codes}" if n == total else f"{n} of {total} {codes}, drawn at random"


def capital(text: str) -> str:
    return text[0].upper() + text[1:]


def flat(z: np.ndarray, targets: Sequence[Target], total: int, codes: str) -> dict[str, Picture]:
    """Pairs of latents of ``z (n, d)``, coloured by each factor; a picture for every ``WIDE`` factors.
    ``codes``: what they are, in words, ``total``: how many there are."""
    groups = [targets[i : i + WIDE] for i in range(0, len(targets), WIDE)] or [[]]
    draw = single_latent if z.shape[1] == 1 else latent_pairs
    shown = amount(len(z), total, codes)
    return {
        "projections" if i == 0 else f"projections_{i + 1}": draw(z, group, shown)
        for i, group in enumerate(groups)
    }


def single_latent(z: np.ndarray, targets: Sequence[Target], shown: str) -> Picture:
    text = (
        f"The only latent: {shown}. First panel: histogram; the others: each factor against the latent "
        "(classes: a strip each)."
    )
    return Picture(along(z, targets), text)


def latent_pairs(z: np.ndarray, targets: Sequence[Target], shown: str) -> Picture:
    pairs = "all pairs of latents" if z.shape[1] <= 4 else "the pairs of the four latents of highest variance"
    text = f"{capital(shown)}, on {pairs} ({len(axis_pairs(z))})"
    if not targets:
        text += "."
    elif len(targets) == 1:
        text += "; what colours the points stands above."
    else:
        text += "; columns: what colours the points, named above."
    return Picture(projections(z, targets), text)


def on_space(
    drawn: np.ndarray, outline: np.ndarray, targets: Sequence[Target], total: int, codes: str
) -> dict[str, Picture]:
    """Codes as points ``drawn (n, 2 | 3)`` of their space with the curves ``outline (K, T, 2 | 3)``, coloured
    by each factor; a picture for every ``WIDE`` factors."""
    text = f"{capital(amount(len(drawn), total, codes))}, on their space (grey lines)"
    if drawn.shape[1] == 3:
        text += ", seen from two sides, one above the other; what lies behind is faint"
    if targets:
        text += "; what colours the points stands above"
    groups = [targets[i : i + WIDE] for i in range(0, len(targets), WIDE)] or [[]]
    return {
        "projections" if i == 0 else f"projections_{i + 1}": Picture(
            on_shape(drawn, outline, group), f"{text}."
        )
        for i, group in enumerate(groups)
    }


def turned(
    z: np.ndarray,
    targets: Sequence[Target],
    examples: np.ndarray | None,
    difference: tuple[str, str] | None,
    total: int,
    codes: str,
    outline: np.ndarray | None = None,
) -> Picture:
    """Codes ``z (n, d)``, d >= 3, to be turned, with the pictures of the examples where there are any; on
    their space with the curves ``outline``, or in latents."""
    colours = [(factor, values[: len(z)]) for factor, values in targets]
    if difference is not None:
        colours = with_difference(colours, difference)
    where = "in the three latents of highest variance" if outline is None else "on their space (grey lines)"
    text = f"{capital(amount(len(z), total, codes))}, a point each, {where}. Drag to turn, scroll to approach"
    if colours:
        text += "; the menu chooses what colours the points"
    touched = []
    if examples is not None:
        touched.append("the picture that was encoded")
    if colours:
        touched.append("its values")
    if touched:
        text += f"; a point that is touched shows {' and '.join(touched)}"
    return Picture(cloud(z, colours, images=examples, outline=outline), f"{text}.")


def dependence(table: pd.DataFrame, factors: Sequence[Factor]) -> Picture:
    """Correlation and information of each latent (rows) and factor (columns)."""
    ranked, information = (
        table[column].to_numpy(dtype=float).reshape(-1, len(factors))
        for column in ("spearman", "mutual_information")
    )
    # A scale of less than a nat would show chance.
    panels = [("mutual information (nats)", information, max(1.0, information.max()))]
    text = "Each latent (rows) against each factor (columns): "
    if np.isfinite(ranked).any():
        panels.insert(0, ("|Spearman|", np.abs(ranked), 1.0))
        text += "absolute rank correlation, and mutual information in nats."
        if np.isnan(ranked).any():
            text += " Hatched: no number, because the factor has no order or one of the two is constant."
    else:
        text += "mutual information in nats."
    latents = [f"$z_{{{i}}}$" for i in range(len(ranked))]
    return Picture(matrices(panels, latents, [factor.name.replace("_", " ") for factor in factors]), text)
