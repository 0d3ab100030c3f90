"""Handle signals: end a command cleanly on Ctrl-C, SIGTERM or a closed terminal, and stop a worker."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import structlog

from nightscribe.shared.aws import ShutdownFlag

if TYPE_CHECKING:
    from nightscribe.worker.loop import Worker

log = structlog.get_logger()

RELEASE_WITHIN_S = 1.5
STOP_WITHIN_S = 7  # then the process ends in the middle of a window, which another worker does again


class Interruption:
    """The signal that was received, if any."""

    number: int | None = None

    def force_on_next(self, end: Callable[[], NoReturn]) -> None:
        """Call `end` on the next Ctrl-C, for a user who does not want to wait for what is in hand."""
        if self.number is not None:
            signal.signal(signal.SIGINT, lambda *_: end())

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal arrived while Python swallows exceptions, for instance in `__del__`."""
        if self.number is not None:
            raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Raise KeyboardInterrupt on the first of these signals; ignore further ones, so that cleanup can finish."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # A signal that was ignored before (nohup) stays ignored.
    before = {number: handler for number in signals if (handler := signal.getsignal(number)) != signal.SIG_IGN}
    interruption = Interruption()

    def interrupt(number: int, _frame: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        interruption.number = number
        ShutdownFlag.is_set = True  # ends the waits of threads for a bucket, which the exit would wait for
        raise KeyboardInterrupt

    for number in before:
        signal.signal(number, interrupt)
    try:
        yield interruption
    finally:
        ShutdownFlag.is_set = False
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_on_signals(running: "Worker") -> None:
    """Stop the worker on a signal; if it is still busy after `STOP_WITHIN_S`, release its job and end the process."""

    def end() -> None:
        releasing = threading.Thread(target=running.abandon, daemon=True)
        releasing.start()
        releasing.join(RELEASE_WITHIN_S)
        log.info("worker.stopped", worker=running.name, why="busy for too long after a signal")
        os._exit(0)

    def stop(_number: int, _frame: object) -> None:
        if not running.stop.is_set():
            running.stop.set()
            timer = threading.Timer(STOP_WITHIN_S, end)
            timer.daemon = True
            timer.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
