"""Record events of all processes in one file, which they only append to."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import current_process
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Event:
    """One event; `who` names the process, `at` is monotonic time in seconds."""

    at: float
    who: str
    what: str
    fields: dict[str, Any]


class EventLog:
    """Append events to the file and read them back."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND)
        self._read = 0
        self._rest = b""

    def append(self, what: str, *, who: str | None = None, **fields: Any) -> None:
        """Append one event that happens now."""
        # One write is never interleaved with another process's. The leading line end separates this event from one
        # that a kill cut short.
        line = json.dumps([time.monotonic(), who or current_process().name, what, fields], separators=(",", ":"))
        os.write(self._file, f"\n{line}\n".encode())

    def new(self) -> Iterator[Event]:
        """Yield the events appended since the last call."""
        while content := os.pread(self._file, 1 << 20, self._read):
            self._read += len(content)
            *lines, self._rest = (self._rest + content).split(b"\n")
            for line in lines:
                if event := _event(line):
                    yield event


def _event(line: bytes) -> Event | None:
    try:
        at, who, what, fields = json.loads(line)
    except ValueError:  # empty, or cut short
        return None
    return Event(at, who, what, fields)
