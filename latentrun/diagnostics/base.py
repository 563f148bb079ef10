"""What every diagnostic is: a question about one finished run, answered by a :class:`~latentrun.types.Report`."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from latentrun.data.base import Dataset, Oracle
from latentrun.functional.noise import Noise
from latentrun.models.base import Model
from latentrun.run import Run
from latentrun.types import Metric, Picture, Report

# What a diagnostic may ask of the data, by the word used in its ``requires``.
DATA_NEEDS = {
    "factors": lambda data: bool(data.factors),
    "labels": lambda data: data.label is not None,
    "image": lambda data: data.is_image,
    "oracle": lambda data: isinstance(data, Oracle),
}


class Diagnostic(ABC):
    """A callable built from config. Writes nothing, alters nothing, draws all randomness from ``noise``.

    ``requires``: capability classes of the model and words of ``DATA_NEEDS`` without which it cannot work; ``uses``:
    the same, for what it exploits when there; ``metrics``: the meaning of every number it reports.
    """

    requires: ClassVar[tuple[type | str, ...]] = ()
    uses: ClassVar[tuple[type | str, ...]] = ()
    metrics: ClassVar[Mapping[str, Metric]] = {}

    @abstractmethod
    def __call__(self, run: Run, noise: Noise) -> Report:
        """Measure the run."""

    @abstractmethod
    def plot(self, report: Report) -> dict[str, Picture]:
        """Draw the report; sees only the report, so pictures can be redrawn from disk."""

    def answers(self) -> str:
        """The question it answers: first line of its docstring."""
        return inspect.getdoc(type(self)).splitlines()[0]


def words(need: type | str) -> str:
    """``HasGaussianPosterior`` -> ``a Gaussian posterior``; ``labels`` -> ``labels``."""
    if isinstance(need, str):
        return {"image": "pictures", "oracle": "a data set with a known family (oracle)"}.get(need, need)
    text = "".join(f" {c.lower()}" if c.isupper() else c for c in need.__name__.removeprefix("Has")).strip()
    text = text.replace("gaussian", "Gaussian")
    return f"{'an' if text[0] in 'aeiou' else 'a'} {text}"


def misfit(diagnostic: Diagnostic, model: Model, data: Dataset) -> tuple[str, str] | None:
    """What a diagnostic lacks here, and where: ``("a Gaussian posterior", "model")``; None when it fits."""
    for need in diagnostic.requires:
        if isinstance(need, str):
            if not DATA_NEEDS[need](data):
                return words(need), "data"
        elif not isinstance(model, need):
            return words(need), "model"
    return None
