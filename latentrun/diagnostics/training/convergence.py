"""Whether training had come to rest."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from latentrun.config.bounds import Between, Count
from latentrun.diagnostics.base import Diagnostic
from latentrun.errors import NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.methods import STUDENT
from latentrun.judgement import Again, Condition, Rule, Weight
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

METHOD = f"{STUDENT} over epochs"
MONITOR = "val/monitor"  # the column of the validation value that steers the training


class Convergence(Diagnostic):
    """Had training come to rest when it ended?

    In every phase with a validation value, a straight line through the last ``share`` of its epochs (at least
    ``least``) says how much that value falls over so many epochs. ``falling`` is that fall as a share of the
    whole fall from the phase's first epoch to its lowest value: what as many epochs more would bring, had the
    line gone on. It is that of the phase in which it is the most certain to be above 0. ``best_epoch`` is
    where in that phase the lowest value stands: 1 at its end.

    Interval: Student's t of the slope, the epochs taken as independent of each other, which they are not
    quite.
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

    def __init__(self, share: Annotated[float, Between(0, 1)], least: Annotated[int, Count(3)]):
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
        certain = phases["low"].to_numpy().argmax()  # ties: the first phase
        row = phases.iloc[certain]
        metrics = {
            "falling": Estimate(float(row["falling"]), float(row["low"]), float(row["high"]), METHOD),
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
        slope, low, high = slope_of(values[-last:])
        falls = [-last * number / whole for number in (slope, high, low)]
        return {
            "phase": phase,
            "epochs": len(values),
            "last": last,
            "falling": falls[0],
            "low": falls[1],
            "high": falls[2],
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


def slope_of(values: np.ndarray) -> tuple[float, float, float]:
    """Slope of the least-squares line through ``values (E,)`` at 0, 1, ..., with its 95 % interval.

    >>> slope_of(np.array([3.0, 2.0, 1.0, 0.0]))
    (-1.0, -1.0, -1.0)
    """
    n = len(values)
    t = np.arange(n) - (n - 1) / 2
    slope = float(t @ values / (t @ t))
    rest = values - values.mean() - slope * t
    half = float(stdtrit(n - 2, 0.975) * math.sqrt(rest @ rest / (n - 2) / (t @ t)))
    return slope, slope - half, slope + half
