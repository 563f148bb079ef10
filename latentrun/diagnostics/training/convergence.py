"""Whether training had come to rest."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import pandas as pd

from latentrun.config.bounds import Between, Count
from latentrun.diagnostics.base import Diagnostic
from latentrun.errors import NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.methods import EQUAL
from latentrun.functional.statistics.regression import trend
from latentrun.functional.ties import largest
from latentrun.judgement import Again, Condition, Rule, Weight
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

MONITOR = "val/monitor"  # the column of the validation value that steers the training


class Convergence(Diagnostic):
    """Had training come to rest when it ended?

    In every phase with a validation value, a straight line through the last ``share`` of its epochs (at least
    ``least``) says how much that value falls over so many epochs. ``falling`` is that fall as a share of the
    whole fall from the phase's first epoch to its lowest value: what as many epochs more would bring, had the
    line gone on. It is that of the phase in which it is the most certain to be above 0. ``best_epoch`` is
    where in that phase the lowest value stands: 1 at its end.

    Interval: that of the slope, which allows for epochs that hang together
    (:func:`~latentrun.functional.statistics.regression.trend`).
    """

    metrics = {
        "falling": Metric(
            "fall of the validation value over the last epochs, share of the whole fall, by a line through "
            "them",
            better="zero",
        ),
        "best_epoch": Metric("epoch of the lowest validation value, share of the epochs of the phase", 0, 1),
        "epochs": Metric("epochs that the line is laid through", 0),
    }
    rules = (
        Rule(
            "still_falling",
            Weight.HINT,
            (Condition("falling", over=0.02),),
            lambda m: (
                f"The validation loss was still falling: by {m['falling']:.0%} of its whole fall in the last "
                f"{m['epochs']:.0f} epochs. Train longer."
            ),
            (Again("training.epochs", 2),),
        ),
    )

    def __init__(self, share: Annotated[float, Between(0, 1)], least: Annotated[int, Count(5)]):
        self.share, self.least = share, least

    # ---------------------------------------------------------------- measuring
    def __call__(self, run: Run, noise: Noise) -> Report:
        del noise  # nothing is drawn
        rows = [row for phase, values in monitored(run.curves) if (row := self._row(phase, values))]
        if not rows:
            raise NothingToMeasure(
                f"no phase of the training has {self.least} epochs or more with a validation value that fell"
            )
        phases = pd.DataFrame(rows)
        exact = phases["method"].str.startswith(EQUAL)
        row = phases.iloc[largest(phases["low"].mask(exact, phases["falling"]).to_numpy())]
        metrics = {
            "falling": Estimate.read(row["falling"], row["low"], row["high"], row["method"]),
            "best_epoch": Estimate(float(row["best_epoch"] / row["epochs"])),
            "epochs": Estimate(float(row["last"])),
        }
        notes = (f"Phase {row['phase']}: the last {row['last']} of {row['epochs']} epochs.",)
        return Report(metrics, {"phases": phases}, notes=notes)

    def _row(self, phase: str, values: np.ndarray) -> dict[str, object] | None:
        """What one phase did; None of one that is too short, or whose value never fell."""
        last = max(self.least, math.ceil(self.share * len(values)))
        whole = values[0] - values.min() if len(values) else 0.0
        if last > len(values) or whole <= 0:
            return None
        falling, low, high, method = trend(np.arange(last), -last * values[-last:] / whole, "epochs").cells()
        return {
            "phase": phase,
            "epochs": len(values),
            "last": last,
            "falling": falling,
            "low": low,
            "high": high,
            "method": method,
            "best_epoch": int(values.argmin()) + 1,
            "first_value": values[0],
            "lowest_value": values.min(),
            "last_value": values[-1],
        }

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        del report  # the training curves are on the page already
        return {}


# ---------------------------------------------------------------- numbers
def monitored(curves: pd.DataFrame) -> list[tuple[str, np.ndarray]]:
    """The phases that have a validation value, with its values epoch by epoch ``(E,)``."""
    if MONITOR not in curves:
        return []
    kept = curves[np.isfinite(curves[MONITOR])]
    return [(str(name), rows[MONITOR].to_numpy(float)) for name, rows in kept.groupby("phase", sort=False)]
