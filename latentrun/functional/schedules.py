"""Values that change with the epoch."""

from __future__ import annotations

from latentrun.errors import InputError
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


def weight_schedule(
    beta: float, start: float, warmup_epochs: float, cycle_epochs: float | None, cycles: int
) -> dict[str, Schedule]:
    """The schedule ``beta`` of the KL term's weight, none where it is constant; InputError for settings that
    would do nothing, or do not go together."""
    if start and not warmup_epochs:
        raise InputError(
            f"model.beta_start: {start:g} is where the weight begins to move: it needs warmup_epochs above 0"
        )
    if cycle_epochs is not None and cycles == 1:
        raise InputError(
            f"model.cycle_epochs: {cycle_epochs:g} is the length of one of several cycles: it needs cycles "
            "above 1"
        )
    if cycles > 1 and not 0 < warmup_epochs <= (cycle_epochs or 0):
        raise InputError(
            f"model.cycles: {cycles} cycles need cycle_epochs, and warmup_epochs above 0 and no longer than "
            "a cycle"
        )
    if not warmup_epochs:
        return {}
    return {"beta": cyclic(start, beta, warmup_epochs, cycle_epochs or warmup_epochs, cycles)}
