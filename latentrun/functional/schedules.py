"""Values that change with the epoch."""

from __future__ import annotations

from latentrun.types import Schedule


def linear(start: float, stop: float, epochs: float) -> Schedule:
    """From ``start`` to ``stop`` in ``epochs`` epochs, ``stop`` from then on."""
    return cyclic(start, stop, epochs, epochs, 1)


def cyclic(start: float, stop: float, rise: float, period: float, cycles: int) -> Schedule:
    """``cycles`` times from ``start`` to ``stop`` in ``rise`` epochs, ``stop`` for the rest of a cycle of
    ``period`` epochs and after the last (Fu et al. 2019, arXiv 1903.10145, with linear rises)."""

    def value(epoch: float) -> float:
        within = epoch - period * min(epoch // period, cycles - 1)
        return start + (stop - start) * min(within / rise, 1.0)

    return Schedule(value, end=(cycles - 1) * period + rise)
