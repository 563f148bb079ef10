"""Pictures of normal laws by geodesic and by Euclidean distance."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from latentrun.plotting.histogram import distribution
from latentrun.plotting.images import strips
from latentrun.plotting.scatter import axis_name
from latentrun.plotting.style import PALETTE, figure
from latentrun.types import Picture, Report

TITLES = {"land": "LAND", "gaussian": "Gaussian"}
DEPTHS = (0.5, 2.0, 4.5)  # nats below the maximum: one, two and three standard deviations of a normal law


def land_pictures(report: Report) -> dict[str, Picture]:
    pictures = {}
    if "plane_land" in report.arrays:
        pictures["densities"] = Picture(
            level_lines(report),
            "Level lines of both densities by area of the latent plane, where they are e^-½, e^-2 and e^-4.5 "
            "of their maximum (one, two and three standard deviations of one normal law), on the codes they "
            "were fitted to; crosses: the means.",
        )
    table = report.tables["codes"].dropna()
    if "gain" in report.metrics and len(table) > 1:
        gain = (table["land"] - table["gaussian"]).to_numpy()
        pictures["gain"] = Picture(
            distribution(gain, {"mean": gain.mean()}, "LAND − Gaussian (nats)"),
            "By how many nats the LAND gives each test code a higher log density than the Gaussian mixture.",
        )
    drawn = {name: report.arrays[f"drawn_{name}"] for name in TITLES if f"drawn_{name}" in report.arrays}
    if drawn and drawn["land"].ndim == 4:
        rows = [(TITLES[name], x) for name, x in drawn.items()]
        pictures["draws"] = Picture(
            strips(rows, tuple(report.arrays["value_range"])), "Decoded draws from both laws."
        )
    return pictures


def level_lines(report: Report) -> Figure:
    """A panel for each law."""
    arrays, components = report.arrays, report.tables["components"]
    fig, axes = figure(1, 2, width=3.2, height=3.0, sharex=True, sharey=True)
    for ax, (name, title) in zip(axes[0], TITLES.items(), strict=True):
        values = np.ma.masked_invalid(arrays[f"plane_{name}"])
        ax.scatter(*arrays["codes"].T, s=5, color="0.7", linewidths=0, rasterized=True)
        levels = sorted(float(values.max()) - depth for depth in DEPTHS)
        look = {"colors": PALETTE[0], "linestyles": "-", "linewidths": (0.7, 1.0, 1.4)}
        ax.contour(arrays["plane_first"], arrays["plane_second"], values, levels, **look)
        if name == "land":
            ax.plot(components["mean_0"], components["mean_1"], "x", color=PALETTE[1], markersize=6)
        ax.set(title=title, xlabel=axis_name(str(arrays["names"][0])), aspect="equal")
    axes[0, 0].set_ylabel(axis_name(str(arrays["names"][1])))
    return fig
