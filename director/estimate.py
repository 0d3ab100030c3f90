"""How much sound there is and how long it will take, roughly: probing a million files would take the night. Pure."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TypeVar

T = TypeVar("T")

# Audio-seconds per second of one core for `base`, measured on read English (docs/performance.md).
BASE_SPEED = {"faster-whisper": 20.0, "openai-whisper": 9.0}
# Millions of parameters, to which the work on a CPU is roughly proportional. Source: openai/whisper README.
PARAMETERS = {"tiny": 39, "base": 74, "small": 244, "medium": 769, "large": 1550, "turbo": 809, "distil": 760}


class LengthEstimate:
    """Seconds of sound in files by their size, learned from files of the same kind whose length is known."""

    def __init__(self) -> None:
        self._known_bytes: Counter[str] = Counter()
        self._known_s: dict[str, float] = defaultdict(float)
        self._pending_bytes: Counter[str] = Counter()
        self._pending_s: dict[str, float] = {}

    def expect(self, path: str, size: int) -> None:
        """Count a recording as still to be done."""
        self._pending_bytes[_kind(path)] += size

    def settle(self, path: str, size: int) -> None:
        """Count it as done."""
        if self._pending_s.pop(path, None) is None:
            self._pending_bytes[_kind(path)] -= size

    def foresee(self, path: str, size: int, seconds: float) -> None:
        """Learn the length of a recording that is still to be done."""
        self._pending_bytes[_kind(path)] -= size
        self._pending_s[path] = seconds
        self.learn(path, size, seconds)

    def learn(self, path: str, size: int, seconds: float) -> None:
        """Learn from any recording of known length."""
        for kind in (_kind(path), _ANY):
            self._known_bytes[kind] += size
            self._known_s[kind] += seconds

    def seconds(self, path: str, size: int) -> float | None:
        """The likely length of a recording; None while nothing is known."""
        return self._pending_s.get(path) or self._of_kind(_kind(path), size)

    @property
    def pending_s(self) -> float | None:
        """The likely length of all that is still to be done; None while nothing is known."""
        each = [self._of_kind(kind, size) for kind, size in self._pending_bytes.items() if size]
        return None if None in each else sum(self._pending_s.values()) + sum(s for s in each if s is not None)

    def _of_kind(self, kind: str, size: int) -> float | None:
        for known in (kind, _ANY):
            if self._known_bytes[known]:
                return size * self._known_s[known] / self._known_bytes[known]
        return None


_ANY = ""


def _kind(path: str) -> str:
    return PurePosixPath(path).suffix.lower() or "."


def sample(files: Sequence[T], at_most: int) -> Sequence[T]:
    """Some of the files, evenly spread over their order."""
    if len(files) <= at_most:
        return files
    return [files[i * len(files) // at_most] for i in range(at_most)]


def typical_speed(engine: str, model: str) -> float:
    """Audio-seconds per second of one worker, where nothing was measured in this destination yet."""
    size = next((millions for name, millions in PARAMETERS.items() if name in model), PARAMETERS["base"])
    if "turbo" in model:
        size = PARAMETERS["turbo"]
    return BASE_SPEED[engine] * PARAMETERS["base"] / size
