"""The only reader and writer of a run directory.

Every file is written to a temporary name, flushed to disk and moved into place: a reader sees the old one or the new
one, never half of one. Nothing that is read back can run code: YAML safe loader, JSON, CSV, npz without pickle,
checkpoints with ``weights_only``.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import yaml

from latentrun.errors import InputError
from latentrun.types import Estimate, History, Latents, Metric, Picture, Report, Status

SCHEMA = 1
HEARTBEAT = 10.0  # seconds between two signs of life in status.json
METRIC_COLUMNS = ("diagnostic", "metric", "value", "low", "high", "unit", "direction", "status")


@contextmanager
def atomic(path: Path, mode: str = "w") -> Iterator[IO]:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(partial, mode, encoding=None if "b" in mode else "utf-8", newline="" if path.suffix == ".csv" else None) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


class RunDirectory:
    """One run on disk. Open a finished one with ``RunDirectory(path)``, make one with :meth:`create`."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not (self.path / "meta.json").is_file():
            why = "there is no such directory" if not self.path.is_dir() else "it holds no meta.json"
            raise InputError(f"{str(self.path)!r} is not a run of latentrun: {why}")
        schema = self.meta.get("schema")
        if not isinstance(schema, int) or schema > SCHEMA:
            raise InputError(f"{str(self.path)!r} was written by a newer latentrun (schema {schema}; this one reads up to {SCHEMA})")

    @classmethod
    def create(cls, path: str | Path, config: Mapping[str, Any], meta: Mapping[str, Any]) -> RunDirectory:
        """A new directory, never one that holds another run; InputError where it cannot be made."""
        path = Path(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path / "run.lock", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            what = "already holds a run" if path.is_dir() else "is a file"
            raise InputError(f"output directory {str(path)!r} {what}; runs are never overwritten") from None
        except OSError as error:
            raise InputError(f"output directory {str(path)!r} cannot be made: {error.strerror}") from None
        with atomic(path / ".hydra" / "config.yaml") as file:
            yaml.safe_dump(dict(config), file, sort_keys=False, allow_unicode=True)
        with atomic(path / "meta.json") as file:
            json.dump({"schema": SCHEMA, "created": now(), **meta, "diagnostics": {}}, file, indent=1)
        return cls(path)

    # ---------------------------------------------------------------- what it is
    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration, the authority on what the run is."""
        return yaml.safe_load((self.path / ".hydra" / "config.yaml").read_text(encoding="utf-8"))

    @property
    def meta(self) -> dict[str, Any]:
        """Schema, versions, git, host, device, threads, argv, hashes, what each diagnostic was."""
        return json.loads((self.path / "meta.json").read_text(encoding="utf-8"))

    def amend_meta(self, **entries: Any) -> None:
        """Add or replace entries."""
        with atomic(self.path / "meta.json") as file:
            json.dump(self.meta | entries, file, indent=1)

    @property
    def status(self) -> dict[str, Any]:
        """``state`` (training, diagnosing, done, failed, interrupted), ``heartbeat``, ``step``, ``reason``."""
        try:
            return json.loads((self.path / "status.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {"state": "unknown"}

    @contextmanager
    def working(self, state: str) -> Iterator[Activity]:
        """Hold the lock and give signs of life; InputError where another process holds it."""
        with open(self.path / "run.lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError(f"{str(self.path)!r} is in use by another process") from None
            activity = Activity(self.path / "status.json", state)
            try:
                yield activity
            finally:
                activity.stop()

    # ---------------------------------------------------------------- tables and arrays
    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """``tables/<name>.csv``."""
        with atomic(self.path / "tables" / f"{name}.csv") as file:
            table.to_csv(file, index=False)

    def read_table(self, name: str) -> pd.DataFrame:
        """A table written by :meth:`write_table`; an empty frame where there is none."""
        try:
            return pd.read_csv(self.path / "tables" / f"{name}.csv")
        except (FileNotFoundError, pd.errors.EmptyDataError):
            return pd.DataFrame()

    def write_arrays(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """``arrays/<name>.npz``."""
        with atomic(self.path / "arrays" / f"{name}.npz", "wb") as file:
            np.savez(file, **{key: np.asarray(value) for key, value in arrays.items()})

    def read_arrays(self, name: str) -> dict[str, np.ndarray]:
        """Arrays written by :meth:`write_arrays`; empty where there are none."""
        try:
            with np.load(self.path / "arrays" / f"{name}.npz", allow_pickle=False) as found:
                return dict(found)
        except FileNotFoundError:
            return {}

    def write_latents(self, split: str, latents: Latents) -> None:
        """``arrays/latents_<split>.npz``: mean, scale, y, labels, index (those that are there)."""
        known = {f.name: getattr(latents, f.name) for f in fields(latents)}
        self.write_arrays(f"latents_{split}", {k: v.cpu().numpy() for k, v in known.items() if v is not None})

    def write_history(self, history: History | None) -> None:
        """``arrays/history.npz``."""
        if history is not None:
            self.write_arrays("history", {f.name: getattr(history, f.name) for f in fields(history)})

    def read_history(self) -> History | None:
        """What :meth:`write_history` wrote."""
        found = self.read_arrays("history")
        return History(**found) if found else None

    # ---------------------------------------------------------------- reports
    def write_report(self, name: str, report: Report, declared: Mapping[str, Metric], entry: Mapping[str, Any]) -> None:
        """Tables, arrays and metrics of one diagnostic; ``entry`` (its config and hash) goes to meta.json, last, so
        that a diagnostic named there is there whole."""
        for table, frame in report.tables.items():
            self.write_table(f"{name}.{table}", frame)
        if report.arrays:
            self.write_arrays(name, report.arrays)
        rows = [_metric_row(name, key, value, declared[key.partition(".")[0]], report.status) for key, value in report.metrics.items()]
        if report.status is not Status.OK:
            rows = [dict.fromkeys(METRIC_COLUMNS) | {"diagnostic": name, "status": str(report.status)}]
        before = self.read_table("metrics")
        if len(before):
            before = before[before["diagnostic"] != name]
        frames = [frame for frame in (before, pd.DataFrame(rows, columns=list(METRIC_COLUMNS))) if len(frame)]
        if frames:
            self.write_table("metrics", pd.concat(frames, ignore_index=True))
        known = self.meta["diagnostics"]
        known[name] = {
            **entry,
            "status": str(report.status),
            "notes": list(report.notes),
            "tables": list(report.tables),
        }
        self.amend_meta(diagnostics=known)

    def read_report(self, name: str) -> Report:
        """A report as :meth:`write_report` was given it."""
        entry = self.meta["diagnostics"][name]
        metrics = self.read_table("metrics")
        own = metrics[(metrics["diagnostic"] == name) & metrics["metric"].notna()] if len(metrics) else metrics
        return Report(
            metrics={row.metric: Estimate(row.value, _number(row.low), _number(row.high)) for row in own.itertuples()},
            tables={table: self.read_table(f"{name}.{table}") for table in entry["tables"]},
            arrays=self.read_arrays(name),
            status=Status(entry["status"]),
            notes=tuple(entry["notes"]),
        )

    def write_summary(self, row: Mapping[str, Any]) -> None:
        """``tables/summary.json``: the run as one flat row."""
        with atomic(self.path / "tables" / "summary.json") as file:
            json.dump({key: _json_value(value) for key, value in row.items()}, file, indent=1)

    # ---------------------------------------------------------------- pictures
    def write_pictures(self, name: str, pictures: Mapping[str, Picture]) -> None:
        """``plots/<name>.<picture>.png`` or ``.html``; captions go to meta.json."""
        captions = dict(self.meta.get("captions", {}))
        for key, picture in pictures.items():
            stem = f"{name}.{key}" if key else name
            if hasattr(picture.figure, "savefig"):
                with atomic(self.path / "plots" / f"{stem}.png", "wb") as file:
                    picture.figure.savefig(file, format="png")
                captions[f"{stem}.png"] = picture.caption
            else:
                with atomic(self.path / "plots" / f"{stem}.html") as file:
                    file.write(standalone(picture.figure, stem))
                captions[f"{stem}.html"] = picture.caption
        self.amend_meta(captions=captions)

    def write_page(self, html: str) -> None:
        """``report.html``."""
        with atomic(self.path / "report.html") as file:
            file.write(html)

    # ---------------------------------------------------------------- checkpoints
    def save_checkpoint(self, name: str, state: Mapping[str, Any]) -> None:
        """``checkpoints/<name>.pt``; the one before it is kept as ``<name>.previous.pt``."""
        import torch

        path = self.path / "checkpoints" / f"{name}.pt"
        if path.exists():
            previous = path.with_suffix(".previous.pt")
            with suppress(FileNotFoundError):
                previous.unlink()
            os.link(path, previous)
        with atomic(path, "wb") as file:
            torch.save(dict(state), file)

    def load_checkpoint(self, name: str, device: Any = "cpu") -> dict[str, Any]:
        """Tensors and plain values of a checkpoint; InputError where it is missing or not readable."""
        import torch

        path = self.path / "checkpoints" / f"{name}.pt"
        if not path.is_file():
            raise InputError(f"{str(self.path)!r} has no checkpoint {name}.pt: its training did not get so far")
        try:
            return torch.load(path, map_location=device, weights_only=True)
        except Exception as error:
            raise InputError(f"checkpoint {str(path)!r} cannot be read: {str(error).splitlines()[0]}") from None


class Activity:
    """Signs of life of a working process in ``status.json``."""

    def __init__(self, path: Path, state: str):
        self.path = path
        self.entries: dict[str, Any] = {"state": state, "pid": os.getpid(), "host": os.uname().nodename}
        self._stopping = threading.Event()
        self._write_lock = threading.Lock()
        self.write()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def update(self, **entries: Any) -> None:
        """Change what the status says; on disk at once when the state changes, else with the next beat."""
        changed = "state" in entries and entries["state"] != self.entries["state"]
        self.entries |= entries
        if changed:
            self.write()

    def write(self) -> None:
        with self._write_lock, atomic(self.path) as file:
            json.dump({**self.entries, "heartbeat": now()}, file, indent=1)

    def _beat(self) -> None:
        while not self._stopping.wait(HEARTBEAT):
            with suppress(OSError):
                self.write()

    def stop(self) -> None:
        """Write the last state and end the thread."""
        self._stopping.set()
        self._thread.join()
        self.write()


# Between these marks of a stand-alone page lies the figure itself, which the report takes into its own page.
FIGURE_START, FIGURE_END = "<!-- figure -->", "<!-- /figure -->"


def standalone(figure: Any, title: str) -> str:
    """A plotly figure as a page that needs no network."""
    from html import escape

    from plotly.offline import get_plotlyjs

    body = figure.to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False})
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
    return f"{head}<script>{get_plotlyjs()}</script></head><body>{FIGURE_START}{body}{FIGURE_END}</body></html>"


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _metric_row(diagnostic: str, key: str, value: Estimate, meaning: Metric, status: Status) -> dict[str, Any]:
    row = asdict(value) | {"diagnostic": diagnostic, "metric": key, "unit": meaning.unit, "direction": meaning.better}
    return row | {"status": str(status)}


def _number(value: Any) -> float | None:
    return None if value is None or (isinstance(value, float) and math.isnan(value)) else float(value)


def _json_value(value: Any) -> Any:
    """JSON has no NaN: null stands for it."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
