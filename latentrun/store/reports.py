"""A directory that holds reports: their tables, arrays, metrics, pictures and a page to look at."""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from latentrun.errors import Absent, InputError
from latentrun.judgement import Finding, Weight
from latentrun.plotting.animation import gif
from latentrun.plotting.images import smaller
from latentrun.plotting.pages import beside_report
from latentrun.plotting.style import without_formulas
from latentrun.store.files import now, write_json, write_table, write_text
from latentrun.store.intake import read_npz
from latentrun.store.schema import (
    COLUMNS,
    SCHEMA,
    read_meta,
    read_named_table,
    require_layout,
    require_schema,
)
from latentrun.system.door import Guarded
from latentrun.system.terminal import printable
from latentrun.types import Animation, Estimate, Metric, Picture, Report, Status

# formats of figures; without dates, so that equals are equal
SAVED = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
WEIGHTS = [str(weight) for weight in Weight]  # of findings, the weightiest first
METRIC_COLUMNS = ("metric", "value", "low", "high", "method", "unit", "direction", "share", "status")


class ReportDirectory:
    """What runs and comparisons have in common on disk. ``kind``: what the directory holds; ``of``: what its
    reports are of, the first column of metrics.csv and, in the plural, the key of meta.json under which they
    are described."""

    kind: ClassVar[str]
    of: ClassVar[str]

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.folder = Guarded(self.path)
        if not self.path.is_dir() or not (self.folder / "meta.json").exists():
            raise InputError(f"{str(self.path)!r} is not a {self.kind} of latentrun: {self._nothing_here()}")
        require_layout(self.folder)
        meta = self.meta
        kind = meta.get("kind", "run")
        if kind != self.kind:
            raise InputError(f"{str(self.path)!r} is not a {self.kind} of latentrun: it is a {kind}")
        require_schema(meta, self.folder)
        self.require(f"{self.of}s")

    def _nothing_here(self) -> str:
        """Why a path without meta.json is nothing that can be opened."""
        if not self.path.exists():
            return "there is no such directory"
        if not self.path.is_dir():
            return "it is a file"
        inside = [folder.name for folder in self.folder.folders() if (folder / "meta.json").is_file()]
        return f"it is a folder of runs, one of them {inside[0]!r}" if inside else "it holds no meta.json"

    @classmethod
    def described(cls, folder: Guarded, meta: Mapping[str, Any]) -> Self:
        """A claimed directory with its first meta.json, without reports."""
        about = {"schema": SCHEMA, "kind": cls.kind, "created": now(), **meta, f"{cls.of}s": {}}
        write_json(folder / "meta.json", about)
        return cls(folder.path)

    # ---------------------------------------------------------------- what it is
    @property
    def meta(self) -> dict[str, Any]:
        """Schema, versions, git, host, device, threads, argv, hashes, what each report was."""
        return read_meta(self.folder / "meta.json")

    def require(self, *keys: str) -> None:
        """InputError where meta.json has no such entries."""
        meta = self.meta
        for key in keys:
            if key not in meta:
                raise InputError(f"{str(self.path / 'meta.json')!r}: {key} is missing")

    def amend_meta(self, **entries: Any) -> None:
        """Add or replace entries."""
        write_json(self.folder / "meta.json", self.meta | entries)

    def check(self) -> None:
        """Read all that is stored: InputError for what is wrong with it, before anything is written."""
        self.read_table("metrics")
        self.read_table("timing")
        for name in self.entries:
            self.read_report(name)

    @property
    def entries(self) -> dict[str, dict[str, Any]]:
        """What each report was: its settings, hash, status, notes, tables."""
        return self.meta[f"{self.of}s"]

    # ---------------------------------------------------------------- tables and arrays
    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """``tables/<name>.csv``."""
        write_table(self.folder / "tables" / f"{name}.csv", table)

    def read_table(self, name: str) -> pd.DataFrame:
        """A table written by :meth:`write_table`; an empty frame where there is none."""
        try:
            return read_named_table(self.folder / "tables" / f"{name}.csv", self.of)
        except Absent:
            return pd.DataFrame()

    def write_arrays(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """``arrays/<name>.npz``."""
        values: dict[str, Any] = {key: np.asarray(value) for key, value in arrays.items()}
        with (self.folder / "arrays" / f"{name}.npz").writing("wb") as file:
            np.savez(file, **values)

    def read_arrays(self, name: str) -> dict[str, np.ndarray]:
        """Arrays written by :meth:`write_arrays`; empty where there are none."""
        try:
            return read_npz(self.folder / "arrays" / f"{name}.npz")
        except Absent:
            return {}

    # ---------------------------------------------------------------- reports
    def write_report(
        self, name: str, report: Report, declared: Mapping[str, Metric], entry: Mapping[str, Any]
    ) -> None:
        """Tables, arrays and metrics of one report; ``entry`` (its config and hash) goes to meta.json, last,
        so that a report named there is there whole."""
        for table, frame in report.tables.items():
            self.write_table(f"{name}.{table}", frame)
        if report.arrays:
            self.write_arrays(name, report.arrays)
        entries = self.entries
        entries[name] = {
            **entry,
            "status": str(report.status),
            "notes": list(report.notes),
            "tables": list(report.tables),
        }
        self._write_metrics(name, _metric_rows(report, declared), list(entries))
        self.amend_meta(**{f"{self.of}s": entries})

    def _write_metrics(self, name: str, rows: Sequence[Mapping[str, Any]], order: Sequence[str]) -> None:
        """Put the ``rows`` of the report ``name`` in the place of those that it had in metrics.csv, whose
        reports stand in this ``order``, not that in which they came to be measured."""
        before = self.read_table("metrics")
        if len(before):
            before = before[before[self.of] != name]
        after = pd.DataFrame([{self.of: name, **row} for row in rows], columns=[self.of, *METRIC_COLUMNS])
        frames = [frame for frame in (before, after) if len(frame)]
        if frames:
            place = {report: number for number, report in enumerate(order)}
            metrics = pd.concat(frames, ignore_index=True)
            metrics = metrics.sort_values(self.of, key=lambda column: column.map(place), kind="stable")
            self.write_table("metrics", metrics)

    def write_findings(self, name: str, findings: Sequence[Finding]) -> None:
        """Put what is to be said of the report ``name`` into ``tables/findings.csv``, in the place of what
        was said of it before; the weightiest first."""
        rows = [row for row in self.read_findings() if row[self.of] != name]
        rows += [
            {
                self.of: name,
                "finding": finding.name,
                "weight": str(finding.weight),
                "sentence": finding.sentence,
                "command": finding.command,
            }
            for finding in findings
        ]
        rows.sort(key=lambda row: WEIGHTS.index(row["weight"]))
        self.write_table("findings", pd.DataFrame(rows, columns=list(COLUMNS["findings"])))

    def read_findings(self) -> list[dict[str, str]]:
        """The rows of ``tables/findings.csv``; InputError where one has a weight that there is not."""
        rows = self.read_table("findings").fillna("").astype(str).to_dict("records")
        for row in rows:
            if row["weight"] not in WEIGHTS:
                path = self.path / "tables" / "findings.csv"
                raise InputError(
                    f"{str(path)!r}: weight {row['weight']!r} is not allowed; allowed: {', '.join(WEIGHTS)}"
                )
        return rows

    @property
    def reports(self) -> Mapping[str, Report]:
        """The reports that are there whole, by name; each is read when it is asked for."""
        return Reports(self)

    def read_report(self, name: str) -> Report:
        """A report as :meth:`write_report` was given it."""
        entry = self.entries[name]
        metrics = self.read_table("metrics")
        if len(metrics):
            metrics = metrics[(metrics[self.of] == name) & metrics["metric"].notna()]
        return Report(
            metrics={
                row.metric: Estimate(row.value, _number(row.low), _number(row.high), _text(row.method))
                for row in metrics.itertuples()
            },
            tables={table: self.read_table(f"{name}.{table}") for table in entry["tables"]},
            arrays=self.read_arrays(name),
            status=Status(entry["status"]),
            notes=tuple(entry["notes"]),
        )

    # ---------------------------------------------------------------- pictures
    def write_pictures(
        self, name: str, pictures: Mapping[str, Picture], formats: Collection[str] = ()
    ) -> None:
        """``plots/<name>.<picture>.png`` and in other ``formats`` (pdf, svg), or ``.html``, of what moves
        ``.gif`` too; captions go to meta.json.

        They take the place of all that ``name`` had; formats that were there are drawn anew, so that no file
        tells of before.
        """
        files = (self.folder / "plots").files()
        before = {file.name: file for file in files if file.name.split(".")[0] == name}
        formats = {"png", *formats, *(file.suffix[1:] for file in before.values())} & SAVED.keys()
        captions = {
            file: text for file, text in self.meta.get("captions", {}).items() if file.split(".")[0] != name
        }
        written: set[str] = set()
        for key, picture in pictures.items():
            stem = f"{name}.{key}" if key else name
            names, shown = self._write_picture(stem, picture, formats)
            written |= names
            captions |= shown
        self.amend_meta(captions=captions)
        for file in before.keys() - written:
            before[file].remove()

    def _write_picture(
        self, stem: str, picture: Picture, formats: Collection[str]
    ) -> tuple[set[str], dict[str, str]]:
        """Write the files of one picture; their names, and the captions of those that the report shows."""
        folder = self.folder / "plots"
        if hasattr(picture.figure, "savefig"):
            names = {f"{stem}.{kind}" for kind in formats}
            for name in names:
                write_figure(folder / name, picture.figure)
            captions = {f"{stem}.png": picture.caption}
        else:
            names = {f"{stem}.html"}
            write_text(folder / f"{stem}.html", beside_report(picture.figure, stem))
            captions = {f"{stem}.html": picture.caption}
        if isinstance(picture, Animation):
            with (folder / f"{stem}.gif").writing("wb") as file:
                file.write(gif(picture.frame, picture.durations))
            names.add(f"{stem}.gif")
            captions[f"{stem}.gif"] = picture.moving
        return names, captions

    def pictures(self, name: str) -> Iterator[tuple[Guarded, str]]:
        """What the report shows of the files that :meth:`write_pictures` wrote, in its order, with their
        captions."""
        for file, caption in self.meta.get("captions", {}).items():
            picture = self.folder / "plots" / file
            if file.split(".")[0] == name and picture.is_file():
                yield picture, caption

    def write_error(self, text: str) -> None:
        """``error.txt``: what went wrong, for who looks into it."""
        write_text(self.folder / "error.txt", printable(text, lines=True))

    def clear_error(self) -> None:
        """Take ``error.txt`` away: what it tells of is mended."""
        (self.folder / "error.txt").remove()

    def write_page(self, html: str) -> None:
        """``report.html``."""
        write_text(self.folder / "report.html", html)


class Reports(Mapping[str, Report]):
    """See :attr:`ReportDirectory.reports`."""

    def __init__(self, directory: ReportDirectory):
        self.directory = directory
        self.names = [name for name, entry in directory.entries.items() if entry["status"] == Status.OK]

    def __getitem__(self, name: str) -> Report:
        if name not in self.names:
            raise KeyError(name)
        return self.directory.read_report(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def write_figure(target: Guarded, figure: Any) -> None:
    """A figure of matplotlib, in the format that the name of the file says."""
    kind = target.suffix[1:]
    drawn = io.BytesIO()
    try:
        figure.savefig(drawn, format=kind, metadata=SAVED[kind])
    except ValueError:  # of a text that matplotlib takes for a formula
        without_formulas(figure)
        drawn = io.BytesIO()
        figure.savefig(drawn, format=kind, metadata=SAVED[kind])
    content = drawn.getvalue()
    with target.writing("wb") as file:
        file.write(smaller(content) if kind == "png" else content)


def _metric_rows(report: Report, declared: Mapping[str, Metric]) -> list[dict[str, Any]]:
    """The rows of metrics.csv; of a report with nothing measured one that says so."""
    if report.status is not Status.OK:
        return [dict.fromkeys(METRIC_COLUMNS) | {"status": str(report.status)}]
    rows = []
    for key, estimate in report.metrics.items():
        meaning = declared[key.partition(".")[0]]
        rows.append(
            {
                "metric": key,
                **estimate.columns(),
                "method": estimate.method,
                "unit": meaning.unit,
                "direction": meaning.better,
                "share": "yes" if meaning.is_share else "no",
                "status": str(report.status),
            }
        )
    return rows


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any) -> float | None:
    return None if value is None or (isinstance(value, float) and math.isnan(value)) else float(value)
