"""End a command in order on Ctrl-C, a kill or a closed terminal, and only once."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from nightscribe.shared.aws import ShutdownFlag


class Interruption:
    """Says which signal came."""

    number: int | None = None

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal came at a moment when Python lets no exception out, as in a `__del__`."""
        if self.number is not None:
            raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Raise KeyboardInterrupt on each of these signals; a second one does not cut short what the first has begun."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # A signal that was being ignored (nohup) goes on being ignored.
    before = {number: handler for number in signals if (handler := signal.getsignal(number)) != signal.SIG_IGN}
    interruption = Interruption()

    def interrupt(number: int, _frame: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        interruption.number = number
        ShutdownFlag.is_set = True  # the threads that wait for a bucket are waited for
        raise KeyboardInterrupt

    for number in before:
        signal.signal(number, interrupt)
    try:
        yield interruption
    finally:
        ShutdownFlag.is_set = False
        for number, handler in before.items():
            signal.signal(number, handler)
