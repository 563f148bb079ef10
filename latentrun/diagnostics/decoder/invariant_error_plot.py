"""Pictures of reconstruction errors before and after what they forgive."""

from __future__ import annotations

import numpy as np

from latentrun.plotting.differences import differences
from latentrun.plotting.histogram import overlay
from latentrun.types import Picture, Report


def invariant_error_pictures(report: Report, split: str, shift: float, angle: float) -> dict[str, Picture]:
    """``split``: the examples' split; ``shift`` and ``angle``: the greatest motion, in pixels and degrees."""
    pictures = {"errors": error_picture(report, split, shift, angle)}
    if "family_error" in report.tables["errors"]:
        pictures["family"] = family_picture(report)
    pictures["worst"] = worst_picture(report, split)
    return pictures


def error_picture(report: Report, split: str, shift: float, angle: float) -> Picture:
    """The errors as they are and after the alignment."""
    errors, metrics = report.tables["errors"], report.metrics
    samples = {"as decoded": errors["error"].to_numpy(), "aligned": errors["aligned_error"].to_numpy()}
    swapped = metrics["gain_swapped"].value if "gain_swapped" in metrics else np.nan
    return Picture(
        overlay(samples, r"error $\|x-\hat{x}\|_F$ (units of $x$)"),
        f"Reconstruction errors of {len(errors)} examples of the {split} split, as they are and after the "
        f"best motion by up to {shift:g} px and {angle:g}°. Dotted: means. The alignment takes "
        f"{metrics['gain'].value:.1%} off the summed squared error, and {swapped:.1%} where every picture "
        "has the error of another.",
    )


def family_picture(report: Report) -> Picture:
    """The errors as they are and up to what leaves the fitted factors as they are."""
    errors = report.tables["errors"]
    samples = {
        r"reconstruction $\hat{x}$": errors["relative_error"].to_numpy(),
        r"family member nearest to $\hat{x}$": errors["family_error"].to_numpy(),
    }
    return Picture(
        overlay(samples, r"distance to $x$ (share of $\|x\|$)"),
        "Distance of the original to its reconstruction, and to the member of the family that is nearest to "
        "the reconstruction: what is left of the error when all that leaves the fitted factors as they are "
        "is forgiven. Dotted: means.",
    )


def worst_picture(report: Report, split: str) -> Picture:
    """The worst reconstructions before and after the alignment."""
    arrays = report.arrays
    rows = report.tables["errors"].iloc[arrays["worst"]]
    texts = [
        f"{row.error:.2f} → {row.aligned_error:.2f}\n→ {row.shift_right:z.2f} px\n↑ {row.shift_up:z.2f} "
        f"px\n↺ {row.angle:z.1f}°"
        for row in rows.itertuples()
    ]
    made = {name: arrays[f"worst_{name}"] for name in ("reconstruction", "aligned")}
    value_range = tuple(arrays["value_range"].tolist())
    return Picture(
        differences(arrays["worst_original"], made, value_range, texts, tile=0.8),
        f"The {len(rows)} worst reconstructions of the {split} split, the worst on the left, before and "
        "after the alignment, each with its difference from the original (red where it is too high, blue "
        "where too low). Beneath: error before → after, the shift to the right (→) and upwards (↑) in "
        "pixels, and the angle (counter-clockwise).",
    )
