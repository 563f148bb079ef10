"""Values that change with the epoch."""

from __future__ import annotations

from latentrun.types import Schedule


def linear(start: float, stop: float, epochs: float) -> Schedule:
    """From ``start`` to ``stop`` in ``epochs`` epochs, ``stop`` from then on."""
    return Schedule(lambda epoch: start + (stop - start) * min(epoch / epochs, 1.0), end=epochs)
