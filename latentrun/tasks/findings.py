"""What a colleague would say of a run: judged when a diagnostic has been asked, told at the end."""

from __future__ import annotations

from latentrun.config.settings import flatten
from latentrun.diagnostics.base import Diagnostic
from latentrun.judgement import Origin, Weight, judged
from latentrun.run import Run
from latentrun.store import RunDirectory
from latentrun.tasks.console import LOGGER
from latentrun.types import Report

MARKS = {str(Weight.PROBLEM): "!", str(Weight.HINT): "-", str(Weight.GOOD): "+"}


def note_findings(
    run: Run, directory: RunDirectory, name: str, diagnostic: Diagnostic, report: Report
) -> None:
    """Write down what the rules of a diagnostic say of its report; one without metrics says nothing."""
    overrides = [str(text) for text in directory.meta.get("overrides", ())]
    origin = Origin(str(directory.path), overrides, flatten(run.config))
    directory.write_findings(name, judged(diagnostic.rules, report.metrics, origin))


def tell_findings(directory: RunDirectory) -> None:
    """Say in the log what stands on top of the report, the weightiest first."""
    for row in directory.read_findings():
        LOGGER.info("%s %s (%s)", MARKS[row["weight"]], row["sentence"], row["diagnostic"])
        if row["command"]:
            LOGGER.info("  to try: %s", row["command"])
