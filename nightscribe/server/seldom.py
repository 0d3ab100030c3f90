"""Compute what takes long only seldom, however many pages request it."""

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")

SHARE_OF_TIME = 10
"""A value is kept for this many times as long as it took to compute, so that it costs a tenth of one processor."""
MOST_VALUES = 1000


class Seldom(Generic[T]):
    """Keeps values by key for a while. Use it from any thread: one computes a value, and others wait for it."""

    def __init__(
        self, *, least_s: float = 0.0, quick_s: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`least_s`: how long any value is kept. `quick_s`: one that took less is computed again for each request."""
        self._least_s, self._quick_s, self._clock = least_s, quick_s, clock
        self._lock = threading.Lock()
        self._making: dict[Hashable, threading.Lock] = {}
        self._kept: dict[Hashable, tuple[T, float]] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value of a key, which `make` computes if there is none or it is too old."""
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                kept = self._kept.get(key)
            began = self._clock()
            if kept and began < kept[1]:
                return kept[0]
            value = make()
            now = self._clock()
            took_s = now - began
            with self._lock:
                if len(self._kept) >= MOST_VALUES:
                    self._kept.clear()
                    self._making.clear()
                if took_s >= self._quick_s:
                    self._kept[key] = value, now + max(self._least_s, SHARE_OF_TIME * took_s)
                else:
                    self._kept.pop(key, None)
            return value

    def forget(self) -> None:
        """Compute every value again at its next request."""
        with self._lock:
            self._kept.clear()
