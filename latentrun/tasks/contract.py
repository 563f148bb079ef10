"""What a diagnostic or comparison promises of its report and its pictures, and where in its file it does not
keep that."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from latentrun.config.written import written_at
from latentrun.diagnostics.base import Question
from latentrun.errors import InputError, nearest
from latentrun.system.plain import plain
from latentrun.types import Estimate, Metric, Picture, Report, Status

ROUNDING = 1e-6  # of a value, by which it may lie beyond an end


def report_slips(question: Question, report: Any) -> list[str]:
    """What is wrong with what ``question`` reported, a line each with file and line of its class; empty where
    all is well."""
    slips = Slips(type(question).__call__)
    if not isinstance(report, Report):
        return slips.at(f"gives {kind(report)}; a Report was expected")
    for name, values in (("metrics", report.metrics), ("tables", report.tables), ("arrays", report.arrays)):
        if not isinstance(values, Mapping):
            return slips.at(f"{name} of its Report is {kind(values)}; a mapping was expected")
    if not isinstance(report.status, Status):
        slips.at(f"status of its Report is {report.status!r}; a Status was expected")
    if not isinstance(report.notes, tuple | list) or not all(isinstance(note, str) for note in report.notes):
        slips.at("notes of its Report are no tuple of texts")
    for key, value in report.metrics.items():
        for text in metric_slips(question.metrics, key, value):
            slips.at(text, key)
    for key, table in report.tables.items():
        if wrong := wrong_name("table", key):
            slips.at(wrong, key)
        if not isinstance(table, pd.DataFrame):
            slips.at(f"table {key!r} is {kind(table)}; a pandas DataFrame was expected", key)
    for key, values in report.arrays.items():
        if not is_array(values):
            slips.at(f"array {key!r} is {kind(values)}; an array of numbers or texts was expected", key)
    return slips.lines


def metric_slips(declared: Mapping[str, Metric], key: Any, value: Any) -> Iterator[str]:
    """What is wrong with one number of a report."""
    name = str(key).partition(".")[0]
    if not isinstance(declared.get(name), Metric):
        yield f"metric {key!r} is not declared in its metrics{nearest(name, declared)}"
    if not isinstance(value, Estimate):
        yield f"metric {key!r} is {kind(value)}; an Estimate was expected: Estimate(value)"
        return
    ends = {"value": value.value, "low": value.low, "high": value.high}
    for end, number in ends.items():
        if not isinstance(number, Real) and (number is not None or end == "value"):
            yield f"metric {key!r}: the {end} of its Estimate is {kind(number)}; a number was expected"
            return
    if value.low is not None and value.high is not None and value.low > value.high:
        yield f"metric {key!r}: its interval ends below its beginning: {value.low:.4g} to {value.high:.4g}"


def range_slips(question: Question, report: Any) -> list[str]:
    """Values outside their intervals, or the range declared of them; as :func:`report_slips`, and of a report
    in which that finds nothing. For the dry run alone: what took hours to measure is kept all the same."""
    slips = Slips(type(question).__call__)
    for key, estimate in report.metrics.items():
        if not math.isfinite(estimate.value):
            continue
        declared = question.metrics[str(key).partition(".")[0]]
        if not within(estimate.value, estimate.low, estimate.high):
            low, high = number(estimate.low), number(estimate.high)
            slips.at(f"metric {key!r}: {estimate.value:.4g} is not in its interval, {low} to {high}", key)
        if not within(estimate.value, declared.low, declared.high):
            low, high = number(declared.low), number(declared.high)
            text = f"metric {key!r}: {estimate.value:.4g} is not in the range of metrics, {low} to {high}"
            slips.at(text, key)
    return slips.lines


def within(value: float, low: float | None, high: float | None) -> bool:
    """Whether a value lies between two ends but for rounding; None and NaN are no ends."""
    rounding = ROUNDING * max(1.0, abs(value))
    below = low is not None and value < low - rounding
    above = high is not None and value > high + rounding
    return not (below or above)


def number(end: float | None) -> str:
    """An end in words; ``any`` of none."""
    return "any" if end is None else f"{end:.4g}"


def picture_slips(question: Question, pictures: Any) -> list[str]:
    """What is wrong with what ``question`` drew; as :func:`report_slips`."""
    slips = Slips(type(question).plot)
    if not isinstance(pictures, Mapping):
        return slips.at(f"plot gives {kind(pictures)}; a mapping of names to Pictures was expected")
    for key, picture in pictures.items():
        if wrong := wrong_name("picture", key or "picture"):
            slips.at(wrong, key)
        if not isinstance(picture, Picture):
            text = f"picture {key!r} is {kind(picture)}; a Picture was expected: Picture(figure, caption)"
            slips.at(text, key)
        elif not (hasattr(picture.figure, "savefig") or hasattr(picture.figure, "to_html")):
            figure = kind(picture.figure)
            slips.at(f"picture {key!r} shows {figure}; a Figure of matplotlib or plotly was expected", key)
        elif not isinstance(picture.caption, str):
            slips.at(f"picture {key!r}: its caption is {kind(picture.caption)}; a text was expected", key)
    return slips.lines


class Slips:
    """Promises that a ``function`` did not keep, a line each."""

    def __init__(self, function: Callable):
        self.function, self.lines = function, []

    def at(self, text: str, name: Any = None) -> list[str]:
        """Add one, at the place where the function writes ``name``; all there are so far."""
        self.lines.append(f"{text} ({written_at(self.function, name)})")
        return self.lines


def is_array(values: Any) -> bool:
    """Whether values can be stored as an array, and read back without running anything."""
    try:
        return np.asarray(values).dtype != object
    except Exception:  # lists of unequal lengths, tensors that are not on the CPU or have a gradient
        return False


def wrong_name(what: str, name: Any) -> str | None:
    """Why a file cannot have the name of a table or picture; None where it can."""
    try:
        plain(name, what)
    except InputError as error:
        return str(error)
    return None


def kind(value: Any) -> str:
    """``a float``, ``an int``, ``nothing``."""
    if value is None:
        return "nothing (None)"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
