"""What scripts/bench/coverage simulates: distributions, cases, and those cases whose values hang together."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats

from latentrun.diagnostics.samples.samples import CLOSE, close_share
from latentrun.functional.clouds.motion import rigid_estimate
from latentrun.functional.noise import Noise
from latentrun.functional.statistics import intervals, methods
from latentrun.functional.statistics.regression import trend
from latentrun.types import Estimate

RESAMPLES = 400


@dataclass(frozen=True)
class Law:
    """A distribution: ``draw(rng, shape)``, its moments, and ``quantile(share)``."""

    name: str
    draw: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
    mean: float
    sd: float
    quantile: Callable[[float], float]

    @property
    def is_share(self) -> bool:
        return self.name.startswith("yes")


NORMAL = Law("normal", lambda rng, shape: rng.normal(10, 1, shape), 10.0, 1.0, stats.norm(10, 1).ppf)
LOGNORMAL = Law(
    "lognormal",
    lambda rng, shape: rng.lognormal(0, 1, shape),
    math.exp(0.5),
    math.sqrt(math.e * (math.e - 1)),
    stats.lognorm(1).ppf,
)


def yes(p: float) -> Law:
    return Law(
        f"yes {p:g}",
        lambda rng, shape: (rng.random(shape) < p).astype(float),
        p,
        math.sqrt(p * (1 - p)),
        lambda share: float(share > 1 - p),
    )


@dataclass(frozen=True)
class Case:
    """A kind of interval, of what, the distribution, the number of examples or seeds, the truth, and
    ``estimate(rng)``, the interval from one draw; ``share`` of the draws that it is simulated with (slow
    ones)."""

    kind: str
    of: str
    law: str
    n: int
    truth: float
    estimate: Callable[[np.random.Generator], Estimate]
    share: float = 1.0


def of_epochs() -> Iterator[Case]:
    """A line through what follows one another: AR(1), each value so correlated with the one before it."""
    for rho in (0.0, 0.5, 0.8):
        for n in (8, 15, 50):

            def line(rng, rho=rho, n=n):
                values = rng.normal(size=n)
                for i in range(1, n):
                    values[i] = rho * values[i - 1] + math.sqrt(1 - rho**2) * values[i]
                return trend(np.arange(n), values, "epochs")

            yield Case(methods.TREND, "slope", f"AR(1) {rho:g}", n, 0.0, line)


def of_points() -> Iterator[Case]:
    """What hangs on several points at once, and differences of two sets of examples."""
    for d in (2, 10):

        def duplicates(rng, d=d):
            x = torch.from_numpy(rng.normal(size=(2, 200, d)))
            apart = (torch.cdist(x, x) + torch.diag(torch.full((200,), math.inf))).amin(2)
            return close_share(*apart, Noise(int(rng.integers(2**31))), RESAMPLES, mutual=True)

        yield Case(methods.BOOTSTRAP, f"duplicates in R^{d}", "normal", 200, CLOSE, duplicates)

        def rigid(rng, d=d):
            x, step = torch.from_numpy(rng.normal(size=(2, 200, d)))
            return rigid_estimate(x, x + 1e-3 * (step + 1))

        yield Case(methods.JACKKNIFE, f"rigid share in R^{d}", "normal", 200, 0.5, rigid)
    for law in (NORMAL, LOGNORMAL):
        for n in (20, 200):

            def gap(rng, law=law, n=n):
                return intervals.difference_interval(law.draw(rng, (n,)), 3 * law.draw(rng, (3 * n,)))

            yield Case(methods.WELCH, "difference of means", law.name, n, -2 * law.mean, gap)
