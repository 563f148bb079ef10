"""95 % intervals of estimates over examples: normal approximation for means, percentile bootstrap for the
rest.

Both treat the N examples as independent draws. They say nothing about another training run: that is what
seeds are for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from latentrun.functional.noise import Noise
from latentrun.types import Estimate

NORMAL_95 = 1.959963984540054  # 97.5 % quantile of N(0, 1)
BUDGET = 4_000_000  # numbers held per chunk of resamples
TAIL = {"p95": 0.95, "p99": 0.99}


def mean_interval(values) -> Estimate:
    """Mean of ``values (N,)`` with the interval mean +- 1.96 sd / sqrt(N), sd with N - 1.

    No interval for fewer than two values; NaN for none. Takes tensors, arrays and lists; in their unit.

    >>> mean_interval([0.0, 2.0, 4.0]).value
    2.0
    """
    values = torch.as_tensor(values).double().flatten()
    n = len(values)
    if n == 0:
        return Estimate(math.nan)
    mean = values.mean().item()
    if n == 1 or not math.isfinite(mean):
        return Estimate(mean)
    half = NORMAL_95 * values.std().item() / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half)


def share_interval(hits: int, n: int) -> Estimate:
    """The share hits / n of n independent draws with Wilson's (1927) score interval, which is right for 0 and
    n hits too; ends in [0, 1].

    >>> share_interval(2, 4)  # of so few draws, anything from 0.15 to 0.85
    Estimate(value=0.5, low=0.1500..., high=0.8499...)
    """
    if n == 0:
        return Estimate(math.nan)
    share, z2 = hits / n, NORMAL_95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(share * (1 - share) * z2 / n + z2**2 / (4 * n**2)) / (1 + z2 / n)
    return Estimate(share, min(max(middle - half, 0.0), share), max(min(middle + half, 1.0), share))


def bootstrap(statistic: Callable[[Tensor], Tensor], data, noise: Noise, n_boot: int = 1000) -> Estimate:
    """A statistic of ``data (N, ...)`` with its percentile bootstrap interval over the N rows.

    ``statistic`` sees B resamples at once, ``(B, N, ...)``, and gives ``(B,)``. For statistics of several
    arrays give ``torch.arange(N)`` as data: the statistic then gets index matrices ``(B, N)``. The interval
    spans the 2.5 and 97.5 percentiles of ``n_boot`` resampled values; it has the statistic's unit. Reference:
    Efron & Tibshirani (1993), ch. 13. Not valid for extremes (a resample never exceeds the sample's maximum).

    >>> bootstrap(lambda rows: rows.median(dim=1).values, [1.0, 2.0, 9.0], Noise(0)).value
    2.0
    """
    return bootstrap_each(lambda rows: statistic(rows).unsqueeze(-1), data, noise, n_boot)[0]


def bootstrap_each(
    statistic: Callable[[Tensor], Tensor], data, noise: Noise, n_boot: int = 1000
) -> list[Estimate]:
    """As :func:`bootstrap` for S statistics of the same resamples: ``(B, N, ...)`` to ``(B, S)``."""
    data = torch.as_tensor(data)
    width = max(1, math.prod(data.shape[1:]))
    draws = [statistic(data[rows]) for rows in _resamples(len(data), width, noise.to(data.device), n_boot)]
    return _percentile(statistic(data[None])[0], torch.cat(draws))


def mean_and_tail(
    values: Tensor, noise: Noise, n_boot: int = 1000, shares: Mapping[str, float] = TAIL
) -> dict[str, Estimate]:
    """``mean`` and the percentiles named by ``shares`` of ``values (N,)``: normal approximation for the mean,
    bootstrap for these."""
    ends = torch.tensor(list(shares.values()), dtype=torch.float64, device=values.device)
    tail = bootstrap_each(lambda rows: torch.quantile(rows, ends, dim=1).T, values.double(), noise, n_boot)
    return {"mean": mean_interval(values), **dict(zip(shares, tail, strict=True))}


def bootstrap_means(
    statistic: Callable[[Tensor], Tensor], columns, noise: Noise, n_boot: int = 1000
) -> list[Estimate]:
    """As :func:`bootstrap_each` for statistics that are functions of column means, much faster.

    ``columns (N, K)``; ``statistic`` maps the means of B resamples ``(B, K)`` float64 to ``(B, S)``. The
    means are one matrix product of resampling counts with the columns. Centre columns whose mean is large
    beside their spread.
    """
    columns = torch.as_tensor(columns).double()
    n, means = len(columns), []
    for rows in _resamples(n, 2, noise.to(columns.device), n_boot):
        b = len(rows)
        cells = rows + n * torch.arange(b, device=rows.device).unsqueeze(1)
        counts = torch.bincount(cells.flatten(), minlength=b * n).view(b, n)
        means.append(counts.double() @ columns / n)
    return _percentile(statistic(columns.mean(0, keepdim=True))[0], statistic(torch.cat(means)))


def _resamples(n: int, width: int, noise: Noise, n_boot: int) -> Iterator[Tensor]:
    """Index matrices ``(B, n)`` drawn with replacement, ``n_boot`` rows in all, in chunks that fit
    ``BUDGET``."""
    chunk = max(1, min(n_boot, BUDGET // max(1, n * width)))
    for start in range(0, n_boot, chunk):
        yield noise.at("bootstrap", start).integers("rows", n, (min(chunk, n_boot - start), n))


def _percentile(values: Tensor, draws: Tensor) -> list[Estimate]:
    """Estimates from values ``(S,)`` and resampled values ``(B, S)``. Resamples in which the statistic is not
    defined are left out; a value that is not finite has no interval."""
    draws = torch.where(draws.isfinite(), draws, math.nan).double()
    shares = torch.tensor([0.025, 0.975], dtype=torch.float64, device=draws.device)
    ends = torch.nanquantile(draws, shares, dim=0)
    triples = zip(values.tolist(), *ends.tolist(), strict=True)
    return [
        Estimate(v, low, high) if math.isfinite(v) and math.isfinite(low) else Estimate(v)
        for v, low, high in triples
    ]


def interval_columns(name: str, estimates: Sequence[Estimate]) -> dict[str, np.ndarray]:
    """Estimates as columns of a table: ``name``, ``name_low`` and ``name_high``, NaN for no interval.

    >>> {name: values.tolist() for name, values in interval_columns("x", [Estimate(1.0, 0.5, 2.0)]).items()}
    {'x': [1.0], 'x_low': [0.5], 'x_high': [2.0]}
    """
    rows = [estimate.columns(name) for estimate in estimates]
    return {key: np.array([row[key] for row in rows], float) for key in Estimate(math.nan).columns(name)}
