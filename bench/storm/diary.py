"""What happened and when, by every process, in one file to which all of them only append."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import current_process
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One event; `who` is the name of a process."""

    at: float
    who: str
    what: str
    slice_: dict[str, Any]


class Diary:
    """Writes and reads it."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND)
        self._read = 0
        self._rest = b""

    def note(self, what: str, *, who: str | None = None, **slice_: Any) -> None:
        """Write down that this happens now."""
        # One call, which no other process's can divide; the first of the line ends keeps a line that a kill has cut
        # short from spoiling this one.
        line = json.dumps([time.monotonic(), who or current_process().name, what, slice_], separators=(",", ":"))
        os.write(self._file, f"\n{line}\n".encode())

    def new(self) -> Iterator[Entry]:
        """What was written since this was last asked."""
        while content := os.pread(self._file, 1 << 20, self._read):
            self._read += len(content)
            *lines, self._rest = (self._rest + content).split(b"\n")
            for line in lines:
                if entry := _entry(line):
                    yield entry


def _entry(line: bytes) -> Entry | None:
    try:
        at, who, what, slice_ = json.loads(line)
    except ValueError:  # empty, or cut short
        return None
    return Entry(at, who, what, slice_)
