"""What any set of runs says together: one table, means over seeds, a leaderboard, pictures, a page. Runs are
read, never changed."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latentrun.errors import InputError, nearest
from latentrun.report.sweep import pictures, survey, write_report
from latentrun.store import atomic
from latentrun.system.disk import require_room
from latentrun.tables.collect import collect, runs_in
from latentrun.tables.conditions import select
from latentrun.tables.groups import summarise
from latentrun.tables.leaderboard import latex, leaderboard, markdown
from latentrun.tables.settings import but_seed, meanings, settings_in, varied
from latentrun.tasks.use import fresh, require_only

REPORT = ("task", "runs", "where", "metrics", "by", "output", "figures", "threads", "device", "trust")


def report(config: Mapping[str, Any], path: Path, overrides: Sequence[str]) -> int:
    """Write tables, leaderboard, pictures and page of the runs that ``config`` names; the exit code."""
    require_only(overrides, REPORT)
    patterns = [config["runs"]] if isinstance(config["runs"], str) else config["runs"]
    frame = collect(runs_in(patterns))
    if config["where"] is not None:
        frame = frame[select(frame, config["where"])].reset_index(drop=True)
        if not len(frame):
            raise InputError(f"where: no run fulfils {config['where']!r}")
    known = list(settings_in(frame))
    for key in config["by"] or ():
        if key not in known:
            raise InputError(f"by: {key!r} is no setting of these runs{nearest(key, known)}")
    keys = but_seed(varied(frame) if config["by"] is None else config["by"])
    found = survey(frame, keys, config["metrics"], Path())
    require_room(path)
    board = leaderboard(frame, keys, found.metrics, found.meaning)
    with fresh(path) as folder:
        tables = {"runs": frame, "by_seed": summarise(frame, keys, meanings(frame)), "leaderboard": board}
        for name, table in tables.items():
            with atomic(folder / f"{name}.csv") as file:
                table.to_csv(file, index=False)
        for kind, form in (("md", markdown), ("tex", latex)) if len(board) else ():
            with atomic(folder / f"leaderboard.{kind}") as file:
                file.write(form(board, keys))
        about = {
            "what": "runs",
            "name": path.name,
            "table": "by_seed.csv",
            "command": f"latentrun {' '.join(sys.argv[1:])}",
        }
        write_report(folder, found, about, pictures(found), config["figures"])
    print(f"report on {len(frame)} runs in {path / 'report.html'}")
    return 0
