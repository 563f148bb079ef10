"""Pictures of a classifier of codes: its scores, its mistakes, where they lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from latentrun.plotting.cloud import TURNED, Layer, cloud
from latentrun.plotting.matrix import matrices
from latentrun.plotting.scatter import along, axis_pairs, draw, headed, legend, points
from latentrun.plotting.style import PALETTE, figure, palette_of
from latentrun.types import Factor, Picture, Report

CLASSES = 20  # rows and columns of the matrix of mistakes
NAMED = 8  # values of k written below the axis
FAINT = "#D0D0D0"  # codes predicted rightly, where mistakes are shown
SCORES = {"accuracy": "accuracy (share of rows)", "macro_f1": "macro F1"}


READERS = {"codes": "the codes", "factors": "the true factors", "majority": "the commonest class"}
Arrays = Mapping[str, np.ndarray]


# ---------------------------------------------------------------- pictures of a report
def over_k(report: Report) -> Picture:
    table, k = report.tables["over_k"], int(report.arrays["k"])
    beside = " and ".join(READERS[name] for name in table["reader"].unique() if name != "codes")
    return Picture(
        scores(table, k, READERS),
        f"Accuracy and macro F1 of what k neighbours among the codes predict, beside {beside}. Bands: 95 % "
        f"intervals over rows; dotted line: k = {k}, whose scores are the metrics.",
    )


def matrix(report: Report) -> Picture:
    names, k = report.arrays["names"].tolist(), int(report.arrays["k"])
    drawn, n = confusion(report.tables["confusion"], names)
    text = f"The share of each true class (rows) that is predicted as each class (columns) with k = {k}."
    if n < len(names):
        text += f" The {n} of {len(names)} classes with most mistakes."
    return Picture(drawn, text)


def class_factor(arrays: Arrays) -> Factor:
    names = tuple(arrays["names"].tolist())
    return Factor("class", "categorical", 0.0, len(names) - 1.0, categories=names)


def class_colours(arrays: Arrays) -> list[tuple[Factor, np.ndarray]]:
    label = class_factor(arrays)
    true, predicted = replace(label, name="true class"), replace(label, name="predicted class")
    return [(true, arrays["truth"]), (predicted, arrays["predicted"])]


def decisions(arrays: Arrays, shown: str) -> Picture:
    """Codes by true and predicted class; ``shown``: which they are, in words."""
    codes, k = arrays["codes"], int(arrays["k"])
    if codes.shape[1] == 1:
        text = (
            f"{shown}: histogram, and a strip for each class, by the true class and by the one that {k} "
            "neighbours predict."
        )
        return Picture(along(codes, class_colours(arrays)), text)
    text = (
        f"{shown}, coloured by the true class, by the one that {k} neighbours predict, and the wrongly "
        "predicted alone by the true one"
    )
    text += (
        "; behind them the class that is predicted there." if codes.shape[1] == 2 else ", the others grey."
    )
    truth, predicted = arrays["truth"], arrays["predicted"]
    drawn = regions(
        codes, class_factor(arrays), truth, predicted, arrays.get("grid"), arrays.get("extent", ())
    )
    return Picture(drawn, text)


def layers(arrays: Arrays) -> Picture:
    """Codes in three latents, to be turned, with rings about the wrongly predicted."""
    codes, examples = arrays["codes"][:TURNED], arrays.get("pictures")
    wrong = arrays["truth"] != arrays["predicted"]
    answer = Factor("answer", "categorical", 0.0, 1.0, categories=("right", "wrong"))
    colours = [*class_colours(arrays), (answer, wrong.astype(int))]
    text = (
        f"{len(codes)} codes in the three latents of highest variance. Drag to turn; the menu chooses what "
        "colours them: the true class, the predicted one, or whether that is right"
    )
    if examples is not None:
        text += "; a point that is touched shows the picture that was encoded, and all three"
    text += ". Rings: the wrongly predicted; a click on their name in the legend hides them."
    rows = np.flatnonzero(wrong[:TURNED])
    rings = [Layer("wrongly predicted", "rings", codes[rows])] if len(rows) else []
    colours = [(factor, values[:TURNED]) for factor, values in colours]
    return Picture(cloud(codes, colours, images=examples, layers=rings), text)


# ---------------------------------------------------------------- drawings
def scores(table: pd.DataFrame, k: int, readers: Mapping[str, str]) -> Figure:
    """Accuracy and macro F1 with their intervals against the number of neighbours, a line for each reader.

    ``table``: ``reader, k``, and ``accuracy``, ``macro_f1`` each with ``_low`` and ``_high``; a reader with k
    = 0 has no neighbours and is a level. ``readers``: their names in words. ``k`` is marked.
    """
    fig, axes = figure(1, 2, width=3.6, height=2.9)
    several = sorted(table["k"][table["k"] > 0].unique())
    for ax, (score, words) in zip(axes[0], SCORES.items(), strict=True):
        for (reader, part), colour, line in zip(
            table.groupby("reader", sort=False), PALETTE, ("-", "--", ":"), strict=False
        ):
            value, low, high = (part[score + end].to_numpy() for end in ("", "_low", "_high"))
            if part["k"].iloc[0] == 0:
                ax.axhline(value[0], color=colour, linestyle="--", linewidth=1, label=readers[reader])
                ax.axhspan(low[0], high[0], color=colour, alpha=0.15, linewidth=0)
                continue
            ax.fill_between(part["k"], low, high, color=colour, alpha=0.2, linewidth=0)
            ax.plot(
                part["k"],
                value,
                marker="o",
                markersize=3.5,
                linestyle=line,
                color=colour,
                label=readers[reader],
            )
        ax.axvline(k, color="black", linestyle=":", linewidth=0.8)
        ax.set_xscale("log")
        every = several[:: -(-len(several) // NAMED)]
        ax.set_xticks(every, [str(number) for number in every])
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set(xlabel="neighbours k", ylabel=words, ylim=(None, min(1.02, ax.get_ylim()[1])))
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return fig


def confusion(table: pd.DataFrame, names: Sequence[str]) -> tuple[Figure, int]:
    """Shares of each true class (rows) predicted as each class (columns), and how many classes are drawn: of
    many those with most mistakes. ``table``: ``truth, predicted`` as codes of ``names``, ``rows, share``."""
    n = len(names)
    wrong = table[table["truth"] != table["predicted"]]
    mistakes = sum(
        np.bincount(wrong[side], weights=wrong["rows"], minlength=n) for side in ("truth", "predicted")
    )
    shown = np.sort(np.argsort(-mistakes, kind="stable")[:CLASSES])
    whole = np.full((n, n), np.nan)
    whole[table["truth"].unique()] = 0.0
    whole[table["truth"], table["predicted"]] = table["share"]
    words = [str(names[i]) for i in shown]
    fig = matrices([("share of the true class", whole[np.ix_(shown, shown)], 1.0)], words, words)
    fig.axes[0].set(xlabel="predicted", ylabel="true")
    return fig, len(shown)


def regions(
    codes: np.ndarray,
    label: Factor,
    truth: np.ndarray,
    predicted: np.ndarray,
    grid: np.ndarray | None = None,
    extent: np.ndarray | Sequence[float] = (),
) -> Figure:
    """Codes ``(N, d)``, d >= 2, on pairs of latents (rows), coloured by true class, by the class predicted,
    and, of those predicted wrongly alone, by true class (columns). ``grid``: class predicted at even points
    of ``extent`` (d = 2), behind them."""
    pairs, tall, wrong = axis_pairs(codes), 2.4, truth != predicted
    fig, axes, _ = headed([label], [tall] * len(pairs), 3, width=2.7)
    for ax, name in zip(axes[0], ("true class", "predicted class", "mistakes, by true class"), strict=True):
        legend(ax, replace(label, name=name))
    for (a, b), row in zip(pairs, axes[1:], strict=True):
        x, y = codes[:, a], codes[:, b]
        draw(row[0], x, y, (label, truth))
        draw(row[1], x, y, (label, predicted))
        row[2].scatter(x[~wrong], y[~wrong], color=FAINT, **points(len(x)))
        draw(row[2], np.where(wrong, x, np.nan), y, (label, truth))
        for ax in row:
            ax.set(xlabel=f"$z_{{{a}}}$", ylabel=f"$z_{{{b}}}$")
            if grid is not None:
                count = int(label.high) + 1
                palette = palette_of(count)
                colours = ListedColormap([palette[i % len(palette)] for i in range(count)])
                bounds = {"vmin": -0.5, "vmax": colours.N - 0.5, "extent": extent}
                ax.imshow(
                    grid,
                    cmap=colours,
                    **bounds,
                    origin="lower",
                    aspect="auto",
                    alpha=0.2,
                    interpolation="nearest",
                    zorder=0,
                )
    return fig
