"""Provide temporary folders that are removed in any case when the processes that use them end."""

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from nightscribe.shared.process.identity import is_alive

LOCK = ".lock"
NAME = re.compile(r"^nightscribe-(\d+)-")


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield an empty folder, which is removed when the context ends."""
    with tempfile.TemporaryDirectory(prefix=f"nightscribe-{os.getpid()}-") as folder:
        yield Path(folder)


class SharedScratch:
    """A folder that all processes of this user share. The last process to close it empties it."""

    def __init__(self) -> None:
        """Open the folder. Raises: OSError: if it does not exist and cannot be created, or belongs to another user."""
        self.folder = _shared_folder()
        self.folder.mkdir(mode=0o700, exist_ok=True)
        if self.folder.lstat().st_uid != os.geteuid():
            raise PermissionError(f"{str(self.folder)!r} belongs to another user")
        self._lock = (self.folder / LOCK).open("wb")
        _empty_if_unused(self.folder, self._lock)  # killed processes may have left files
        fcntl.flock(self._lock, fcntl.LOCK_SH)

    def close(self) -> None:
        """Empty the folder if no other process uses it."""
        if not self._lock.closed:
            _empty_if_unused(self.folder, self._lock)
            self._lock.close()


def _shared_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"nightscribe-cache-{os.geteuid()}"


def _empty_if_unused(folder: Path, lock: IO[bytes]) -> None:
    """Empty the folder unless a process holds the lock; the system releases it when that process ends."""
    with contextlib.suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for entry in os.scandir(folder):
            if entry.name != LOCK:
                Path(entry.path).unlink(missing_ok=True)


def sweep_scratch() -> None:
    """Remove the files and folders that killed processes left."""
    with contextlib.suppress(OSError), (_shared_folder() / LOCK).open("r+b") as lock:
        _empty_if_unused(_shared_folder(), lock)
    with contextlib.suppress(OSError):
        for entry in os.scandir(tempfile.gettempdir()):
            if (match := NAME.match(entry.name)) and not is_alive(int(match[1])):
                shutil.rmtree(entry.path, ignore_errors=True)
