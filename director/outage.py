"""Track how long a share, a bucket or a queue has been unreachable, and log when that begins and ends."""

from collections.abc import Callable

import structlog

from nightscribe.shared.errors import NightscribeError, RetryableError, StorageError
from nightscribe.shared.storage.base import Denied

log = structlog.get_logger()

OUTAGE_LIMIT_S = 900.0  # a run ends when a queue or a store has been unreachable for longer


class OutageTracker:
    """Tracks how long calls have failed without a success."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: float | None = None

    def record_failure(self, error: Exception) -> float:
        """Record a failure and return the number of seconds since the first one after the last success."""
        now = self._clock()
        if self._since is None:
            self._since = now
            log.warning("director.paused", why=str(error))
        else:
            log.debug("director.still_paused", why=str(error))
        return now - self._since

    def record_success(self) -> None:
        """Record a success."""
        if self._since is not None:
            log.info("director.resumed", after_s=round(self._clock() - self._since, 1))
            self._since = None


def is_outage(error: NightscribeError, max_concurrency: int) -> bool:
    """Return whether every other recording would hit the same error.

    `max_concurrency`: above 1 for a bucket, whose client has retried for a minute already. A folder may fail for a
    single file.
    """
    is_unreachable = isinstance(error, RetryableError) and not isinstance(error, Denied)
    return isinstance(error, StorageError) or (is_unreachable and max_concurrency > 1)
