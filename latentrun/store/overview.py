"""What a run directory says to somebody who only looks: whoever wrote it, however it ended, and whether or
not it can be opened as a run."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from glob import has_magic
from pathlib import Path
from typing import Any

from latentrun.errors import Absent, InputError
from latentrun.store.activity import SILENCE, WORKING, silence
from latentrun.store.intake import read_json, read_table
from latentrun.store.schema import read_config, read_meta, read_status, read_summary, require_schema
from latentrun.system.door import Guarded
from latentrun.types import Meaning

DEEP = 12  # folders within each other, below one that is named, in which runs are looked for


def matching(pattern: str) -> list[Path]:
    """What there is of that name, or the folders that a pattern (``*``, ``?``, ``[abc]``, ``**``) stands for,
    sorted. What the user names in full may be a link; what a sign stands for, and what lies below it, is
    none."""
    path = Path(pattern).expanduser()
    if path.exists():
        return [path]
    parts = path.parts
    named = next((i for i, part in enumerate(parts) if has_magic(part)), len(parts))
    if named == len(parts):
        return []
    return sorted({folder.path for folder in _matching(Guarded(Path(*parts[:named])), parts[named:])})


def _matching(folder: Guarded, parts: Sequence[str]) -> Iterator[Guarded]:
    if not parts:
        yield folder
        return
    part, *rest = parts
    if part == "**":
        yield from _matching(folder, rest)
    for inner in folder.folders():
        hidden = inner.name.startswith(".") and not part.startswith(".")
        if part == "**" and not hidden:
            yield from _matching(inner, parts)
        elif fnmatchcase(inner.name, part) and not hidden:
            yield from _matching(inner, rest)


def inside(path: Path) -> Iterator[Path]:
    """Run directories in a folder or below; none lies in another, and no link is followed."""
    if path.is_dir():
        for folder in _runs_in(Guarded(path), DEEP):
            yield folder.path


def _runs_in(folder: Guarded, depth: int) -> Iterator[Guarded]:
    names = {item.name for item in folder.items()}
    kind = kind_of(folder) if "meta.json" in names else "folder"
    if kind == "run":
        yield folder
    elif kind in ("folder", "sweep") and depth:
        for inner in folder.folders():
            if not inner.name.startswith("."):
                yield from _runs_in(inner, depth - 1)


def kind_of(folder: Guarded) -> str:
    """What a directory with meta.json holds; one that cannot be read counts as a run, and is told of as
    such."""
    try:
        return str(read_json(folder / "meta.json").get("kind", "run"))
    except InputError:
        return "run"


def state_of(path: Path) -> tuple[str, str]:
    """What status.json says of the run, and the reason; ``killed`` where it says that somebody works on it
    and nobody does. InputError where it cannot be read."""
    try:
        status = read_status(Guarded(path) / "status.json")
    except Absent:
        return "unknown", ""
    if status["state"] in WORKING and not _is_worked_on(path, status):
        last = status.get("heartbeat")
        return "killed", f"its process is gone, without a word; last sign of life {last}"
    return status["state"], status.get("reason") or ""


def summary_of(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The run as one flat row, and nothing else; or where it has not got so far nothing, and its
    configuration with its ``choices``. InputError for a run of another schema, or one that cannot be read."""
    folder = Guarded(path)
    meta = read_meta(folder / "meta.json")
    require_schema(meta, folder)
    try:
        return read_summary(folder / "tables" / "summary.json"), {}
    except Absent:
        config = read_config(folder / ".hydra" / "config.yaml", whole=False)
        return {}, config | {"choices": meta.get("choices", {})}


def meanings_of(path: Path) -> dict[str, Meaning]:
    """What the metrics of one run mean, by ``diagnostic/metric``; none where that cannot be read."""
    columns = ["diagnostic", "metric", "unit", "direction", "share"]
    try:
        file = Guarded(path) / "tables" / "metrics.csv"
        table = read_table(file, usecols=columns.__contains__, dtype=str, keep_default_na=False)
    except InputError:
        return {}
    rows = table.reindex(columns=columns, fill_value="").itertuples()
    return {
        f"{row.diagnostic}/{row.metric}": Meaning(row.unit, row.direction, row.share == "yes") for row in rows
    }


def _is_worked_on(path: Path, status: Mapping[str, Any]) -> bool:
    """Whether some process holds the run's lock; on another machine, whether its last sign of life is
    young."""
    if status.get("host") != platform.node():
        return silence(status) < SILENCE
    return (Guarded(path) / "run.lock").is_held()
