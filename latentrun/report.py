"""The report of a run: everything in its directory that is there to look at, as one HTML page that needs nothing else."""

from __future__ import annotations

import base64
import math
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import yaml
from markupsafe import Markup

from latentrun.store import FIGURE_END, FIGURE_START, RunDirectory

ROWS_SHOWN = 12
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
    """A picture on the page: ``data`` is a data: address of a PNG or the HTML of a plotly figure."""

    name: str
    kind: str
    data: str
    caption: str


def page(directory: RunDirectory) -> str:
    """The HTML text of ``report.html``."""
    meta, config, metrics = directory.meta, directory.config, directory.read_table("metrics")
    sections = [_section(directory, name, entry, metrics) for name, entry in meta["diagnostics"].items()]
    pictures = _pictures(directory, "training")
    plotly = any(shown.kind == "html" for section in sections for shown in section["pictures"])
    return _template().render(
        name=directory.path.name,
        meta=meta,
        status=directory.status,
        headlines=_headlines(metrics),
        sections=[section for section in sections if section["status"] != "skipped"],
        skipped=[section for section in sections if section["status"] == "skipped"],
        training=pictures,
        timing=_times(directory.read_table("timing")),
        config=yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
        plotlyjs=Markup(_plotlyjs()) if plotly else "",
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
    shown = []
    for file, caption in directory.meta.get("captions", {}).items():
        path = directory.path / "plots" / file
        if file.split(".")[0] != name or not path.is_file():
            continue
        if path.suffix == ".png":
            data = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
            shown.append(Shown(path.stem, "png", data, caption))
        else:
            found = re.search(f"{FIGURE_START}(.*){FIGURE_END}", path.read_text(encoding="utf-8"), re.DOTALL)
            shown.append(Shown(path.stem, "html", Markup(found.group(1)) if found else "", caption))
    return shown


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
    names = stages["stage"].str.cat(stages["name"].fillna(""), sep=" ").str.strip()
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


def _plotlyjs() -> str:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


@cache
def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    return jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True).get_template("report.html.j2")
