"""Values that change with the epoch."""

from __future__ import annotations

from latentrun.types import Schedule


def linear(start: float, stop: float, epochs: float) -> Schedule:
    """From ``start`` to ``stop`` in ``epochs`` epochs, ``stop`` from then on.

    >>> warm_up = linear(0.0, 1.0, epochs=10)
    >>> warm_up.value(5), warm_up.value(20), warm_up.end
    (0.5, 1.0, 10)
    """
    return cyclic(start, stop, epochs, epochs, 1)


def cyclic(start: float, stop: float, rise: float, period: float, cycles: int) -> Schedule:
    """``cycles`` times from ``start`` to ``stop`` in ``rise`` epochs, ``stop`` for the rest of a cycle of
    ``period`` epochs and after the last (Fu et al. 2019, arXiv 1903.10145, with linear rises).

    >>> beta = cyclic(0.0, 1.0, rise=2, period=4, cycles=2)
    >>> [beta.value(epoch) for epoch in (0, 1, 2, 3, 4, 5, 9)]
    [0.0, 0.5, 1.0, 1.0, 0.0, 0.5, 1.0]
    """

    def value(epoch: float) -> float:
        within = epoch - period * min(epoch // period, cycles - 1)
        return start + (stop - start) * min(within / rise, 1.0)

    return Schedule(value, end=(cycles - 1) * period + rise)
