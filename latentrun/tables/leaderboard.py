"""Groups of runs ranked by a metric, with tests against the best; as a table for a paper or a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from latentrun.config.settings import REPLICATE
from latentrun.functional.statistics.directions import DIRECTIONS, Direction, arrow
from latentrun.functional.statistics.ranking import holm, moments, over_seeds, pairwise
from latentrun.plotting.sweep import written
from latentrun.tables.groups import beside, by_seed, grouped
from latentrun.types import Meaning

LEVEL = 0.05
COLUMNS = (
    "mean",
    "low",
    "high",
    "method",
    "n",
    "difference",
    "difference_low",
    "difference_high",
    "common_seeds",
    "test",
    "p",
    "p_holm",
    "verdict",
)
AGAINST_BEST = ("difference", "difference_low", "difference_high", "common_seeds", "p", "p_holm")
BEST, WORSE, SAME, UNTESTED = "best", "worse", "not distinguishable", "not tested"


def leaderboard(
    frame: pd.DataFrame, keys: Sequence[str], metrics: Sequence[str], meaning: Mapping[str, Meaning]
) -> pd.DataFrame:
    """Groups of ``keys`` from best to worst in each metric that has a better direction.

    Metrics whose best value is 0 or 1 are ranked by the mean distance from it. ``mean`` with its 95 %
    interval over ``n`` seeds, and ``method``, how that was made; ``difference`` from the best (of the
    distances, where those are ranked) with its own, not corrected interval; ``test`` and ``p`` as in
    :func:`~latentrun.functional.statistics.ranking.pairwise`. ``p_holm`` is corrected for all pairs of groups
    in that metric: the best is chosen by the same numbers, so every pair might have been the one.
    ``verdict``: best, worse (p_holm < 0.05), not distinguishable, not tested.
    """
    groups, number = grouped(frame, keys)
    tables = []
    for name in metrics if REPLICATE in frame else ():
        unit, direction, share = meaning[name]
        if direction not in DIRECTIONS:
            continue
        values = by_seed(frame[name], number, frame[REPLICATE], len(groups))
        measured = np.isfinite(values).any(1)
        board = _ranked(values[measured], DIRECTIONS[direction], share)
        start = pd.DataFrame(
            {"metric": name, "unit": unit, "direction": direction, "rank": board.pop("rank")}
        )
        named = groups[measured].reset_index(drop=True)
        tables.append(pd.concat([start, named, board], axis=1).sort_values("rank", kind="stable"))
    if not tables:
        return pd.DataFrame(columns=["metric", "unit", "direction", "rank", *keys, *COLUMNS])
    return pd.concat(tables, ignore_index=True)


def _ranked(values: np.ndarray, direction: Direction, share: bool) -> pd.DataFrame:
    """The leaderboard of one metric ``(G, S)``, in the order of the groups; ``share``: as in
    :func:`~latentrun.functional.statistics.ranking.over_seeds`."""
    losses = direction.loss(values)
    order = np.argsort(moments(losses)[0], kind="stable")
    best = order[0]
    pairs = pairwise(losses)
    p_holm = _corrected(pairs.p)[:, best]
    conditions = [np.arange(len(values)) == best, p_holm < LEVEL, p_holm >= LEVEL]
    seen = over_seeds(values, share)
    # What is better where it is higher has the differences of its losses turned round, ends included.
    ends = (pairs.low[:, best], pairs.high[:, best])[:: direction.sign]
    board = pd.DataFrame(
        {
            "rank": np.argsort(order) + 1,
            "mean": seen.mean,
            "low": seen.low,
            "high": seen.high,
            "method": seen.method,
            "n": seen.n,
            "difference": direction.sign * pairs.difference[:, best],
            "difference_low": direction.sign * ends[0],
            "difference_high": direction.sign * ends[1],
            "common_seeds": pairs.n[:, best],
            "test": pairs.test[:, best],
            "p": pairs.p[:, best],
            "p_holm": p_holm,
            "verdict": np.select(conditions, [BEST, WORSE, SAME], UNTESTED),
        }
    )
    board.loc[best, list(AGAINST_BEST)] = np.nan
    board.loc[best, "test"] = ""
    return board


def _corrected(p: np.ndarray) -> np.ndarray:
    """The p-values ``(G, G)`` of all pairs, corrected for their number; NaN on the diagonal."""
    upper = np.triu_indices(len(p), 1)
    corrected = np.full(p.shape, np.nan)
    corrected[upper] = corrected.T[upper] = holm(p[upper])
    return corrected


# ---------------------------------------------------------------- as a table
def compact(
    board: pd.DataFrame, keys: Sequence[str]
) -> tuple[list[str], list[list[str]], list[list[tuple[str, str, str]]]]:
    """One row a group, one column a metric: names of the metrics; key values of each row; cells ``(mean,
    interval, verdict)``. Rows are in the order of the first metric."""
    metrics = list(dict.fromkeys(board["metric"]))
    rows: dict[tuple[str, ...], dict[str, tuple[str, str, str]]] = {}
    for row in board.to_dict("records"):
        cell = (
            f"{row['mean']:.4g}",
            beside(row["mean"], row["low"], row["high"]),
            row["verdict"],
        )
        rows.setdefault(tuple(written(row[key]) for key in keys), {})[row["metric"]] = cell
    return (
        metrics,
        [list(values) for values in rows],
        [[cells.get(metric, ("", "", "")) for metric in metrics] for cells in rows.values()],
    )


def caption(board: pd.DataFrame) -> str:
    """What the numbers and marks of the compact table mean."""
    n = board["n"]
    seeds = f"{n.min()}" if n.min() == n.max() else f"{n.min()} to {n.max()}"
    return (
        f"Mean ± half of its 95 % t interval over {seeds} seeds, or [ends] of another, or nothing where all "
        f"seeds have one value; bold: the best mean; † worse than the best "
        f"(t test over seeds, p < {LEVEL} after Holm's correction for all pairs of groups)."
    )


def markdown(board: pd.DataFrame, keys: Sequence[str]) -> str:
    """The compact table in Markdown."""
    metrics, groups, cells = compact(board, keys)
    arrows = {name: arrow(direction) for name, direction in _directions(board).items()}
    lines = [
        [*map(_md, keys), *(f"{_md(metric)}{arrows[metric]}" for metric in metrics)],
        [*("---" for _ in keys), *("--:" for _ in metrics)],
    ]
    lines += [[*map(_md, group), *map(_md_cell, row)] for group, row in zip(groups, cells, strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{caption(board)}\n"


def _directions(board: pd.DataFrame) -> dict[str, str]:
    """The better direction of each metric."""
    return dict(zip(board["metric"], board["direction"], strict=True))


def _md_cell(cell: tuple[str, str, str]) -> str:
    mean, interval, verdict = cell
    text = f"**{mean}**" if verdict == BEST else mean
    return text + (f" {_md(interval)}" if interval else "") + (" †" if verdict == WORSE else "")


def _md(text: str) -> str:
    """Text without a meaning of its own in Markdown."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{c}" if c in "\\`*[]|" else c for c in text)


def latex(board: pd.DataFrame, keys: Sequence[str]) -> str:
    """The compact table in LaTeX; it wants the package booktabs."""
    metrics, groups, cells = compact(board, keys)
    arrows = {name: DIRECTIONS[direction].tex for name, direction in _directions(board).items()}
    head = [*map(_tex, keys), *(f"{_tex(metric)} {arrows[metric]}" for metric in metrics)]
    body = [[*map(_tex, group), *map(_tex_cell, row)] for group, row in zip(groups, cells, strict=True)]
    rows = [" & ".join(line) + r" \\" for line in (head, *body)]
    comment = f"% \\usepackage{{booktabs}}\n% {caption(board)}"
    start = f"\\begin{{tabular}}{{{'l' * len(keys)}{'r' * len(metrics)}}}\n\\toprule\n{rows[0]}\n\\midrule"
    return "\n".join([comment, start, *rows[1:], "\\bottomrule", "\\end{tabular}"]) + "\n"


def _tex_cell(cell: tuple[str, str, str]) -> str:
    mean, interval, verdict = cell
    text = rf"\textbf{{{mean}}}" if verdict == BEST else mean
    interval = interval.replace("±", r"$\pm$")
    return text + (f" {interval}" if interval else "") + (r"$^\dagger$" if verdict == WORSE else "")


TEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def _tex(text: str) -> str:
    """Text without a meaning of its own in LaTeX."""
    return "".join(TEX.get(c, c) for c in " ".join(text.split()))
