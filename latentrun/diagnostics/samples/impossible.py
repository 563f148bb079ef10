"""Samples that no data could be, where it is known what is possible."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Count
from latentrun.data.base import Dataset, HasSupport
from latentrun.diagnostics.base import Diagnostic, check_samples
from latentrun.diagnostics.needs import ENCODER, GENERATOR, LIKELIHOOD, SUPPORT
from latentrun.diagnostics.samples.impossible_plot import rule_picture
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.intervals import interval_columns, share_interval
from latentrun.models.base import HasEncoder, HasLikelihood, Model
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

EVERY = "any rule"


class Impossible(Diagnostic):
    """How many samples could not be data at all, and which rules of the data do they break?

    The data say which rules every example keeps, such as that a flat of 20 m² has no ten rooms. ``samples``:
    n codes from the prior (or from the Gaussian that stands in for it), decoded to the mean of p(x|z); of a
    table numbers count as the nearest level, probabilities as the likeliest category. ``draws``: drawn from
    p(x|z) at the same codes, where the model has one. ``reconstructions``: of test rows, where it has an
    encoder.

    What they are to be held against: ``test``, the test rows themselves, 0 by construction; and ``shuffled``,
    test rows whose columns (without columns: values) have been permuted independently of each other: what a
    model would make that learnt each column and none of their dependences.

    Intervals: Wilson's, over examples as independent draws.
    """

    requires = (SUPPORT,)
    uses = (GENERATOR, ENCODER, LIKELIHOOD)
    metrics: ClassVar = {
        "impossible": Metric(
            "share that break a rule of the data, of `samples`, `draws`, `test`, ...", 0, 1, "zero"
        ),
        "broken": Metric("share of samples that break the rule", 0, 1, "zero"),
        "against_shuffled": Metric(
            "impossible samples for one impossible shuffled test row", 0, None, "zero"
        ),
    }

    def __init__(self, n: Annotated[int, Count(2)], shown: Annotated[int, Count(1, 1000)]):
        self.n, self.shown = n, shown

    def check(self, model: Model, data: Dataset) -> None:
        check_samples(model)

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        data = run.data
        assert isinstance(data, HasSupport)
        sources = self._sources(run, noise)
        broken = {name: data.broken(x).cpu().numpy() for name, x in sources.items()}
        shares = {
            name: [share_of(rule) for rule in (*rules.T, np.any(rules, axis=1))]
            for name, rules in broken.items()
        }
        metrics = {f"impossible.{name}": estimates[-1] for name, estimates in shares.items()}
        metrics |= {
            f"broken.{rule}": share for rule, share in zip(data.rules, shares["samples"], strict=False)
        }
        base = metrics["impossible.shuffled"].value
        if base > 0:
            metrics["against_shuffled"] = over(metrics["impossible.samples"], base)
        tables = {"rules": rule_table(data.rules, shares), "examples": self._examples(run, sources, broken)}
        notes = (run.sampler_note, f"Rules: {'; '.join(data.rules.values())}.")
        return Report(metrics, tables, notes=notes)

    def _sources(self, run: Run, noise: Noise) -> dict[str, Tensor]:
        """Examples ``(N, *event_shape)`` by where they come from."""
        z, test = run.sample_codes(self.n, noise), run.x("test")
        sources = {"samples": run.decode(z)}
        if isinstance(run.model, HasLikelihood):
            sources["draws"] = run.draw(z, noise)
        if isinstance(run.model, HasEncoder):
            sources["reconstructions"] = run.reconstructions("test")
        return sources | {"test": test, "shuffled": shuffled(test, run.data, noise)}

    def _examples(
        self, run: Run, sources: Mapping[str, Tensor], broken: Mapping[str, np.ndarray]
    ) -> pd.DataFrame:
        """The first impossible samples as rows of the data, with the rules that they break."""
        assert isinstance(run.data, HasSupport)
        rows = np.flatnonzero(broken["samples"].any(1))[: self.shown]
        names = np.array(list(run.data.rules))
        frame = run.data.frame(sources["samples"][torch.from_numpy(rows).to(run.device)])
        frame.insert(0, "sample", rows)
        frame["broken"] = [", ".join(names[which]) for which in broken["samples"][rows]]
        return frame

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        return {"rules": rule_picture(report.tables["rules"], report.notes[0])}


def shuffled(x: Tensor, data: Dataset, noise: Noise) -> Tensor:
    """Rows ``x (N, *event_shape)`` with each column of a table, or each value, in an order of its own."""
    flat = x.flatten(1).clone()
    places = [(column.start, column.width) for column in data.columns] or [
        (i, 1) for i in range(flat.shape[1])
    ]
    for start, width in places:
        order = noise.permutation(f"column_{start}", len(x)).to(x.device)
        flat[:, start : start + width] = flat[order, start : start + width]
    return flat.view_as(x)


def share_of(is_so: np.ndarray) -> Estimate:
    """The share of the examples of which something is so, with its interval."""
    return share_interval(int(is_so.sum()), len(is_so))


def over(share: Estimate, base: float) -> Estimate:
    """A share and its interval in units of another, taken as exact."""
    low, high = (None if end is None else end / base for end in (share.low, share.high))
    return Estimate(share.value / base, low, high, share.method)


def rule_table(rules: Mapping[str, str], shares: Mapping[str, list[Estimate]]) -> pd.DataFrame:
    """A row for each source and rule, and for any of the rules."""
    texts = {**rules, EVERY: "one of the rules at least"}
    tables = []
    for source, estimates in shares.items():
        columns = {"source": source, "rule": list(texts), "says": list(texts.values())}
        tables.append(pd.DataFrame(columns | interval_columns("share", estimates)))
    return pd.concat(tables, ignore_index=True)
