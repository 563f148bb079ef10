"""Finished runs of which everything is known, for tests of comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd
import torch

from latentrun.data.base import Oracle
from latentrun.manifolds import Euclidean
from latentrun.run import Run
from latentrun.types import Estimate, Report
from tests.planted import Deterministic, Rows

DATA = Rows(torch.arange(40.0).view(20, 2) / 40)


def planted(
    name: str = "run",
    seed: int = 0,
    data: Rows = DATA,
    measured: Mapping[str, Any] | None = None,
    errors: Sequence[float] | None = None,
    index: Sequence[int] | None = None,
    directions: Mapping[str, str] | None = None,
    **model: Any,
) -> Run:
    """A run with the given settings of its model (``model`` is the option's name); ``measured``:
    ``{"diagnostic/metric": value or Estimate}``; ``errors``: of the rows ``index`` of the test split."""
    option = model.pop("model", "ae")
    values = {
        key: value if isinstance(value, Estimate) else Estimate(value)
        for key, value in (measured or {}).items()
    }
    rows = [
        (
            *key.split("/"),
            value.value,
            value.low,
            value.high,
            value.method,
            "units",
            (directions or {}).get(key, "lower"),
            "ok",
        )
        for key, value in values.items()
    ]
    metrics = pd.DataFrame(
        rows,
        columns=["diagnostic", "metric", "value", "low", "high", "method", "unit", "direction", "status"],
    )
    reports = {}
    if errors is not None:
        table = pd.DataFrame({"index": np.arange(len(errors)) if index is None else index, "error": errors})
        reports["reconstruction"] = Report(tables={"errors": table})
    return Run(
        Deterministic(lambda x: x, lambda z: z, 2, (2,)),
        data,
        seed=seed,
        name=name,
        config={"seed": seed, "rows": None, "model": model, "data": {"option": 1}},
        meta={"choices": {"model": option, "network": "dense"}},
        metrics=metrics.astype({"low": float, "high": float}),
        reports=reports,
    )


class OnManifold(Rows, Oracle):
    """Rows that are said to lie on a manifold."""

    intrinsic_dim = betti = None

    def __init__(self, manifold):
        super().__init__(torch.arange(40.0).view(20, 2) / 40)
        self.manifold = manifold

    def render(self, factors):
        raise NotImplementedError

    def project(self, x):
        raise NotImplementedError


EXAMPLES = 40
SPREAD = np.random.default_rng(0).normal(size=EXAMPLES)  # of the examples, the same in all runs


def bounded(
    group,
    seed,
    bound,
    space=None,
    oracle=None,
    uncorrected=None,
    data=None,
    jitter=0.0,
    known=None,
    change=0.0,
    lies_on=None,
):
    """A run whose bound of log p(x) is ``bound`` on average: examples differ by SPREAD in all runs, and by
    ``jitter`` otherwise. ``known``: log p(x) itself, by quadrature, which last moved by
    ``change``; ``lies_on``: the manifold that the data lie on."""
    rng = np.random.default_rng(crc32(f"{group} {seed}".encode()))
    noise = rng.normal(size=EXAMPLES)
    values = bound + SPREAD - SPREAD.mean() + jitter * (noise - noise.mean())
    examples = pd.DataFrame({"index": np.arange(EXAMPLES), "elbo": values - 1.0, "iwae_100": values})
    metrics = {
        "elbo": Estimate(values.mean() - 1.0),
        "iwae.10": Estimate(values.mean() - 0.5),
        "iwae.100": Estimate(values.mean()),
    }
    if known is not None:
        examples["quadrature"] = values - bound + known
        metrics |= {"quadrature": Estimate(known), "quadrature_change": Estimate(change)}
    if oracle is not None:
        metrics["oracle"] = Estimate(oracle)
    if uncorrected is not None:
        metrics["elbo_uncorrected"] = Estimate(uncorrected)
    run = planted(f"{group}-{seed}", seed, latent=group)
    run.model.spaces["z"] = Euclidean(2) if space is None else space
    config = run.config if data is None else {**run.config, "data": data}
    rows = run.data if lies_on is None else OnManifold(lies_on)
    meta = {**run.meta, "data_hash": "one", "diagnostics": {"likelihood": {"config": {"split": "test"}}}}
    report = Report(metrics, {"examples": examples})
    return replace(run, data=rows, config=config, meta=meta, reports={"likelihood": report})


def with_variance_loss(
    run: Run, points: Mapping[str, tuple[float, float]], width: float = 0.01, split: str = "test"
) -> Run:
    """The run with a report of ``variance_loss``: ``points[kind] = (mse, delta_var)``, all intervals +-
    ``width`` of the value."""
    rows = []
    for kind, (mse, delta) in points.items():
        ratio = delta / mse
        ends = {"mse": mse, "ratio": ratio}
        row = {
            "kind": kind,
            "mse": mse,
            "delta_var": delta,
            "ratio": ratio,
            "low": delta * (1 - width),
            "high": delta * (1 + width),
        }
        rows.append(
            row
            | {f"{k}_low": v * (1 - width) for k, v in ends.items()}
            | {f"{k}_high": v * (1 + width) for k, v in ends.items()}
        )
    rows.append(dict.fromkeys(rows[0], np.nan) | {"kind": "generated", "delta_var": 1.0})
    report = Report(tables={"summary": pd.DataFrame(rows)})
    entry = {"config": {"split": split}}
    return replace(
        run,
        reports={**run.reports, "variance_loss": report},
        meta={**run.meta, "diagnostics": {"variance_loss": entry}},
    )
