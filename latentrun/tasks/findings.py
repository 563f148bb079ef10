"""What a colleague would say of a run: judged when a diagnostic has been asked, told at the end."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from latentrun.config.build import happened
from latentrun.config.settings import flatten, key_of
from latentrun.diagnostics.base import Diagnostic
from latentrun.judgement import Origin, Weight, judged
from latentrun.run import Run
from latentrun.store import RunDirectory
from latentrun.system.terminal import show
from latentrun.tables.findings import findings, sayings
from latentrun.tasks.console import LOGGER
from latentrun.types import Report

if TYPE_CHECKING:
    import pandas as pd

SEARCHED = "hydra.searchpath"  # what --config-dir becomes: the command finds the same options again
MARKS = {str(Weight.PROBLEM): "!", str(Weight.HINT): "-", str(Weight.GOOD): "+"}


def note_findings(
    run: Run, directory: RunDirectory, name: str, diagnostic: Diagnostic, report: Report
) -> bool:
    """Write down what the rules of a diagnostic say of its report; one without metrics says nothing. Whether
    they could be asked: of rules that fail nothing is kept but the traceback."""
    meta = directory.meta
    overrides = [str(text) for text in meta.get("overrides", ())]
    overrides += [word for word in meta.get("argv", ()) if key_of(word) == SEARCHED and word not in overrides]
    origin = Origin(str(directory.path), overrides, flatten(run.config))
    try:
        said = judged(diagnostic.rules, report.metrics, origin)
    except Exception as error:
        LOGGER.error("%s: its rules failed: %s", name, happened(error, type(diagnostic).__module__))
        directory.write_error(traceback.format_exc())
        return False
    directory.write_findings(name, said)
    return True


def tell_sayings(frame: pd.DataFrame, root: Path) -> None:
    """Say what is said of the runs of a table below ``root``, a line for each rule, the weightiest first."""
    for saying in sayings(findings(frame, root)):
        example = " (one of them)" if saying.differs else ""
        runs = ", ".join((saying.diagnostic, *saying.few))
        count = f"{len(saying.runs)} of {len(frame)} runs"
        show(f"{MARKS[saying.weight]} {count}: {saying.sentence}{example} ({runs})")


def tell_findings(directory: RunDirectory) -> None:
    """Say in the log what stands on top of the report, the weightiest first."""
    for row in directory.read_findings():
        LOGGER.info("%s %s (%s)", MARKS[row["weight"]], row["sentence"], row["diagnostic"])
        if row["command"]:
            LOGGER.info("  to try: %s", row["command"])
