"""Estimate the amount of sound and the time it takes, because probing a million files would take all night. Pure."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from hashlib import blake2b
from heapq import nsmallest

from nightscribe.director.backlog import Backlog, Missing
from nightscribe.shared.model.engines import engine_spec
from nightscribe.shared.model.paths import suffix


class LengthEstimate:
    """Estimates the length of recordings from their size, using files of the same kind whose length is known."""

    def __init__(self) -> None:
        self._known_bytes: Counter[str] = Counter()
        self._known_s: dict[str, float] = defaultdict(float)
        self._pending_bytes: Counter[str] = Counter()
        self._pending_s: dict[str, float] = {}

    def expect(self, path: str, size: int) -> None:
        """Count a recording as pending."""
        self._pending_bytes[_kind(path)] += size

    def settle(self, path: str, size: int) -> None:
        """Count a recording as no longer pending."""
        if self._pending_s.pop(path, None) is None:
            self._pending_bytes[_kind(path)] -= size

    def foresee(self, path: str, size: int, seconds: float) -> None:
        """Learn the length of a pending recording."""
        self._pending_bytes[_kind(path)] -= size
        self._pending_s[path] = seconds
        self.learn(path, size, seconds)

    def learn(self, path: str, size: int, seconds: float) -> None:
        """Learn from a recording of known length, pending or not."""
        for kind in (_kind(path), _ANY):
            self._known_bytes[kind] += size
            self._known_s[kind] += seconds

    def seconds(self, path: str, size: int) -> float | None:
        """Return the likely length of a recording; None while nothing is known."""
        return self._pending_s.get(path) or self._of_kind(_kind(path), size)

    @property
    def pending_s(self) -> float | None:
        """Return the likely length of all pending recordings in seconds; None while nothing is known."""
        each = [self._of_kind(kind, size) for kind, size in self._pending_bytes.items() if size]
        return None if None in each else sum(self._pending_s.values()) + sum(s for s in each if s is not None)

    def rates(self) -> "Rates":
        """Return the current estimates, for a plan."""
        return Rates({kind: self._known_s[kind] / n_bytes for kind, n_bytes in self._known_bytes.items() if n_bytes})

    def _of_kind(self, kind: str, size: int) -> float | None:
        for known in (kind, _ANY):
            if self._known_bytes[known]:
                return size * self._known_s[known] / self._known_bytes[known]
        return None


_ANY = ""
UNKNOWN_RATE = 1 / 16_000  # seconds per byte of a 128 kbit/s MP3


class Rates:
    """Seconds of audio per byte, by file type. Rounded, so that a refined estimate rarely changes a plan."""

    def __init__(self, seconds_per_byte: Mapping[str, float] | None = None) -> None:
        # Steps of half a power of two are at most a fifth off, and rarely change from day to day.
        self._rates = {
            kind: 2 ** (round(2 * math.log2(rate)) / 2) for kind, rate in (seconds_per_byte or {}).items() if rate > 0
        }

    def seconds(self, path: str, size: int) -> float:
        """Return the likely length of a recording."""
        return size * (self._rates.get(_kind(path)) or self._rates.get(_ANY) or UNKNOWN_RATE)


def _kind(path: str) -> str:
    return suffix(path) or "."


def chance(path: str) -> float:
    """Return a number from 0 to 1 that depends only on the path, not on other recordings."""
    return int.from_bytes(blake2b(path.encode(), digest_size=8).digest()) / 2**64


def sample(missing: Backlog, at_most: int) -> list[Missing]:
    """Return a sample of the recordings that stays mostly the same when others are added or done."""
    chosen = nsmallest(at_most, range(len(missing)), key=[chance(path) for path, _ in missing.sized()].__getitem__)
    return [missing[at] for at in chosen]


def typical_speed(engine: str, model: str) -> float:
    """Return the audio-seconds per second to expect of one worker before anything was measured in a destination."""
    return engine_spec(engine).typical_speed(model)
