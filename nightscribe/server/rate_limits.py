"""Limit how often something may be tried."""

import threading
import time
from collections import deque
from collections.abc import Callable

MOST_KEYS = 10_000


class Limiter:
    """Counts tries in a sliding window, by key, in this process. Use it from any thread."""

    def __init__(self, tries: int, window_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._tries, self._window_s, self._clock = tries, window_s, clock
        self._tried: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def wait_s(self, key: str) -> float:
        """Return how many seconds to wait before the next try; 0 if it is allowed now."""
        with self._lock:
            tried = self._recent(key)
            return max(1.0, tried[0] + self._window_s - self._clock()) if len(tried) >= self._tries else 0.0

    def count(self, key: str) -> None:
        """Count a try."""
        with self._lock:
            self._recent(key).append(self._clock())
            if len(self._tried) > MOST_KEYS:
                for each in [each for each in self._tried if not self._recent(each)]:
                    del self._tried[each]

    def _recent(self, key: str) -> deque[float]:
        tried = self._tried.setdefault(key, deque(maxlen=self._tries))
        while tried and self._clock() - tried[0] >= self._window_s:
            tried.popleft()
        return tried
