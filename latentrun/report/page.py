"""The report of a run: everything in its directory that is there to look at, as one HTML page that needs nothing else."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import jinja2
import pandas as pd
import yaml

from latentrun.plotting.pages import embedded, policy, read_figure, scripts
from latentrun.store import RunDirectory

ROWS_SHOWN = 12
PNG = b"\x89PNG\r\n\x1a\n"  # how a PNG begins
# Shown on top where they are there: what a reader asks first. A name that ends in a point stands for all its parts.
HEADLINES = (
    ("reconstruction/error_mean", "mean ‖x − x̂‖"),
    ("sparsity/active", "active latents"),
    ("latents/knn_r2.", "10-NN probe R²"),
    ("stationarity/mean", "var(μ) + mean σ²"),
    ("variance_loss/ratio.", "Δvar / mse, decoded from code"),
    ("samples/distance_ratio", "sample / test distance to training data"),
)


@dataclass(frozen=True)
class Shown:
    """A picture on the page: ``data`` is the data: address of a PNG, a plotly figure as JSON, or why there is neither."""

    name: str
    kind: Literal["png", "figure", "wrong"]
    data: str
    caption: str


def page(directory: RunDirectory) -> str:
    """The HTML text of ``report.html``."""
    meta, config, metrics = directory.meta, directory.config, directory.read_table("metrics")
    sections = [_section(directory, name, entry, metrics) for name, entry in meta["diagnostics"].items()]
    pictures = _pictures(directory, "training")
    drawing = any(shown.kind == "figure" for shown in sum((section["pictures"] for section in sections), pictures))
    plotly, draw = scripts() if drawing else ("", "")
    return _template().render(
        policy=policy(drawing),
        plotly=plotly,
        draw=draw,
        name=directory.path.name,
        meta=meta,
        status=directory.status,
        headlines=_headlines(metrics),
        sections=[section for section in sections if section["status"] != "skipped"],
        skipped=[section for section in sections if section["status"] == "skipped"],
        training=pictures,
        timing=_times(directory.read_table("timing")),
        config=yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
    )


def _section(directory: RunDirectory, name: str, entry: dict[str, Any], metrics: pd.DataFrame) -> dict[str, Any]:
    own = metrics[(metrics["diagnostic"] == name) & metrics["metric"].notna()] if len(metrics) else metrics
    tables = [(table, directory.read_table(f"{name}.{table}")) for table in entry["tables"]]
    return {
        "name": name,
        "answers": entry.get("answers", ""),
        "status": entry["status"],
        "notes": entry["notes"],
        "metrics": [(row.metric, number(row.value), interval(row.low, row.high), row.unit) for row in own.itertuples()],
        "tables": [(f"{name}.{table}.csv", _cells(frame), len(frame)) for table, frame in tables],
        "pictures": _pictures(directory, name),
    }


def _pictures(directory: RunDirectory, name: str) -> list[Shown]:
    """The stored pictures of a diagnostic, in the order in which they were drawn."""
    return [Shown(path.stem, *_content(path), caption) for path, caption in directory.pictures(name)]


def _content(path: Path) -> tuple[str, str]:
    """Kind and data of a stored picture, made anew from what was read: nothing goes from a file into the page as it is."""
    if path.suffix == ".png":
        content = path.read_bytes()
        return ("png", f"data:image/png;base64,{base64.b64encode(content).decode()}") if content.startswith(PNG) else ("wrong", "is no PNG")
    try:
        return "figure", embedded(read_figure(path.read_text(encoding="utf-8")))
    except ValueError as error:
        return "wrong", f"cannot be shown: {error}"


def _headlines(metrics: pd.DataFrame) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """(title, [(part, value, interval)]) of the numbers on top."""
    cards = []
    if not len(metrics):
        return cards
    keys = metrics["diagnostic"] + "/" + metrics["metric"].fillna("")
    for wanted, title in HEADLINES:
        found = metrics[keys.str.startswith(wanted) if wanted.endswith(".") else keys == wanted]
        parts = [(str(r.metric).partition(".")[2].replace("_", " "), number(r.value), interval(r.low, r.high)) for r in found.itertuples()]
        if parts:
            cards.append((title, parts))
    return cards


def _cells(frame: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Column names and the first rows, formatted."""
    rows = [[number(value) for value in row] for row in frame.head(ROWS_SHOWN).itertuples(index=False)]
    return [str(column) for column in frame.columns], rows


def _times(timing: pd.DataFrame) -> list[tuple[str, str]]:
    """Seconds of every stage; the epochs are part of training."""
    if not len(timing):
        return []
    stages = timing[timing["stage"] != "epoch"]
    names = stages["stage"].str.cat(stages["name"].astype("string"), sep=" ", na_rep="").str.strip()
    return [(name, f"{seconds:.1f}") for name, seconds in zip(names, stages["seconds"], strict=True)]


def number(value: Any) -> str:
    """Four significant digits; whole numbers whole; nothing for what is missing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e6 else f"{value:.4g}"
    return str(value)


def interval(low: Any, high: Any) -> str:
    """``[low, high]``, or nothing where there is none."""
    return "" if number(low) == "–" else f"[{number(low)}, {number(high)}]"


@cache
def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    return jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True).get_template("report.html.j2")
