"""Pictures of bounds of log p(x)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from latentrun.plotting.histogram import overlay
from latentrun.plotting.style import PALETTE, figure
from latentrun.types import Estimate, Picture, Report

LINES = {
    "elbo": ("ELBO", ":"),
    "quadrature": ("quadrature", "--"),
    "log_prob": ("exact", "-"),
    "oracle": ("oracle", "-."),
}


def pictures(report: Report) -> dict[str, Picture]:
    """The bounds against the number of draws, where there are any, and how log p(x) is spread."""
    made: dict[str, Picture] = {}
    if "bounds" in report.tables:
        text = (
            "The importance-weighted bound of log p(x), nats per example, against its number of draws "
            "(logarithmic), with the 95 % interval of the mean over examples. The bound rises towards log "
            "p(x) and stays below it on average. Lines: the ELBO, and log p(x) where it is known. Orange: "
            "weights without a term of the KL, which bound nothing."
        )
        made["bounds"] = Picture(against_draws(report.tables["bounds"], report.metrics), text)
    examples = report.tables["examples"]
    columns = [name for name in ("elbo", "quadrature", "log_prob", "oracle") if name in examples]
    sizes = [name for name in examples.columns if name.startswith("iwae_") and name[5:].isdigit()]
    columns = columns[:1] + sizes[-1:] + columns[1:]
    spread = {name: finite(examples[name]) for name in columns}
    spread = {name: values for name, values in spread.items() if len(values)}
    if spread:
        text = (
            "How bounds and values of log p(x) are spread over the examples, in nats, and the share of "
            "examples at or above a value; dotted: the means."
        )
        made["examples"] = Picture(overlay(spread, "nats per example"), text)
    return made


def finite(values: pd.Series) -> np.ndarray:
    """The numbers among the values."""
    numbers = values.to_numpy(dtype=float)
    return numbers[np.isfinite(numbers)]


def against_draws(bounds: pd.DataFrame, metrics: Mapping[str, Estimate]) -> Figure:
    """A curve with its band for each kind of weights, and lines for what is known otherwise."""
    fig, axes = figure(width=4.4, height=3.4)
    ax = axes[0, 0]
    labels = {"corrected": "bound", "uncorrected": "uncorrected, no bound"}
    for (kind, label), colour in zip(labels.items(), PALETTE, strict=False):
        rows = bounds[bounds["weights"] == kind].sort_values("draws")
        if len(rows):
            ax.plot(rows["draws"], rows["bound"], "o-", color=colour, markersize=4, label=label)
            ax.fill_between(rows["draws"], rows["low"], rows["high"], color=colour, alpha=0.18, linewidth=0)
    for name, (label, line) in LINES.items():
        value = metrics[name].value if name in metrics else np.nan
        if np.isfinite(value):
            ax.axhline(value, color="black", linestyle=line, linewidth=0.9, label=label)
    ax.set(xscale="log", xlabel="draws K", ylabel="nats per example")
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig
