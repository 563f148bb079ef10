"""The report of a run or a comparison: everything in its directory that is there to look at, as one HTML page
that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from latentrun.functional.statistics.methods import shortfalls
from latentrun.plotting.pages import packed, policy, scripts
from latentrun.report.parts import HEADLINES, PARTS_OF, Shown, address, content, interval, number, template
from latentrun.store import ComparisonDirectory, ReportDirectory, RunDirectory

ROWS_SHOWN = 12
ROWS_OPEN = 60  # of tables that no picture shows


def page(directory: RunDirectory) -> str:
    """The HTML text of ``report.html``."""
    pictures = _pictures(directory, "training")
    return rendered(
        "report.html.j2",
        directory,
        pictures,
        status=directory.status,
        findings=directory.read_findings(),
        headlines=_headlines(directory.read_table("metrics")),
        training=pictures,
        timing=_times(directory.read_table("timing")),
        config=yaml.safe_dump(directory.config, sort_keys=False, allow_unicode=True),
    )


def comparison_page(directory: ComparisonDirectory) -> str:
    """The HTML text of ``report.html`` of a comparison."""
    runs = directory.meta.get("runs", [])
    choices, links = {}, {}
    for run in runs:
        options = (run.get("choices") or {}).items()
        choices[run["name"]] = {group: option for group, option in options if isinstance(option, str)}
        report = Path(str(run.get("path")), "report.html")
        if (directory.path / report).is_file():
            links[run["name"]] = address(report)
    return rendered("comparison.html.j2", directory, [], runs=runs, choices=choices, links=links)


def rendered(name: str, directory: ReportDirectory, pictures: Sequence[Shown], **values: Any) -> str:
    """A page on all reports of a directory. ``pictures``: those it shows beside those of the reports."""
    metrics = directory.read_table("metrics")
    sections = [_section(directory, report, entry, metrics) for report, entry in directory.entries.items()]
    drawing = any(
        shown.kind == "figure" for shown in sum((section["pictures"] for section in sections), list(pictures))
    )
    plotly, draw = (packed(), scripts()[1]) if drawing else ("", "")
    return template(name).render(
        policy=policy(drawing),
        plotly=plotly,
        draw=draw,
        name=directory.path.name,
        meta=directory.meta,
        sections=[section for section in sections if section["status"] != "skipped"],
        skipped=[section for section in sections if section["status"] == "skipped"],
        **values,
    )


def _section(
    directory: ReportDirectory, name: str, entry: dict[str, Any], metrics: pd.DataFrame
) -> dict[str, Any]:
    if len(metrics):
        metrics = metrics[(metrics[directory.of] == name) & metrics["metric"].notna()]
    methods = metrics["method"].astype(object).fillna("").tolist() if len(metrics) else []
    pictures = _pictures(directory, name)
    rows = ROWS_SHOWN if pictures else ROWS_OPEN
    tables = [(table, directory.read_table(f"{name}.{table}")) for table in entry["tables"]]
    return {
        "name": name,
        "answers": entry.get("answers", ""),
        "status": entry["status"],
        "notes": entry["notes"],
        "metrics": [
            (row.metric, number(row.value), interval(row.low, row.high), method, row.unit)
            for row, method in zip(metrics.itertuples(), methods, strict=True)
        ],
        "shortfalls": shortfalls(methods),
        "tables": [(f"{name}.{table}.csv", _cells(frame, rows), len(frame)) for table, frame in tables],
        "pictures": pictures,
    }


def _pictures(directory: ReportDirectory, name: str) -> list[Shown]:
    """The stored pictures of a diagnostic, in the order in which they were drawn."""
    return [
        Shown(file.name.removesuffix(file.suffix), *content(file), caption)
        for file, caption in directory.pictures(name)
    ]


def _headlines(metrics: pd.DataFrame) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """(title, [(part, value, interval)]) of the numbers on top."""
    cards = []
    if not len(metrics):
        return cards
    keys = metrics["diagnostic"] + "/" + metrics["metric"].astype(object).fillna("")
    for name, title in HEADLINES:
        rows = metrics[keys.str.startswith(name) if name.endswith(".") else keys == name]
        parts = [str(metric).partition(".")[2].replace("_", " ") for metric in rows["metric"]]
        total = metrics[keys.isin(PARTS_OF.get(name, ()))]["value"].sum()
        whole = f" of {number(float(total))}" if name in PARTS_OF else ""
        values = [(f"{number(row.value)}{whole}", interval(row.low, row.high)) for row in rows.itertuples()]
        if parts:
            cards.append((title, [(part, *texts) for part, texts in zip(parts, values, strict=True)]))
    return cards


def _cells(frame: pd.DataFrame, rows: int) -> tuple[list[str], list[list[str]]]:
    """Column names and the first rows, formatted."""
    cells = [[number(value) for value in row] for row in frame.head(rows).itertuples(index=False)]
    return [str(column) for column in frame.columns], cells


def _times(timing: pd.DataFrame) -> list[tuple[str, str]]:
    """Seconds of every stage; the epochs are part of training."""
    if not len(timing):
        return []
    stages = timing[timing["stage"] != "epoch"]
    names = stages["stage"].str.cat(stages["name"].astype("string"), sep=" ", na_rep="").str.strip()
    return [(name, f"{seconds:.1f}") for name, seconds in zip(names, stages["seconds"], strict=True)]
