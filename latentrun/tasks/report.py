"""``task=report``: what any set of runs says together. Runs are read, never changed."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import pandas as pd

from latentrun.config.bounds import Printable
from latentrun.errors import InputError, nearest
from latentrun.report.parts import as_typed
from latentrun.report.sweep import pictures, survey, write_report
from latentrun.store.files import write_table, write_text
from latentrun.system.disk import require_room
from latentrun.system.door import Guarded
from latentrun.system.terminal import show
from latentrun.tables.collect import collect, runs_in
from latentrun.tables.conditions import select
from latentrun.tables.groups import summarise
from latentrun.tables.leaderboard import latex, leaderboard, markdown
from latentrun.tables.settings import but_seed, meanings, settings_in, varied
from latentrun.tasks.base import MACHINE, Command, Task
from latentrun.tasks.findings import tell_sayings
from latentrun.tasks.outputs import fresh

Pattern = Annotated[str, Printable()]
FORMS = {"md": markdown, "tex": latex}


class Report(Task):
    """Write one table, means over seeds, a leaderboard, pictures and a page of the runs.

    ``runs``: directories or patterns; ``where``: which of them; ``metrics``: which numbers, null for those on
    top of a run's page; ``by``: the settings that tell groups apart, null for all that differ but the seed.
    """

    beside = (*MACHINE, "figures")

    def __init__(
        self,
        runs: Pattern | list[Pattern],
        where: Annotated[str, Printable()] | None,
        metrics: list[str] | None,
        by: list[str] | None,
    ):
        self.patterns = [runs] if isinstance(runs, str) else runs
        self.where, self.metrics, self.by = where, metrics, by

    def run(self, command: Command) -> int:
        frame = selected(collect(runs_in(self.patterns)), self.where)
        keys = but_seed(varied(frame) if self.by is None else known_keys(frame, self.by))
        overview = survey(frame, keys, self.metrics, Path())
        require_room(command.path)
        board = leaderboard(frame, keys, overview.metrics, overview.meaning)
        with fresh(command.path) as folder:
            means = summarise(frame, keys, meanings(frame))
            write_tables(folder, {"runs": frame, "by_seed": means, "leaderboard": board})
            for kind, form in FORMS.items() if len(board) else ():
                write_text(folder / f"leaderboard.{kind}", form(board, keys))
            about = {
                "what": "runs",
                "name": command.path.name,
                "table": "by_seed.csv",
                "command": f"latentrun {as_typed(sys.argv[1:])}",
            }
            write_report(folder.path, overview, about, pictures(overview), command.values["figures"])
        tell_sayings(frame, Path())
        show(f"report on {len(frame)} runs in {command.path / 'report.html'}")
        return 0


def selected(frame: pd.DataFrame, where: str | None) -> pd.DataFrame:
    """The runs that fulfil a condition; InputError where none does."""
    if where is None:
        return frame
    frame = frame[select(frame, where)].reset_index(drop=True)
    if not len(frame):
        raise InputError(f"where: no run fulfils {where!r}")
    return frame


def known_keys(frame: pd.DataFrame, keys: Sequence[str]) -> Sequence[str]:
    """The keys; InputError for one that is no setting of the runs."""
    known = list(settings_in(frame))
    for key in keys:
        if key not in known:
            raise InputError(f"by: {key!r} is no setting of these runs{nearest(key, known)}")
    return keys


def write_tables(folder: Guarded, tables: Mapping[str, pd.DataFrame]) -> None:
    """Each table as a CSV file."""
    for name, table in tables.items():
        write_table(folder / f"{name}.csv", table)
