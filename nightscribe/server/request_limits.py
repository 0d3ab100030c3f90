"""Limit how often a caller may send requests, with one token bucket for each caller.

A bucket holds `burst` requests and is refilled at a steady rate. What is kept is only in memory: a restart forgives.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

MAX_CALLERS = 10_000


@dataclass
class _Bucket:
    left: float
    at: float


class RateLimiter:
    """Counts the requests of each caller."""

    def __init__(
        self,
        per_minute: float,
        burst: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        max_callers: int = MAX_CALLERS,
    ) -> None:
        self._per_s = per_minute / 60
        self._burst = burst
        self._clock = clock
        self._max_callers = max_callers
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, caller: str, cost: float = 1) -> float:
        """Count a request and return 0, or return after how many seconds it is allowed; then it does not count."""
        now = self._clock()
        bucket = self._buckets.setdefault(caller, _Bucket(self._burst, now))
        self._buckets.move_to_end(caller)
        bucket.left = min(self._burst, bucket.left + (now - bucket.at) * self._per_s)
        bucket.at = now
        if (
            len(self._buckets) > self._max_callers
        ):  # the caller who has been silent for longest has probably a full bucket
            self._buckets.popitem(last=False)
        if bucket.left < min(cost, self._burst):
            return (min(cost, self._burst) - bucket.left) / self._per_s
        bucket.left -= cost
        return 0
