"""Let an attempt store and delete only while its lease is held."""

import threading
from collections.abc import Callable
from typing import TypeVar

from nightscribe.shared.errors import JobCancelled, LeaseLost
from nightscribe.shared.process.liveness import report_alive
from nightscribe.worker.lease import Lease

T = TypeVar("T")


class LeaseGuard:
    """Runs an attempt's writes one at a time, and only while the lease is held."""

    def __init__(self, lease: Lease, is_cancelled: Callable[[], bool] = lambda: False) -> None:
        self._lease = lease
        self._is_cancelled = is_cancelled
        self.writing = threading.Lock()
        """Held during each write, so that abandoning the job waits for the current write."""

    def while_held(self, write: Callable[[], T]) -> T:
        """Return the result of `write`. Raises: LeaseLost: if another worker may hold the message by now."""
        with self.writing:
            if not self._lease.held:
                raise LeaseLost("The lease ran out before the job was finished.")
            return write()

    def check(self) -> None:
        """Report that the worker is alive, and stop the work if it must not continue.

        Call it between two steps of the work, so that a step that hangs does not look alive.
        Raises: LeaseLost, Interrupted: see `Lease.check`. JobCancelled: if nobody wants the job any more.
        """
        report_alive()
        self._lease.check()
        if self._is_cancelled():
            raise JobCancelled("The job was cancelled.")
