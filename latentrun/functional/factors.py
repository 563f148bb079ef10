"""What is known about examples, on its way to pictures: factors as tables, differences of factors."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd

from latentrun.types import Factor

Target = tuple[Factor, np.ndarray]


def factor_table(factors: Sequence[Factor]) -> pd.DataFrame:
    """Factors as a table, a row each, so that pictures can be redrawn from disk."""
    rows = [(f.name, f.kind, f.low, f.high, f.unit, json.dumps(f.categories)) for f in factors]
    return pd.DataFrame(rows, columns=["factor", "kind", "low", "high", "unit", "categories"])


def read_factors(table: pd.DataFrame) -> list[Factor]:
    """Back from :func:`factor_table`; a table read from disk has NaN for empty text."""
    units = table["unit"].astype(object).where(table["unit"].notna(), "")
    return [
        Factor(
            str(row.factor),
            row.kind,
            float(row.low),
            float(row.high),
            str(unit),
            tuple(json.loads(row.categories)),
        )
        for row, unit in zip(table.itertuples(index=False), units, strict=True)
    ]


def with_difference(targets: Sequence[Target], pair: tuple[str, str]) -> list[Target]:
    """Factors with their values ``(N,)``, and the difference of the two named in ``pair``, where both are
    there and are numbers."""
    numbers = {target[0].name: target for target in targets if target[0].kind in ("real", "ordinal")}
    if not set(pair) <= set(numbers):
        return list(targets)
    (a, x), (b, y) = (numbers[name] for name in pair)
    most = max(a.high - b.low, b.high - a.low)
    return [*targets, (Factor(f"{a.name} - {b.name}", "real", -most, most, a.unit), x - y)]
