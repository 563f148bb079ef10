"""Signals that ask a working process to stop: SIGINT (Ctrl-C), SIGTERM, and SIGUSR1 or SIGUSR2 that
schedulers send before preemption.

The first signal is answered in order, a second one ends the process at once.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

NAMES = (
    "SIGINT",
    "SIGTERM",
    "SIGUSR1",
    "SIGUSR2",
    "SIGBREAK",
)  # the last is Windows' own, which has no SIGUSR
SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))


class Interrupted(BaseException):
    """The process was asked to stop. Like KeyboardInterrupt it is no Exception, so that nothing takes it for
    a failure."""

    def __init__(self, number: int):
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number

    @property
    def code(self) -> int:
        """The exit code: 130 after SIGINT, else 143."""
        return 130 if self.number == signal.SIGINT else 143


class Request:
    """A request to stop: ``signal``, the number of the signal that came, or None."""

    signal: int | None = None


@contextmanager
def interruptible() -> Iterator[None]:
    """A signal raises :class:`Interrupted` wherever the process is."""

    def stop(number: int) -> None:
        raise Interrupted(number)

    with _handled(stop):
        yield


@contextmanager
def deferred() -> Iterator[Request]:
    """A signal is only noted in the :class:`Request`; it raises :class:`Interrupted` at the latest when the
    block ends."""
    request = Request()

    def note(number: int) -> None:
        request.signal = number

    with _handled(note):
        yield request
    if request.signal is not None:
        raise Interrupted(request.signal)


@contextmanager
def _handled(answer: Callable[[int], None]) -> Iterator[None]:
    """Answer the first signal; from then on the system's own action holds. Python lets only the main thread
    do so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def first(number: int, frame: object) -> None:
        for other in SIGNALS:
            signal.signal(other, signal.SIG_DFL)
        answer(number)

    before = {number: signal.signal(number, first) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
