"""Hold the right to work on a delivery while its message is invisible to others."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import structlog

from nightscribe.shared.errors import Interrupted, LeaseLost, NightscribeError
from nightscribe.shared.process.periodic import PeriodicThread
from nightscribe.shared.queue.client import JobQueue
from nightscribe.shared.queue.wire import Delivery
from nightscribe.shared.telemetry import metrics

log = structlog.get_logger()

END_WITHIN_S = 5  # a server that does not respond must not keep a worker from ending

# Prefer a clock that also runs while a laptop sleeps, because its leases expire during that time.
_CLOCK_ID = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def lease_clock() -> float:
    """Return seconds since an arbitrary moment, including the time that the machine sleeps."""
    return time.clock_gettime(_CLOCK_ID)


class Lease:
    """Extends a delivery's visibility timeout from its own thread until the context ends.

    The worker's own clock decides: a lease that was not extended in time is lost even if the server accepts the
    extension, because some servers accept a stale receipt handle and so take the message from its new owner.
    """

    def __init__(
        self,
        queue: JobQueue,
        delivery: Delivery,
        *,
        received_at: float,
        visibility_timeout_s: float,
        heartbeat_s: float,
        stop: threading.Event,
        clock: Callable[[], float] = lease_clock,
    ) -> None:
        """`received_at`: the clock before the receive call, so that the lease never seems longer than it is."""
        self._queue = queue
        self._delivery = delivery
        self._timeout_s = visibility_timeout_s
        self._heartbeat_s = heartbeat_s
        self._stop = stop
        self._clock = clock
        self._deadline = received_at + visibility_timeout_s
        self._lost = threading.Event()
        self._thread = PeriodicThread(self._extend, heartbeat_s, name="heartbeat")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Stop extending. Wait briefly for a pending extension, which could hide a message that is released next."""
        self._thread.stop(END_WITHIN_S)

    def give_up(self) -> None:
        """Give up the lease, so that no thread may store or delete anything for this job any more."""
        self._lost.set()

    @property
    def held(self) -> bool:
        """Return whether the message is certainly still ours."""
        return not self._lost.is_set() and self._clock() < self._deadline

    @property
    def remaining_s(self) -> float:
        """Return the seconds until the lease runs out unless it is extended."""
        return max(0.0, self._deadline - self._clock()) if self.held else 0.0

    def check(self) -> None:
        """Raise LeaseLost if another worker may hold the message, and Interrupted if this worker must stop."""
        if not self.held:
            raise LeaseLost("The lease has run out; another worker may have the job.")
        if self._stop.is_set():
            raise Interrupted("The worker was asked to stop.")

    def _extend(self) -> None:
        requested_at = self._clock()
        remaining_s = self._deadline - requested_at
        if remaining_s <= 0:
            self._lose("not renewed in time")
            return
        try:
            self._queue.change_visibility(
                self._delivery, self._timeout_s, retry_timeout_s=min(remaining_s, self._heartbeat_s)
            )
        except LeaseLost as error:
            self._lose(str(error))
        except NightscribeError as error:
            metrics.LEASE_EXTENSIONS.labels("failed").inc()
            log.warning("lease.extension_failed", why=str(error), remaining_s=round(self._deadline - self._clock(), 1))
        else:
            # A response that arrives after the lease ran out cannot revive it: the message may have a new owner.
            if self._clock() >= self._deadline:
                self._lose("the response came too late")
                return
            self._deadline = requested_at + self._timeout_s
            metrics.LEASE_EXTENSIONS.labels("extended").inc()
            log.debug("lease.extended", for_s=self._timeout_s)

    def _lose(self, why: str) -> None:
        self._thread.cancel()
        self._lost.set()
        metrics.LEASES_LOST.inc()
        log.warning("lease.lost", why=why)
