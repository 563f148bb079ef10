"""95 % intervals of estimates over examples: Student's corrected for skewness for means, Wilson's for shares,
percentile bootstrap for functions of means (order statistics for percentiles: :mod:`.quantiles`).

All treat the N examples as independent draws. They say nothing about another training run: that is what seeds
are for. Where nothing varies there is no interval: a spread that was not seen is not known to be 0. How often
they cover: ``scripts/bench/coverage``; what covers less than 93 % on heavy tails is in :data:`SHORT`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from scipy.special import stdtrit
from torch import Tensor

from latentrun.functional.noise import Noise
from latentrun.functional.statistics.methods import (
    BOOTSTRAP,
    CORRECTED_T,
    DELTA,
    EQUAL,
    EXAMPLES,
    FLAT,
    TAIL,
    WELCH,
    WILSON,
    welch_freedom,
)
from latentrun.types import Estimate

NORMAL_95 = 1.959963984540054  # 97.5 % quantile of N(0, 1)
BUDGET = 4_000_000  # numbers held per chunk of resamples


def mean_interval(values, over: str = EXAMPLES) -> Estimate:
    """Mean of ``values (N,)`` with Student's interval corrected for skewness; Wilson's where all values are 0
    or 1 and both occur.

    T = (mean - mu) sqrt(N) / sd (divisor N - 1) of skewed values is skewed itself; g(T) = T + c T² / 3 + c²
    T³ / 27 + c / 6 with c = skewness / sqrt(N) is nearer to Student's, and has the inverse g⁻¹(t) = 3 / c
    ((1 + c (t - c / 6))^(1/3) - 1). Interval: mean - g⁻¹(+-t) sd / sqrt(N), t of N - 1 degrees of freedom.
    Without skewness it is Student's. Hall (1992), J. R. Statist. Soc. B 54, 221, eq. 3 and 4.

    No interval for fewer than two values, and none for equal ones; NaN for none. Takes tensors, arrays and
    lists; in their unit. ``over``: what was repeated.

    >>> mean_interval([0.0, 2.0, 4.0])
    Estimate(value=2.0, low=-2.96..., high=6.96..., method='t corrected for skewness over examples')
    """
    values = torch.as_tensor(values).double().flatten()
    n = len(values)
    if n == 0:
        return Estimate(math.nan, method=f"none: no {over}")
    mean = values.mean().item()
    if n == 1 or not math.isfinite(mean):
        return Estimate(mean, method=f"none: one of the {over}" if n == 1 else "none: not finite")
    if ((values == 0) | (values == 1)).all() and 0 < mean < 1:
        return share_interval(round(n * mean), n, over)
    centred = values - mean
    sd = math.sqrt(centred.square().sum().item() / (n - 1))
    if sd <= FLAT * values.abs().max().item():
        return Estimate(mean, method=f"{EQUAL} in all {n} {over}")
    skewness = centred.div(sd).pow(3).mean().item()
    t = float(stdtrit(n - 1, 1 - TAIL))
    low, high = (mean - _uncorrected(end, skewness / math.sqrt(n)) * sd / math.sqrt(n) for end in (t, -t))
    return Estimate(mean, low, high, f"{CORRECTED_T} over {over}")


def _uncorrected(t: float, c: float) -> float:
    """g⁻¹(t) of :func:`mean_interval`."""
    if abs(c) < 1e-6:  # where the difference of two nearly equal roots has no digits left
        return t
    return 3 / c * (float(np.cbrt(1 + c * (t - c / 6))) - 1)


def ratio_interval(above: Tensor, below: Tensor, over: str = EXAMPLES) -> Estimate:
    """mean(above) / mean(below) over the same N examples ``(N,)``, with the interval of the mean of ratio +
    (above - ratio * below) / mean(below), whose error is that of the ratio to first order (delta method); NaN
    where the mean of ``below`` is 0."""
    above, below = above.double(), below.double()
    bottom = below.mean()
    ratio = above.mean() / bottom
    around = mean_interval(ratio + (above - ratio * below) / bottom, over)
    return Estimate(ratio.item(), around.low, around.high, around.method.replace(CORRECTED_T, DELTA))


def difference_interval(above, below, over: str = EXAMPLES) -> Estimate:
    """mean(above) - mean(below) of independent samples ``(N,)`` and ``(M,)`` with Welch's (1947) interval:
    Student's t with sqrt(v + w) as standard error, v and w those of both means squared, and the degrees of
    freedom of :func:`.methods.welch_freedom`. No interval where one has fewer than two values, or neither
    varies.

    >>> difference_interval([1.0, 3.0], [0.0, 2.0])
    Estimate(value=1.0, low=-5.08..., high=7.08..., method='Welch t over examples')
    """
    samples = [torch.as_tensor(values).double().flatten() for values in (above, below)]
    value = (samples[0].mean() - samples[1].mean()).item()
    if min(map(len, samples)) < 2 or not math.isfinite(value):
        return Estimate(
            value, method=f"none: one of the {over}" if math.isfinite(value) else "none: not finite"
        )
    v, w = (values.var().item() / len(values) for values in samples)
    scale = max(values.abs().max().item() for values in samples)
    if math.sqrt(v + w) <= FLAT * scale:
        return Estimate(value, method=f"{EQUAL} in all {over}")
    half = float(stdtrit(welch_freedom(v, w, len(samples[0]), len(samples[1])), 1 - TAIL)) * math.sqrt(v + w)
    return Estimate(value, value - half, value + half, f"{WELCH} over {over}")


def share_interval(hits: int, n: int, over: str = EXAMPLES) -> Estimate:
    """The share hits / n of n independent draws with Wilson's (1927) score interval, which is right for 0 and
    n hits too; ends in [0, 1].

    >>> share_interval(2, 4)  # of so few draws, anything from 0.15 to 0.85
    Estimate(value=0.5, low=0.1500..., high=0.8499..., method='Wilson over examples')
    """
    if n == 0:
        return Estimate(math.nan, method=f"none: no {over}")
    share, z2 = hits / n, NORMAL_95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(share * (1 - share) * z2 / n + z2**2 / (4 * n**2)) / (1 + z2 / n)
    low, high = min(max(middle - half, 0.0), share), max(min(middle + half, 1.0), share)
    return Estimate(share, low, high, f"{WILSON} over {over}")


# ---------------------------------------------------------------- bootstrap
def bootstrap(
    statistic: Callable[[Tensor], Tensor], data, noise: Noise, n_boot: int = 1000, over: str = EXAMPLES
) -> Estimate:
    """A statistic of ``data (N, ...)`` with its percentile bootstrap interval over the N rows.

    ``statistic`` sees B resamples at once, ``(B, N, ...)``, and gives ``(B,)``. For statistics of several
    arrays give ``torch.arange(N)`` as data: the statistic then gets index matrices ``(B, N)``. The interval
    spans the 2.5 and 97.5 percentiles of ``n_boot`` resampled values; it has the statistic's unit. Reference:
    Efron & Tibshirani (1993), ch. 13. Not valid for extremes (a resample never exceeds the sample's maximum),
    nor for what heavy tails decide (skewness, kurtosis).

    >>> bootstrap(lambda rows: rows.mean(dim=1), [1.0, 2.0, 9.0], Noise(0)).value
    4.0
    """
    return bootstrap_each(lambda rows: statistic(rows).unsqueeze(-1), data, noise, n_boot, over)[0]


def bootstrap_each(
    statistic: Callable[[Tensor], Tensor], data, noise: Noise, n_boot: int = 1000, over: str = EXAMPLES
) -> list[Estimate]:
    """As :func:`bootstrap` for S statistics of the same resamples: ``(B, N, ...)`` to ``(B, S)``."""
    data = torch.as_tensor(data)
    width = max(1, math.prod(data.shape[1:]))
    draws = [statistic(data[rows]) for rows in _resamples(len(data), width, noise.to(data.device), n_boot)]
    return _percentile(statistic(data[None])[0], torch.cat(draws), over)


def bootstrap_means(
    statistic: Callable[[Tensor], Tensor], columns, noise: Noise, n_boot: int = 1000, over: str = EXAMPLES
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
    return _percentile(statistic(columns.mean(0, keepdim=True))[0], statistic(torch.cat(means)), over)


def _resamples(n: int, width: int, noise: Noise, n_boot: int) -> Iterator[Tensor]:
    """Index matrices ``(B, n)`` drawn with replacement, ``n_boot`` rows in all, in chunks that fit
    ``BUDGET``."""
    chunk = max(1, min(n_boot, BUDGET // max(1, n * width)))
    for start in range(0, n_boot, chunk):
        yield noise.at("bootstrap", start).integers("rows", n, (min(chunk, n_boot - start), n))


def _percentile(values: Tensor, draws: Tensor, over: str) -> list[Estimate]:
    """Estimates from values ``(S,)`` and resampled values ``(B, S)``. Resamples in which the statistic is not
    defined are left out; a value that is not finite has no interval, nor has one that no resample moves."""
    draws = torch.where(draws.isfinite(), draws, math.nan).double()
    shares = torch.tensor([TAIL, 1 - TAIL], dtype=torch.float64, device=draws.device)
    ends = torch.nanquantile(draws, shares, dim=0)
    triples = zip(values.tolist(), ends[0].tolist(), ends[1].tolist(), strict=True)
    return [_spanned(value, low, high, over) for value, low, high in triples]


def _spanned(value: float, low: float, high: float, over: str) -> Estimate:
    if not math.isfinite(value) or not math.isfinite(low):
        return Estimate(value, method="none: not finite")
    if high - low <= FLAT * max(abs(low), abs(high)):
        return Estimate(value, method=f"{EQUAL} whichever {over} are drawn")
    # A percentile interval need not hold the value itself (of a biased statistic it may not).
    return Estimate(value, min(low, value), max(high, value), f"{BOOTSTRAP} over {over}")


# ---------------------------------------------------------------- as columns
def interval_columns(name: str, estimates: Sequence[Estimate]) -> dict[str, np.ndarray]:
    """Estimates as columns of a table: ``name``, ``name_low`` and ``name_high``, NaN for no interval.

    >>> {name: values.tolist() for name, values in interval_columns("x", [Estimate(1.0, 0.5, 2.0)]).items()}
    {'x': [1.0], 'x_low': [0.5], 'x_high': [2.0]}
    """
    rows = [estimate.columns(name) for estimate in estimates]
    return {key: np.array([row[key] for row in rows], float) for key in Estimate(math.nan).columns(name)}
