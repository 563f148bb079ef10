"""Tables of what is decoded along paths: by path, by step, by factor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from torch import Tensor

from latentrun.functional.paths.lines import Reading


def track_tables(
    names: Sequence[str],
    parameter: np.ndarray,
    z: np.ndarray,
    gap: np.ndarray,
    kind: str,
    miss: Tensor,
    reading: Reading | None,
) -> dict[str, pd.DataFrame]:
    """P paths ``names`` of T points at positions ``parameter (P, T)`` with codes ``z (P, T, d)``.

    ``gap (P, T)``: whitened distance to the nearest code; ``miss (P * T,)``: how far the decoded points lie
    from the data, by the name ``kind``; ``reading``: what an oracle says, or None. Tables ``paths``,
    ``steps`` and, with ordered factors, ``factors``, a row for each path and factor.

    >>> t, gap = np.array([[0.0, 1.0]]), np.array([[0.0, 0.5]])
    >>> tables = track_tables(["a"], t, np.zeros((1, 2, 1)), gap, "miss", Tensor([1.0, 3.0]), None)
    >>> tables["paths"].to_dict("records")
    [{'path': 'a', 'gap_mean': 0.25, 'gap_max': 0.5, 'miss_mean': 2.0, 'miss_max': 3.0}]
    """
    n, t = parameter.shape
    off = miss.view(n, t).numpy()
    paths = pd.DataFrame({"path": names, "gap_mean": gap.mean(1), "gap_max": gap.max(1)})
    paths[f"{kind}_mean"], paths[f"{kind}_max"] = off.mean(1), off.max(1)
    steps = pd.DataFrame(
        {"path": np.repeat(names, t), "step": np.tile(np.arange(t), n), "position": parameter.ravel()}
    )
    steps[[f"z{i}" for i in range(z.shape[2])]] = z.reshape(n * t, -1)
    steps["gap"], steps[kind] = gap.ravel(), off.ravel()
    tables = {"paths": paths, "steps": steps}
    if reading is None:
        return tables
    paths["inside"] = reading.inside.double().mean(1).numpy()
    steps["inside"] = reading.inside.flatten().numpy()
    steps[[f"fitted.{name}" for name in reading.names]] = reading.fitted.flatten(0, 1).numpy()
    if reading.course is not None:
        ordered = [factor.name for factor in reading.ordered]
        columns = {"path": np.repeat(names, len(ordered)), "factor": np.tile(ordered, n)}
        columns |= {"monotonicity": reading.course.spearman.abs().flatten().numpy()}
        columns |= {name: values.flatten().numpy() for name, values in vars(reading.course).items()}
        tables["factors"] = pd.DataFrame(columns)
    return tables
