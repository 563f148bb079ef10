"""What was measured on the same examples under several seeds: one interval for both."""

from __future__ import annotations

import numpy as np

from latentrun.functional.statistics.intervals import mean_interval
from latentrun.functional.statistics.methods import EXAMPLES
from latentrun.functional.statistics.ranking import Pairs, t_interval
from latentrun.types import Estimate


def over_seeds_and_examples(pairs: Pairs, i: int, j: int, examples: np.ndarray | None) -> Estimate:
    """The difference of groups i and j over the seeds *and* the examples that there might have been, from the
    entry of ``pairs`` and ``examples (N,)``, the paired differences of each example, averaged over seeds.

    Seeds are crossed with examples: the difference of one seed and one example is d + s + e + r, each with a
    variance of its own, and the mean over S seeds and N examples has the variance V(s)/S + V(e)/N + V(r)/SN.
    The squared errors over seeds and over examples are V(s)/S + V(r)/SN and V(e)/N + V(r)/SN: their sum has
    the last term twice, and is too large by no more than that (Owen 2007, Ann. Appl. Stat. 1, 386). Student's
    interval with that sum, degrees of freedom by Satterthwaite (1946), as in Welch's test. Where one of the
    two has no error the interval is that of the other alone, and says so.

    >>> from latentrun.functional.statistics.ranking import pairwise
    >>> pairs = pairwise(np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]))
    >>> over_seeds_and_examples(pairs, 0, 1, np.array([0.0, 2.0, 4.0, 2.0]))
    Estimate(value=2.0, low=-0.58..., high=4.58..., method='paired t over seeds and examples')
    """
    value, error, freedom = (float(part[i, j]) for part in (pairs.difference, pairs.error, pairs.freedom))
    of_examples = None if examples is None else mean_interval(examples)
    if np.isnan(error):
        return Estimate(value, method=str(pairs.test[i, j])) if of_examples is None else of_examples
    if examples is None or of_examples is None or of_examples.low is None:
        return Estimate.read(value, pairs.low[i, j], pairs.high[i, j], str(pairs.test[i, j]))
    n = len(examples)
    squares = np.array([error**2, examples.var(ddof=1) / n])
    both = squares.sum() ** 2 / (squares**2 / np.array([freedom, n - 1])).sum()
    low, high = t_interval(np.array(value), np.sqrt(squares.sum()), both)
    return Estimate(value, float(low), float(high), f"{pairs.test[i, j]} and {EXAMPLES}")
