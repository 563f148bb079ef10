"""One run on disk."""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from latentrun.errors import InputError
from latentrun.plotting.pages import standalone
from latentrun.store.activity import SILENCE, WORKING, Activity
from latentrun.store.files import Plain, atomic, now
from latentrun.store.intake import plain, read_json, read_meta, read_npz, read_yaml, require_contained, require_stored
from latentrun.types import Estimate, History, Latents, Metric, Picture, Report, Status

SCHEMA = 1
SAVED = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}  # formats of figures; without dates, so that equals are equal
METRIC_COLUMNS = ("diagnostic", "metric", "value", "low", "high", "unit", "direction", "status")


class RunDirectory:
    """One run on disk. Open a finished one with ``RunDirectory(path)``, make one with :meth:`create`."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not (self.path / "meta.json").is_file():
            why = "it holds no meta.json" if self.path.is_dir() else "it is a file" if self.path.exists() else "there is no such directory"
            inside = sorted(each.parent.name for each in self.path.glob("*/meta.json"))
            why = f"it is a folder of runs, one of them {inside[0]!r}" if inside else why
            raise InputError(f"{str(self.path)!r} is not a run of latentrun: {why}")
        require_contained(self.path)
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
            yaml.dump(dict(config), file, Plain, sort_keys=False, allow_unicode=True)
        with atomic(path / "meta.json") as file:
            json.dump({"schema": SCHEMA, "created": now(), **meta, "diagnostics": {}}, file, indent=1)
        return cls(path)

    # ---------------------------------------------------------------- what it is
    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration, the authority on what the run is."""
        return read_yaml(self.path / ".hydra" / "config.yaml")

    @property
    def meta(self) -> dict[str, Any]:
        """Schema, versions, git, host, device, threads, argv, hashes, what each diagnostic was."""
        return read_meta(self.path / "meta.json")

    def amend_meta(self, **entries: Any) -> None:
        """Add or replace entries."""
        with atomic(self.path / "meta.json") as file:
            json.dump(self.meta | entries, file, indent=1)

    @property
    def status(self) -> dict[str, Any]:
        """``state`` (training, diagnosing, done, failed, interrupted), ``heartbeat``, ``step``, ``reason``."""
        try:
            return read_json(self.path / "status.json")
        except FileNotFoundError:
            return {"state": "unknown"}

    @property
    def finished(self) -> bool:
        """Whether everything the run was asked for is there."""
        measured = self.meta["diagnostics"]
        whole = all(name in measured and measured[name]["status"] != Status.FAILED for name in self.config["diagnostic"])
        return self.status["state"] == "done" and whole

    def require_trained(self) -> None:
        """InputError where the training has not come to its end."""
        if "trained" not in self.meta and self.status["state"] != "done":
            state = self.status["state"]
            raise InputError(
                f"{str(self.path)!r}: its training is not finished (state {state!r}); latentrun resume={self.path} goes on with it"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only process that works on the run; InputError where another one does.

        The lock ends with its process, however that ended. Another machine's lock may not be seen on a shared disk: there
        the signs of life in ``status.json`` count.
        """
        with open(self.path / "run.lock", "a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                who = f"process {self.status.get('pid', '?')} on {self.status.get('host', '?')}"
                raise InputError(f"{str(self.path)!r} is in use by another process ({who})") from None
            status = self.status
            if status["state"] in WORKING and status.get("host") != os.uname().nodename:
                age = (datetime.now(UTC) - datetime.fromisoformat(status["heartbeat"])).total_seconds()
                if age < SILENCE:
                    raise InputError(
                        f"{str(self.path)!r} is in use on {status.get('host')}: its last sign of life is {age:.0f} s old "
                        f"(a run counts as dead after {SILENCE:.0f} s)"
                    )
            yield

    @contextmanager
    def activity(self, state: str) -> Iterator[Activity]:
        """Give signs of life."""
        activity = Activity(self.path / "status.json", state)
        try:
            yield activity
        finally:
            activity.stop()

    def clear_partial(self) -> None:
        """Remove what a killed process left half-written."""
        for path in self.path.rglob(".*.part"):
            path.unlink(missing_ok=True)

    # ---------------------------------------------------------------- tables and arrays
    def _file(self, folder: str, name: str) -> Path:
        return self.path / folder / plain(name, self.path)

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """``tables/<name>.csv``."""
        with atomic(self._file("tables", f"{name}.csv")) as file:
            table.to_csv(file, index=False)

    def read_table(self, name: str) -> pd.DataFrame:
        """A table written by :meth:`write_table`; an empty frame where there is none."""
        try:
            return pd.read_csv(self._file("tables", f"{name}.csv"))
        except (FileNotFoundError, pd.errors.EmptyDataError):
            return pd.DataFrame()
        except (pd.errors.ParserError, UnicodeDecodeError) as error:
            raise InputError(f"table {name}.csv of {str(self.path)!r} cannot be read: {str(error).splitlines()[0]}") from None

    def write_arrays(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """``arrays/<name>.npz``."""
        with atomic(self._file("arrays", f"{name}.npz"), "wb") as file:
            np.savez(file, **{key: np.asarray(value) for key, value in arrays.items()})

    def read_arrays(self, name: str) -> dict[str, np.ndarray]:
        """Arrays written by :meth:`write_arrays`; empty where there are none."""
        try:
            return read_npz(self._file("arrays", f"{name}.npz"))
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
        known = self.meta["diagnostics"]
        known[name] = {**entry, "status": str(report.status), "notes": list(report.notes), "tables": list(report.tables)}
        metrics = self.read_table("metrics")
        if len(metrics):
            metrics = metrics[metrics["diagnostic"] != name]
        frames = [frame for frame in (metrics, pd.DataFrame(rows, columns=list(METRIC_COLUMNS))) if len(frame)]
        if frames:
            order = {diagnostic: place for place, diagnostic in enumerate(known)}  # not that in which they came to be measured
            metrics = pd.concat(frames, ignore_index=True)
            metrics = metrics.sort_values("diagnostic", key=lambda column: column.map(order), kind="stable")
            self.write_table("metrics", metrics)
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
    def write_pictures(self, name: str, pictures: Mapping[str, Picture], formats: Collection[str] = ()) -> None:
        """``plots/<name>.<picture>.png`` and in other ``formats`` (pdf, svg), or ``.html``; captions go to meta.json.

        They take the place of all that ``name`` had; formats that were there are drawn anew, so that no file tells of before.
        """
        folder = self.path / "plots"
        before = {path for path in folder.glob("*") if path.name.split(".")[0] == name and path.is_file()}
        formats = {"png", *formats, *(path.suffix[1:] for path in before)} & SAVED.keys()
        captions = {file: text for file, text in self.meta.get("captions", {}).items() if file.split(".")[0] != name}
        written = set()
        for key, picture in pictures.items():
            stem = f"{name}.{key}" if key else name
            if hasattr(picture.figure, "savefig"):
                for kind in formats:
                    with atomic(folder / f"{stem}.{kind}", "wb") as file:
                        picture.figure.savefig(file, format=kind, metadata=SAVED[kind])
                written |= {folder / f"{stem}.{kind}" for kind in formats}
                captions[f"{stem}.png"] = picture.caption
            else:
                with atomic(folder / f"{stem}.html") as file:
                    file.write(standalone(picture.figure, stem))
                written.add(folder / f"{stem}.html")
                captions[f"{stem}.html"] = picture.caption
        self.amend_meta(captions=captions)
        for path in before - written:
            path.unlink()

    def pictures(self, name: str) -> Iterator[tuple[Path, str]]:
        """What the report shows of the files that :meth:`write_pictures` wrote, in its order, with their captions."""
        for file, caption in self.meta.get("captions", {}).items():
            path = self._file("plots", file)
            if file.split(".")[0] == name and path.is_file():
                yield path, caption

    def write_page(self, html: str) -> None:
        """``report.html``."""
        with atomic(self.path / "report.html") as file:
            file.write(html)

    # ---------------------------------------------------------------- checkpoints
    def save_checkpoint(self, name: str, state: Mapping[str, Any]) -> None:
        """``checkpoints/<name>.pt``; the one before it is kept as ``<name>.previous.pt``."""
        import torch

        path = self.path / "checkpoints" / f"{name}.pt"
        with atomic(path, "wb") as file:
            try:
                torch.save(dict(state), file)
            except RuntimeError as error:  # torch puts words of its own in front of what the disk said
                raise error.__context__ if isinstance(error.__context__, OSError) else error from None
            if path.exists():
                copy = path.with_name(f".{path.name}.{os.getpid()}.copy.part")
                try:
                    os.link(path, copy)
                except OSError:  # a file system without links
                    shutil.copyfile(path, copy)
                os.replace(copy, path.with_suffix(".previous.pt"))
                copy.unlink(missing_ok=True)  # it stays where the two were links to one file already

    def load_checkpoint(self, name: str, device: Any = "cpu") -> dict[str, Any]:
        """Tensors and plain values of a checkpoint; InputError where it is missing or not readable."""
        import torch

        path = self.path / "checkpoints" / f"{name}.pt"
        if not path.is_file():
            raise InputError(f"{str(self.path)!r} has no checkpoint {name}.pt: its training did not get so far")
        try:
            with warnings.catch_warnings(action="ignore"):  # one line is said below, whatever torch thinks of the file
                state = torch.load(path, map_location=device, weights_only=True)
        except Exception as error:
            raise InputError(f"checkpoint {str(path)!r} cannot be read: {str(error).splitlines()[0].split('. ')[0]}") from None
        require_stored(state, f"checkpoint {str(path)!r}")
        return state

    def newest_checkpoint(self, name: str) -> tuple[dict[str, Any] | None, list[str]]:
        """The last checkpoint that can be read, None where there is none; and why newer ones could not be."""
        unreadable: list[str] = []
        for version in (name, f"{name}.previous"):
            if (self.path / "checkpoints" / f"{version}.pt").exists():
                try:
                    state = self.load_checkpoint(version)
                except InputError as error:
                    unreadable.append(str(error))
                else:
                    return state, [f"{text}; the checkpoint before it is used" for text in unreadable]
        return None, unreadable


def _metric_row(diagnostic: str, key: str, value: Estimate, meaning: Metric, status: Status) -> dict[str, Any]:
    row = asdict(value) | {"diagnostic": diagnostic, "metric": key, "unit": meaning.unit, "direction": meaning.better}
    return row | {"status": str(status)}


def _number(value: Any) -> float | None:
    return None if value is None or (isinstance(value, float) and math.isnan(value)) else float(value)


def _json_value(value: Any) -> Any:
    """JSON has no NaN: null stands for it."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
