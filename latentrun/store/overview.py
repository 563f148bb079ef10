"""What a run directory says to somebody who only looks: whoever wrote it, however it ended, and whether or
not it can be opened as a run."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from latentrun.errors import InputError
from latentrun.store.activity import SILENCE, WORKING
from latentrun.store.files import read_table
from latentrun.store.intake import read_json, read_meta, read_yaml, require_schema


def inside(folder: Path) -> Iterator[Path]:
    """Run directories in a folder or below; none lies in another."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        kind = kind_of(Path(place)) if "meta.json" in files else "folder"
        if kind not in ("folder", "sweep"):
            folders.clear()
        if kind == "run":
            yield Path(place)


def kind_of(path: Path) -> str:
    """What a directory with meta.json holds; one that cannot be read counts as a run, and is told of as
    such."""
    try:
        return str((_json(path, "meta.json") or {}).get("kind", "run"))
    except (InputError, OSError):
        return "run"


def state_of(path: Path) -> tuple[str, str]:
    """What status.json says of the run, and the reason; ``killed`` where it says that somebody works on it
    and nobody does."""
    status = _json(path, "status.json") or {"state": "unknown"}
    state = str(status.get("state"))
    if state in WORKING and not _is_worked_on(path, status):
        last = status.get("heartbeat")
        return "killed", f"its process is gone, without a word; last sign of life {last}"
    return state, str(status.get("reason") or "")


def summary_of(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The run as one flat row, and nothing else; or where it has not got so far nothing, and its
    configuration with its ``choices``. InputError for a run of another schema."""
    require_schema(_json(path, "meta.json") or {}, path)
    row = _json(path, "tables/summary.json")
    if row is not None:
        return row, {}
    choices = read_meta(_contained(path, "meta.json")).get("choices", {})
    return {}, read_yaml(_contained(path, ".hydra/config.yaml")) | {"choices": choices}


def meanings_of(path: Path) -> dict[str, tuple[str, str]]:
    """Unit and better direction of the metrics of one run, by ``diagnostic/metric``; none where that cannot
    be read."""
    columns = ["diagnostic", "metric", "unit", "direction"]
    try:
        file = _contained(path, "tables/metrics.csv")
        table = read_table(file, usecols=columns, dtype=str, keep_default_na=False)
    except (InputError, OSError, ValueError):
        return {}
    return {f"{row.diagnostic}/{row.metric}": (row.unit, row.direction) for row in table.itertuples()}


def _contained(directory: Path, name: str) -> Path:
    """A file of a run directory; InputError where a link leads out of it."""
    path = directory / name
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(directory)):
        raise InputError(f"{str(path)!r} is a link that leads out of the run's directory")
    return path


def _json(directory: Path, name: str) -> dict[str, Any] | None:
    path = _contained(directory, name)
    return read_json(path) if path.is_file() else None


def _is_worked_on(path: Path, status: Mapping[str, Any]) -> bool:
    """Whether some process holds the run's lock; on another machine, whether its last sign of life is
    young."""
    if status.get("host") != os.uname().nodename:
        try:
            heartbeat = datetime.fromisoformat(str(status.get("heartbeat")))
            return (datetime.now(UTC) - heartbeat).total_seconds() < SILENCE
        except (TypeError, ValueError):
            return False
    try:
        with open(_contained(path, "run.lock"), "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False
