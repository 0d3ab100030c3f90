"""What does not answer: whether it is all of a place, told when it begins and when it is over."""

from collections.abc import Callable

import structlog

from nightscribe.shared.errors import BucketError, NightscribeError, RetryableError
from nightscribe.shared.storage.base import Denied

log = structlog.get_logger()


class OutageTracker:
    """A share or a server that may be away for a while."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: float | None = None

    def record_failure(self, error: Exception) -> float:
        """It did not answer, for this reason. Gives for how many seconds it has not."""
        now = self._clock()
        if self._since is None:
            self._since = now
            log.warning("director.paused", why=str(error))
        else:
            log.debug("director.still_paused", why=str(error))
        return now - self._since

    def end(self) -> None:
        """It answers."""
        if self._since is not None:
            log.info("director.resumed", after_s=round(self._clock() - self._since, 1))
            self._since = None


def is_everywhere(error: NightscribeError, max_concurrency: int) -> bool:
    """Whether every other recording would meet the same: a bucket that is away was waited for a minute already."""
    is_away = isinstance(error, RetryableError) and not isinstance(error, Denied)
    return isinstance(error, BucketError) or (is_away and max_concurrency > 1)
